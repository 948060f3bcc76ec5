"""The client of the API server, with unusable responses, lost responses and rejections."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from qualtrics_exporter.controller.kube.api import MAX_CONCURRENT_CALLS, CallLimits, SecretMetadata
from qualtrics_exporter.controller.kube.errors import Conflict, Refused, Unreachable
from tests.controller.kubeconfig_file import client_of
from tests.controller.scripted_api_server import ScriptedApiServer
from tests.support.waiting import HANG_SECONDS

METADATA = {"uid": "u", "resourceVersion": "1"}


@pytest.mark.parametrize(
    "make_response",
    [
        lambda: web.json_response({}, status=500),
        lambda: web.json_response({}, status=503),
        lambda: web.json_response({"reason": "TooManyRequests"}, status=429),
        lambda: web.Response(text="<html>an error page of a proxy</html>"),
        lambda: web.Response(text="<html>bad gateway</html>", status=502),
        lambda: web.json_response([1, 2]),
    ],
    ids=["500", "503", "429", "no JSON", "502 without JSON", "a JSON list"],
)
async def test_unusable_response_raises_unreachable_and_is_not_retried(
    api_server: ScriptedApiServer, make_response: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [make_response()]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match=r"update qualtricsexporters\S* dex/teams") as caught:
            await api.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert "proxy" not in str(caught.value)
    assert len(api_server.requests) == 1


async def test_status_write_whose_response_is_lost_can_conflict_with_itself(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp repeats a PUT whose response is lost. The caller must therefore read the object after a Conflict."""
    api_server.responses = [None, web.json_response({"reason": "Conflict"}, status=409)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Conflict):
            await api.replace_status("dex", "teams", "u", "1", {"schedule": "x"})
    assert [request.method for request in api_server.requests] == ["PUT", "PUT"]


async def test_event_is_posted_once_even_if_the_response_is_lost(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [None]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match=r"create events\.events\.k8s\.io dex"):
            await api.create_event({"metadata": {"namespace": "dex"}})
    assert len(api_server.requests) == 1


async def test_refused_connection_raises_unreachable(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server._port = 1
    api_server.use_token("x")
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="failed: ClientConnectorError"):
            await api.get("dex", "teams")


async def test_hanging_calls_for_one_namespace_do_not_block_calls_for_another(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admission webhook that hangs, and that is called for one namespace only, causes such calls."""
    api_server.hanging_path = "/namespaces/hanging/"
    async with client_of(api_server.kubeconfig, monkeypatch) as api, asyncio.timeout(HANG_SECONDS):
        api.limits = CallLimits(timeout=2 * HANG_SECONDS)
        hanging = [asyncio.create_task(api.get("hanging", "teams")) for _ in range(2 * MAX_CONCURRENT_CALLS)]
        for _ in range(MAX_CONCURRENT_CALLS // 2):
            await api_server.hanging_requests.acquire()
        api_server.responses = [web.json_response({"metadata": {"name": "teams"}})]
        assert (await api.get("healthy", "teams"))["metadata"]["name"] == "teams"
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_secret_that_is_not_base64_raises_unreachable(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [web.json_response({"metadata": METADATA, "data": {"k": "\x00"}})]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="is not base64"):
            await api.get_secret("dex", "nexthink")


async def test_request_for_the_version_of_a_secret_asks_for_metadata_only(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [web.json_response({"metadata": METADATA})]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        assert await api.secret_metadata("dex", "nexthink") == SecretMetadata("u/1")
    assert "as=PartialObjectMetadata;" in api_server.requests[0].headers["Accept"]


async def test_list_continues_with_a_newer_snapshot_if_its_own_has_expired(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(name: str, token: str) -> web.Response:
        return web.json_response({"metadata": {"continue": token}, "items": [{"metadata": {"name": name}}]})

    api_server.responses = [
        page("a", "old"),
        web.json_response(
            {"kind": "Status", "reason": "Expired", "code": 410, "metadata": {"continue": "newer"}}, status=410
        ),
        page("b", ""),
    ]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        names = [item["metadata"]["name"] async for item in api.list("dex", "a=b")]
    assert names == ["a", "b"]
    assert [request.query.get("continue") for request in api_server.requests] == [None, "old", "newer"]
    assert {request.query["labelSelector"] for request in api_server.requests} == {"a=b"}


async def test_list_that_cannot_continue_raises_unreachable_and_is_not_silently_incomplete(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [
        web.json_response({"kind": "Status", "reason": "Expired", "code": 410, "metadata": {}}, status=410)
    ]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Unreachable, match="HTTP 410"):
            _ = [item async for item in api.list("dex")]


async def test_rejection_by_an_admission_policy_is_not_reported_as_a_missing_permission(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [web.json_response({"kind": "Status", "reason": "", "message": "no"}, status=403)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
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
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server.responses = [web.json_response(REFUSAL, status=422)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Refused) as error:
            await api.replace_status("dex", "teams", "u", "1", {})
    assert str(error.value).endswith(
        "(HTTP 422): see spec.nexthink.parameters, spec.nexthink.queryId, status.history[3].message"
    )


@pytest.mark.parametrize("details", [{}, {"details": None}, {"details": {"causes": None}}, {"details": {"causes": []}}])
async def test_error_says_if_a_rejection_names_no_field(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch, details: dict[str, Any]
) -> None:
    api_server.responses = [web.json_response({"kind": "Status", "message": "eva@example.com", **details}, status=400)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        with pytest.raises(Refused, match=r"HTTP 400\): the API server names no field$"):
            await api.replace_status("dex", "teams", "u", "1", {})
