"""What a command writes into an exporter, and whether it may, as functions of the object.

Each function returns a merge patch, or raises `Refused` with the reason. The API server applies the patch only to the
object that the function saw (`Kubectl.patch`). So two people who run an exporter at the same moment cause one run: the
second patch conflicts, and then the first request is in the object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from qualtrics_exporter.controller.plan.requests import RUN, SETTLEMENT, TEST, Kind, requested
from qualtrics_exporter.controller.status.resolution import (
    OutcomeReport,
    is_reported,
    reportable,
    understood,
    unknown_entries,
)
from qualtrics_exporter.export.messages import format_people
from qualtrics_exporter.pages.times import ago
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import HistoryEntry, timestamp

OLD_COUNT_SECONDS = 24 * 3600
"""After this time, a count of the people says little about the query now."""
TEST_PEOPLE = 20
"""A test that delivers mails at most this many people."""

Patch = Mapping[str, Any]


class Refused(Exception):
    """The request would be refused, or would not do what the user expects. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of this command: the patch that makes it, and the id of the run that it starts."""

    patch: Patch
    run_id: str


def request_run(exporter: Exporter, now: datetime) -> Request:
    """Request a run. `now` becomes its token. Raises `Refused` while anything else is in progress."""
    _check_idle(exporter, now)
    if exporter.spec is None:
        raise Refused(f"the spec is invalid, so nothing can be sent: {exporter.spec_error}")
    if exporter.suspended:
        raise Refused("the exporter is suspended, so the operator would skip the request. Resume it first")
    return _request(RUN, exporter, RUN_REQUESTED_AT, timestamp(now))


def request_test(exporter: Exporter, now: datetime, *, deliver: bool) -> Request:
    """Request a test. Raises `Refused` while anything else is in progress."""
    _check_idle(exporter, now)
    mode = {TEST_MODE: "Deliver" if deliver else "Dry"}
    return _request(TEST, exporter, TEST_REQUESTED_AT, test_token(now, deliver=deliver), mode)


def test_token(now: datetime, *, deliver: bool) -> str:
    """The token of a test. With `dry`, the operator delivers nothing even if a tool restores an old `Deliver`."""
    return timestamp(now) if deliver else f"dry-{timestamp(now)}"


def suspension(exporter: Exporter, *, suspend: bool) -> Patch | None:
    """Suspend or resume; None if the exporter is in that state already."""
    return None if exporter.suspended == suspend else {"spec": {"suspend": suspend}}


def report_outcome(exporter: Exporter, value: str, now: datetime) -> Request:
    """Report the outcome of an unknown run, or correct a report. Raises `Refused` if the operator would refuse it.

    A value acts once. If this one was handled before, it gets the time, so that it acts again.
    """
    report = parse_report(value)
    if report.run not in [entry.id for entry in reportable(exporter.status)]:
        unknown = [entry.id for entry in unknown_entries(exporter.status)]
        known = f"These are unknown: {', '.join(unknown)}" if unknown else "No run of this exporter is unknown"
        raise Refused(f"no entry of a run {report.run} ended Unknown. {known}")
    annotated = replace(exporter, annotations={**exporter.annotations, SETTLE_RUN: value})
    return _request(
        SETTLEMENT, exporter, SETTLE_RUN, value if requested(SETTLEMENT, annotated) else repeated(value, now)
    )


def repeated(value: str, now: datetime) -> str:
    """The same report, as a new value."""
    return f"{value}@{timestamp(now)}"


def is_newest_report(exporter: Exporter, value: str) -> bool:
    """Whether this report was handled last, or is the one that the operator handles next."""
    waits = exporter.annotations.get(SETTLE_RUN) == value and requested(SETTLEMENT, exporter) is not None
    return waits or exporter.status.last_handled_settlement == value


def parse_report(value: str) -> OutcomeReport:
    """The report in this text. Raises `Refused` if it is not one."""
    report = understood(value)
    if report is None:
        raise Refused("write RUN=Sent, RUN=NotSent or RUN=EMD_…, with the id of the run and of the distribution")
    return report


def check_same(uid: str, exporter: Exporter) -> None:
    """Raise `Refused` if the exporter was deleted, and this is another one of its name."""
    if exporter.uid != uid:
        raise Refused("the exporter was deleted, and another one has its name now. Nothing was changed")


def check_unchanged(uid: str, generation: int, exporter: Exporter) -> None:
    """Raise `Refused` unless this is still the exporter for which the user confirmed the request."""
    check_same(uid, exporter)
    if exporter.generation != generation:
        raise Refused("somebody has changed the exporter in the meantime. Nothing was requested. Look again")


def latest(exporter: Exporter) -> str:
    """The newest run and the newest test, as one text. It changes when another one ends, or if one ended otherwise."""
    entries = (next(iter(exporter.status.history or ()), None), exporter.status.last_test)
    return ",".join(_seen(entry) for entry in entries)


def _seen(entry: HistoryEntry | None) -> str:
    """The entry as the user saw it: its id, and how it ended if that is not certain."""
    if entry is None:
        return ""
    certain = entry.result != "Unknown" and not is_reported(entry)
    return entry.id if certain else f"{entry.id} {entry.result} {entry.reason} {entry.distribution_id or ''}".rstrip()


def known_outcome(exporter: Exporter, run_id: str) -> str:
    """What is known of the outcome of a run, as one text. It changes with each report about it."""
    return _seen(next((entry for entry in exporter.status.entries if entry.id == run_id), None))


def check_same_outcome(seen: str, exporter: Exporter, run_id: str) -> None:
    """Raise `Refused` if something else became known of the outcome since the user saw `known_outcome`."""
    if known_outcome(exporter, run_id) != seen:
        raise Refused("something became known of this run in the meantime. Nothing was reported. Look again")


def check_no_newer_run(seen: str, exporter: Exporter) -> None:
    """Raise `Refused` if a run or test has ended since the user saw `latest`.

    The run may have mailed the same people, and the test may have counted others.
    """
    if latest(exporter) != seen:
        raise Refused("a run or a test has ended in the meantime. Nothing was requested. Look again")


def gitops_tool(exporter: Mapping[str, Any]) -> str | None:
    """The GitOps tool that applied the exporter, by the labels and annotations that such tools set."""
    metadata = exporter["metadata"]
    keys = {*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})}
    if any(key.startswith(("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")) for key in keys):
        return "Flux"
    return "Argo CD" if any(key.startswith("argocd.argoproj.io/") for key in keys) else None


def _request(kind: Kind, exporter: Exporter, annotation: str, token: str, more: Mapping[str, str] = {}) -> Request:
    annotations = {annotation: token, **more}
    if not requested(kind, replace(exporter, annotations={**exporter.annotations, **annotations})):
        raise Refused("the operator has handled the same request already, so it would do nothing. Look again")
    return Request({"metadata": {"annotations": annotations}}, kind.id_of(exporter.uid, token))


def _check_idle(exporter: Exporter, now: datetime) -> None:
    """Raise `Refused` if a run is in progress or requested: a second one would mail the same people again."""
    if exporter.deleting:
        raise Refused("the exporter is being deleted")
    if exporter.status.observed_generation < 0:
        # A token that is there when the operator first sees the object does nothing, because Git may have restored it.
        raise Refused("no operator has seen this exporter yet, so the request would be lost. Is an operator running?")
    if run := exporter.status.active_run:
        what = {"Test": "a test", "Request": "a requested run"}.get(run.trigger, "the run of a slot")
        raise Refused(f"{what} is in progress. It began {ago(run.start_time, now)}. Wait until it has ended")
    for kind, what in ((RUN, "a run"), (TEST, "a test")):
        if requested(kind, exporter):
            raise Refused(f"{what} is requested already, and the operator has not begun it. Wait until it has ended")


@dataclass(frozen=True, slots=True)
class Audience:
    """How many people a run would probably mail: as counted last, and when."""

    people: int
    counted: datetime
    by: str
    """What counted them: `test` or `run`."""


def audience(exporter: Exporter) -> Audience | None:
    """The newest count of the people; None if nothing has counted them yet."""
    found = [
        Audience(people, entry.completion_time, "test" if entry.trigger == "Test" else "run")
        for entry in exporter.status.entries
        if (people := _people(entry)) is not None
    ]
    return max(found, key=lambda count: count.counted, default=None)


def _people(entry: HistoryEntry) -> int | None:
    """How many people the entry counted; None if it may have stopped at the limit of a test that delivers."""
    people = entry.recipients.accepted if entry.recipients else None
    limited = entry.trigger == "Test" and entry.reason != Reason.TEST_PASSED
    return None if limited and people is not None and people <= TEST_PEOPLE else people


def doubts(exporter: Exporter, now: datetime) -> list[str]:
    """What the user should know before the same people are mailed again: sends that may have happened, and the last."""
    found = [
        f"It is unknown whether run {entry.id} was sent. If it was, the same people get the survey again. Look in "
        "Qualtrics first."
        for entry in unknown_entries(exporter.status)
    ]
    if sent := last_sent(exporter):
        people = sent.recipients.accepted if sent.recipients else None
        to = "" if people is None else f", to {format_people(people)}"
        found.append(f"The survey was last sent {ago(sent.send_time, now)}{to}.")
    return found


def last_sent(exporter: Exporter) -> HistoryEntry | None:
    """The newest run that was sent, as far as is known."""
    runs = (entry for entry in exporter.status.history or () if entry.send_time and entry.result == "Succeeded")
    return next(runs, None)


def format_audience(exporter: Exporter, now: datetime) -> str:
    """How many people a run mails, as far as it is known."""
    count = audience(exporter)
    test = "a test counts them without sending"
    if count is None:
        return f"all people of the query (nobody has counted them yet: {test})"
    found = f"about {format_people(count.people)} (counted {ago(count.counted, now)} by a {count.by}"
    return f"{found}: {test})" if (now - count.counted).total_seconds() > OLD_COUNT_SECONDS else f"{found})"
