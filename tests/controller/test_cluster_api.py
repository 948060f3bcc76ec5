"""The client of the API server, with a real API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.controller.kube import api as api_module
from qualtrics_exporter.controller.kube.api import CallLimits, ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden, NotFound, Refused, Unreachable
from qualtrics_exporter.controller.kube.resources import ApiResource
from tests.controller.kubeconfig_file import client_of
from tests.support import chart_rules
from tests.support.controlplane import ControlPlane
from tests.support.waiting import HANG_SECONDS


@pytest_asyncio.fixture
async def api(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    """A client with the permissions of an administrator."""
    async with client_of(cluster.kubeconfig, monkeypatch) as client:
        yield client


@pytest.fixture
def apply_exporter(cluster: ControlPlane, namespace: str) -> Callable[..., None]:
    """Applies the sample with another name."""

    def apply(name: str, **labels: str) -> None:
        manifest = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
        manifest["metadata"] = {"name": name, "namespace": namespace, "labels": labels}
        cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    return apply


@pytest.fixture
def apply_secret(cluster: ControlPlane, namespace: str) -> Callable[[str], None]:
    """Applies the Secret `nexthink` with a clientSecret."""

    def apply(value: str) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "nexthink", "namespace": namespace},
            "stringData": {"clientSecret": value},
        }
        cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    return apply


# Exporters


async def test_get_returns_the_spec_and_the_status_of_an_exporter(
    api: ClusterApi, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    body = await api.get(namespace, "teams")
    assert body["metadata"]["name"] == "teams"
    assert body["spec"]["qualtrics"]["surveyId"].startswith("SV_")
    assert body["status"] == {"observedGeneration": -1}


async def test_get_of_a_missing_exporter_raises_not_found(api: ClusterApi, namespace: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        await api.get(namespace, "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "a?b=c", "a\n", "-a", "a" * 254])
async def test_invalid_name_of_a_secret_is_not_found(api: ClusterApi, namespace: str, name: str) -> None:
    with pytest.raises(NotFound):
        await api.get_secret(namespace, name)
    assert await api.secret_metadata(namespace, name) is None


@pytest.mark.parametrize(("page", "largest"), [(2, 1 << 20), (5, 1 << 13), (5, 100)])
async def test_list_is_complete_for_any_page_size(
    api: ClusterApi,
    namespace: str,
    apply_exporter: Callable[..., None],
    page: int,
    largest: int,
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        apply_exporter(name, half="first" if name < "c" else "second")
    api.limits = replace(api.limits, page=page, metadata_page=page, largest_page=largest)

    assert [item["metadata"]["name"] async for item in api.list(namespace)] == ["a", "b", "c", "d", "e"]
    assert [item["spec"]["schedule"]["frequency"] async for item in api.list(namespace, "half=first")] == ["Weekly"] * 2
    assert [key.name async for key in api.list_metadata(namespace)] == ["a", "b", "c", "d", "e"]
    assert [key.name async for key in api.list_metadata(namespace, "half in (second)")] == ["c", "d", "e"]
    assert {"a", "e"} <= {key.name async for key in api.list_metadata(None) if key.namespace == namespace}


async def test_object_key_shows_whether_the_object_has_changed(
    api: ClusterApi, cluster: ControlPlane, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    (before,) = [key async for key in api.list_metadata(namespace)]
    body = await api.get(namespace, "teams")
    metadata = body["metadata"]
    assert before == api_module.ObjectKey(namespace, "teams", metadata["uid"], metadata["resourceVersion"], 1)

    cluster.kubectl("annotate", "qex", "teams", "--namespace", namespace, "a=b")
    (after,) = [key async for key in api.list_metadata(namespace)]
    assert (after.uid, after.generation) == (before.uid, before.generation)
    assert after.resource_version != before.resource_version


# Status


async def test_replace_status_replaces_the_whole_status_and_keeps_the_spec(
    api: ClusterApi, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    body = await api.get(namespace, "teams")
    uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
    written = await api.replace_status(namespace, "teams", uid, version, {"observedGeneration": 1, "schedule": "x"})
    again = await api.replace_status(
        namespace, "teams", uid, written["metadata"]["resourceVersion"], {"observedGeneration": 1}
    )
    assert written["status"] == {"observedGeneration": 1, "schedule": "x"}
    assert again["status"] == {"observedGeneration": 1}
    assert again["spec"] == body["spec"]
    assert again["metadata"]["generation"] == 1


async def test_four_of_five_concurrent_writes_of_a_status_conflict(
    api: ClusterApi, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    body = await api.get(namespace, "teams")
    uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
    outcomes = await asyncio.gather(
        *(api.replace_status(namespace, "teams", uid, version, {"schedule": str(n)}) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4


async def test_status_write_is_not_found_after_deletion_and_conflicts_after_recreation(
    api: ClusterApi, cluster: ControlPlane, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    old = (await api.get(namespace, "teams"))["metadata"]
    cluster.kubectl("delete", "qex", "teams", "--namespace", namespace)
    with pytest.raises(NotFound):
        await api.replace_status(namespace, "teams", old["uid"], old["resourceVersion"], {"schedule": "x"})
    apply_exporter("teams")
    new = (await api.get(namespace, "teams"))["metadata"]
    with pytest.raises(Conflict):
        await api.replace_status(namespace, "teams", old["uid"], new["resourceVersion"], {"schedule": "x"})
    assert (await api.get(namespace, "teams"))["status"] == {"observedGeneration": -1}


async def test_rejection_of_an_invalid_status_names_the_field(
    api: ClusterApi, namespace: str, apply_exporter: Callable[..., None]
) -> None:
    apply_exporter("teams")
    metadata = (await api.get(namespace, "teams"))["metadata"]
    with pytest.raises(Refused, match=r"HTTP 422.*status\.schedule"):
        await api.replace_status(namespace, "teams", metadata["uid"], metadata["resourceVersion"], {"schedule": 1})


# Secrets


async def test_version_of_a_secret_changes_with_its_content_and_when_it_is_recreated(
    api: ClusterApi, cluster: ControlPlane, namespace: str, apply_secret: Callable[[str], None]
) -> None:
    assert await api.secret_metadata(namespace, "nexthink") is None
    apply_secret("hunter2")
    assert (await api.get_secret(namespace, "nexthink")).data == {"clientSecret": b"hunter2"}
    first = await api.secret_metadata(namespace, "nexthink")
    assert await api.secret_metadata(namespace, "nexthink") == first

    apply_secret("hunter3")
    second = await api.secret_metadata(namespace, "nexthink")
    cluster.kubectl("delete", "secret", "nexthink", "--namespace", namespace)
    apply_secret("hunter3")
    assert len({first, second, await api.secret_metadata(namespace, "nexthink")}) == 3


async def test_repr_of_a_secret_hides_its_values(
    api: ClusterApi, namespace: str, apply_secret: Callable[[str], None]
) -> None:
    apply_secret("hunter2")
    assert "hunter2" not in repr(await api.get_secret(namespace, "nexthink"))


# Permissions


async def test_permissions_of_the_chart_allow_calls_about_exporters_and_secrets(
    cluster: ControlPlane,
    namespace: str,
    apply_exporter: Callable[..., None],
    apply_secret: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply_exporter("teams")
    apply_secret("hunter2")
    kubeconfig = cluster.service_account(namespace, "operator", rules=chart_rules.namespaced())
    async with client_of(kubeconfig, monkeypatch) as api:
        (key,) = [key async for key in api.list_metadata(namespace)]
        assert len([item async for item in api.list(namespace)]) == 1
        await api.check_list(namespace)
        await api.check_watch(namespace)
        body = await api.get(namespace, "teams")
        await api.replace_status(namespace, "teams", key.uid, key.resource_version, {**body["status"], "schedule": "x"})
        assert (await api.get_secret(namespace, "nexthink")).data
        assert await api.secret_metadata(namespace, "nexthink")


async def test_error_about_a_missing_permission_names_its_verb_and_resource(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(cluster.service_account(namespace, "nobody"), monkeypatch) as api:
        with pytest.raises(Forbidden, match=f"may not get secrets in namespace {namespace}"):
            await api.get_secret(namespace, "nexthink")
        with pytest.raises(
            Forbidden, match=r"may not list qualtricsexporters\.qualtrics-exporter\.dev in all namespaces"
        ):
            _ = [key async for key in api.list_metadata(None)]
        with pytest.raises(Forbidden, match=f"may not list qualtricsexporters.* in namespace {namespace}"):
            await api.check_list(namespace)
        with pytest.raises(Forbidden, match=f"may not watch qualtricsexporters.* in namespace {namespace}"):
            await api.check_watch(namespace)
        with pytest.raises(Forbidden, match=r"may not update qualtricsexporters\.qualtrics-exporter\.dev/status"):
            await api.replace_status(namespace, "teams", "u", "1", {})


async def test_error_says_that_the_api_server_does_not_accept_the_credentials(
    cluster: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    kubeconfig["users"][0]["user"]["token"] = "another"
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    async with client_of(tmp_path / "kubeconfig", monkeypatch) as api:
        with pytest.raises(Forbidden, match="does not accept the operator's credentials"):
            await api.get(namespace, "teams")


async def test_list_in_a_cluster_without_the_crd_raises_no_such_resource(
    api: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "EXPORTERS", ApiResource("/apis/example.com/v1", "qualtricsexporters"))
    with pytest.raises(NotFound, match="no such resource"):
        _ = [key async for key in api.list_metadata(None)]


# An API server that misbehaves


async def test_frozen_api_server_is_unreachable_after_the_timeout_and_reachable_once_it_continues(
    api: ClusterApi, cluster: ControlPlane, namespace: str
) -> None:
    assert await api.secret_metadata(namespace, "nexthink") is None
    cluster.freeze()
    try:
        api.limits = CallLimits(timeout=0.5)
        with pytest.raises(Unreachable, match="timed out"):
            await api.get_secret(namespace, "nexthink")
    finally:
        api.limits = CallLimits(timeout=HANG_SECONDS)
        cluster.thaw()
    assert await api.secret_metadata(namespace, "nexthink") is None
