"""What keeps a run from mailing people: pure rules over the spec and the answer of the query.

They all stand before anything is created in Qualtrics.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from qualtrics_exporter.export.query import Answer
from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NEVER_COMPARED, Spec
from qualtrics_exporter.resource.status import HistoryEntry, Result

Stop = tuple[Result, Reason, str]


def check_sender(spec: Spec) -> None:
    """The rule about the sender's domain once more, whoever made this spec: nobody else stands before the mail."""
    for rule in spec.qualtrics.rules:
        if not rule.holds(spec.qualtrics):
            raise Permanent(rule.reason, f"spec.qualtrics.{rule.field} {rule.message}")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that stops nothing, and that a user should know."""

    reason: Reason
    text: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"


def contradictions(spec: Spec) -> list[Remark]:
    """Settings that each make sense, and not together."""
    if spec.nexthink.result_source == "Export" and spec.nexthink.drift_policy == "Hold":
        return [Remark(Reason.QUERY_NOT_COMPARED, f"spec.nexthink.resultSource is Export: {NEVER_COMPARED}")]
    return []


@dataclass(frozen=True, slots=True)
class QueryText:
    """What the text of a query says of itself: why it must not run, if so, and what is told without that."""

    error: Permanent | None
    remarks: tuple[Remark, ...]


def check_text(spec: Spec) -> QueryText:
    """Check the text of the query. Raises nothing.

    Nexthink runs the saved query, and this text is what it is meant to say: who reviews one that is wrong does not know
    whom the other one names. With `queryCheck: Warn` nothing stops it.
    """
    found = check(spec.nexthink.query, spec.nexthink.parameters, spec.schedule.interval(), spec.cycle())
    errors = [finding for finding in found if finding.stops(spec.nexthink.query_check)]
    # What is certain comes first: it must not be among those for which there is no room.
    others = sorted((f for f in found if not f.stops(spec.nexthink.query_check)), key=lambda f: not f.certain)
    remarks = [Remark(finding.reason, _told(spec, finding)) for finding in others[:_SHOWN_REMARKS]]
    if more := len(others) - len(remarks):
        last = remarks.pop()
        remarks.append(Remark(last.reason, f"{last.text}; and {more} more, which `qualtrics-exporter validate` shows"))
    return QueryText(_error(spec, errors) if errors else None, tuple(remarks))


_SHOWN_REMARKS = 3


def _error(spec: Spec, errors: list[Finding]) -> Permanent:
    more = len(errors) - 1
    others = f"; and {more} more error{'s' if more > 1 else ''}" if more else ""
    told = f"spec.nexthink.query, {_told(spec, errors[0])}{others}"
    return Permanent(errors[0].reason, told, next_step="Should the check be wrong, set spec.nexthink.queryCheck: Warn.")


def _told(spec: Spec, finding: Finding) -> str:
    if finding.reason is Reason.QUERY_PARAMETER_UNUSED:
        return finding.message  # it stands beside the query
    return f"{Source(spec.nexthink.query).position(finding.span.start)}: {finding.message}"


def guard(spec: Spec, answer: Answer, *, limited: bool, previous: int | None = None) -> Stop | None:
    """How the run ends here, or None if it may go on.

    `limited`: a test, which has 20 people at most, so that their number says nothing. `previous` is how many people the
    query named in the run before; None if that is not to be compared. All people of the query count, also those whom
    `spec.sample` leaves out.
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
    """Why a run of so many people is held, or None: `maxRecipients` and `minRecipients`."""
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
    """Whether so many people are less than a tenth of those of the run before, where `minRecipients` is not set."""
    return spec.min_recipients is None and previous is not None and people * 10 < previous


def previous_audience(history: Iterable[HistoryEntry]) -> int | None:
    """How many people the query named in the newest run that went through; None if there is none.

    A run that a guard held does not count: it may have had too many people.
    """
    went_through = (e for e in history if e.result in ("Succeeded", "DryRun", "Unknown") and e.trigger != "Test")
    audiences = (entry.recipients.audience for entry in went_through if entry.recipients)
    return next((people for people in audiences if people is not None), None)


def warnings(spec: Spec, answer: Answer, previous: int | None = None) -> list[Reason]:
    """What a user should know of the answer although the run goes on."""
    found = [Reason.RESULT_TRUNCATED] if answer.truncated else []
    if shrank(spec, len(answer.recipients), previous):
        found.append(Reason.AUDIENCE_SHRANK)
    if answer.sync.in_sync is None:
        found.append(Reason.QUERY_NOT_COMPARED)
    return found + ([Reason.QUERY_DRIFT] if answer.sync.in_sync is False else [])
