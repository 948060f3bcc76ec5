"""What users write: `spec`. Every rule stands beside its field, with the sentence that a user reads.

A rule is either plain schema (type, enum, length) or a CEL expression with a message: the API server shows the message
instead of a regular expression (facts/kubernetes.md section 5). Lengths are generous on purpose: an exceeded maxLength
hides all CEL sentences.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


def cel(*rules: dict[str, str]) -> dict[str, Any]:
    """CEL rules for `json_schema_extra`: dictionaries of `rule`, `message` or `messageExpression`, `fieldPath`."""
    return {"x-kubernetes-validations": list(rules)}


class Model(BaseModel):
    """camelCase outside, snake_case inside; unknown fields are tolerated, a newer CRD may have let them in."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def _id(prefix: str, what: str) -> Any:
    return Field(
        max_length=64,
        json_schema_extra=cel(
            {
                "rule": f"self.matches('^{prefix}_[0-9a-zA-Z]{{11,15}}$')",
                "message": f"must be the id of {what}, {prefix}_ and 11 to 15 letters and digits: "
                "see Account Settings > Qualtrics IDs in Qualtrics",
            }
        ),
    )


SurveyId = Annotated[str, _id("SV", "a survey")]
DirectoryId = Annotated[str, _id("POOL", "a directory")]
MessageId = Annotated[str, _id("MS", "a library message")]
LibraryId = Annotated[str, _id("UR", "a library")]
MailingListId = Annotated[str, _id("CG", "a mailing list")]
EmailAddress = Annotated[
    str,
    Field(
        max_length=254,
        json_schema_extra=cel(
            {
                "rule": "self.matches('^[^@ ,;<>]+@[^@ ,;<>]+[.][^@ ,;<>.]+$')",
                "message": "must be one e-mail address, for example dex@example.com",
            }
        ),
    ),
]


class SecretRef(Model):
    """A Secret in the namespace of the exporter."""

    name: str = Field(
        description="Name of the Secret, in the namespace of the exporter.",
        max_length=253,
        json_schema_extra=cel(
            {
                "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
                "message": "must be the name of a Secret: lower case letters, digits, - and .",
            }
        ),
    )


class ScheduleSpec(Model):
    """When to ask."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            {
                "rule": "(self.frequency == 'Hourly') == has(self.everyHours)",
                "fieldPath": ".everyHours",
                "messageExpression": "self.frequency == 'Hourly'"
                " ? 'everyHours is required with frequency Hourly: one of 1, 2, 3, 4, 6, 12'"
                " : 'everyHours goes with frequency Hourly only: remove it'",
            },
            {
                "rule": "(self.frequency == 'Weekly') == has(self.dayOfWeek)",
                "fieldPath": ".dayOfWeek",
                "messageExpression": "self.frequency == 'Weekly'"
                " ? 'dayOfWeek is required with frequency Weekly, for example Monday'"
                " : 'dayOfWeek goes with frequency Weekly only: remove it'",
            },
        )
    )

    frequency: Literal["Hourly", "Daily", "Weekly"] = Field(
        description="How often: Hourly (every everyHours hours, at 20 minutes past), Daily (at 00:20) or Weekly (at "
        "00:00 on dayOfWeek), in timeZone. The 20 minutes let Nexthink close its last time bucket."
    )
    every_hours: Literal[1, 2, 3, 4, 6, 12] | None = Field(
        None,
        description="Hours between two slots, counted from midnight: 1, 2, 3, 4, 6 or 12. Required for Hourly, refused "
        "otherwise.",
    )
    day_of_week: Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] | None = Field(
        None, description="The day of a Weekly schedule. Required for Weekly, refused otherwise."
    )
    time_zone: str | None = Field(
        None,
        max_length=64,
        description="IANA time zone in which hours and days are counted, for example Europe/Zurich. Without it the "
        "operator's --time-zone holds, UTC unless set.",
        json_schema_extra=cel(
            {
                "rule": "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local'"
                " && timestamp('2024-01-01T00:00:00Z').getHours(self) >= 0",
                "message": "must be an IANA time zone such as Europe/Zurich",
            }
        ),
    )
    starting_deadline_seconds: int | None = Field(
        None,
        ge=60,
        le=86400,
        description="How many seconds late a slot may still start, if the operator was down when it fell due; 3600 "
        "without it. A slot that is later still is reported as Missed and mails nobody.",
    )


class NexthinkSpec(Model):
    """Whom to ask."""

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Nexthink API credentials. Its keys: url (or instance and region), clientId, "
        "clientSecret; optional: tokenUrl, scope."
    )
    query: str = Field(
        min_length=1,
        max_length=16384,
        description="The NQL, as reviewed in Git: it returns one field, the e-mail addresses of the people to ask. "
        "Nexthink runs the saved query of queryId; this text is compared with what really ran.",
    )
    query_id: str = Field(
        max_length=512,
        description='The id under which Nexthink keeps the query, for example "#teams_rollout" (quoted in YAML, '
        "because of the #). The public API of Nexthink runs saved queries only.",
        json_schema_extra=cel(
            {
                "rule": "self.matches('^#[a-z0-9_]{2,255}$')",
                "message": "must be # and 2 to 255 of a-z, 0-9 and _, as shown in the Nexthink web console; "
                'quote it in YAML because of the #: "#teams_rollout"',
            }
        ),
    )
    parameters: dict[Annotated[str, Field(max_length=255)], Annotated[str, Field(max_length=1024)]] | None = Field(
        None,
        max_length=20,
        description="Values for the $names of the query, without the $.",
        json_schema_extra=cel(
            {
                "rule": "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
                "message": "names are letters, digits and _, without the $",
            }
        ),
    )
    drift_policy: Literal["Warn", "Hold"] | None = Field(
        None,
        description="What to do when Nexthink runs something else than query: Warn (the default) sends and sets "
        "QueryInSync to False, Hold mails nobody.",
    )
    query_check: Literal["Enforce", "Warn"] | None = Field(
        None,
        description="What a check of the text of query may do when it is certain of an error: Enforce (the default) or "
        "Warn, should the checker ever be wrong. This version compares the query with what ran, it does not check it.",
    )


class QualtricsSpec(Model):
    """What to send."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            {
                "rule": "(has(self.allowCustomFromDomain) && self.allowCustomFromDomain) || self.fromEmail"
                ".lowerAscii().matches('@(qemailserver|qualtrics-survey|qualtrics-research)[.]com$')",
                "fieldPath": ".fromEmail",
                "message": "must be at qemailserver.com, qualtrics-survey.com or qualtrics-research.com; "
                "for a domain registered in your Qualtrics brand set allowCustomFromDomain: true",
            }
        )
    )

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Qualtrics API credentials. Its keys: url (https://<datacenter>.qualtrics.com),"
        " clientId, clientSecret; optional: tokenUrl, scope."
    )
    survey_id: SurveyId = Field(description="The survey that people are asked to answer: SV_…. It must be active.")
    directory_id: DirectoryId = Field(description="The XM Directory that holds the mailing list: POOL_….")
    message_id: MessageId = Field(
        description="The invitation to send, a library message of the category Email Invites: MS_…."
    )
    library_id: LibraryId = Field(description="The library that holds the message: UR_….")
    mailing_list_id: MailingListId = Field(
        description="The mailing list that people are added to: CG_…. Only the people of a run are mailed, never the "
        "whole list."
    )
    from_email: EmailAddress = Field(
        description="The sender's address: any name at qemailserver.com, qualtrics-survey.com or "
        "qualtrics-research.com; another domain with allowCustomFromDomain."
    )
    allow_custom_from_domain: bool | None = Field(
        None, description="Allow a fromEmail of another domain, one that is registered in your Qualtrics brand."
    )
    from_name: str = Field(min_length=1, max_length=255, description="The sender's name as people see it.")
    reply_to_email: EmailAddress | None = Field(None, description="Where replies go. Without it: to fromEmail.")
    subject: str = Field(min_length=1, max_length=255, description="The subject of the mail.")
    link_expiration_days: int | None = Field(
        None, ge=1, le=365, description="Days after the send for which the survey link works. Without it: no end."
    )


class Spec(Model):
    """What is wanted."""

    description: str | None = Field(None, max_length=1024, description="What the survey is for. For people only.")
    suspend: bool | None = Field(
        None,
        description="While true there are no slots and run requests are refused; a run that has not reached the send "
        "is stopped. A test still works.",
    )
    schedule: ScheduleSpec = Field(description="When to ask. The first slot is the next one that falls due.")
    nexthink: NexthinkSpec = Field(description="Whom to ask: the people that a Nexthink query returns.")
    qualtrics: QualtricsSpec = Field(description="What to send: a Qualtrics survey, by a library message.")
    max_recipients: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="A run with more recipients than this is held: nobody is mailed. Without it: no limit.",
    )
    dry_run: bool | None = Field(
        None, description="While true a run does everything but the send, people are imported into the batch."
    )
