"""Tests of the forms of the pages: faults, limits and settings, what they refuse, and from whom."""

import asyncio
import ssl

import httpx
import pytest
import trustme

from qualtrics_exporter.sandbox import Account, Fault, Sandbox
from qualtrics_exporter.sandbox.fault_forms import FIELDS, KINDS, describe, title
from qualtrics_exporter.sandbox.setting_forms import ENDPOINTS, groups
from qualtrics_exporter.sandbox.settings import show_settings
from tests.sandbox.caller import QualtricsCaller
from tests.sandbox.reader import Reader, text_of
from tests.support.clock import SteeredClock

FAULTS, LIMITS = "/pages/faults", "/pages/limits"


@pytest.fixture
def reader(sandbox: Sandbox, http: httpx.AsyncClient) -> Reader:
    return Reader(http, sandbox.qualtrics_url)


# Faults


async def test_each_kind_of_fault_is_added_and_described(sandbox: Sandbox, reader: Reader) -> None:
    assert "None. All requests work." in await reader.text(FAULTS)
    for kind in KINDS.values():
        reply = await reader.post(FAULTS, action="kind", kind=kind.id, times="")
        assert (reply.status_code, reply.headers["location"]) == (303, "/_sandbox/pages/faults?done=added")
        (fault,) = sandbox.faults.open()
        assert title(fault) == kind.title
        assert describe(fault) != describe(Fault(operation="x"))
        page = await reader.text(FAULTS)
        assert f"{kind.title} active A request of {fault.operation} {describe(fault)}." in page
        await reader.post(FAULTS, action="remove")
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS) >= 8


@pytest.mark.parametrize(("times", "hits"), [("", 3), ("1", 1), ("10", 10), ("always", None)])
async def test_reader_chooses_how_often_a_fault_hits(
    sandbox: Sandbox, reader: Reader, times: str, hits: int | None
) -> None:
    await reader.post(FAULTS, action="kind", kind="nexthink-500", times=times)
    assert sandbox.faults.open()[0].times == hits


async def test_faults_show_how_often_they_hit_until_they_are_used_up(
    qualtrics: QualtricsCaller, reader: Reader
) -> None:
    await reader.post(FAULTS, action="kind", kind="rate-limit", times="")
    assert (await qualtrics.get("/whoami")).status_code == 429
    page = await reader.text(FAULTS)
    assert "Qualtrics limits requests active" in page
    assert "Hit 1 request of 3." in page
    assert "qualtrics.whoami 429 " in page
    for _ in range(2):
        await qualtrics.get("/whoami")
    page = await reader.text(FAULTS)
    assert "Qualtrics limits requests used up" in page
    assert "Hit 3 requests of 3." in page
    assert (await qualtrics.get("/whoami")).status_code == 200


@pytest.mark.parametrize(("action", "answered"), [("release", True), ("drop", False), ("remove", True)])
async def test_held_request_is_released_or_its_connection_closed(
    sandbox: Sandbox, qualtrics: QualtricsCaller, reader: Reader, action: str, answered: bool
) -> None:
    await reader.post(FAULTS, action="kind", kind="hold-all", times="")
    request = asyncio.create_task(qualtrics.get("/whoami"))
    await sandbox.faults.reached("qualtrics.whoami")
    assert "Held requests: 1 qualtrics.whoami" in await reader.text(FAULTS)
    await reader.post(FAULTS, action=action)
    if answered:
        assert (await request).status_code == 200
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            await request
    assert "Held requests" not in await reader.text(FAULTS)
    assert bool(sandbox.faults.open()) == (action != "remove")


async def test_fault_with_all_fields_is_added(sandbox: Sandbox, reader: Reader) -> None:
    form = {
        "operation": "qualtrics.*",
        "times": "always",
        "after": "2",
        "status": "418",
        "body": "tea",
        "headers": "Retry-After: 5\r\n\r\nX-Test: a:b",
        "delay": "0.5",
        "delay_after": "1",
        "hold": "after",
        "drop": "after",
        "truncate": "3",
        "endless": "yes",
        "apply_effect": "yes",
    }
    assert list(form) == [field.name for field in FIELDS]
    assert (await reader.post(FAULTS, action="fields", **form)).status_code == 303
    wanted = Fault(
        operation="qualtrics.*", times=None, after=2, status=418, body="tea", delay=0.5, delay_after=1, hold="after",
        drop="after", truncate=3, endless=True, apply_effect=True, headers={"Retry-After": "5", "X-Test": "a:b"},
    )  # fmt: skip
    assert sandbox.faults.open() == [wanted]
    assert "Begins after 2 more requests." in await reader.text(FAULTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operation", "qualtrics.no_such_operation"),
        ("times", "often"),
        ("status", "99"),
        ("delay", "nan"),
        ("headers", "no colon"),
        ("headers", "A b: c"),
        ("drop", "sometimes"),
        ("truncate", "-1"),
    ],
)
async def test_invalid_field_of_a_fault_is_marked_and_adds_nothing(
    sandbox: Sandbox, reader: Reader, field: str, value: str
) -> None:
    form = {"operation": "qualtrics.whoami", "status": "500", field: value}
    reply = await reader.post(FAULTS, action="fields", **form)
    assert reply.status_code == 400
    assert f'aria-invalid="true" aria-describedby="wrong-{field} hint-{field}"' in reply.text
    assert value in text_of(reply.text) or field == "drop", "the reader can correct the value"
    assert sandbox.faults.open() == []


async def test_fault_that_changes_nothing_or_is_no_known_kind_is_refused(sandbox: Sandbox, reader: Reader) -> None:
    empty = await reader.post(FAULTS, action="fields", operation="*")
    assert "This fault does nothing" in text_of(empty.text)
    for form in ({"action": "kind", "kind": "x", "times": ""}, {"action": "x"}, {}):
        reply = await reader.post(FAULTS, **form)
        assert (reply.status_code, "Choose a fault." in text_of(reply.text)) == (400, True)
    assert sandbox.faults.open() == []


async def test_reader_makes_all_access_tokens_invalid(qualtrics: QualtricsCaller, reader: Reader) -> None:
    await reader.post(FAULTS, action="revoke")
    assert (await qualtrics.get("/whoami")).status_code == 401


# Limits and settings


async def test_form_has_each_setting_that_can_be_changed_as_json(account: Account, reader: Reader) -> None:
    shown = show_settings(account)
    ids = {name for name in shown if name.endswith("_id")}
    limits = {f"limits.{name}" for name in shown.pop("limits")} - {f"limits.{ENDPOINTS}"}
    endpoints = {f"limits.{ENDPOINTS}.{name}" for name in account.limits.qualtrics_endpoints_per_minute}
    names = [each.name for settings in groups(account).values() for each in settings]
    assert sorted(names) == sorted((set(shown) - ids) | limits | endpoints)
    page = (await reader.get(LIMITS)).text
    assert [name for name in names if f'name="{name}"' not in page] == []


async def test_form_changes_settings_and_limits(account: Account, reader: Reader) -> None:
    form = {
        "list_lag_seconds": "0.5",
        "batch_echo": '"never"',
        "csv_line_end": '"\\r\\n"',
        "csv_byte_order_mark": "true",
        "opted_out_addresses": "Ana@Example.com\r\n  ben@example.com\r\n",
        "next_page_origin": "",
        "instance_zone": "UTC",
        "limits.nexthink_queries_per_second": "",
        "limits.qualtrics_jobs": "7",
        f"limits.{ENDPOINTS}.create_batch": "0",
        f"limits.{ENDPOINTS}.import_contacts": "",
    }
    reply = await reader.post(LIMITS, action="save", **form)
    assert reply.headers["location"] == "/_sandbox/pages/limits?done=saved"
    assert (account.list_lag_seconds, account.batch_echo, account.csv_line_end) == (0.5, "never", "\r\n")
    assert (account.csv_byte_order_mark, account.next_page_origin, account.instance_zone) == (True, None, "UTC")
    assert account.opted_out_addresses == {"ana@example.com", "ben@example.com"}
    limits = account.limits
    assert (limits.nexthink_queries_per_second, limits.qualtrics_jobs) == (None, 7)
    assert limits.qualtrics_endpoints_per_minute == {"create_batch": 0}
    page = await reader.text(LIMITS)
    assert "create_batch per minute Qualtrics 0 of 0" in page
    await reader.post(LIMITS, action="defaults")
    assert show_settings(account) == show_settings(Account.default())


async def test_saving_the_form_without_a_change_changes_nothing(account: Account, reader: Reader) -> None:
    account.limits.qualtrics_endpoints_per_minute = {"whoami": 5}
    account.next_page_origin = "https://elsewhere.example.com"
    before = show_settings(account)
    texts = {each.name: each.text(_value(before, each.name)) for group in groups(account).values() for each in group}
    assert (await reader.post(LIMITS, action="save", **texts)).status_code == 303
    assert show_settings(account) == before


def _value(settings: dict[str, object], name: str) -> object:
    top, _, own = name.rpartition(".")
    found: object = settings
    for part in top.split(".") if top else []:
        found = found[part]  # type: ignore[index]
    return found.get(own)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("import_polls", "many"),
        ("import_seconds", "-1"),
        ("import_polls", ""),
        ("heavy_status", "600"),
        ("directories_page_size", "0"),
        ("batch_echo", '"always"'),
        ("instance_zone", "Europe/Atlantis"),
        ("limits.qualtrics_jobs", "1.5"),
        (f"limits.{ENDPOINTS}.create_batch", "x"),
    ],
)
async def test_invalid_setting_is_marked_and_changes_nothing(
    account: Account, reader: Reader, name: str, value: str
) -> None:
    before = show_settings(account)
    reply = await reader.post(LIMITS, action="save", **{"delivery_seconds": "77", name: value})
    assert reply.status_code == 400
    assert reply.text.count('aria-invalid="true"') == 1
    page = text_of(reply.text)
    assert "Nothing was changed: 1 value is not possible." in page
    assert "77" in page, "what the reader entered stays"
    assert show_settings(account) == before


# Who can use the forms


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://attacker.example.com"},
        {"Origin": "null"},
        {},
        {"Origin": "own", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=["of another site", "without an origin to name", "without an origin", "that contradicts itself"],
)
@pytest.mark.parametrize("path", [FAULTS, LIMITS])
async def test_form_of_another_site_is_refused(
    sandbox: Sandbox, reader: Reader, path: str, headers: dict[str, str]
) -> None:
    headers = {name: reader.origin if value == "own" else value for name, value in headers.items()}
    reply = await reader.post(path, headers, action="kind", kind="lost-reply", times="")
    assert (reply.status_code, "The request was refused" in reply.text) == (403, True)
    assert sandbox.faults.open() == []


async def test_form_is_accepted_over_https_from_a_page_over_https_only(clock: SteeredClock) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with (
        Sandbox(clock=clock, tls=server_context, advertise="localhost") as sandbox,
        httpx.AsyncClient(verify=client_context, trust_env=False) as http,
    ):
        reader = Reader(http, sandbox.qualtrics_url)
        insecure = {"Origin": reader.origin.replace("https:", "http:")}
        assert (await reader.post(FAULTS, insecure, action="kind", kind="lost-send", times="")).status_code == 403
        assert sandbox.faults.open() == []
        assert (await reader.post(FAULTS, action="kind", kind="lost-send", times="")).status_code == 303
        assert len(sandbox.faults.open()) == 1
