"""Formats the outcome of a run as text, for people and their scripts."""

from collections.abc import Iterator

from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts, timestamp
from qualtrics_exporter.telemetry.redact import redact

GOOD = ("Succeeded", "DryRun")


def report(name: str, entry: HistoryEntry, *, earlier: bool = False) -> str:
    """The report. With `earlier`, the run ended before this command, which only reports it."""
    facts = {
        "result": entry.result,
        "reason": entry.reason,
        "message": redact(entry.message),
        "recipients": ", ".join(_counts(entry.recipients)) if entry.recipients else "",
        "survey": entry.survey_id,
        "batch": entry.batch_id,
        "distribution": entry.distribution_id,
        "asked to send": timestamp(entry.send_time) if entry.send_time else "",
        "run": entry.id,
    }
    lines = [f"  {fact:<14}{value}" for fact, value in facts.items() if value]
    if earlier and entry.completion_time:
        about = f"an earlier run, which ended at {timestamp(entry.completion_time)}; this command sent nothing"
        lines.insert(0, f"  {'about':<14}{about}")
    return "\n".join([f"{name}:", *lines])


def _counts(counts: RecipientCounts) -> Iterator[str]:
    if counts.returned is not None:
        yield f"{counts.returned} rows"
    for what in ("empty", "invalid", "duplicate"):
        if number := getattr(counts, what):
            yield f"{number} {what}"
    if counts.sampled_out is not None:
        yield f"{counts.sampled_out} left out by spec.sample"
    if counts.accepted is not None:
        yield f"{counts.accepted} accepted"
    if counts.imported is not None:
        yield f"{counts.imported} imported by Qualtrics"
