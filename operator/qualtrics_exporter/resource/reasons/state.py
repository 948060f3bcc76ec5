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

CHECKED = Definition("Checked", Kind.NOTE, CHECKS, "The spec, the credentials and both remote sides were checked.")
NOT_YET_CHECKED = Definition(
    "NotYetChecked", Kind.NOTE, FIRST_CHECK,
    "The operator has not finished its first check.",
)  # fmt: skip
NOT_YET_RUN = Definition("NotYetRun", Kind.NOTE, FIRST_RUN, "No run has ended yet.")
SUSPENDED = Definition(
    "Suspended", Kind.NOTE, SWITCH,
    "The exporter is suspended: it has no slots.",
    "Set spec.suspend to false.",
)  # fmt: skip
RECOVERED = Definition("Recovered", Kind.NOTE, EVENTS, "What was wrong before is well again.")
