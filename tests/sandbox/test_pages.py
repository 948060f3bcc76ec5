"""Tests of the pages of the sandbox, as HTTP: what they show, what their forms change, and who can use them."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from qualtrics_exporter.sandbox import Query, Sandbox
from qualtrics_exporter.sandbox.changes import Changes
from tests.remote.clock import StillClock
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller, format_time
from tests.sandbox.reader import Reader

ANA, BEN = "ana@example.com", "ben@example.com"


@pytest.fixture
def clock() -> StillClock:
    """Replaces the clock of the folder, so that times and rate limits are exact on a machine of any speed."""
    return StillClock()


@pytest.fixture
def reader(sandbox: Sandbox, http: httpx.AsyncClient) -> Reader:
    return Reader(http, sandbox.qualtrics_url)


async def test_outbox_lists_the_recipients_of_each_distribution_newest_first(
    qualtrics: QualtricsCaller, reader: Reader
) -> None:
    empty = await reader.text("/outbox")
    assert "Nothing was sent yet" in empty
    assert "--allowed-host 127.0.0.1 --allow-http --send" in empty
    await qualtrics.send(await qualtrics.batch_with(ANA, BEN))
    newest = {"fromName": "HR", "fromEmail": "noreply@qemailserver.com", "subject": "How is lunch?"}
    await qualtrics.send(await qualtrics.batch_with("chiara@example.com"), header=newest)
    page = await reader.text("/outbox")
    assert page.index("How is lunch?") < page.index("chiara@") < page.index("How is Teams?") < page.index(ANA)
    assert "2 distributions, 3 mails." in page
    assert "Mailed: 2" in page
    assert "got more than one mail" not in page


async def test_outbox_says_what_happened_to_people_who_got_no_mail(qualtrics: QualtricsCaller, reader: Reader) -> None:
    qualtrics.account.opted_out_addresses = {"eva@example.com"}
    qualtrics.account.bouncing_addresses = {BEN}
    await qualtrics.send(await qualtrics.batch_with(ANA))
    sent = await qualtrics.send(await qualtrics.batch_with(ANA, BEN, "eva@example.com"))
    page = await reader.text(f"/outbox/{sent}")
    assert [name in page for name in ("Mailed: 1", "Bounced: 1", "Blocked: 1", "Skipped: 1", "Failed")] == [
        *(True, True, True, True, False)
    ]
    header = {"fromName": "HR", "fromEmail": "hr@example.org", "subject": "From a domain that is not registered"}
    failed = await qualtrics.send(await qualtrics.batch_with(ANA), header=header)
    page = await reader.text(f"/outbox/{failed}")
    assert "Failed: 1" in page
    assert "Nobody got a mail." in page


async def test_pages_escape_html_in_names_subjects_messages_and_queries(
    qualtrics: QualtricsCaller, reader: Reader
) -> None:
    header = {"fromName": "<i>n", "fromEmail": "noreply@qemailserver.com", "subject": "<script>alert(1)</script>"}
    qualtrics.account.messages[qualtrics.account.message_id].texts["en"] = "<img src=x onerror=alert(2)>"
    qualtrics.account.add_query(Query.people("#x", [], executed="<b>users"))
    sent = await qualtrics.send(await qualtrics.batch_with(ANA), header=header)
    for path in ("/outbox", f"/outbox/{sent}", "/outbox?address=<s>", "/pages/queries", "/outbox/<s>"):
        page = (await reader.get(path)).text
        assert [markup for markup in ("<script>", "<i>", "<img src=x", "<b>users", "<s>") if markup in page] == []
    assert "<script>alert(1)</script>" in await reader.text("/outbox")


async def test_person_who_is_mailed_twice_by_one_distribution_is_named_in_words(
    qualtrics: QualtricsCaller, reader: Reader
) -> None:
    batch_id = await qualtrics.batch_with(ANA, BEN)
    await qualtrics.import_people(batch_id, ["Ana@example.com"])
    sent = await qualtrics.send(batch_id)
    for path in ("/outbox", f"/outbox/{sent}"):
        page = await reader.text(path)
        assert "1 person got more than one mail in" in page
        assert "ana@example.com 2 mails ben@example.com" in page


async def test_person_who_is_mailed_by_two_distributions_of_a_run_is_named_in_words(
    qualtrics: QualtricsCaller, reader: Reader, clock: StillClock
) -> None:
    first = await qualtrics.send(await qualtrics.batch_with(ANA, BEN))
    clock.passed += timedelta(hours=12).total_seconds()
    await qualtrics.log_in("qualtrics")
    second = await qualtrics.send(await qualtrics.batch_with(BEN, "chiara@example.com"))
    page = await reader.text(f"/outbox/{first}")
    assert f"1 person got more than one mail in this run. Other distributions that mailed them: {second} ." in page
    assert "ben@example.com 2 mails ana@example.com" in page
    assert "chiara" not in page


async def test_pages_show_the_first_addresses_of_a_list_and_the_number_of_all(
    qualtrics: QualtricsCaller, reader: Reader
) -> None:
    sent = await qualtrics.send(await qualtrics.batch_with(*(f"user{n}@example.com" for n in range(300))))
    page = await reader.text(f"/outbox/{sent}")
    assert (page.count("@example.com"), "… and 100 more" in page) == (200, True)
    page = await reader.text("/outbox")
    assert (page.count("@example.com"), "… and 288 more" in page) == (12, True)


async def test_outbox_has_pages_of_20_distributions(qualtrics: QualtricsCaller, reader: Reader) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    ids = [await qualtrics.send(batch_id) for _ in range(21)]
    pages = {number: await reader.text(f"/outbox?page={number}") for number in ("1", "2", "99", "-1", "x")}
    assert [pages["1"].count(f"Id {id_}") for id_ in ids] == [0] + [1] * 20
    assert [pages["2"].count(f"Id {id_}") for id_ in ids] == [1] + [0] * 20
    assert [page.partition("Page ")[2][:6] for page in pages.values()] == [
        *("1 of 2", "2 of 2", "2 of 2", "1 of 2", "1 of 2")
    ]


async def test_search_says_how_often_somebody_was_mailed(
    qualtrics: QualtricsCaller, reader: Reader, clock: StillClock
) -> None:
    await qualtrics.send(await qualtrics.batch_with(ANA, BEN))
    await qualtrics.send(await qualtrics.batch_with("Ana@example.com"))
    clock.passed += timedelta(hours=12).total_seconds()
    await qualtrics.log_in("qualtrics")
    await qualtrics.send(await qualtrics.batch_with(ANA, "diana@example.com"))
    await qualtrics.batch_with("eva@example.com")

    exact = await reader.text("/outbox?address=+ANA@Example.com")
    assert "ana@example.com Mailed 2 times." in exact
    assert exact.count("Blocked:") == 1
    assert "diana" not in exact
    part = await reader.text("/outbox?address=an")
    assert "diana@example.com Mailed once." in part
    nobody = await reader.text("/outbox?address=eva@example.com")
    assert "Nobody with it was mailed." in nobody
    assert "which was not sent" in nobody
    assert "Not mailed" not in exact + part + nobody


async def test_distribution_waits_for_its_send_date_and_the_pages_notice_when_it_comes(
    qualtrics: QualtricsCaller, sandbox: Sandbox, reader: Reader, clock: StillClock
) -> None:
    later = format_time(clock.now() + timedelta(hours=1))
    sent = await qualtrics.send(await qualtrics.batch_with(ANA), sendDate=later)
    assert "Waits for its send date" in await reader.text("/outbox")
    assert ANA not in await reader.text(f"/outbox/{sent}")
    changes = Changes(sandbox)
    before = changes.revision()
    assert changes.revision() == before
    clock.passed += 3600
    assert changes.revision() != before
    assert ANA in await reader.text(f"/outbox/{sent}")


async def test_distribution_that_does_not_exist_is_a_404(reader: Reader) -> None:
    assert (await reader.get("/outbox/EMD_nothing")).status_code == 404


async def test_limits_show_how_much_of_each_is_used_now(
    qualtrics: QualtricsCaller, nexthink: NexthinkCaller, reader: Reader, clock: StillClock
) -> None:
    await nexthink.execute()
    await qualtrics.create_batch()
    await qualtrics.get("/whoami")
    page = await reader.text("/pages/limits")
    for row in (
        "Queries per second Nexthink 1 of 1 ",
        "Queries per day Nexthink 1 of 50 000",
        "Requests per minute Qualtrics 2 of 3 000",
        "create_batch per minute Qualtrics 1 of 500",
        "Imports in progress Qualtrics 0 of 125",
    ):
        assert row in page
    clock.passed += 60
    page = await reader.text("/pages/limits")
    assert "Queries per second Nexthink 0 of 1 " in page
    assert "create_batch per minute Qualtrics 0 of 500" in page
    await reader.post("/pages/limits", action="off")
    assert "Queries per second Nexthink no limit" in await reader.text("/pages/limits")


async def test_queries_show_their_people_without_duplicates(sandbox: Sandbox, reader: Reader) -> None:
    sandbox.account.add_query(Query.generated("#many", 1_000_000))
    sandbox.account.add_query(Query("#made", ["x"], lambda: [["x"]]))
    page = await reader.text("/pages/queries")
    assert "#teams_rollout 6 people 8 rows" in page
    assert "#many 1 000 000 people 1 000 000 rows" in page
    assert "#made People known when it is executed" in page
    assert "Last year's survey SV_oldSurvey00001 not active" in page


@pytest.fixture
async def stream(sandbox: Sandbox, http: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[str]]:
    """The events of the stream of changes."""
    async with http.stream("GET", f"{sandbox.qualtrics_url}/_sandbox/changes") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = reply.aiter_lines()
        yield (line async for line in lines if line.startswith("data: "))


@pytest.mark.parametrize("change", ["request", "fault", "setting by JSON", "setting by form"])
async def test_stream_sends_a_new_revision_after_a_change(
    sandbox: Sandbox, reader: Reader, qualtrics: QualtricsCaller, stream: AsyncIterator[str], change: str
) -> None:
    before = await anext(stream)
    match change:
        case "request":
            await qualtrics.get("/whoami")
        case "fault":
            sandbox.faults.add("qualtrics.whoami", hold="before")
        case "setting by JSON":
            await reader.http.put(f"{reader.url}/settings", json={"import_polls": 3})
        case "setting by form":
            await reader.post("/pages/limits", action="save", import_polls="3")
    assert await anext(stream) != before


async def test_stopping_the_sandbox_ends_the_stream(sandbox: Sandbox, stream: AsyncIterator[str]) -> None:
    assert await anext(stream)
    await sandbox.stop()
    assert [line async for line in stream if not line.startswith("data: ")] == [], "it ends without an error"
    await sandbox.start()


async def test_pages_load_nothing_from_other_hosts_and_cannot_be_framed(reader: Reader) -> None:
    for path in ("/outbox", "/pages/faults", "/pages/limits", "/pages/queries", "/assets/page.js", "/outbox/x"):
        reply = await reader.get(path)
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert re.findall(r"(?:https?:)?//(?!127\.0\.0\.1:)\w+\.\S+", reply.text) == []


async def test_page_for_a_foreign_host_name_is_forbidden(reader: Reader) -> None:
    for path in ("/outbox", "/pages/faults", "/changes", "/assets/page.js"):
        assert (await reader.get(path, headers={"Host": "attacker.example.com"})).status_code == 403


def test_sandbox_without_a_visitor_does_not_import_the_template_engine() -> None:
    program = "import sys, qualtrics_exporter.sandbox; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
