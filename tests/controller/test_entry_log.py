"""The log has one structured line for each entry that ends, each later change of it, and each read of its figures."""

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from hack.files import ROOT
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, Conflict, Unreachable
from qualtrics_exporter.controller.status import entry_log, followed_deliveries, resolution
from qualtrics_exporter.controller.status.entry_log import log_delivery
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun, Delivery, HistoryEntry, RecipientCounts, Status
from qualtrics_exporter.telemetry import logs
from tests.controller.exporters import at, body, exporter
from tests.controller.virtual_operator import CHANGED, HEALTHY, NAMESPACE, VirtualOperator
from tests.support.clock import SteeredClock
from tests.support.stage import Stage
from tests.support.waiting import eventually

NOW = at("2026-11-23 12:00")
KEY = Key("dex", "teams-rollout", exporter().uid)
WHOLE = HistoryEntry(
    id="whole", trigger="Schedule", scheduled_time=NOW, start_time=NOW + timedelta(seconds=5),
    completion_time=NOW + timedelta(seconds=95), send_time=NOW + timedelta(seconds=90), result="Succeeded",
    reason="Succeeded", message="Sent to jane.doe@example.com.", survey_id="SV_1", batch_id="BT_1",
    distribution_id="EMD_1",
    recipients=RecipientCounts(
        returned=9, empty=1, invalid=1, duplicate=1, sampled_out=2, accepted=4, imported=4,
    ),
)  # fmt: skip
FIGURES = Delivery(
    request_status="Done", sent=4, failed=0, bounced=1, blocked=0, skipped=0, opened=3, started=2, finished=1,
    complaints=0, observed_time=NOW + timedelta(minutes=2), stopped_reason="DistributionNotFound",
)  # fmt: skip


class Lines(io.StringIO):
    """The log of entries as JSON."""

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream, log = Lines(), entry_log.log
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Json(stream))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield stream
    log.removeHandler(handler)
    log.setLevel(before)


def entry(id_: str, **more: Any) -> HistoryEntry:
    facts: dict[str, Any] = {"trigger": "Schedule", "result": "Missed", "reason": "DeadlineExceeded", "message": ""}
    return HistoryEntry(id=id_, **{"completion_time": NOW, **facts, **more})


class Cluster:
    """An API server with one exporter. `answers` are the outcomes of the next writes."""

    def __init__(self, status: Status | None = None) -> None:
        self.body = body(status or Status())
        self.answers: list[Callable[[dict[str, Any]], None]] = []

    async def get(self, *_: str) -> dict[str, Any]:
        return self.body

    async def replace_status(self, *arguments: Any) -> dict[str, Any]:
        status = arguments[-1]
        if self.answers:
            self.answers.pop(0)(status)
        self.store(status)
        return self.body

    def store(self, status: dict[str, Any]) -> None:
        self.body = {**self.body, "status": status}

    def stored_but(self, error: ClusterError) -> Callable[[dict[str, Any]], None]:
        """The write takes effect, and the operator gets an error."""

        def write(status: dict[str, Any]) -> None:
            self.store(status)
            raise error

        return write

    @staticmethod
    def lost(error: ClusterError) -> Callable[[dict[str, Any]], None]:
        def write(_: dict[str, Any]) -> None:
            raise error

        return write


def store_of(cluster: Cluster) -> StatusStore:
    return StatusStore(cast("ClusterApi", cluster), SteeredClock(start=NOW), lambda found: found)


def adding(*entries: HistoryEntry) -> Callable[[Exporter], Status | None]:
    """A change that adds these entries, and recognises its own work."""

    def change(found: Exporter) -> Status | None:
        status, known = found.status, {one.id for one in found.status.entries}
        if entries[-1].id in known:
            return None
        for one in entries:
            status = status.with_entry(one)
        return status

    return change


def ids(lines: Lines) -> list[tuple[str, str]]:
    return [(line["event"], line["run_id"]) for line in lines()]


async def test_each_entry_of_one_write_is_logged_even_if_the_history_has_no_space_for_it(lines: Lines) -> None:
    cluster = Cluster(Status(history=[entry("old", completion_time=NOW - timedelta(days=1))]))
    written = await store_of(cluster).change(KEY, adding(*(entry(f"e{number}") for number in range(13))))
    assert len(written.status.history or []) == 10
    assert ids(lines) == [("run", f"e{number}") for number in range(13)]


ERRORS = [Unreachable("no reply"), Conflict("conflict", 409)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_entry_is_logged_once_if_the_reply_to_its_write_is_lost(lines: Lines, error: ClusterError) -> None:
    cluster = Cluster()
    cluster.answers = [cluster.lost(error), cluster.stored_but(error)]
    store = store_of(cluster)
    await store.change(KEY, adding(entry("one")))
    await store.change(KEY, adding(entry("one")))
    assert ids(lines) == [("run", "one")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_entry_is_logged_later_if_the_process_gave_up_its_write(lines: Lines, error: ClusterError) -> None:
    cluster = Cluster()
    cluster.answers = [cluster.stored_but(error)]
    store = store_of(cluster)
    with pytest.raises(type(error)):
        await store.change(KEY, adding(entry("one")), patience=0)
    assert ids(lines) == []
    for _ in range(3):
        await store.change(KEY, lambda _: None)
    assert ids(lines) == [("run", "one")]
    assert store.entry_log._unconfirmed == {}


async def test_process_does_not_log_the_entry_that_another_process_wrote(lines: Lines) -> None:
    cluster = Cluster()

    def other_first(_: dict[str, Any]) -> None:
        other = Status(history=[entry("other")]).model_dump(by_alias=True, exclude_none=True, mode="json")
        cluster.stored_but(ERRORS[1])(other)

    cluster.answers = [other_first]
    await store_of(cluster).change(KEY, adding(entry("mine")))
    assert ids(lines) == [("run", "mine")]


async def test_entry_that_was_not_written_is_not_logged(lines: Lines) -> None:
    cluster = Cluster()
    cluster.answers = [cluster.lost(ERRORS[0])]
    store = store_of(cluster)
    with pytest.raises(Unreachable):
        await store.change(KEY, adding(entry("one")), patience=0)
    await store.change(KEY, lambda _: None)
    assert ids(lines) == []


async def test_resolved_unknown_run_has_a_second_line_with_both_outcomes(lines: Lines) -> None:
    run = "abcdefghijklmnopqrst"
    unknown = entry(run, result="Unknown", reason="DeliveryUnknown", send_time=NOW, batch_id="BT_1")
    store = store_of(Cluster())
    await store.change(KEY, adding(unknown))
    await store.change(KEY, lambda found: resolution.resolve(found.status, f"{run}=EMD_7", 1, NOW))
    first, second = lines()
    assert (first["event"], first["result"], first["generation"]) == ("run", "Unknown", 1)
    assert second["event"] == "run_changed"
    assert (second["previous_result"], second["previous_reason"]) == ("Unknown", "DeliveryUnknown")
    assert (second["result"], second["reason"], second["distribution_id"]) == ("Succeeded", "SettledAsSent", "EMD_7")


async def test_unknown_test_that_moves_into_the_history_is_logged_once(lines: Lines) -> None:
    unknown = entry("one", trigger="Test", result="Unknown", reason="DeliveryUnknown", send_time=NOW, batch_id="BT_1")
    two = entry("two", trigger="Test", result="Succeeded", reason="TestPassed")
    store = store_of(Cluster())
    await store.change(KEY, lambda found: resolution.with_last_test(found.status, unknown))
    await store.change(KEY, lambda found: resolution.with_last_test(found.status, two))
    assert ids(lines) == [("run", "one"), ("run", "two")]


async def test_line_has_all_fields_and_the_generation_of_the_journal(lines: Lines) -> None:
    run = ActiveRun(id="whole", trigger="Schedule", start_time=NOW, generation=7, step="Sent")
    await store_of(Cluster(Status(active_run=run))).change(KEY, adding(WHOLE))
    (line,) = lines()
    for name in ("time", "level", "logger", "message"):
        assert line.pop(name)
    assert line == {
        "event": "run",
        "namespace": "dex",
        "name": "teams-rollout",
        "uid": exporter().uid,
        "run_id": "whole",
        "survey_id": "SV_1",
        "distribution_id": "EMD_1",
        "trigger": "Schedule",
        "result": "Succeeded",
        "reason": "Succeeded",
        "generation": 7,
        "scheduled_time": "2026-11-23T12:00:00Z",
        "start_time": "2026-11-23T12:00:05Z",
        "send_time": "2026-11-23T12:01:30Z",
        "completion_time": "2026-11-23T12:01:35Z",
        "duration_seconds": 90,
        "recipients_returned": 9,
        "recipients_empty": 1,
        "recipients_invalid": 1,
        "recipients_duplicate": 1,
        "recipients_sampled_out": 2,
        "recipients_accepted": 4,
        "recipients_imported": 4,
    }


async def test_text_that_a_tool_wrote_into_the_status_is_not_logged(lines: Lines) -> None:
    text = "jane doe, eyJhbGciOi"
    odd = WHOLE.model_copy(update={"id": text, "survey_id": text, "distribution_id": text, "reason": text})
    await store_of(Cluster()).change(KEY, adding(odd))
    log_delivery(
        exporter(), followed_deliveries.item_of(odd), Delivery(request_status=text, stopped_reason=text, sent=1)
    )
    run, delivery = lines()
    assert (run["result"], delivery["sent"]) == ("Succeeded", 1)
    assert not re.search("jane|doe|eyJ", lines.getvalue())


def test_line_of_the_console_format_has_the_same_fields() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Console())
    before = entry_log.log.level
    entry_log.log.setLevel(logging.INFO)
    entry_log.log.addHandler(handler)
    try:
        log_delivery(exporter(), followed_deliveries.item_of(WHOLE), FIGURES)
    finally:
        entry_log.log.removeHandler(handler)
        entry_log.log.setLevel(before)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(
        f"delivery figures namespace=dex name=teams-rollout event=delivery uid={exporter().uid} run_id=whole "
        "survey_id=SV_1 distribution_id=EMD_1 send_time=2026-11-23T12:01:30Z observed_time=2026-11-23T12:02:00Z "
        "stopped_reason=DistributionNotFound request_status=Done sent=4 failed=0 bounced=1 blocked=0 skipped=0 "
        "opened=3 started=2 finished=1 complaints=0"
    )


async def test_table_of_the_documentation_has_exactly_the_fields_of_the_lines(lines: Lines) -> None:
    store = store_of(Cluster())
    await store.change(KEY, adding(WHOLE.model_copy(update={"result": "Unknown"})))
    await store.change(KEY, lambda found: found.status.model_copy(update={"history": [WHOLE]}))
    log_delivery(exporter(), followed_deliveries.item_of(WHOLE), FIGURES)
    fields: dict[str, set[str]] = {}
    for line in lines():
        for name in line.keys() - {"time", "level", "logger", "message"}:
            fields.setdefault(name, set()).add(line["event"])
    page = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("### Log of runs")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (`.+?`|all) \|", page, re.MULTILINE)
    documented: dict[str, set[str]] = {}
    for names, events in rows:
        found = {"run", "run_changed", "delivery"} if events == "all" else set(re.findall(r"`(\w+)`", events))
        documented |= dict.fromkeys(re.findall(r"`(\w+)`", names), found)
    assert documented == fields


@pytest.fixture
def operator() -> Iterator[VirtualOperator]:
    operator = VirtualOperator()
    yield operator
    operator.close()


def test_every_slot_and_test_has_one_line_and_figures_have_one_line_for_each_read(
    operator: VirtualOperator, lines: Lines
) -> None:
    operator.run(0.5)
    annotations = {"qualtrics-exporter.dev/test-requested-at": "one"}
    operator.server.change(NAMESPACE, HEALTHY, annotations=annotations)
    operator.run(12.2)
    found = lines()
    ended = [line for line in found if line["event"] == "run"]
    assert {(line["namespace"], line["name"]) for line in ended} == {(NAMESPACE, HEALTHY), (NAMESPACE, CHANGED)}
    assert Counter(line["run_id"] for line in ended).most_common(1)[0][1] == 1
    runs = [line for line in ended if line["trigger"] == "Schedule" and line["name"] == HEALTHY]
    assert len(runs) == operator.sent(HEALTHY) >= 12
    history = operator.status(HEALTHY)["history"]
    assert [line["run_id"] for line in runs[::-1]][:10] == [one["id"] for one in history], "it has two fewer entries"
    assert [line["trigger"] for line in ended].count("Test") == 1
    reads = Counter(line["run_id"] for line in found if line["event"] == "delivery")
    assert reads[runs[3]["run_id"]] == 3, "after 2, 10 and 60 minutes"
    newest = next(one for one in history if one.get("delivery"))
    line = [line for line in found if line["event"] == "delivery" and line["run_id"] == newest["id"]][-1]
    assert (line["sent"], line["observed_time"]) == (newest["delivery"]["sent"], newest["delivery"]["observedTime"])


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_log_of_the_real_operator_can_be_filtered_by_its_fields(stage: Stage, log_format: str) -> None:
    operator = stage.operator("--log-format", log_format)
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="one")
    run = exporter.until(lambda status: bool(status.get("history")), "the run has ended")["history"][0]

    def selected() -> list[dict[str, str]]:
        if log_format == "json":
            found = [json.loads(line) for line in operator.log.splitlines() if line.startswith("{")]
        else:
            found = [dict(re.findall(r" (\w+)=(\S+)", line)) for line in operator.log.splitlines()]
        return [line for line in found if line.get("event") == "run"]

    (line,) = eventually(selected, "the log has the line")
    assert (line["run_id"], line["trigger"], line["result"]) == (run["id"], "Request", run["result"])
    assert str(line["recipients_accepted"]) == str(run["recipients"]["accepted"])
