"""Messages of runs that ended, as sentences for users."""

from collections.abc import Collection, Mapping, Sequence

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, RecipientCounts, timestamp

ABOUT_PEOPLE = (Reason.RESULT_TRUNCATED, Reason.IMPORT_INCOMPLETE, Reason.AUDIENCE_SHRANK)
BY_WEIGHT = (*ABOUT_PEOPLE, Reason.QUERY_DRIFT, Reason.QUERY_NOT_COMPARED)
"""The first of these warnings that a run has becomes the reason of its entry; the message has all of them. Missing
people come first, because only this message reports them. Drift also has the condition QueryInSync."""


def heaviest(warnings: Collection[str] | None, order: Sequence[Reason] = BY_WEIGHT) -> Reason | None:
    """The warning that becomes the reason of the entry, if there is one."""
    return next((reason for reason in order if reason in (warnings or ())), None)


def format_people(number: int) -> str:
    """This number of people, as in `1 person`."""
    return f"{number} {'person' if number == 1 else 'people'}"


def describe_counts(counts: RecipientCounts | None) -> list[str]:
    """How many rows became how many people, before the sample."""
    if counts is None:
        return []
    if not counts.returned:
        return ["The query currently returns nobody."]
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
    return [f"The query returned {rows}: {', '.join([format_people(counts.audience or 0), *left_out])}."]


def describe_sample(run: ActiveRun) -> list[str]:
    """How many people `spec.sample` left out, and which group the run surveys."""
    counts, group = run.counts, run.sampled_group
    if counts is None or counts.sampled_out is None:
        return []
    out = f"spec.sample left out {format_people(counts.sampled_out)}"
    if group is None:
        return [f"{out}."]
    selected = f"group {group.group} of {group.groups}, whose slot is that of {timestamp(group.slot_time)}"
    return [f"{out}: the run is for {selected}, except people who were surveyed in this cycle."]


def explain_warnings(warnings: Collection[str], meanings: Mapping[Reason, str] | None = None) -> list[str]:
    """What each of these warnings means, and what to do. `meanings` has more precise meanings."""
    meanings = meanings or {}
    return [f"{meanings.get(reason, reason.meaning)} {reason.next_step}" for reason in BY_WEIGHT if reason in warnings]


def sent_message(run: ActiveRun) -> str:
    """The message of a run, or of a test that delivers, whose survey was sent."""
    counts, warnings = run.counts, run.warnings or []
    what = "The test was delivered to" if run.trigger == "Test" else "The survey was sent, as one distribution, to"
    imported = run.recipients or 0
    accepted = (counts and counts.accepted) or imported
    incomplete = f"Qualtrics imported {imported} of {format_people(accepted)} into the batch, and did not say why."
    sentences = [f"{what} {format_people(imported)}.", *describe_sample(run)]
    sentences += explain_warnings(warnings, {Reason.IMPORT_INCOMPLETE: incomplete})
    if accepted > imported and Reason.IMPORT_INCOMPLETE not in warnings:
        sentences.append(f"Qualtrics rejected the other {accepted - imported} of {accepted} addresses.")
    return " ".join(sentences)


def nobody_sampled_message(run: ActiveRun, waiting: str | None) -> str:
    """The message of a run whose sample has none of the people of the query. `waiting` is that of the sample."""
    meaning = "This run surveys nobody: nothing was created in Qualtrics."
    why = [*describe_sample(run), *([waiting] if waiting else [])]
    return " ".join([meaning, *why, *explain_warnings(run.warnings or [])])


def unknown_message(run: ActiveRun, why: str) -> str:
    """The message of a run that may have sent: what to look for, how to resolve the run, and what happens next."""
    when = timestamp(run.send_time) if run.send_time else "an unknown time"
    next_step = Reason.DELIVERY_UNKNOWN.next_step.replace("<run id>", run.id)
    return (
        f"Qualtrics was asked at {when} (UTC) to send survey {run.survey_id} to the {run.recipients} people of batch "
        f"{run.batch_id}; {why}. The send will not be repeated. {next_step} In a cluster, the operator looks for it "
        "again 10 minutes, 1 hour and 6 hours after the send, or once if these times have passed."
    )
