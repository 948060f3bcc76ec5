"""What users write: `spec`. Every rule stands beside its field, with the sentence that a user reads.

A rule is either plain schema (type, enum, length) or a `Rule`: the API server shows its sentence instead of a regular
expression (docs/facts/kubernetes.md section 5). Lengths are generous on purpose: an exceeded maxLength hides all
sentences.

The operator reads an object by these models too, and keeps to the same rules, because an older CRD may have let
anything in. Fields that it does not know are tolerated: a newer CRD may have let them in.
"""

from datetime import timedelta
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from qualtrics_exporter import schedule
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.rules import Rule, broken, with_rules


class Model(BaseModel):
    """camelCase outside, snake_case inside; unknown fields are tolerated."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )


class SpecModel(Model):
    """As the API server, it takes no text for a number and no word for true."""

    model_config = ConfigDict(strict=True)


class RuledModel(SpecModel):
    """A model whose `rules` are those between its fields.

    A class of its own, because a check in Python takes longer than the rest of a model, and a status has many models.
    """

    rules: ClassVar[tuple[Rule, ...]]

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        if wrong := [rule for rule in self.rules if not rule.holds(self)]:
            raise broken(wrong)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(schema)
        resolved = handler.resolve_ref_schema(reference)
        resolved |= with_rules(resolved, cls.rules)
        return reference


def _as_in_json(value: Any) -> Any:
    # To JSON, 5.0 is a whole number and true is no number; Python has it the other way round.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, bool) else value


MOST_PARAMETERS = 20


def _parameters(value: Any) -> Any:
    # As the API server, which takes an entry without a value for none. One too many shows that there are too many, and
    # each could be a finding of its own.
    if not isinstance(value, dict):
        return value
    given = ((key, inner) for key, inner in value.items() if inner is not None)
    return dict(islice(given, MOST_PARAMETERS + 1))


_NUMBER = BeforeValidator(_as_in_json)


def _id(prefix: str, what: str) -> Rule:
    return Rule.pattern(
        f"^{prefix}_[0-9a-zA-Z]{{11,15}}$",
        f"must be the id of {what}, {prefix}_ and 11 to 15 letters and digits: "
        "see Account Settings > Qualtrics IDs in Qualtrics",
    )


SurveyId = Annotated[str, Field(max_length=64), _id("SV", "a survey")]
DirectoryId = Annotated[str, Field(max_length=64), _id("POOL", "a directory")]
MessageId = Annotated[str, Field(max_length=64), _id("MS", "a library message")]
LibraryId = Annotated[str, Field(max_length=64), _id("UR", "a library")]
MailingListId = Annotated[str, Field(max_length=64), _id("CG", "a mailing list")]

_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EmailAddress = Annotated[
    str,
    Field(max_length=254),
    Rule.pattern(
        rf"^{_ATOM}([.]{_ATOM})*@({_LABEL}[.])+[A-Za-z]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])$",
        "must be one plain e-mail address, for example dex@example.com, without a name or <>; "
        "an international domain in its xn-- form",
    ),
    Rule(
        "self.indexOf('@') <= 64",
        "must have at most 64 characters before the @",
        lambda address: address.find("@") <= 64,
        json_schema={"pattern": "^[^@]{1,64}@"},
    ),
]


def _only_with(field: str, frequency: str) -> dict[str, Any]:
    """A field that one frequency must have and the others must not."""
    this = {"properties": {"frequency": {"const": frequency}}, "required": ["frequency"]}
    return {"if": this, "then": {"required": [field]}, "else": {"properties": {field: False}}}


def _in_any_case(text: str) -> str:
    return "".join(f"[{sign.lower()}{sign.upper()}]" if sign.isalpha() else f"[{sign}]" for sign in text)


_FROM_DOMAINS = ("@qemailserver.com", "@qualtrics-survey.com", "@qualtrics-research.com")

# Line breaks in a mail header begin another header; control characters can also rewrite a terminal.
_ONE_LINE = Rule.pattern(
    "^[^\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]*$",
    "must be one line, without line breaks or other control characters: write it on one line, or with >- in YAML",
)
# White space in RE2 and in Python is not the same: these are named. Zero-width ones are as empty to people.
_NOT_BLANK = Rule.pattern(
    "[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f-\u2060\u3000\ufeff]",
    "must hold more than white space",
)
HeaderText = Annotated[str, Field(max_length=255), _ONE_LINE, _NOT_BLANK]

_ZONE = Rule.pattern("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "")


def _is_zone(name: str) -> bool:
    if not _ZONE.holds(name):
        return False
    try:
        schedule.zone(name)
    except schedule.UnknownTimeZone:
        return False
    return True


TimeZone = Annotated[
    str,
    Field(max_length=64),
    Rule(
        # getHours fails for a zone that the API server does not know; the rest are names of files beside the zones.
        f"{_ZONE.expression} && !self.matches('^(posix|right)/') && !(self in ['Local', 'localtime', 'posixrules'])"
        " && timestamp('2024-01-01T00:00:00Z').getHours(self) >= 0",
        "must be the name of an IANA time zone, with its capitals: for example Europe/Zurich, America/New_York or UTC",
        _is_zone,
        json_schema=_ZONE.json_schema,
    ),
]


class SecretRef(SpecModel):
    """A Secret in the namespace of the exporter."""

    name: Annotated[
        str,
        Field(max_length=253),
        Rule.pattern(
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            "must be the name of a Secret: lower case letters, digits, - and ., with a letter or digit at both ends",
        ),
    ] = Field(description="Name of the Secret, in the namespace of the exporter: for example nexthink.")


class ScheduleSpec(RuledModel):
    """When to ask: every few hours, every day, or once a week."""

    rules = (
        Rule(
            "self.frequency != 'Hourly' || has(self.everyHours)",
            "must be given with frequency Hourly: one of 1, 2, 3, 4, 6, 12",
            lambda spec: spec.frequency != "Hourly" or spec.every_hours is not None,
            field="everyHours",
            missing=True,
            json_schema=_only_with("everyHours", "Hourly"),
        ),
        Rule(
            "self.frequency == 'Hourly' || !has(self.everyHours)",
            "goes with frequency Hourly only: remove it",
            lambda spec: spec.frequency == "Hourly" or spec.every_hours is None,
            field="everyHours",
            unwanted=True,
        ),
        Rule(
            "self.frequency != 'Weekly' || has(self.dayOfWeek)",
            "must be given with frequency Weekly: for example Monday",
            lambda spec: spec.frequency != "Weekly" or spec.day_of_week is not None,
            field="dayOfWeek",
            missing=True,
            json_schema=_only_with("dayOfWeek", "Weekly"),
        ),
        Rule(
            "self.frequency == 'Weekly' || !has(self.dayOfWeek)",
            "goes with frequency Weekly only: remove it",
            lambda spec: spec.frequency == "Weekly" or spec.day_of_week is None,
            field="dayOfWeek",
            unwanted=True,
        ),
    )

    frequency: Literal["Hourly", "Daily", "Weekly"] = Field(
        description="How often: Hourly (every everyHours hours, at 20 minutes past), Daily (at 00:20) or Weekly (at "
        "00:00 on dayOfWeek), in timeZone. The 20 minutes let Nexthink close its last time bucket. A time that the "
        "clocks skip moves to the first instant after the gap; one that they show twice counts once."
    )
    every_hours: Annotated[Literal[1, 2, 3, 4, 6, 12], _NUMBER] | None = Field(
        None,
        description="Hours between two slots, counted from midnight: 1, 2, 3, 4, 6 or 12. Required for Hourly, refused "
        "otherwise.",
    )
    day_of_week: Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] | None = Field(
        None, description="The day of a Weekly schedule. Required for Weekly, refused otherwise."
    )
    time_zone: TimeZone | None = Field(
        None,
        description="IANA time zone in which hours and days are counted, for example Europe/Zurich. Without it the "
        "operator's --time-zone holds, UTC unless set.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=60, le=86400), _NUMBER] | None = Field(
        None,
        description="How late a slot may start, in seconds; 3600 by default. Only time in which no operator was "
        "running counts. Time in which the slot waits for its turn does not. When an operator is back, it runs the "
        "newest slot that is not too late. It reports the others as Missed, and nobody is mailed for them.",
    )

    def in_zone(self, default: str) -> schedule.Schedule:
        """The schedule, in this time zone unless it names one. Raises ValueError for a zone or a schedule that is not
        valid."""
        zone = schedule.zone(self.time_zone or default)
        return schedule.Schedule(self.frequency, zone, self.every_hours, self.day_of_week)

    def interval(self) -> timedelta:
        """The time from one slot to the next, in any zone."""
        return schedule.Schedule(self.frequency, ZoneInfo("UTC"), self.every_hours, self.day_of_week).interval()


NEVER_COMPARED = (
    "with driftPolicy: Hold, every run is held, because an export does not say which query ran. "
    "Set driftPolicy: Warn, or resultSource: Auto"
)
"""What is said of `resultSource: Export` with `driftPolicy: Hold`."""

LONGEST_QUERY = 16000
"""Characters of a query that Nexthink takes (docs/facts/nexthink.md section 4, D)."""


MOST_GROUPS = 366
"""With a daily schedule: once a year."""


class NexthinkSpec(SpecModel):
    """Whom to ask: the people that a Nexthink query returns."""

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Nexthink API credentials, in the namespace of the exporter. Its keys: url "
        "(https://<instance>.api.<region>.nexthink.cloud) or instance and region, clientId, clientSecret; optional: "
        "tokenUrl, scope."
    )
    query: Annotated[
        str,
        Field(max_length=32768),
        _NOT_BLANK,
        Rule(
            f"self.size() <= {LONGEST_QUERY}",
            f"must have at most {LONGEST_QUERY} characters, as Nexthink has it",
            lambda query: len(query) <= LONGEST_QUERY,
            json_schema={"maxLength": LONGEST_QUERY},
        ),
    ] = Field(
        description="The NQL, as reviewed in Git: it returns one field, the e-mail addresses of the people to ask, so "
        "it usually ends with `| list ad.email_address`. It is checked by `qualtrics-exporter validate` and when the "
        "operator sees it. Nexthink runs the saved query of queryId; this text is compared with what "
        "really ran, see driftPolicy.",
    )
    query_id: Annotated[
        str,
        Field(max_length=512),
        Rule.pattern(
            "^#[a-z0-9_]{2,255}$",
            "must be # and 2 to 255 of a-z, 0-9 and _, as shown in the Nexthink web console; "
            'quote it in YAML because of the #: "#teams_rollout"',
        ),
    ] = Field(
        description='The id under which Nexthink keeps the query, for example "#teams_rollout" (quoted in YAML, '
        "because of the #). An administrator saves it in Nexthink under NQL API queries: the public API of Nexthink "
        "runs saved queries only.",
    )
    parameters: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=1024)]],
            Field(max_length=MOST_PARAMETERS),
            Rule.pattern(
                "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
                "must be named by letters, digits and _, at most 255 of them, without the $",
            ).for_each_key(),
            BeforeValidator(_parameters),
        ]
        | None
    ) = Field(
        None,
        description="Values for the $names of the query, by name without the $: {days: 7d} for a $days. All values are "
        "text.",
    )
    drift_policy: Literal["Warn", "Hold"] | None = Field(
        None,
        description="What to do when Nexthink runs something else than query: Warn (the default) sends and sets "
        "QueryInSync to False, Hold mails nobody. Hold also mails nobody if it is unknown what ran, see resultSource. "
        "White space, comments, letter case outside quotes and filled-in "
        "parameters make no difference.",
    )
    result_source: Literal["Auto", "Export"] | None = Field(
        None,
        description="Where the result of the query comes from. Auto (the default): Nexthink executes the query at "
        "once, which works for queries that take a few seconds; if Nexthink fails to do so, or returns its maximum of "
        "1,000 rows, the result comes from an export. If Nexthink failed to execute the query, the following runs "
        "use an export at once: until the spec changes, for 8 days if the failure lasts, and for a day at most "
        "otherwise. See status.heavyQuery. A query that is known to have drifted is executed in each run. Export: the "
        "result always comes from an export. An export does not say which query ran: QueryInSync is Unknown, and "
        "driftPolicy: Hold holds every such run.",
    )
    query_check: Literal["Enforce", "Warn"] | None = Field(
        None,
        description="What the check of the text of query does when it is certain of an error: Enforce (the default) "
        "runs nothing until it is corrected, Warn only tells it in Ready, should the check ever be wrong.",
    )


class QualtricsSpec(RuledModel):
    """What to send: a Qualtrics survey, by an invitation from a library."""

    rules = (
        Rule(
            "(has(self.allowCustomFromDomain) && self.allowCustomFromDomain) || self.fromEmail"
            ".lowerAscii().matches('@(qemailserver|qualtrics-survey|qualtrics-research)[.]com$')",
            "must be at qemailserver.com, qualtrics-survey.com or qualtrics-research.com "
            "(one of these, depending on your brand); "
            "for a domain registered in your Qualtrics brand set allowCustomFromDomain: true",
            lambda spec: bool(spec.allow_custom_from_domain) or spec.from_email.lower().endswith(_FROM_DOMAINS),
            field="fromEmail",
            reason=Reason.FROM_EMAIL_NOT_ALLOWED,
            json_schema={
                "if": {"properties": {"allowCustomFromDomain": {"const": True}}, "required": ["allowCustomFromDomain"]},
                "else": {"properties": {"fromEmail": {"pattern": f"({'|'.join(map(_in_any_case, _FROM_DOMAINS))})$"}}},
            },
        ),
    )

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Qualtrics API credentials, in the namespace of the exporter. Its keys: url "
        "(https://<datacenter>.qualtrics.com), clientId, clientSecret; optional: tokenUrl, scope."
    )
    survey_id: SurveyId = Field(
        description="The survey that people are asked to answer: SV_…, see Account Settings > Qualtrics IDs. It must "
        "be active."
    )
    directory_id: DirectoryId = Field(
        description="The XM Directory that holds the mailing list: POOL_…. With a wrong one Qualtrics imports nobody."
    )
    message_id: MessageId = Field(
        description="The invitation to send: MS_…, a library message of the category Email Invites whose text holds "
        "${l://SurveyLink} or ${l://SurveyURL}."
    )
    library_id: LibraryId = Field(description="The library that holds the message: UR_…, of a user or of a group.")
    mailing_list_id: MailingListId = Field(
        description="The mailing list that people are added to: CG_…. Only the people of a run are mailed, never the "
        "whole list."
    )
    from_email: EmailAddress = Field(
        description="The sender's address: any name at qemailserver.com, qualtrics-survey.com or "
        "qualtrics-research.com (one of these, depending on your brand). Another domain needs allowCustomFromDomain."
    )
    allow_custom_from_domain: bool | None = Field(
        None,
        description="Allow a fromEmail of another domain, one that is registered in your Qualtrics brand. Qualtrics "
        "may take a mail from any other domain, and then not deliver it.",
    )
    from_name: HeaderText = Field(description="The sender's name as people see it, for example Digital Workplace.")
    reply_to_email: EmailAddress | None = Field(
        None, description="Where replies go, at any domain. Without it: to fromEmail."
    )
    subject: HeaderText = Field(
        description="The subject of the mail. Qualtrics does not send the same subject and text to the same people "
        "again within hours; text piped in by Qualtrics can tell two mails apart."
    )
    link_expiration_days: Annotated[int, Field(ge=1, le=365), _NUMBER] | None = Field(
        None, description="Days after the send for which the survey link works. Without it: no end."
    )


class SampleSpec(RuledModel):
    """Which part of the audience each slot surveys. No person is stored for it."""

    rules = (
        Rule(
            "has(self.groups) || has(self.percent)",
            "must be given, or percent: for example groups: 4",
            lambda sample: sample.groups is not None or sample.percent is not None,
            field="groups",
            missing=True,
            json_schema={"anyOf": [{"required": ["groups"]}, {"required": ["percent"]}]},
        ),
        Rule(
            "!has(self.groups) || !has(self.percent)",
            "must not be given together with groups: remove one of the two",
            lambda sample: sample.groups is None or sample.percent is None,
            field="percent",
            unwanted=True,
            json_schema={"not": {"required": ["groups", "percent"]}},
        ),
    )

    groups: Annotated[int, Field(ge=2, le=MOST_GROUPS), _NUMBER] | None = Field(
        None,
        description="Divide everybody into this many groups of about the same size, and survey one group in each slot, "
        "in turn. Nobody is surveyed more often than once in this many slots, and missed slots count. The group of a "
        "person follows from the address and from the namespace and name of the exporter. A requested run surveys the "
        "group of the newest slot that is due, except people who were surveyed since that group's turn before.",
    )
    percent: Annotated[int, Field(ge=1, le=99), _NUMBER] | None = Field(
        None,
        description="Survey about this part of the people, chosen at random in each run. The same person can be "
        "chosen in several runs. To prevent that, use groups.",
    )


class Spec(RuledModel):
    """What is wanted: on this schedule, ask these people this survey."""

    rules = (
        Rule(
            "!has(self.minRecipients) || !has(self.maxRecipients) || self.minRecipients <= self.maxRecipients",
            "must not be more than maxRecipients",
            lambda spec: spec.max_recipients is None or (spec.min_recipients or 0) <= spec.max_recipients,
            field="minRecipients",
        ),
    )

    description: Annotated[str, Field(max_length=1024), _ONE_LINE] | None = Field(
        None, description="What the survey is for, in one line. For people only: it is not sent."
    )
    suspend: bool | None = Field(
        None,
        description="While true there are no slots and run requests are refused; a run that has not reached the send "
        "is stopped. A test still works. What fell due meanwhile is not made up for.",
    )
    schedule: ScheduleSpec = Field(
        description="When to ask. The first slot is the next one that falls due: nothing runs because an exporter was "
        "created, changed or resumed."
    )
    nexthink: NexthinkSpec = Field(description="Whom to ask: the people that a Nexthink query returns.")
    qualtrics: QualtricsSpec = Field(
        description="What to send: a Qualtrics survey, by a library message. The ids stand in Qualtrics under Account "
        "Settings > Qualtrics IDs."
    )
    max_recipients: Annotated[int, Field(ge=1, le=1_000_000), _NUMBER] | None = Field(
        None,
        description="A run with more recipients than this is held: nobody is mailed, and the history entry says "
        "RecipientLimitExceeded. Without it: no limit. With sample, everybody counts, also who is left out.",
    )
    min_recipients: Annotated[int, Field(ge=0, le=1_000_000), _NUMBER] | None = Field(
        None,
        description="A run with fewer recipients than this is held: nobody is mailed, and the history entry says "
        "TooFewRecipients. Protects from a broken connector, which makes a query return few people or nobody. With "
        "sample, everybody counts, also who is left out. It does not apply to tests that deliver. Without it, a run "
        "with less than a tenth of the people of the run before is sent, with the reason AudienceShrank. 0 turns that "
        "off too.",
    )
    sample: SampleSpec | None = Field(
        None,
        description="Survey a part of the people in each run: one of several groups in turn (groups), or a random part "
        "(percent). Without it: everybody. Tests are not sampled.",
    )
    dry_run: bool | None = Field(
        None,
        description="While true, a run asks Nexthink for the people, counts them and checks them against the limits. "
        "Nothing is created in Qualtrics, nobody is imported, and nobody is e-mailed.",
    )

    def cycle(self) -> timedelta:
        """The time in which everybody is surveyed at most once: all groups of `sample`, or one slot without groups."""
        return self.schedule.interval() * ((self.sample and self.sample.groups) or 1)
