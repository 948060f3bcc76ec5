"""A form that is filled in."""

from qualtrics_exporter.cli.console.form import Form, sent_form
from qualtrics_exporter.cli.console.form_check import check
from qualtrics_exporter.cli.console.form_fields import fields

NEW = {
    "metadata.name": "teams-rollout",
    "spec.schedule.frequency": "Weekly",
    "spec.schedule.dayOfWeek": "Monday",
    "spec.nexthink.credentialsSecretRef.name": "nexthink",
    "spec.nexthink.query": "users | with execution.events during past 7d\n| list ad.email_address",
    "spec.nexthink.queryId": "#teams_rollout",
    "spec.qualtrics.credentialsSecretRef.name": "qualtrics",
    "spec.qualtrics.surveyId": "SV_teamsRollout01",
    "spec.qualtrics.directoryId": "POOL_employees00001",
    "spec.qualtrics.mailingListId": "CG_everybody0001",
    "spec.qualtrics.libraryId": "UR_library000001",
    "spec.qualtrics.messageId": "MS_invitation0001",
    "spec.qualtrics.subject": "How is Teams working for you?",
    "spec.qualtrics.fromName": "Digital Workplace",
    "spec.qualtrics.fromEmail": "noreply@qemailserver.com",
}


def filled(**texts: str) -> Form:
    """A new form with everything that is required, and these texts by the last part of the name."""
    named = {each.name: texts[each.path[-1]] for each in fields() if each.path[-1] in texts}
    return sent_form({**NEW, **named}.items(), {})


def problems(form: Form) -> dict[str, str]:
    """The messages of a complete form by the name of their field, or an empty name."""
    return {each.field.name if each.field else "": each.message for each in check(form, complete=True).problems}
