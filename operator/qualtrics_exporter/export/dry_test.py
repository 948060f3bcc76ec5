"""The test that e-mails nobody: check both services in full, and count the people of the query."""

from datetime import datetime
from typing import NamedTuple

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.checks import NOTHING_KNOWN, Connections, Known, check
from qualtrics_exporter.export.guards import guard, warnings
from qualtrics_exporter.export.messages import describe_counts, explain_warnings
from qualtrics_exporter.export.query import Reserve, Wanted
from qualtrics_exporter.export.recipients import COUNTED_BYTES, MAX_OTHERS
from qualtrics_exporter.export.result_memory import LARGE_RESULT
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, Result

_COMPARISON = (Reason.QUERY_DRIFT, Reason.QUERY_NOT_COMPARED)


class DryTest(NamedTuple):
    """The result of a dry test."""

    entry: HistoryEntry
    verdict: Verdict


def counting(spec: Spec, *, reserve: Reserve | None = None, export_first: bool = False) -> Wanted:
    """What a dry test reads of the result: how many people there are. It keeps no address."""
    people = (spec.max_recipients or LARGE_RESULT) + MAX_OTHERS
    return Wanted(keep=0, recognize=people, reserve=reserve, export_first=export_first)


def counting_bytes(spec: Spec) -> int:
    """The most memory that counting a large result takes, without the part that is never reserved (`MAX_OTHERS`)."""
    return (spec.max_recipients or LARGE_RESULT) * COUNTED_BYTES


async def dry_test(
    spec: Spec,
    connections: Connections,
    clock: Clock,
    run_id: str,
    *,
    wanted: Wanted | None = None,
    known: Known = NOTHING_KNOWN,
    previous: int | None = None,
) -> DryTest:
    """Do the test. `wanted` replaces the default `counting`, `known` is as for `check`, `previous` as for `guard`."""
    start = clock.now()
    verdict = await check(spec, connections, wanted=wanted or counting(spec), known=known)
    return DryTest(dry_test_entry(verdict, spec, run_id, start, clock.now(), previous), verdict)


def dry_test_entry(
    verdict: Verdict, spec: Spec | None, run_id: str, start: datetime, end: datetime, previous: int | None = None
) -> HistoryEntry:
    """The entry for `status.lastTest`. The test ends as a run would end before its import.

    `spec` is None if it cannot be used; then `verdict.spec` says why. `previous` is as for `guard`.
    """
    result: Result = "Succeeded"
    answer, reason = verdict.answer, Reason.TEST_PASSED
    stop = guard(spec, answer, limited=False, previous=previous) if spec and answer else None
    if first := verdict.error:
        result, reason = "Failed", first.reason
        message = " ".join(error.message for error in verdict.errors)
    elif stop and stop[0] == "Held":
        result, reason, message = stop
        message = " ".join([message, *describe_counts(verdict.counts)])
    else:
        sentences = [reason.meaning, "Both services were checked in full.", *describe_counts(verdict.counts)]
        if spec and answer:
            sentences += explain_warnings(
                [found for found in warnings(spec, answer, previous) if found not in _COMPARISON]
            )
            sentences += [] if answer.sync.in_sync else [answer.sync.message]  # it says where the queries differ
        sentences += [str(warning) for warning in verdict.qualtrics_warnings]
        message = " ".join(sentences)
    return HistoryEntry(
        id=run_id,
        trigger="Test",
        start_time=start,
        completion_time=end,
        result=result,
        reason=str(reason),
        message=message,
        recipients=verdict.counts,
        survey_id=spec.qualtrics.survey_id if spec else None,
    )
