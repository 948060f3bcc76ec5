"""Two exporters that share one journal file: unreported results, samples and audiences stay separate."""

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
from tests.support.clock import AutoAdvancingClock

CLOCK = AutoAdvancingClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(Account.default(), clock=CLOCK) as running:
        yield running


def export_of(sandbox: Sandbox, folder: Path, name: str, *, send: bool = True, **spec: Any) -> Export:
    """The export that `run` does for this exporter. All exporters share one journal."""
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


@pytest.mark.parametrize("send", [True, False], ids=["with --send", "without --send"])
async def test_an_unreported_result_is_not_reported_to_another_exporter(
    sandbox: Sandbox, tmp_path: Path, send: bool
) -> None:
    first = (await export_of(sandbox, tmp_path, "first").done(CLOCK)).entry
    with pytest.raises(click.ClickException, match="finished run of another exporter"):
        await export_of(sandbox, tmp_path, "second", send=send).done(CLOCK)
    assert await export_of(sandbox, tmp_path, "first").done(CLOCK) == Outcome(first, earlier=True)
    assert len(sandbox.recorder.distributions) == 1


async def test_another_exporter_runs_after_the_result_of_the_first_is_reported(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    first = export_of(sandbox, tmp_path, "first")
    first.mark_reported((await first.done(CLOCK)).entry)
    second = await export_of(sandbox, tmp_path, "second").done(CLOCK)
    assert second.entry.result == "Succeeded"
    assert len(sandbox.recorder.distributions) == 2


async def test_a_dry_run_leaves_the_result_of_a_send_pending_for_the_command_with_send(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sent = (await export_of(sandbox, tmp_path, "first").done(CLOCK)).entry
    dry = export_of(sandbox, tmp_path, "first", send=False)
    dry.mark_reported((await dry.done(CLOCK)).entry)
    assert await export_of(sandbox, tmp_path, "first").done(CLOCK) == Outcome(sent, earlier=True)
    with FileJournal(tmp_path / "journal.json") as journal:
        assert journal.unreported == sent
    assert len(sandbox.recorder.distributions) == 1


async def test_each_exporter_samples_its_groups_independently_of_the_other_exporter(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Each exporter divides the people into different groups, so its groups say nothing about another exporter."""
    sampled = {"sample": {"groups": 2}}
    for name in ("first", "second"):
        export = export_of(sandbox, tmp_path, name, **sampled)
        entry = (await export.done(CLOCK)).entry
        export.mark_reported(entry)
        assert (entry.reason, entry.send_time is not None) == ("Succeeded", True)
    for name in ("first", "second"):
        entry = (await export_of(sandbox, tmp_path, name, **sampled).done(CLOCK)).entry
        assert (entry.reason, entry.send_time) == ("NoRecipients", None)
    assert len(sandbox.recorder.distributions) == 2


async def test_a_full_run_of_another_exporter_does_not_reset_the_sampled_groups(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for name, sample in (("first", {"groups": 2}), ("second", None)):
        export = export_of(sandbox, tmp_path, name, **({"sample": sample} if sample else {}))
        export.mark_reported((await export.done(CLOCK)).entry)
    outcome = await export_of(sandbox, tmp_path, "first", sample={"groups": 2}).done(CLOCK)
    assert outcome.entry.reason == "NoRecipients"


async def test_a_small_audience_is_not_compared_with_that_of_another_exporter(sandbox: Sandbox, tmp_path: Path) -> None:
    nexthink = sandbox.account.exporter_spec()["nexthink"]
    for name, people in (("large", 200), ("small", 1)):
        addresses = [f"{name}{n}@example.com" for n in range(people)]
        sandbox.account.add_query(Query.people(f"#{name}", addresses, executed=nexthink["query"]))
        export = export_of(sandbox, tmp_path, name, nexthink={**nexthink, "queryId": f"#{name}"})
        entry = (await export.done(CLOCK)).entry
        export.mark_reported(entry)
        assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
