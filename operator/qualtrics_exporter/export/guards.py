"""What keeps a run from mailing people: pure rules over the spec and the answer of the query.

They all stand before anything is created in Qualtrics.
"""

from dataclasses import dataclass

from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NEVER_COMPARED, Spec
from qualtrics_exporter.resource.status import Result

from .query import Answer

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
    found = check(spec.nexthink.query, spec.nexthink.parameters, spec.schedule.interval())
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


def guard(spec: Spec, answer: Answer, *, limited: bool) -> Stop | None:
    """How the run ends here, or None if it may go on. `limited`: a test, which never has too many people."""
    if spec.nexthink.drift_policy == "Hold" and not answer.sync.in_sync:
        reason = Reason.QUERY_NOT_COMPARED if answer.sync.in_sync is None else Reason.QUERY_DRIFT
        return "Held", reason, f"{answer.sync.message} Nobody was mailed, as spec.nexthink.driftPolicy is Hold."
    people, most = len(answer.recipients), spec.max_recipients
    if most is not None and people > most and not limited:
        reason = Reason.RECIPIENT_LIMIT_EXCEEDED
        what = f"The query names {people} people, spec.maxRecipients is {most}: nobody was mailed."
        return "Held", reason, f"{what} {reason.next_step}"
    if not people:
        return "Succeeded", Reason.NO_RECIPIENTS, Reason.NO_RECIPIENTS.meaning
    return None


def warnings(answer: Answer) -> list[Reason]:
    """What a user should know of the answer although the run goes on."""
    found = [Reason.RESULT_TRUNCATED] if answer.truncated else []
    return found + ([Reason.QUERY_DRIFT] if answer.sync.in_sync is False else [])
