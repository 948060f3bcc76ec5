"""What is made of a credentials Secret, and what is said about one that cannot be used."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.controller.credentials import nexthink_credentials, qualtrics_credentials
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from tests.environment.controlplane import ControlPlane

SOURCE = "Secret dex/remote"
CLIENT: dict[str, str | bytes] = {"clientId": "the-id", "clientSecret": "hunter2"}
NEXTHINK: dict[str, str | bytes] = {**CLIENT, "url": "https://acme.api.eu.nexthink.cloud"}
QUALTRICS: dict[str, str | bytes] = {**CLIENT, "url": "https://fra1.qualtrics.com"}


def test_nexthink_needs_no_more_than_its_own_url_and_a_client() -> None:
    made = nexthink_from(NEXTHINK, SOURCE)
    assert (made.source, made.client_id, made.client_secret) == (SOURCE, "the-id", "hunter2")
    assert made.url == "https://acme.api.eu.nexthink.cloud"
    assert made.token_url == "https://acme-login.eu.nexthink.cloud/oauth2/default/v1/token"
    assert made.scope == "service:integration"


def test_nexthink_takes_instance_and_region_in_place_of_the_url() -> None:
    made = nexthink_from({**CLIENT, "instance": "acme", "region": "eu"}, SOURCE)
    assert made.url == "https://acme.api.eu.nexthink.cloud"
    assert made == nexthink_from(NEXTHINK, SOURCE)


def test_nexthink_behind_another_name_needs_its_token_url() -> None:
    other = {**NEXTHINK, "url": "https://nexthink-proxy.example.com"}
    with pytest.raises(Permanent, match="Secret dex/remote has no key tokenUrl"):
        nexthink_from(other, SOURCE)
    assert nexthink_from({**other, "tokenUrl": "https://login.example.com/t"}, SOURCE).token_url.endswith("com/t")
    derived = nexthink_from({**other, "instance": "acme", "region": "us"}, SOURCE)
    assert derived.url == "https://nexthink-proxy.example.com"
    assert derived.token_url == "https://acme-login.us.nexthink.cloud/oauth2/default/v1/token"


def test_qualtrics_needs_no_more_than_its_url_and_a_client() -> None:
    made = qualtrics_from(QUALTRICS, SOURCE)
    assert (made.source, made.client_id, made.client_secret) == (SOURCE, "the-id", "hunter2")
    assert made.token_url == "https://fra1.qualtrics.com/oauth2/token"
    assert made.scope == "manage:all"


def test_what_is_given_comes_before_what_is_derived() -> None:
    given: dict[str, str | bytes] = {"tokenUrl": "https://t.example.com/", "scope": "read:surveys"}
    for made in (nexthink_from({**NEXTHINK, **given}, SOURCE), qualtrics_from({**QUALTRICS, **given}, SOURCE)):
        assert (made.token_url, made.scope) == ("https://t.example.com/", "read:surveys")


@pytest.mark.parametrize(
    "value",
    ["hunter2\n", "  hunter2\r\n", b"hunter2\n", b"\xef\xbb\xbfhunter2"],
    ids=["echo", "a Windows editor", "bytes", "a byte order mark"],
)
def test_what_an_editor_leaves_around_a_value_is_taken_off(value: str | bytes) -> None:
    assert qualtrics_from({**QUALTRICS, "clientSecret": value}, SOURCE).client_secret == "hunter2"
    assert nexthink_from({**NEXTHINK, "clientSecret": value}, SOURCE).client_secret == "hunter2"


def test_a_slash_at_the_end_of_a_url_makes_no_difference() -> None:
    for make, data in ((nexthink_from, NEXTHINK), (qualtrics_from, QUALTRICS)):
        assert make({**data, "url": f"{data['url']!s}/"}, SOURCE) == make(data, SOURCE)


@pytest.mark.parametrize(("make", "data"), [(nexthink_from, NEXTHINK), (qualtrics_from, QUALTRICS)])
@pytest.mark.parametrize("key", ["url", "clientId", "clientSecret"])
@pytest.mark.parametrize(
    ("value", "says"),
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
def test_a_key_that_cannot_be_used_is_named_and_its_value_is_not(
    make: Callable[..., Any], data: dict[str, str | bytes], key: str, value: str | bytes | None, says: str
) -> None:
    changed = {k: v for k, v in {**data, key: value}.items() if v is not None}
    with pytest.raises(Permanent) as caught:
        make(changed, SOURCE)
    assert caught.value.reason is Reason.SECRET_KEY_MISSING
    assert says.format(key=key) in caught.value.message
    assert SOURCE in caught.value.message
    assert "hunter" not in caught.value.message
    advice = "Add the key to the Secret" if says.startswith("has no key") else f"Correct the value of {key}"
    assert advice in caught.value.message


@pytest.mark.parametrize(("given", "missing"), [("instance", "region"), ("region", "instance")])
def test_half_of_instance_and_region_says_which_half_is_missing(given: str, missing: str) -> None:
    with pytest.raises(Permanent, match=f"no key {missing}"):
        nexthink_from({**CLIENT, given: "eu"}, SOURCE)


@pytest.mark.parametrize("instance", ["acme.evil.example", "acme/", "a@b", "-a", "acme?"])
def test_an_instance_cannot_lead_elsewhere(instance: str) -> None:
    with pytest.raises(Permanent, match="the key instance is not a label of a host name"):
        nexthink_from({**CLIENT, "instance": instance, "region": "eu"}, SOURCE)


# As the cluster keeps them


@pytest_asyncio.fixture
async def ours(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with await connect() as api:
        yield ClusterApi(api)


def apply(cluster: ControlPlane, namespace: str, name: str, data: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


async def test_credentials_come_with_the_version_by_which_a_rotation_is_noticed(
    ours: ClusterApi, cluster: ControlPlane, namespace: str
) -> None:
    apply(cluster, namespace, "nexthink", NEXTHINK)
    apply(cluster, namespace, "qualtrics", QUALTRICS)
    nexthink, version = await nexthink_credentials(ours, namespace, "nexthink")
    qualtrics, _ = await qualtrics_credentials(ours, namespace, "qualtrics")
    assert nexthink.source == f"Secret {namespace}/nexthink"
    assert (nexthink.client_secret, qualtrics.client_secret) == ("hunter2", "hunter2")
    assert version == await ours.secret_version(namespace, "nexthink")

    apply(cluster, namespace, "nexthink", {**NEXTHINK, "clientSecret": "hunter3"})
    rotated, newer = await nexthink_credentials(ours, namespace, "nexthink")
    assert rotated.client_secret == "hunter3"
    assert newer != version


async def test_a_secret_that_is_not_there_is_named(ours: ClusterApi, namespace: str) -> None:
    for read in (nexthink_credentials, qualtrics_credentials):
        with pytest.raises(Permanent, match=f"Secret {namespace}/remote does not exist") as caught:
            await read(ours, namespace, "remote")
        assert caught.value.reason is Reason.SECRET_NOT_FOUND


async def test_a_secret_that_we_may_not_read_is_no_fault_of_its_author(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.service_account(namespace, "nobody")))
    async with await connect() as api:
        with pytest.raises(Transient) as caught:
            await nexthink_credentials(ClusterApi(api), namespace, "nexthink")
    assert f"Secret {namespace}/nexthink cannot be read: the operator may not get secrets" in caught.value.message
    assert "administrator" in caught.value.message
