"""Reasons that describe the state of an exporter."""

from qualtrics_exporter.resource.reasons.definition import (
    CHECKS,
    EVENTS,
    FIRST_CHECK,
    FIRST_RUN,
    SWITCH,
    Definition,
    Kind,
)

CHECKED = Definition(
    "Checked", Kind.NOTE, CHECKS,
    "The spec, the credentials and the remote services passed the check.",
)  # fmt: skip
NOT_YET_CHECKED = Definition(
    "NotYetChecked", Kind.NOTE, FIRST_CHECK,
    "The operator has not finished its first check.",
)  # fmt: skip
NOT_YET_RUN = Definition("NotYetRun", Kind.NOTE, FIRST_RUN, "No run has ended yet.")
SUSPENDED = Definition(
    "Suspended", Kind.NOTE, SWITCH,
    "The exporter is suspended, so it has no slots.",
    "To resume, set spec.suspend to false.",
)  # fmt: skip
RECOVERED = Definition("Recovered", Kind.NOTE, EVENTS, "A problem that was reported before is resolved.")
