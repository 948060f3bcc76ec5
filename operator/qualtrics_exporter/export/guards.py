"""What keeps a run from mailing people: pure rules over the spec and the answer of the query.

They all stand before anything is created in Qualtrics.
"""

from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Result

from .query import Answer

Stop = tuple[Result, Reason, str]


def check_sender(spec: Spec) -> None:
    """The rule about the sender's domain once more, whoever made this spec: nobody else stands before the mail."""
    for rule in spec.qualtrics.rules:
        if not rule.holds(spec.qualtrics):
            raise Permanent(rule.reason, f"spec.qualtrics.{rule.field} {rule.message}")


def check_query(spec: Spec) -> None:
    """What the text of the query says of itself. Raises `Permanent` for what is certainly wrong with it.

    Nexthink runs the saved query, and this text is what it is meant to say: who reviews one that is wrong does not know
    whom the other one names. With `queryCheck: Warn` nothing is certain.
    """
    if not (errors := [finding for finding in _findings(spec) if finding.stops(spec.nexthink.query_check)]):
        return
    more = len(errors) - 1
    others = f"; and {more} more error{'s' if more > 1 else ''}" if more else ""
    reason = errors[0].reason
    raise Permanent(
        reason,
        f"spec.nexthink.query, {_told(spec, errors[0])}{others}",
        next_step=f"{reason.next_step} Should the check be wrong, set spec.nexthink.queryCheck: Warn.",
    )


def query_remarks(spec: Spec) -> list[str]:
    """Warnings about the text of the query, as sentences that begin with their reason."""
    found = [finding for finding in _findings(spec) if not finding.stops(spec.nexthink.query_check)]
    told = [f"{finding.reason}: {_told(spec, finding)}" for finding in found[:_SHOWN_REMARKS]]
    more = len(found) - len(told)
    return [*told, *([f"And {more} more, which `qualtrics-exporter validate` shows"] if more else [])]


def _findings(spec: Spec) -> list[Finding]:
    return check(spec.nexthink.query, spec.nexthink.parameters, spec.schedule.interval())


_SHOWN_REMARKS = 3


def _told(spec: Spec, finding: Finding) -> str:
    return f"{Source(spec.nexthink.query).position(finding.span.start)}: {finding.message}"


def guard(spec: Spec, answer: Answer, *, limited: bool) -> Stop | None:
    """How the run ends here, or None if it may go on. `limited`: a test, which never has too many people."""
    if spec.nexthink.drift_policy == "Hold" and not (answer.sync and answer.sync.in_sync):
        if answer.sync:
            why = answer.sync.message
        else:
            why = "Nexthink did not say which query it ran, so that it cannot be compared with spec.nexthink.query."
        return "Held", Reason.QUERY_DRIFT, f"{why} Nobody was mailed, as spec.nexthink.driftPolicy is Hold."
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
    return found + ([Reason.QUERY_DRIFT] if answer.sync and not answer.sync.in_sync else [])
