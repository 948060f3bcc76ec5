"""The client of the API server, with a real API server and with one that misbehaves."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from qualtrics_exporter.controller.kube import api as api_module
from qualtrics_exporter.controller.kube import auth
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect, login
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden, NotConfigured, NotFound, Refused, Unreachable
from qualtrics_exporter.controller.kube.resources import ApiResource
from tests.controller.kubeconfig_file import write_kubeconfig
from tests.environment import chart_rules, plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.waiting import HANG_SECONDS


@asynccontextmanager
async def client_of(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    """A client that uses this kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with await connect() as connection:
        yield ClusterApi(connection)


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
    assert await api.secret_version(namespace, name) is None


@pytest.mark.parametrize(("page", "largest"), [(2, 1 << 20), (5, 1 << 13), (5, 100)])
async def test_list_is_complete_for_any_page_size(
    api: ClusterApi,
    namespace: str,
    apply_exporter: Callable[..., None],
    page: int,
    largest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        apply_exporter(name, half="first" if name < "c" else "second")
    monkeypatch.setattr(api_module, "PAGE", page)
    monkeypatch.setattr(api_module, "METADATA_PAGE", page)
    monkeypatch.setattr(api_module, "LARGEST_PAGE", largest)

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
    assert await api.secret_version(namespace, "nexthink") is None
    apply_secret("hunter2")
    first = await api.get_secret(namespace, "nexthink")
    assert first.data == {"clientSecret": b"hunter2"}
    assert await api.secret_version(namespace, "nexthink") == first.version

    apply_secret("hunter3")
    second = await api.secret_version(namespace, "nexthink")
    cluster.kubectl("delete", "secret", "nexthink", "--namespace", namespace)
    apply_secret("hunter3")
    assert len({first.version, second, await api.secret_version(namespace, "nexthink")}) == 3


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
        await api.check_watch(namespace)
        body = await api.get(namespace, "teams")
        await api.replace_status(namespace, "teams", key.uid, key.resource_version, {**body["status"], "schedule": "x"})
        assert (await api.get_secret(namespace, "nexthink")).version == await api.secret_version(namespace, "nexthink")


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
    assert await api.secret_version(namespace, "nexthink") is None
    cluster.freeze()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api_module, "TIMEOUT", 0.5)
            with pytest.raises(Unreachable, match="timed out"):
                await api.get_secret(namespace, "nexthink")
    finally:
        cluster.thaw()
    assert await api.secret_version(namespace, "nexthink") is None


class ScriptedApiServer:
    """An API server that gives the responses of a test, and records the requests."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.requests: list[web.Request] = []
        self.responses: list[web.Response | None] = []
        """The next responses. With None, the connection breaks."""
        self.hanging_path = "\0"
        """Requests with this text in their path get no response."""
        self.hanging_requests = asyncio.Semaphore(0)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def use_token(self, token: str) -> None:
        """Write a kubeconfig with this token."""
        write_kubeconfig(self.kubeconfig, {"server": self.url}, {"token": token})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedApiServer"]:
        runner = web.ServerRunner(web.Server(self._respond), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        self.use_token("first")
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.hanging_path in request.path:
            self.hanging_requests.release()
            await asyncio.Event().wait()
        self.requests.append(request)  # type: ignore[arg-type]
        response = self.responses.pop(0)
        if response is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        return response


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedApiServer]:
    async with ScriptedApiServer(tmp_path).serving() as serving:
        yield serving


def json_response(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


SECRET = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"k": base64.b64encode(b"v").decode()}}


@pytest.mark.parametrize(
    "make_response",
    [
        lambda: json_response({}, 500),
        lambda: json_response({}, 503),
        lambda: json_response({"reason": "TooManyRequests"}, 429),
        lambda: web.Response(text="<html>an error page of a proxy</html>"),
        lambda: web.Response(text="<html>bad gateway</html>", status=502),
        lambda: json_response([1, 2]),
    ],
    ids=["500", "503", "429", "no JSON", "502 without JSON", "a JSON list"],
)
async def test_unusable_response_raises_unreachable_and_is_not_retried(
    server: ScriptedApiServer, make_response: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [make_response()]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match=r"update qualtricsexporters\S* dex/teams") as caught:
            await api.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert "proxy" not in str(caught.value)
    assert len(server.requests) == 1


async def test_status_write_whose_response_is_lost_can_conflict_with_itself(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp repeats a PUT whose response is lost. The caller must therefore read the object after a Conflict."""
    server.responses = [None, json_response({"reason": "Conflict"}, 409)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Conflict):
            await api.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert [request.method for request in server.requests] == ["PUT", "PUT"]


async def test_event_is_posted_once_even_if_the_response_is_lost(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [None]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match=r"create events\.events\.k8s\.io dex"):
            await api.create_event({"metadata": {"namespace": "dex"}})
    assert len(server.requests) == 1


async def test_refused_connection_raises_unreachable(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server._port = 1
    server.use_token("x")
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="failed: ClientConnectorError"):
            await api.get("dex", "teams")


async def test_hanging_calls_for_one_namespace_do_not_block_calls_for_another(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admission webhook that hangs, and that is called for one namespace only, causes such calls."""
    monkeypatch.setattr(api_module, "TIMEOUT", 2 * HANG_SECONDS)
    server.hanging_path = "/namespaces/hanging/"
    async with client_of(server.kubeconfig, monkeypatch) as api, asyncio.timeout(HANG_SECONDS):
        hanging = [asyncio.create_task(api.get("hanging", "teams")) for _ in range(2 * api_module.MAX_CONCURRENT_CALLS)]
        for _ in range(api_module.MAX_CONCURRENT_CALLS // 2):
            await server.hanging_requests.acquire()
        server.responses = [json_response({"metadata": {"name": "teams"}})]
        assert (await api.get("healthy", "teams"))["metadata"]["name"] == "teams"
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_secret_that_is_not_base64_raises_unreachable(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [json_response({"metadata": SECRET["metadata"], "data": {"k": "\x00"}})]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="is not base64"):
            await api.get_secret("dex", "nexthink")


async def test_request_for_the_version_of_a_secret_asks_for_metadata_only(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [json_response({"metadata": SECRET["metadata"]})]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        assert await api.secret_version("dex", "nexthink") == "u/1"
    assert "as=PartialObjectMetadata;" in server.requests[0].headers["Accept"]


async def test_list_continues_with_a_newer_snapshot_if_its_own_has_expired(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(name: str, token: str) -> web.Response:
        return json_response({"metadata": {"continue": token}, "items": [{"metadata": {"name": name}}]})

    server.responses = [
        page("a", "old"),
        json_response({"kind": "Status", "reason": "Expired", "code": 410, "metadata": {"continue": "newer"}}, 410),
        page("b", ""),
    ]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        names = [item["metadata"]["name"] async for item in api.list("dex", "a=b")]
    assert names == ["a", "b"]
    assert [request.query.get("continue") for request in server.requests] == [None, "old", "newer"]
    assert {request.query["labelSelector"] for request in server.requests} == {"a=b"}


async def test_list_that_cannot_continue_raises_unreachable_and_is_not_silently_incomplete(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [json_response({"kind": "Status", "reason": "Expired", "code": 410, "metadata": {}}, 410)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="HTTP 410"):
            _ = [item async for item in api.list("dex")]


async def test_rejection_by_an_admission_policy_is_not_reported_as_a_missing_permission(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [json_response({"kind": "Status", "reason": "", "message": "no"}, 403)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Refused, match=r"\(HTTP 403\): no$"):
            await api.replace_status("dex", "teams", "u", "1", {})


REFUSAL = {
    "kind": "Status",
    "message": f'"spec.nexthink.queryId: Invalid value: "hunter2", {"x" * 400} eva@example.com',
    "details": {
        "causes": [
            {"field": "spec.nexthink.queryId", "message": 'Invalid value: "hunter2"'},
            {"field": "spec.nexthink.parameters.hunter", "message": "hunter2"},
            {"field": "status.history[3].message"},
            {"field": "hunter2"},
            "hunter2",
        ]
    },
}


async def test_rejection_is_reported_with_the_names_of_its_fields_and_without_values(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = [json_response(REFUSAL, 422)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Refused) as error:
            await api.replace_status("dex", "teams", "u", "1", {})
    assert str(error.value).endswith(
        "(HTTP 422): see spec.nexthink.parameters, spec.nexthink.queryId, status.history[3].message"
    )


@pytest.mark.parametrize("details", [{}, {"details": None}, {"details": {"causes": None}}, {"details": {"causes": []}}])
async def test_error_says_if_a_rejection_names_no_field(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch, details: dict[str, Any]
) -> None:
    server.responses = [json_response({"kind": "Status", "message": "eva@example.com", **details}, 400)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Refused, match=r"HTTP 400\): the API server names no field$"):
            await api.replace_status("dex", "teams", "u", "1", {})


# Kubeconfig and credentials


async def test_rotated_token_is_read_again_after_the_refresh_interval(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REFRESH", float("inf"))
    server.responses = [json_response(SECRET), json_response(SECRET), json_response(SECRET)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        await api.secret_version("dex", "nexthink")
        server.use_token("second\n")  # a token file ends with a newline
        await api.secret_version("dex", "nexthink")
        monkeypatch.setattr(auth, "REFRESH", 0)
        await api.secret_version("dex", "nexthink")
    assert [request.headers["Authorization"] for request in server.requests] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


async def test_client_keeps_its_token_while_the_kubeconfig_is_unreadable(
    server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REFRESH", 0.0)
    server.responses = [json_response(SECRET), json_response(SECRET)]
    async with client_of(server.kubeconfig, monkeypatch) as api:
        await api.secret_version("dex", "nexthink")
        server.kubeconfig.write_text("")  # half written
        await api.secret_version("dex", "nexthink")
    assert server.requests[1].headers["Authorization"] == "Bearer first"


async def test_kopf_logs_in_with_the_same_credentials(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    content = json.loads(cluster.kubeconfig.read_text())
    connection = await login(logger=None, retry=0)
    assert connection.server == content["clusters"][0]["cluster"]["server"]
    assert await connection.token() == f"Bearer {content['users'][0]['user']['token']}"
    async with connection.session() as session, session.get(f"{connection.server}/version") as response:
        assert response.status == 200


async def test_kopf_logs_in_with_the_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_pod(tmp_path, monkeypatch)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    connection = await login()
    assert connection.server == "https://10.0.0.1:443"
    assert await connection.token() == "bearer of-the-pod"


async def test_kubeconfig_takes_precedence_over_the_service_account_of_the_pod(
    server: ScriptedApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_pod(tmp_path, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    assert (await login()).server == server.url


async def test_connect_without_a_cluster_explains_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(NotConfigured, match="no usable kubeconfig"):
        await connect()
    (tmp_path / "nothing").write_text("not: [a kubeconfig")
    with pytest.raises(NotConfigured, match="no usable kubeconfig"):
        await connect()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "none"))
    with pytest.raises(NotConfigured, match="service account"):
        await connect()


def simulate_pod(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a service account and the address of the API server, as in a pod."""
    (folder / "token").write_text("of-the-pod")
    (folder / "ca.crt").write_text("a certificate")
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
