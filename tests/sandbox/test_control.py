"""Tests of `/_sandbox/`: the control of a sandbox by another process, and who can use it."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.sandbox.caller import NexthinkCaller, QualtricsCaller

SEND = "qualtrics.create_distribution"
ANA = "ana@example.com"


class Control:
    """A client of `/_sandbox/`."""

    def __init__(self, caller: QualtricsCaller) -> None:
        self.http = caller.http
        self.url = caller.sandbox.qualtrics_url + "/_sandbox"

    async def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.http.request(method, self.url + path, json=body)


@pytest.fixture
def control(qualtrics: QualtricsCaller) -> Control:
    return Control(qualtrics)


async def test_outbox_lists_the_recipients_of_each_distribution_as_json(
    qualtrics: QualtricsCaller, control: Control
) -> None:
    assert (await control.request("GET", "/outbox.json")).json() == []
    await qualtrics.send(await qualtrics.batch_with(ANA, "ben@example.com"))
    (sent,) = (await control.request("GET", "/outbox.json")).json()
    assert (sent["recipients"], sent["stats"]["sent"]) == ([ANA, "ben@example.com"], 2)


async def test_record_has_the_requests_until_they_are_deleted(qualtrics: QualtricsCaller, control: Control) -> None:
    await qualtrics.send(await qualtrics.batch_with(ANA))
    record = (await control.request("GET", "/record.json")).json()
    assert record["mails"] == {ANA: 1}
    assert [call["operation"] for call in record["calls"]] == [
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.import_status",
        SEND,
    ]
    assert record["errors"] == []
    await control.request("DELETE", "/record")
    record = (await control.request("GET", "/record.json")).json()
    assert (record["calls"], len(record["distributions"])) == ([], 1)


async def test_client_adds_a_fault_awaits_the_held_request_and_drops_it(
    qualtrics: QualtricsCaller, control: Control
) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    assert (await control.request("POST", "/faults", {"operation": SEND, "hold": "before"})).status_code == 201
    reached = asyncio.create_task(control.request("GET", f"/faults/reached?operation={SEND}&timeout=300"))
    request = asyncio.create_task(qualtrics.post("/distributions", qualtrics.distribution_body(batch_id)))
    assert (await reached).json() == {"reached": True}
    assert (await control.request("GET", "/faults")).json() == {"open": [], "held": 1}
    released = await control.request("POST", "/faults/release", {"operation": SEND, "drop": True})
    assert released.json() == {"released": 1}
    with pytest.raises(httpx.RemoteProtocolError):
        await request
    assert (await control.request("GET", f"/seen?operation={SEND}")).json() == {"seen": True}
    assert (await control.request("GET", f"/seen?operation={SEND}&count=2&timeout=0.01")).json() == {"seen": False}
    assert (await control.request("GET", "/faults/reached?timeout=0.01")).json() == {"reached": False}


async def test_fault_with_a_base64_body_returns_its_bytes_until_faults_are_removed(
    qualtrics: QualtricsCaller, control: Control
) -> None:
    await control.request("POST", "/faults", {"operation": "qualtrics.whoami", "body_base64": "/w==", "times": 2})
    assert (await qualtrics.get("/whoami")).content == b"\xff"
    assert (await control.request("GET", "/faults")).json()["open"][0]["hits"] == 1
    await control.request("DELETE", "/faults")
    assert (await qualtrics.get("/whoami")).json()["result"]


async def test_changing_the_people_of_a_query_keeps_its_text(qualtrics: QualtricsCaller, control: Control) -> None:
    account = qualtrics.account
    before = account.queries[account.query_id].executed
    await control.request("PUT", "/queries", {"id": account.query_id, "people": [ANA]})
    assert account.queries[account.query_id].executed == before
    await control.request("PUT", "/queries", {"id": account.query_id, "people": [ANA], "executed": "users"})
    assert account.queries[account.query_id].executed == "users"


async def test_client_changes_and_reads_settings(qualtrics: QualtricsCaller, control: Control) -> None:
    settings = {
        "list_lag_seconds": 60,
        "batch_echo": "never",
        "opted_out_addresses": ["Ana@Example.com"],
        "next_page_origin": None,
        "limits": {"qualtrics_brand_per_minute": None, "qualtrics_endpoints_per_minute": {"create_batch": 7}},
    }
    shown = (await control.request("PUT", "/settings", settings)).json()
    assert shown["opted_out_addresses"] == [ANA]
    account = qualtrics.account
    assert (account.list_lag_seconds, account.batch_echo, account.opted_out_addresses) == (60, "never", {ANA})
    assert account.limits.qualtrics_brand_per_minute is None
    assert account.limits.qualtrics_endpoints_per_minute == {"create_batch": 7}
    await control.request("PUT", "/settings", {"limits": "off"})
    assert account.limits.nexthink_queries_per_second is None
    assert (await control.request("GET", "/settings")).json()["settings"]["batch_echo"] == "never"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PUT", "/settings", {"surveys": {}}, id="data instead of a setting"),
        pytest.param("PUT", "/settings", {"batch_echo": "always"}, id="setting with an unknown value"),
        pytest.param("PUT", "/settings", {"import_polls": "many"}, id="setting of a wrong type"),
        pytest.param("PUT", "/settings", {"import_seconds_per_thousand": -5}, id="negative setting"),
        pytest.param("PUT", "/settings", {"limits": {"speed": 1}}, id="unknown limit"),
        pytest.param("PUT", "/settings", [], id="settings as a list"),
        pytest.param("PUT", "/queries", {"people": []}, id="query without an id"),
        pytest.param("PUT", "/queries", {"id": "#x"}, id="query without rows"),
        pytest.param("PUT", "/queries", {"id": "#x", "people": [], "size": 1}, id="query with an unknown key"),
        pytest.param("POST", "/faults", {"status": 500}, id="fault without an operation"),
        pytest.param("POST", "/faults", {"operation": SEND, "explode": True}, id="fault with an unknown key"),
        pytest.param("PUT", "/surveys", {"name": "x"}, id="survey without an id"),
        pytest.param("PUT", "/settings", None, id="no body"),
    ],
)
async def test_invalid_control_request_is_refused(control: Control, method: str, path: str, body: Any) -> None:
    assert (await control.request(method, path, body)).status_code == 400


async def test_no_setting_changes_if_one_of_them_is_invalid(qualtrics: QualtricsCaller, control: Control) -> None:
    assert (await control.request("PUT", "/settings", {"import_polls": 9, "limits": {"speed": 1}})).status_code == 400
    assert qualtrics.account.import_polls == 1


async def test_client_adds_queries_and_changes_a_survey(nexthink: NexthinkCaller, control: Control) -> None:
    await control.request("PUT", "/queries", {"id": "#many", "generated": 3, "executed": "users"})
    assert (await nexthink.execute("#many")).json()["rows"] == 3
    await control.request("PUT", "/queries", {"id": "#two", "columns": ["a", "b"], "rows": [["x", 1]]})
    assert nexthink.account.queries["#two"].columns == ["a", "b"]
    await control.request("PUT", "/surveys", {"id": "SV_teamsRollout01", "active": False})
    assert not nexthink.account.surveys["SV_teamsRollout01"].active


async def test_client_reads_the_secrets_and_revokes_all_tokens(qualtrics: QualtricsCaller, control: Control) -> None:
    assert (await control.request("GET", "/secrets")).json() == qualtrics.sandbox.secrets()
    await control.request("DELETE", "/tokens")
    assert (await qualtrics.get("/whoami")).status_code == 401


async def test_control_request_for_a_foreign_host_name_is_forbidden(control: Control) -> None:
    reply = await control.http.get(control.url + "/secrets", headers={"Host": "attacker.example.com"})
    assert reply.status_code == 403


async def test_form_of_a_web_page_cannot_add_a_fault(control: Control) -> None:
    fault = json.dumps({"operation": SEND, "status": 500})
    reply = await control.http.post(control.url + "/faults", content=fault, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 400


async def test_control_requests_are_served_on_both_ports_and_not_recorded(
    qualtrics: QualtricsCaller, control: Control
) -> None:
    before = len(qualtrics.sandbox.recorder.calls)
    help_text = (await qualtrics.http.get(qualtrics.sandbox.nexthink_url + "/_sandbox/")).text
    assert "/_sandbox/outbox" in help_text
    assert len(qualtrics.sandbox.recorder.calls) == before
