"""Who is told of a run whose process was killed before it could say how it ended, and what no other command may do."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from qualtrics_exporter.cli.manifests import Secrets
from qualtrics_exporter.cli.sandbox import secrets
from qualtrics_exporter.cli.without_cluster import Export, Outcome
from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.sandbox import Account, Query, Sandbox
from tests.environment.clock import HastyClock

CLOCK = HastyClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(Account.default(), clock=CLOCK) as running:
        yield running


def command(sandbox: Sandbox, folder: Path, name: str, *, send: bool = True, **spec: Any) -> Export:
    """`run` for the exporter of that name; all of them share one journal."""
    body = {"schedule": {"frequency": "Daily"}, **sandbox.account.exporter_spec(), **spec}
    metadata = {"name": name, "namespace": "dex"}
    exporter = Exporter.from_object({"metadata": metadata, "spec": body})
    assert exporter.spec, exporter.spec_error
    return Export(
        exporter=exporter,
        spec=exporter.spec,
        secrets=Secrets("the sandbox", secrets(sandbox)),
        journal=folder / "journal.json",
        allowed_hosts=["127.0.0.1"],
        allow_http=True,
        send=send,
    )


@pytest.mark.parametrize("send", [True, False])
async def test_an_end_that_nobody_heard_of_is_not_told_to_another_exporter(
    sandbox: Sandbox, tmp_path: Path, send: bool
) -> None:
    first = (await command(sandbox, tmp_path, "first").done(CLOCK)).entry
    with pytest.raises(click.ClickException, match="finished run of another exporter"):
        await command(sandbox, tmp_path, "second", send=send).done(CLOCK)
    assert await command(sandbox, tmp_path, "first").done(CLOCK) == Outcome(first, earlier=True)
    assert len(sandbox.ledger.distributions) == 1


async def test_another_exporter_goes_on_when_the_first_one_was_told(sandbox: Sandbox, tmp_path: Path) -> None:
    first = command(sandbox, tmp_path, "first")
    first.mark_reported((await first.done(CLOCK)).entry)
    second = await command(sandbox, tmp_path, "second").done(CLOCK)
    assert second.entry.result == "Succeeded"
    assert len(sandbox.ledger.distributions) == 2


async def test_who_did_not_ask_for_a_send_does_not_take_the_word_from_who_did(sandbox: Sandbox, tmp_path: Path) -> None:
    sent = (await command(sandbox, tmp_path, "first").done(CLOCK)).entry
    dry = command(sandbox, tmp_path, "first", send=False)
    dry.mark_reported((await dry.done(CLOCK)).entry)
    assert await command(sandbox, tmp_path, "first").done(CLOCK) == Outcome(sent, earlier=True)
    with FileJournal(tmp_path / "journal.json") as journal:
        assert journal.untold == sent
    assert len(sandbox.ledger.distributions) == 1


async def test_another_exporter_takes_nobodys_turn(sandbox: Sandbox, tmp_path: Path) -> None:
    """A person is in another group in each exporter, so the groups of one say nothing about those of another."""
    sampled = {"sample": {"groups": 2}}
    for name in ("first", "second"):
        export = command(sandbox, tmp_path, name, **sampled)
        entry = (await export.done(CLOCK)).entry
        export.mark_reported(entry)
        assert (entry.reason, entry.send_time is not None) == ("Succeeded", True)
    for name in ("first", "second"):
        entry = (await command(sandbox, tmp_path, name, **sampled).done(CLOCK)).entry
        assert (entry.reason, entry.send_time) == ("NoRecipients", None)
    assert len(sandbox.ledger.distributions) == 2


async def test_a_full_run_of_another_exporter_does_not_make_it_forget_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    for name, sample in (("first", {"groups": 2}), ("second", None)):
        export = command(sandbox, tmp_path, name, **({"sample": sample} if sample else {}))
        export.mark_reported((await export.done(CLOCK)).entry)
    ended = await command(sandbox, tmp_path, "first", sample={"groups": 2}).done(CLOCK)
    assert ended.entry.reason == "NoRecipients"


async def test_the_audience_of_another_exporter_is_not_compared(sandbox: Sandbox, tmp_path: Path) -> None:
    asked = sandbox.account.exporter_spec()["nexthink"]
    for name, people in (("large", 200), ("small", 1)):
        addresses = [f"{name}{n}@example.com" for n in range(people)]
        sandbox.account.add_query(Query.people(f"#{name}", addresses, executed=asked["query"]))
        export = command(sandbox, tmp_path, name, nexthink={**asked, "queryId": f"#{name}"})
        entry = (await export.done(CLOCK)).entry
        export.mark_reported(entry)
        assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
