"""Credentials of Nexthink and Qualtrics are read from Secrets. Errors name the invalid key and not its value."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.controller.credentials import read_secret
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from tests.controller.patient_api import patient_api
from tests.support.controlplane import ControlPlane

SOURCE = "Secret dex/remote"
CLIENT: dict[str, str | bytes] = {"clientId": "the-id", "clientSecret": "hunter2"}
NEXTHINK: dict[str, str | bytes] = {**CLIENT, "url": "https://acme.api.eu.nexthink.cloud"}
QUALTRICS: dict[str, str | bytes] = {**CLIENT, "url": "https://fra1.qualtrics.com"}


def test_nexthink_secret_needs_only_url_and_client() -> None:
    credentials = nexthink_from(NEXTHINK, SOURCE)
    assert (credentials.source, credentials.client_id, credentials.client_secret) == (SOURCE, "the-id", "hunter2")
    assert credentials.url == "https://acme.api.eu.nexthink.cloud"
    assert credentials.token_url == "https://acme-login.eu.nexthink.cloud/oauth2/default/v1/token"
    assert credentials.scope == "service:integration"


def test_nexthink_secret_accepts_instance_and_region_instead_of_the_url() -> None:
    credentials = nexthink_from({**CLIENT, "instance": "acme", "region": "eu"}, SOURCE)
    assert credentials.url == "https://acme.api.eu.nexthink.cloud"
    assert credentials == nexthink_from(NEXTHINK, SOURCE)


def test_nexthink_secret_with_a_custom_host_needs_a_token_url_or_instance_and_region() -> None:
    other = {**NEXTHINK, "url": "https://nexthink-proxy.example.com"}
    with pytest.raises(Permanent, match="Secret dex/remote has no key tokenUrl"):
        nexthink_from(other, SOURCE)
    assert nexthink_from({**other, "tokenUrl": "https://login.example.com/t"}, SOURCE).token_url.endswith("com/t")
    derived = nexthink_from({**other, "instance": "acme", "region": "us"}, SOURCE)
    assert derived.url == "https://nexthink-proxy.example.com"
    assert derived.token_url == "https://acme-login.us.nexthink.cloud/oauth2/default/v1/token"


def test_qualtrics_secret_needs_only_url_and_client() -> None:
    credentials = qualtrics_from(QUALTRICS, SOURCE)
    assert (credentials.source, credentials.client_id, credentials.client_secret) == (SOURCE, "the-id", "hunter2")
    assert credentials.token_url == "https://fra1.qualtrics.com/oauth2/token"
    assert credentials.scope == "manage:all"


def test_token_url_and_scope_in_the_secret_override_the_derived_ones() -> None:
    overrides: dict[str, str | bytes] = {"tokenUrl": "https://t.example.com/", "scope": "read:surveys"}
    for credentials in (
        nexthink_from({**NEXTHINK, **overrides}, SOURCE),
        qualtrics_from({**QUALTRICS, **overrides}, SOURCE),
    ):
        assert (credentials.token_url, credentials.scope) == ("https://t.example.com/", "read:surveys")


@pytest.mark.parametrize(
    "value",
    ["hunter2\n", "  hunter2\r\n", b"hunter2\n", b"\xef\xbb\xbfhunter2"],
    ids=["line feed", "Windows line end", "bytes", "byte order mark"],
)
def test_whitespace_and_byte_order_mark_around_a_value_are_removed(value: str | bytes) -> None:
    assert qualtrics_from({**QUALTRICS, "clientSecret": value}, SOURCE).client_secret == "hunter2"
    assert nexthink_from({**NEXTHINK, "clientSecret": value}, SOURCE).client_secret == "hunter2"


def test_slash_at_the_end_of_a_url_is_ignored() -> None:
    for make, data in ((nexthink_from, NEXTHINK), (qualtrics_from, QUALTRICS)):
        assert make({**data, "url": f"{data['url']!s}/"}, SOURCE) == make(data, SOURCE)


@pytest.mark.parametrize(("make", "data"), [(nexthink_from, NEXTHINK), (qualtrics_from, QUALTRICS)])
@pytest.mark.parametrize("key", ["url", "clientId", "clientSecret"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "has no key {key}, or an empty one"),
        ("", "has no key {key}, or an empty one"),
        (" \n", "has no key {key}, or an empty one"),
        (b"hunter\xff2", "the key {key} is not UTF-8 text"),
        ("hunter\n2", "the key {key} has a line break or an invisible character in it"),
        ("hunter\x002", "the key {key} has a line break or an invisible character in it"),
        ("hunter\u200b2", "the key {key} has a line break or an invisible character in it"),
        ("hunter2" * 2000, "the key {key} has more than 2,048 bytes"),
    ],
    ids=["missing", "empty", "blank", "not UTF-8", "two lines", "a NUL", "a zero-width space", "too long"],
)
def test_invalid_key_is_named_and_its_value_is_not_shown(
    make: Callable[..., Any], data: dict[str, str | bytes], key: str, value: str | bytes | None, message: str
) -> None:
    changed = {k: v for k, v in {**data, key: value}.items() if v is not None}
    with pytest.raises(Permanent) as caught:
        make(changed, SOURCE)
    assert caught.value.reason is Reason.SECRET_KEY_MISSING
    assert message.format(key=key) in caught.value.message
    assert SOURCE in caught.value.message
    assert "hunter" not in caught.value.message
    advice = "Add the key to the Secret" if message.startswith("has no key") else f"Correct the value of {key}"
    assert advice in caught.value.message


@pytest.mark.parametrize(("present", "missing"), [("instance", "region"), ("region", "instance")])
def test_instance_without_region_and_region_without_instance_name_the_missing_key(present: str, missing: str) -> None:
    with pytest.raises(Permanent, match=f"no key {missing}"):
        nexthink_from({**CLIENT, present: "eu"}, SOURCE)


@pytest.mark.parametrize("instance", ["acme.evil.example", "acme/", "a@b", "-a", "acme?"])
def test_instance_that_is_not_a_label_of_a_host_name_is_rejected(instance: str) -> None:
    with pytest.raises(Permanent, match="the key instance is not a label of a host name"):
        nexthink_from({**CLIENT, "instance": instance, "region": "eu"}, SOURCE)


# Secrets in a cluster


@pytest_asyncio.fixture
async def cluster_api(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with await connect() as api:
        yield patient_api(api)


def apply(cluster: ControlPlane, namespace: str, name: str, data: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


async def test_credentials_are_read_with_a_version_that_changes_on_rotation(
    cluster_api: ClusterApi, cluster: ControlPlane, namespace: str
) -> None:
    apply(cluster, namespace, "nexthink", NEXTHINK)
    apply(cluster, namespace, "qualtrics", QUALTRICS)
    nexthink = nexthink_from(*await read_secret(cluster_api, namespace, "nexthink"))
    qualtrics = qualtrics_from(*await read_secret(cluster_api, namespace, "qualtrics"))
    version = await cluster_api.secret_metadata(namespace, "nexthink")
    assert nexthink.source == f"Secret {namespace}/nexthink"
    assert (nexthink.client_secret, qualtrics.client_secret) == ("hunter2", "hunter2")
    assert version

    apply(cluster, namespace, "nexthink", {**NEXTHINK, "clientSecret": "hunter3"})
    rotated = nexthink_from(*await read_secret(cluster_api, namespace, "nexthink"))
    assert rotated.client_secret == "hunter3"
    assert await cluster_api.secret_metadata(namespace, "nexthink") != version


async def test_missing_secret_is_named(cluster_api: ClusterApi, namespace: str) -> None:
    with pytest.raises(Permanent, match=f"Secret {namespace}/remote does not exist") as caught:
        await read_secret(cluster_api, namespace, "remote")
    assert caught.value.reason is Reason.SECRET_NOT_FOUND


async def test_secret_without_read_permission_refers_the_user_to_an_administrator(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.service_account(namespace, "nobody")))
    async with await connect() as api:
        with pytest.raises(Transient) as caught:
            await read_secret(patient_api(api), namespace, "nexthink")
    assert f"Secret {namespace}/nexthink cannot be read: the operator may not get secrets" in caught.value.message
    assert "administrator" in caught.value.message
