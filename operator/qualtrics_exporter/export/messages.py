"""What is told of a run that has ended, in sentences for people."""

from collections.abc import Collection, Mapping

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, timestamp
from qualtrics_exporter.resource.status import RecipientCounts as Counts

# Of several warnings the first one here becomes the entry's reason; its message has them all. People who are missing
# come first, nothing else shows them. Drift has a condition of its own, QueryInSync.
ABOUT_PEOPLE = (Reason.RESULT_TRUNCATED, Reason.IMPORT_INCOMPLETE, Reason.AUDIENCE_SHRANK)
BY_WEIGHT = (*ABOUT_PEOPLE, Reason.QUERY_DRIFT, Reason.QUERY_NOT_COMPARED)


def number_of(people: int) -> str:
    """So many people, in words."""
    return f"{people} {'person' if people == 1 else 'people'}"


def counted(counts: Counts | None) -> list[str]:
    """The stages from rows to the people of the query, sampled or not."""
    if counts is None:
        return []
    if not counts.returned:
        return ["The query returns nobody at present."]
    left_out = [
        f"{number} {what}"
        for number, what in (
            (counts.empty, "without an address"),
            (counts.invalid, "invalid"),
            (counts.duplicate, "duplicate"),
        )
        if number
    ]
    rows = f"{counts.returned} {'row' if counts.returned == 1 else 'rows'}"
    return [f"The query returned {rows}: {', '.join([number_of(counts.audience or 0), *left_out])}."]


def sampled(run: ActiveRun) -> list[str]:
    """How many people spec.sample left out, and whom the run is for."""
    counts, group = run.counts, run.sampled_group
    if counts is None or counts.sampled_out is None:
        return []
    out = f"spec.sample left out {number_of(counts.sampled_out)}"
    if group is None:
        return [f"{out}."]
    whom = f"group {group.group} of {group.groups}, whose slot is that of {timestamp(group.slot_time)}"
    return [f"{out}: the run is for {whom}, except people who were surveyed in this cycle."]


def advice(told: Collection[str], meanings: Mapping[Reason, str] | None = None) -> list[str]:
    """What each of these warnings means and asks for. `meanings` has the more precise ones."""
    meanings = meanings or {}
    return [f"{meanings.get(reason, reason.meaning)} {reason.next_step}" for reason in BY_WEIGHT if reason in told]


def unknown_message(run: ActiveRun, why: str) -> str:
    """What is told of a run that may have been sent: what to look for, how to settle it, and that life goes on."""
    when = timestamp(run.send_time) if run.send_time else "an unknown time"
    next_step = Reason.DELIVERY_UNKNOWN.next_step.replace("<run id>", run.id)
    return (
        f"Qualtrics was asked at {when} (UTC) to send survey {run.survey_id} to the {run.recipients} people of batch "
        f"{run.batch_id}; {why}. It will not be repeated. {next_step} In a cluster, the operator itself looks "
        "again 10 minutes, 1 hour and 6 hours after the send, or once if that is over."
    )
