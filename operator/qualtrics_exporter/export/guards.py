"""Rules that stop a run before it e-mails anybody, and warnings that do not stop it.

The rules are pure functions of the spec and the answer to the query. A run applies all of them before it creates
anything in Qualtrics.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NEVER_COMPARED, Spec
from qualtrics_exporter.resource.status import HistoryEntry, Result

if TYPE_CHECKING:  # imported at run time, the clients would make `kubectl qex` slow
    from qualtrics_exporter.export.query import QueryResult
    from qualtrics_exporter.nql.findings import Finding

Stop = tuple[Result, Reason, str]


def check_sender(spec: Spec) -> None:
    """Check the sender's domain again: an older CRD may have accepted the spec. Raises `Permanent`."""
    for rule in spec.qualtrics.rules:
        if not rule.holds(spec.qualtrics):
            raise Permanent(rule.reason, f"spec.qualtrics.{rule.field} {rule.message}")


@dataclass(frozen=True, slots=True)
class CheckWarning:
    """Something that the user should know although it is not an error. `what` is a clause without a full stop."""

    reason: Reason
    what: str

    @property
    def message(self) -> str:
        return self.what if self.what.endswith("?") else f"{self.what}."

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def contradictions(spec: Spec) -> list[CheckWarning]:
    """Settings that make sense separately and not together."""
    if spec.nexthink.result_source == "Export" and spec.nexthink.drift_policy == "Hold":
        return [CheckWarning(Reason.QUERY_NOT_COMPARED, f"spec.nexthink.resultSource is Export: {NEVER_COMPARED}")]
    return []


@dataclass(frozen=True, slots=True)
class QueryText:
    """What is wrong with the text of a query: the error, which prevents its execution, and the warnings."""

    error: Permanent | None
    warnings: tuple[CheckWarning, ...]


def check_text(spec: Spec) -> QueryText:
    """Check the text of the query. Raises nothing.

    Nexthink runs the saved query, and reviewers read this text: if it is wrong, they do not know who receives the
    survey. With `queryCheck: Warn`, all findings are warnings.
    """
    # Imported in the thread that checks the text, because the grammar takes time and memory.
    from qualtrics_exporter.nql.check import check

    found = check(spec.nexthink.query, spec.nexthink.parameters, spec.schedule.interval(), spec.cycle())
    errors = [finding for finding in found if finding.stops(spec.nexthink.query_check)]
    # Certain findings come first, so that they are not among those that are left out.
    others = sorted((f for f in found if not f.stops(spec.nexthink.query_check)), key=lambda f: not f.certain)
    shown = [CheckWarning(finding.reason, _describe(spec, finding)) for finding in others[:_SHOWN_WARNINGS]]
    if more := len(others) - len(shown):
        last = shown.pop()
        what = f"{last.what}; and {more} more, which `qualtrics-exporter validate` shows"
        shown.append(CheckWarning(last.reason, what))
    return QueryText(_error(spec, errors) if errors else None, tuple(shown))


_SHOWN_WARNINGS = 3


def _error(spec: Spec, errors: "list[Finding]") -> Permanent:
    more = len(errors) - 1
    others = f"; and {more} more error{'s' if more > 1 else ''}" if more else ""
    what = f"spec.nexthink.query, {_describe(spec, errors[0])}{others}"
    return Permanent(errors[0].reason, what, next_step="Should the check be wrong, set spec.nexthink.queryCheck: Warn.")


def _describe(spec: Spec, finding: "Finding") -> str:
    if finding.reason is Reason.QUERY_PARAMETER_UNUSED:
        return finding.message  # the parameter is not in the text of the query
    from qualtrics_exporter.nql.source import Source

    return f"{Source(spec.nexthink.query).position(finding.span.start)}: {finding.message}"


def guard(spec: Spec, answer: "QueryResult", *, limited: bool, previous: int | None = None) -> Stop | None:
    """How the run ends because of drift or its number of people; None if it continues.

    `limited`: the run is a test with at most 20 people, whose number is not compared with the limits. `previous` is how
    many people the query returned in the previous run; None if the numbers are not to be compared. All people of the
    query count, including those that `spec.sample` leaves out.
    """
    if spec.nexthink.drift_policy == "Hold" and not answer.sync.in_sync:
        reason = Reason.QUERY_NOT_COMPARED if answer.sync.in_sync is None else Reason.QUERY_DRIFT
        return "Held", reason, f"{answer.sync.message} Nobody was mailed, as spec.nexthink.driftPolicy is Hold."
    people = len(answer.recipients)
    if not limited and (stop := check_audience(spec, people)):
        return stop
    if not people:
        if shrank(spec, people, previous):
            reason = Reason.AUDIENCE_SHRANK
            return "Succeeded", reason, f"{_NOBODY} {reason.meaning} {reason.next_step}"
        return "Succeeded", Reason.NO_RECIPIENTS, _NOBODY
    return None


_NOBODY = "The query returned nobody: nothing was created in Qualtrics."


def check_audience(spec: Spec, people: int) -> Stop | None:
    """Why a run with this number of people is held, or None: `maxRecipients` and `minRecipients`."""
    most, least = spec.max_recipients, spec.min_recipients
    if most is not None and people > most:
        reason = Reason.RECIPIENT_LIMIT_EXCEEDED
        what = f"The query names {people} people, spec.maxRecipients is {most}: nobody was mailed."
        return "Held", reason, f"{what} {reason.next_step}"
    if least is not None and people < least:
        reason = Reason.TOO_FEW_RECIPIENTS
        what = f"The query names {people} people, spec.minRecipients is {least}: nobody was mailed."
        return "Held", reason, f"{what} {reason.next_step}"
    return None


def shrank(spec: Spec, people: int, previous: int | None) -> bool:
    """Whether the number of people is less than a tenth of the previous one. False if `minRecipients` is set."""
    return spec.min_recipients is None and previous is not None and people * 10 < previous


def previous_audience(history: Iterable[HistoryEntry]) -> int | None:
    """How many people the query returned in the newest completed run; None if there is no such run.

    A run that was held does not count: it may have had too many people.
    """
    completed = (e for e in history if e.result in ("Succeeded", "DryRun", "Unknown") and e.trigger != "Test")
    audiences = (entry.recipients.audience for entry in completed if entry.recipients)
    return next((people for people in audiences if people is not None), None)


def warnings(spec: Spec, answer: "QueryResult", previous: int | None = None) -> list[Reason]:
    """Warnings about the answer, with which the run continues."""
    found = [Reason.RESULT_TRUNCATED] if answer.truncated else []
    if shrank(spec, len(answer.recipients), previous):
        found.append(Reason.AUDIENCE_SHRANK)
    if answer.sync.in_sync is None:
        found.append(Reason.QUERY_NOT_COMPARED)
    return found + ([Reason.QUERY_DRIFT] if answer.sync.in_sync is False else [])
