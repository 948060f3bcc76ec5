"""The series of each exporter: what they show, and that their text is what Prometheus expects."""

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.telemetry import metric_definitions as definitions
from qualtrics_exporter.telemetry.exporter_figures import CONDITION_TYPES
from qualtrics_exporter.telemetry.exporter_series import PIECE, ExporterSeries
from tests.controller.exporters import at, body
from tests.support.work import work

PREFIX = "qualtrics_exporter_"
Labels = tuple[tuple[str, str], ...]


def entry(result: str, minute: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"run-{minute}",
        "trigger": "Schedule",
        "completionTime": f"2026-03-02T09:{minute:02d}:00Z",
        "result": result,
        "reason": result,
        "message": "To jane@example.com.",
        **more,
    }


def condition(type_: str, status: str = "True", reason: str = "Checked") -> dict[str, Any]:
    time = "2026-03-02T09:00:00Z"
    return {"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": time}


STATUS: dict[str, Any] = {
    "conditions": [condition("Ready"), condition("LastRunSucceeded", "False", "SurveyNotFound")],
    "scheduleSince": "2026-03-01T00:00:00Z",
    "nextScheduleTime": "2026-03-03T00:20:00Z",
    "lastSuccessfulTime": "2026-03-02T09:30:00Z",
    "history": [
        entry("Unknown", 45, trigger="Test", reason="DeliveryUnknown", sendTime="2026-03-02T09:44:30Z"),
        entry("Failed", 40, reason="SurveyNotFound"),
        entry("Held", 35, reason="RecipientLimitExceeded", recipients={"returned": 950, "accepted": 900}),
        entry("Held", 33, reason="RecipientLimitExceeded", recipients={"returned": 955, "accepted": 905}),
        entry(
            "Succeeded",
            30,
            sendTime="2026-03-02T09:29:50Z",
            recipients={"returned": 100, "empty": 1, "invalid": 2, "duplicate": 7, "sampledOut": 10, "accepted": 80},
            delivery={"requestStatus": "Done", "sent": 79, "bounced": 1, "observedTime": "2026-03-02T09:39:00Z"},
        ),
        entry("Succeeded", 20, recipients={"accepted": 5}, delivery={"sent": 5}),
    ],
}  # fmt: skip


def exporter(
    name: str = "teams", status: Any = None, *, uid: str = "", namespace: str = "dex", **spec: Any
) -> Exporter:
    found = body()
    found["metadata"] |= {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}"}
    found["spec"] |= spec
    found["status"] = STATUS if status is None else status
    return Exporter.from_object(found)


def text_of(series: ExporterSeries) -> str:
    return b"".join(series.pieces()).decode()


def shown(series: ExporterSeries, name: str = "teams") -> dict[tuple[str, Labels], float]:
    """The series of an exporter, as Prometheus reads them: by name and other labels, without those that are 0."""
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text_of(series)):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("name") == name and labels.pop("namespace") and sample.value:
                key = sample.name.removeprefix(PREFIX), tuple(sorted(labels.items()))
                assert key not in found, "a series exists twice"
                found[key] = sample.value
    return found


def series_with(*exporters: Exporter) -> ExporterSeries:
    series = ExporterSeries()
    for one in exporters:
        series.update(one, ready=True)
    return series


def time(text: str) -> float:
    return at(text).timestamp()


EXPECTED: dict[tuple[str, Labels], float] = {
    ("ready", ()): 1,
    ("last_success_timestamp_seconds", ()): time("2026-03-02 09:30"),
    ("next_slot_timestamp_seconds", ()): time("2026-03-03 00:20"),
    ("expected_interval_seconds", ()): 86_400,
    ("counted_since_timestamp_seconds", ()): time("2026-03-01 00:00"),
    ("last_sent_timestamp_seconds", ()): time("2026-03-02 09:29:50"),
    ("last_run_timestamp_seconds", ()): time("2026-03-02 09:40"),
    ("last_run_info", (("reason", "SurveyNotFound"), ("result", "Failed"))): 1,
    ("condition", (("reason", "Checked"), ("status", "True"), ("type", "Ready"))): 1,
    ("condition", (("reason", "SurveyNotFound"), ("status", "False"), ("type", "LastRunSucceeded"))): 1,
    ("unresolved_runs", ()): 1,
    ("last_run_recipients", (("stage", "returned"),)): 950,
    ("last_run_recipients", (("stage", "accepted"),)): 900,
    ("previous_run_recipients", (("stage", "accepted"),)): 80,
    ("previous_run_recipients", (("stage", "sampled_out"),)): 10,
    ("last_delivery_messages", (("outcome", "sent"),)): 79,
    ("last_delivery_messages", (("outcome", "bounced"),)): 1,
}


def test_series_show_the_status_and_leave_out_what_it_does_not_know() -> None:
    assert shown(series_with(exporter())) == EXPECTED


def test_text_is_the_same_as_that_of_prometheus_client() -> None:
    """Except that whole numbers have no decimal places."""

    class Expected(Collector):
        def collect(self) -> list[Metric]:
            found: dict[str, Any] = {}
            for definition in definitions.EXPORTER_METRICS:
                make = CounterMetricFamily if definition.type == "counter" else GaugeMetricFamily
                labels = ("namespace", "name", *definition.labels)
                found[definition.short_name] = make(definition.name, definition.text, labels=labels)
            for (name, labels), value in EXPECTED.items():
                found[name].add_metric(("dex", "teams", *map(dict(labels).get, found[name]._labelnames[2:])), value)
            found["suspended"].add_metric(("dex", "teams"), 0)
            results = ("Succeeded", "Failed", "Held", "Missed", "Skipped", "Unknown", "DryRun")
            for result in results:
                found["exporter_runs_total"].add_metric(("dex", "teams", result), 0)
            return list(found.values())

    def lines(text: str) -> list[str]:
        """The lines, with the numbers in one form."""
        pairs = (line.rsplit(" ", 1) for line in text.splitlines())
        return [f"{start} {float(end)}" if start[0] != "#" else f"{start} {end}" for start, end in pairs]

    registry = CollectorRegistry()
    registry.register(Expected())
    assert lines(text_of(series_with(exporter()))) == lines(generate_latest(registry).decode())


def test_exporter_that_never_ran_has_the_time_since_which_its_slots_count() -> None:
    found = shown(series_with(exporter(status={"scheduleSince": "2026-03-01T00:00:00Z"})))
    assert found[("counted_since_timestamp_seconds", ())] == time("2026-03-01 00:00")
    assert ("last_success_timestamp_seconds", ()) not in found
    assert ("last_run_timestamp_seconds", ()) not in found
    assert not [name for name, _ in found if name == "last_run_info"]


@pytest.mark.parametrize("spec", [{"dryRun": True}, {"suspend": True}])
def test_exporter_that_sends_nothing_on_purpose_has_no_time_since_which_its_slots_count(spec: dict[str, Any]) -> None:
    found = shown(series_with(exporter(**spec)))
    assert ("counted_since_timestamp_seconds", ()) not in found
    assert (("suspended", ()) in found) is ("suspend" in spec)


def test_last_send_is_also_known_after_its_entry_has_left_the_history() -> None:
    group = {"runId": "r", "groups": 1, "group": 1, "slotTime": "2026-02-01T00:00:00Z"}
    groups = [{**group, "sendTime": "2026-02-01T00:05:00Z"}, group]
    status: dict[str, Any] = {"history": [entry("Skipped", 1)], "sampledGroups": groups}
    found = shown(series_with(exporter(status=status)))
    assert found[("last_sent_timestamp_seconds", ())] == time("2026-02-01 00:05")
    followed = {"runId": "r", "surveyId": "SV_1", "distributionId": "EMD_1", "sendTime": "2026-02-02T00:05:00Z"}
    found = shown(series_with(exporter(status={**status, "followedDeliveries": [followed]})))
    assert found[("last_sent_timestamp_seconds", ())] == time("2026-02-02 00:05")


def test_times_at_which_credentials_expire_are_shown_by_side() -> None:
    status = {"credentialsExpiry": {"nexthink": "2027-01-01T00:00:00Z", "qualtrics": "2999-01-01T00:00:00Z"}}
    found = shown(series_with(exporter(status=status)))
    assert found[("credentials_expiry_timestamp_seconds", (("side", "nexthink"),))] == time("2027-01-01 00:00")
    far = found[("credentials_expiry_timestamp_seconds", (("side", "qualtrics"),))]
    assert far > time("2100-01-01 00:00"), "it is in the far future, but not missing"


def test_entries_that_this_process_wrote_are_counted_by_exporter_from_zero() -> None:
    series, teams = ExporterSeries(), exporter()
    failed = HistoryEntry.model_validate(entry("Failed", 50))
    series.count_run(teams, failed.result)  # the watch has not reported it
    series.update(teams, ready=True)
    assert 'exporter_runs_total{name="teams",namespace="dex",result="Failed"} 0\n' in text_of(series)
    series.count_run(teams, failed.result)
    series.update(teams, ready=False)
    series.count_run(teams, failed.result)
    assert shown(series)[("exporter_runs_total", (("result", "Failed"),))] == 2
    series.update(exporter(uid="recreated"), ready=True)
    assert ("exporter_runs_total", (("result", "Failed"),)) not in shown(series)
    series.count_run(teams, failed.result)  # by a task that still works on the deleted exporter
    assert ("exporter_runs_total", (("result", "Failed"),)) not in shown(series)


def test_series_end_with_the_exporter_but_not_with_an_earlier_one_of_its_name() -> None:
    series = series_with(exporter(), exporter("zoom"))
    series.update(exporter(uid="recreated"), ready=False)
    series.forget("dex", "teams", "uid-teams")
    assert ("expected_interval_seconds", ()) in shown(series)
    series.forget("dex", "teams", "recreated")
    assert shown(series) == {}
    assert shown(series, "zoom") == EXPECTED
    series.forget("dex", "zoom", "uid-zoom")
    assert [line for line in text_of(series).splitlines() if line[0] != "#"] == []


HOSTILE = 'Jane"} 1\n# \\ jane@example.com'
DAMAGED: dict[str, Any] = {
    "reason": {**STATUS, "history": [entry("Failed", 1, reason=HOSTILE)]},
    "condition": {"conditions": [condition("Ready", reason=HOSTILE), condition(HOSTILE), condition("Ready")]},
    "counts": {
        "history": [
            entry("Succeeded", 1, recipients={"returned": -1, "accepted": 1 << 52, "imported": 10**40, "empty": "x"})
        ]
    },
    "figures": {"history": [entry("Succeeded", 1, delivery={"sent": -5, "failed": 1 << 52, "opened": [1]})]},
    "times": {
        "scheduleSince": "8999-01-01T00:00:00Z",
        "lastSuccessfulTime": "0001-01-01T00:00:00Z",
        "nextScheduleTime": HOSTILE,
        "credentialsExpiry": {"nexthink": HOSTILE, "qualtrics": 7},
        "history": [entry("Succeeded", 1, sendTime="8999-12-31T23:59:59Z")],
    },
    "types": {"conditions": "x", "history": {"a": 1}, "sampledGroups": [1, None], "credentialsExpiry": ["x"]},
    "nothing": [],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_status_breaks_neither_the_page_nor_the_series_of_others(kind: str) -> None:
    series = series_with(exporter("before"), exporter("damaged", DAMAGED[kind]), exporter("later"))
    text = text_of(series)
    assert shown(series, "before") == shown(series, "later") == EXPECTED
    found = shown(series, "damaged")
    assert found[("ready", ())] == 1
    assert all(0 <= value < 1 << 32 for value in found.values())
    for secret in ("jane", "Jane", "@"):
        assert secret not in text
    if kind == "reason":
        assert found[("last_run_info", (("reason", "Other"), ("result", "Failed")))] == 1
    if kind == "condition":
        assert [dict(labels)["type"] for name, labels in found if name == "condition"] == ["Ready"]


def test_names_are_escaped_although_no_api_server_accepts_such_names() -> None:
    series = series_with(exporter(HOSTILE, namespace=HOSTILE))
    (family, *_) = text_string_to_metric_families(text_of(series))
    assert family.samples[0].labels == {"namespace": HOSTILE, "name": HOSTILE}
    series.forget(HOSTILE, HOSTILE, f"uid-{HOSTILE}")
    assert series.uids() == set()


@pytest.mark.parametrize("number", [0, 1, PIECE, 2 * PIECE + 1])
def test_text_comes_in_small_pieces(number: int) -> None:
    teams = exporter()
    series = series_with(*(replace(teams, name=f"teams-{n}") for n in range(number)))
    pieces = list(series.pieces())
    assert max(piece.count(b"\n") for piece in pieces) <= PIECE
    text = b"".join(pieces).decode()
    assert text.count(f"{PREFIX}ready{{") == number
    assert text.count("# TYPE ") == len(definitions.EXPORTER_METRICS)


def test_page_takes_the_same_work_for_each_exporter() -> None:
    """And little: a call for each line, and one for each metric without a line."""
    teams = exporter()

    def calls(number: int) -> int:
        series = series_with(*(replace(teams, name=f"teams-{n}") for n in range(number)))
        return work(lambda: list(series.pieces()))[1]

    hundred, thousand = calls(100), calls(1000)
    assert thousand < 10.5 * hundred
    assert (thousand - hundred) / 900 < 120


def test_exporter_that_changes_during_a_scrape_has_each_series_once() -> None:
    series = series_with(exporter(), exporter("zoom"))
    pieces = series.pieces()
    text = next(pieces) + next(pieces)
    series.forget("dex", "teams", "uid-teams")
    series.update(exporter("another"), ready=True)
    text += b"".join(pieces)
    lines = text.decode().splitlines()
    assert len(lines) == len(set(lines))
    assert not any("another" in line for line in lines), "the page is that of the moment when it began"


def test_conditions_are_those_that_the_operator_writes() -> None:
    assert set(CONDITION_TYPES) == conditions._OWN


def test_labels_contain_no_text_of_the_status() -> None:
    text = text_of(series_with(exporter(annotations={"a": "b"})))
    for private in ("jane@example.com", "run-", "users | list", "SV_", json.dumps(STATUS)[:20]):
        assert private not in text
