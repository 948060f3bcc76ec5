"""The cluster side against a real API server, and against one that misbehaves."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
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
from tests.environment import chart_rules, plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.waiting import HANG_SECONDS


@asynccontextmanager
async def client_of(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with await connect() as api:
        yield ClusterApi(api)


@pytest_asyncio.fixture
async def ours(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    """Our client, as an administrator."""
    async with client_of(cluster.kubeconfig, monkeypatch) as made:
        yield made


@pytest.fixture
def exporter(cluster: ControlPlane, namespace: str) -> Callable[..., None]:
    """Applies the sample under another name."""

    def apply(name: str, **labels: str) -> None:
        manifest = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
        manifest["metadata"] = {"name": name, "namespace": namespace, "labels": labels}
        cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    return apply


@pytest.fixture
def secret(cluster: ControlPlane, namespace: str) -> Callable[[str], None]:
    """Applies the Secret `nexthink` with this clientSecret."""

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


async def test_an_exporter_is_read_as_it_is(ours: ClusterApi, namespace: str, exporter: Callable[..., None]) -> None:
    exporter("teams")
    body = await ours.get(namespace, "teams")
    assert body["metadata"]["name"] == "teams"
    assert body["spec"]["qualtrics"]["surveyId"].startswith("SV_")
    assert body["status"] == {"observedGeneration": -1}


async def test_what_is_not_there_is_gone(ours: ClusterApi, namespace: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        await ours.get(namespace, "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "a?b=c", "a\n", "-a", "a" * 254])
async def test_what_cannot_be_a_name_never_becomes_a_path(ours: ClusterApi, namespace: str, name: str) -> None:
    with pytest.raises(NotFound):
        await ours.get_secret(namespace, name)
    assert await ours.secret_version(namespace, name) is None


@pytest.mark.parametrize(("page", "largest"), [(2, 1 << 20), (5, 1 << 13), (5, 100)])
async def test_a_list_is_whole_whatever_the_size_of_its_pages(
    ours: ClusterApi,
    namespace: str,
    exporter: Callable[..., None],
    page: int,
    largest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        exporter(name, half="first" if name < "c" else "second")
    monkeypatch.setattr(api_module, "PAGE", page)
    monkeypatch.setattr(api_module, "METADATA_PAGE", page)
    monkeypatch.setattr(api_module, "LARGEST_PAGE", largest)

    assert [item["metadata"]["name"] async for item in ours.list(namespace)] == ["a", "b", "c", "d", "e"]
    assert [item["spec"]["schedule"]["frequency"] async for item in ours.list(namespace, "half=first")] == [
        "Weekly"
    ] * 2
    assert [key.name async for key in ours.list_metadata(namespace)] == ["a", "b", "c", "d", "e"]
    assert [key.name async for key in ours.list_metadata(namespace, "half in (second)")] == ["c", "d", "e"]
    assert {"a", "e"} <= {key.name async for key in ours.list_metadata(None) if key.namespace == namespace}


async def test_a_key_tells_whether_the_object_changed(
    ours: ClusterApi, cluster: ControlPlane, namespace: str, exporter: Callable[..., None]
) -> None:
    exporter("teams")
    (before,) = [key async for key in ours.list_metadata(namespace)]
    body = await ours.get(namespace, "teams")
    metadata = body["metadata"]
    assert before == api_module.ObjectKey(namespace, "teams", metadata["uid"], metadata["resourceVersion"], 1)

    cluster.kubectl("annotate", "qex", "teams", "--namespace", namespace, "a=b")
    (after,) = [key async for key in ours.list_metadata(namespace)]
    assert (after.uid, after.generation) == (before.uid, before.generation)
    assert after.resource_version != before.resource_version


# Status


async def test_a_status_is_replaced_whole_and_the_spec_left_alone(
    ours: ClusterApi, namespace: str, exporter: Callable[..., None]
) -> None:
    exporter("teams")
    body = await ours.get(namespace, "teams")
    uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
    written = await ours.replace_status(namespace, "teams", uid, version, {"observedGeneration": 1, "schedule": "x"})
    again = await ours.replace_status(
        namespace, "teams", uid, written["metadata"]["resourceVersion"], {"observedGeneration": 1}
    )
    assert written["status"] == {"observedGeneration": 1, "schedule": "x"}
    assert again["status"] == {"observedGeneration": 1}
    assert again["spec"] == body["spec"]
    assert again["metadata"]["generation"] == 1


async def test_of_two_writers_one_loses(ours: ClusterApi, namespace: str, exporter: Callable[..., None]) -> None:
    exporter("teams")
    body = await ours.get(namespace, "teams")
    uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
    outcomes = await asyncio.gather(
        *(ours.replace_status(namespace, "teams", uid, version, {"schedule": str(n)}) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4


async def test_another_object_of_the_same_name_is_a_conflict_and_a_deleted_one_is_gone(
    ours: ClusterApi, cluster: ControlPlane, namespace: str, exporter: Callable[..., None]
) -> None:
    exporter("teams")
    old = (await ours.get(namespace, "teams"))["metadata"]
    cluster.kubectl("delete", "qex", "teams", "--namespace", namespace)
    with pytest.raises(NotFound):
        await ours.replace_status(namespace, "teams", old["uid"], old["resourceVersion"], {"schedule": "x"})
    exporter("teams")
    new = (await ours.get(namespace, "teams"))["metadata"]
    with pytest.raises(Conflict):
        await ours.replace_status(namespace, "teams", old["uid"], new["resourceVersion"], {"schedule": "x"})
    assert (await ours.get(namespace, "teams"))["status"] == {"observedGeneration": -1}


async def test_a_status_that_the_crd_does_not_know_is_refused_with_the_field(
    ours: ClusterApi, namespace: str, exporter: Callable[..., None]
) -> None:
    exporter("teams")
    metadata = (await ours.get(namespace, "teams"))["metadata"]
    with pytest.raises(Refused, match=r"HTTP 422.*status\.schedule"):
        await ours.replace_status(namespace, "teams", metadata["uid"], metadata["resourceVersion"], {"schedule": 1})


# Secrets


async def test_a_secret_and_its_version_belong_together(
    ours: ClusterApi, cluster: ControlPlane, namespace: str, secret: Callable[[str], None]
) -> None:
    assert await ours.secret_version(namespace, "nexthink") is None
    secret("hunter2")
    assert (await ours.get_secret(namespace, "nexthink")).data == {"clientSecret": b"hunter2"}
    first = await ours.secret_version(namespace, "nexthink")
    assert await ours.secret_version(namespace, "nexthink") == first

    secret("hunter3")
    second = await ours.secret_version(namespace, "nexthink")
    cluster.kubectl("delete", "secret", "nexthink", "--namespace", namespace)
    secret("hunter3")
    assert len({first, second, await ours.secret_version(namespace, "nexthink")}) == 3


async def test_a_secret_shows_in_no_repr(ours: ClusterApi, namespace: str, secret: Callable[[str], None]) -> None:
    secret("hunter2")
    assert "hunter2" not in repr(await ours.get_secret(namespace, "nexthink"))


# Rights


async def test_the_rights_of_the_chart_are_enough(
    cluster: ControlPlane,
    namespace: str,
    exporter: Callable[..., None],
    secret: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter("teams")
    secret("hunter2")
    kubeconfig = cluster.service_account(namespace, "operator", rules=chart_rules.namespaced())
    async with client_of(kubeconfig, monkeypatch) as ours:
        (key,) = [key async for key in ours.list_metadata(namespace)]
        assert len([item async for item in ours.list(namespace)]) == 1
        await ours.check_watch(namespace)
        body = await ours.get(namespace, "teams")
        await ours.replace_status(
            namespace, "teams", key.uid, key.resource_version, {**body["status"], "schedule": "x"}
        )
        assert (await ours.get_secret(namespace, "nexthink")).data
        assert await ours.secret_version(namespace, "nexthink")


async def test_a_missing_right_is_said_with_its_verb_and_resource(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(cluster.service_account(namespace, "nobody"), monkeypatch) as ours:
        with pytest.raises(Forbidden, match=f"may not get secrets in namespace {namespace}"):
            await ours.get_secret(namespace, "nexthink")
        with pytest.raises(
            Forbidden, match=r"may not list qualtricsexporters\.qualtrics-exporter\.dev in all namespaces"
        ):
            _ = [key async for key in ours.list_metadata(None)]
        with pytest.raises(Forbidden, match=f"may not watch qualtricsexporters.* in namespace {namespace}"):
            await ours.check_watch(namespace)
        with pytest.raises(Forbidden, match=r"may not update qualtricsexporters\.qualtrics-exporter\.dev/status"):
            await ours.replace_status(namespace, "teams", "u", "1", {})


async def test_credentials_that_are_not_accepted_are_said(
    cluster: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = json.loads(cluster.kubeconfig.read_text())
    changed["users"][0]["user"]["token"] = "another"
    (tmp_path / "kubeconfig").write_text(json.dumps(changed))
    async with client_of(tmp_path / "kubeconfig", monkeypatch) as ours:
        with pytest.raises(Forbidden, match="does not accept the operator's credentials"):
            await ours.get(namespace, "teams")


async def test_a_cluster_without_the_crd_is_said(ours: ClusterApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "EXPORTERS", ApiResource("/apis/example.com/v1", "qualtricsexporters"))
    with pytest.raises(NotFound, match="no such resource"):
        _ = [key async for key in ours.list_metadata(None)]


# An API server that misbehaves


async def test_a_frozen_api_server_is_unreachable_soon_and_reached_again(
    ours: ClusterApi, cluster: ControlPlane, namespace: str
) -> None:
    assert await ours.secret_version(namespace, "nexthink") is None
    cluster.freeze()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api_module, "TIMEOUT", 0.5)
            with pytest.raises(Unreachable, match="timed out"):
                await ours.get_secret(namespace, "nexthink")
    finally:
        cluster.thaw()
    assert await ours.secret_version(namespace, "nexthink") is None


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """Something on the API server's address that answers as a test says, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.asked: list[web.Request] = []
        self.answers: list[web.Response | None] = []
        self.hangs = "\0"
        """Requests with this in their path get no answer."""
        self.hanging = asyncio.Semaphore(0)
        self._port = 0

    def token(self, token: str) -> None:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(json.dumps(content))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Stub"]:
        server = web.Server(self._answer)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        self.token("first")
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.hangs in request.path:
            self.hanging.release()
            await asyncio.Event().wait()
        self.asked.append(request)  # type: ignore[arg-type]
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        return answer


@pytest_asyncio.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Stub]:
    async with Stub(tmp_path).serving() as made:
        yield made


def reply(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


SECRET = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"k": base64.b64encode(b"v").decode()}}


@pytest.mark.parametrize(
    "answer",
    [
        lambda: reply({}, 500),
        lambda: reply({}, 503),
        lambda: reply({"reason": "TooManyRequests"}, 429),
        lambda: web.Response(text="<html>a proxy's own words</html>"),
        lambda: web.Response(text="<html>bad gateway</html>", status=502),
        lambda: reply([1, 2]),
    ],
    ids=["500", "503", "429", "no JSON", "502 without JSON", "another shape"],
)
async def test_no_usable_reply_is_unreachable(stub: Stub, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answers = [answer()]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Unreachable, match=r"update qualtricsexporters\S* dex/teams") as caught:
            await ours.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert "proxy" not in str(caught.value)
    assert len(stub.asked) == 1  # nothing is repeated from here


async def test_a_conflict_may_hide_a_write_of_our_own(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PUT whose reply is lost is repeated by aiohttp, out of our reach: who gets a Conflict has to read again."""
    stub.answers = [None, reply({"reason": "Conflict"}, 409)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Conflict):
            await ours.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert [request.method for request in stub.asked] == ["PUT", "PUT"]


async def test_an_event_is_posted_once_whatever_becomes_of_the_reply(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers = [None]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Unreachable, match=r"create events\.events\.k8s\.io dex"):
            await ours.create_event({"metadata": {"namespace": "dex"}})
    assert len(stub.asked) == 1


async def test_nobody_listening_is_unreachable(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub._port = 1
    stub.token("x")
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Unreachable, match="failed: ClientConnectorError"):
            await ours.get("dex", "teams")


async def test_calls_that_hang_in_one_namespace_leave_some_to_the_others(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an admission webhook does that hangs, and is called for one namespace only."""
    monkeypatch.setattr(api_module, "TIMEOUT", 2 * HANG_SECONDS)
    stub.hangs = "/namespaces/hanging/"
    async with client_of(stub.kubeconfig, monkeypatch) as ours, asyncio.timeout(HANG_SECONDS):
        hanging = [
            asyncio.create_task(ours.get("hanging", "teams")) for _ in range(2 * api_module.MAX_CONCURRENT_CALLS)
        ]
        for _ in range(api_module.MAX_CONCURRENT_CALLS // 2):
            await stub.hanging.acquire()
        stub.answers = [reply({"metadata": {"name": "teams"}})]
        assert (await ours.get("healthy", "teams"))["metadata"]["name"] == "teams"
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_a_garbled_secret_does_not_raise_something_else(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answers = [reply({"metadata": SECRET["metadata"], "data": {"k": "\x00"}})]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Unreachable, match="is not base64"):
            await ours.get_secret("dex", "nexthink")


async def test_the_version_is_asked_for_without_a_byte_of_the_secret(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers = [reply({"metadata": SECRET["metadata"]})]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        assert await ours.secret_version("dex", "nexthink") == "u/1"
    assert "as=PartialObjectMetadata;" in stub.asked[0].headers["Accept"]


async def test_a_list_whose_snapshot_is_dropped_goes_on_with_a_newer_one(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(name: str, token: str) -> web.Response:
        return reply({"metadata": {"continue": token}, "items": [{"metadata": {"name": name}}]})

    stub.answers = [
        page("a", "old"),
        reply({"kind": "Status", "reason": "Expired", "code": 410, "metadata": {"continue": "newer"}}, 410),
        page("b", ""),
    ]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        names = [item["metadata"]["name"] async for item in ours.list("dex", "a=b")]
    assert names == ["a", "b"]
    assert [request.query.get("continue") for request in stub.asked] == [None, "old", "newer"]
    assert {request.query["labelSelector"] for request in stub.asked} == {"a=b"}


async def test_a_list_that_cannot_go_on_is_unreachable_and_not_silently_short(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers = [reply({"kind": "Status", "reason": "Expired", "code": 410, "metadata": {}}, 410)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Unreachable, match="HTTP 410"):
            _ = [item async for item in ours.list("dex")]


async def test_a_refusal_by_an_admission_rule_is_no_missing_right(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answers = [reply({"kind": "Status", "reason": "", "message": "no"}, 403)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Refused, match=r"\(HTTP 403\): no$"):
            await ours.replace_status("dex", "teams", "u", "1", {})


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


async def test_a_refusal_is_told_by_the_names_of_its_fields_and_never_by_their_values(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers = [reply(REFUSAL, 422)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Refused) as refused:
            await ours.replace_status("dex", "teams", "u", "1", {})
    said = str(refused.value)
    assert said.endswith("(HTTP 422): see spec.nexthink.parameters, spec.nexthink.queryId, status.history[3].message")


@pytest.mark.parametrize("details", [{}, {"details": None}, {"details": {"causes": None}}, {"details": {"causes": []}}])
async def test_a_refusal_that_names_no_field_says_so(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, details: dict[str, Any]
) -> None:
    stub.answers = [reply({"kind": "Status", "message": "eva@example.com", **details}, 400)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        with pytest.raises(Refused, match=r"HTTP 400\): the API server names no field$"):
            await ours.replace_status("dex", "teams", "u", "1", {})


# Which cluster, as whom


async def test_a_rotated_token_is_read_again(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REFRESH", float("inf"))
    stub.answers = [reply(SECRET), reply(SECRET), reply(SECRET)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        await ours.secret_version("dex", "nexthink")
        stub.token("second\n")  # as a tokenFile has it
        await ours.secret_version("dex", "nexthink")
        monkeypatch.setattr(auth, "REFRESH", 0)
        await ours.secret_version("dex", "nexthink")
    assert [request.headers["Authorization"] for request in stub.asked] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


async def test_a_kubeconfig_that_is_gone_for_a_while_does_not_stop_us(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REFRESH", 0.0)
    stub.answers = [reply(SECRET), reply(SECRET)]
    async with client_of(stub.kubeconfig, monkeypatch) as ours:
        await ours.secret_version("dex", "nexthink")
        stub.kubeconfig.write_text("")  # half written
        await ours.secret_version("dex", "nexthink")
    assert stub.asked[1].headers["Authorization"] == "Bearer first"


async def test_kopf_logs_in_with_the_same_credentials(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    content = json.loads(cluster.kubeconfig.read_text())
    made = await login(logger=None, retry=0)
    assert made.server == content["clusters"][0]["cluster"]["server"]
    assert await made.token() == f"Bearer {content['users'][0]['user']['token']}"
    async with made.session() as session, session.get(f"{made.server}/version") as reply:
        assert reply.status == 200


async def test_kopf_logs_in_with_the_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pod(tmp_path, monkeypatch)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    made = await login()
    assert made.server == "https://10.0.0.1:443"
    assert await made.token() == "bearer of-the-pod"


async def test_a_kubeconfig_that_somebody_set_comes_before_the_pods_own_cluster(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pod(tmp_path, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(stub.kubeconfig))
    assert (await login()).server == f"http://127.0.0.1:{stub._port}"


async def test_no_cluster_at_all_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def in_pod(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As inside a pod: a service account, and where the API server is."""
    (folder / "token").write_text("of-the-pod")
    (folder / "ca.crt").write_text("a certificate")
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
