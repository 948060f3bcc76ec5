"""`spec.qualtrics`: the survey and its invitation."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import WHOLE_NUMBER, RuledModel
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.rules import Rule
from qualtrics_exporter.resource.spec.secret import SecretRef
from qualtrics_exporter.resource.spec.text import NOT_BLANK, ONE_LINE


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
        "must be one plain e-mail address, for example dex@example.com, without a name or <>; an international domain "
        "in its xn-- form",
    ),
    Rule(
        "self.indexOf('@') <= 64",
        "must have at most 64 characters before the @",
        lambda address: address.find("@") <= 64,
        json_schema={"pattern": "^[^@]{1,64}@"},
    ),
]


def _in_any_case(text: str) -> str:
    return "".join(f"[{sign.lower()}{sign.upper()}]" if sign.isalpha() else f"[{sign}]" for sign in text)


_FROM_DOMAINS = ("@qemailserver.com", "@qualtrics-survey.com", "@qualtrics-research.com")
HeaderText = Annotated[str, Field(max_length=255), ONE_LINE, NOT_BLANK]


class QualtricsSpec(RuledModel):
    """What to send: a Qualtrics survey, with an invitation from a library."""

    rules = (
        Rule(
            "(has(self.allowCustomFromDomain) && self.allowCustomFromDomain) || self.fromEmail"
            ".lowerAscii().matches('@(qemailserver|qualtrics-survey|qualtrics-research)[.]com$')",
            "must be at qemailserver.com, qualtrics-survey.com or qualtrics-research.com (one of these, depending on "
            "your brand); for a domain registered in your Qualtrics brand, set allowCustomFromDomain: true",
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
        description="The Secret with the Qualtrics API credentials, in the namespace of the exporter. Required keys: "
        "url (https://<datacenter>.qualtrics.com), clientId, clientSecret. Optional keys: tokenUrl, scope."
    )
    survey_id: SurveyId = Field(
        description="The id of the survey: SV_…, see Account Settings > Qualtrics IDs. The survey must be active."
    )
    directory_id: DirectoryId = Field(
        description="The XM Directory with the mailing list: POOL_…. With a wrong directory, Qualtrics imports nobody."
    )
    message_id: MessageId = Field(
        description="The invitation to send: MS_…, a library message of the category Email Invites whose text contains "
        "${l://SurveyLink} or ${l://SurveyURL}."
    )
    library_id: LibraryId = Field(description="The library with the message: UR_…, of a user or of a group.")
    mailing_list_id: MailingListId = Field(
        description="The mailing list to which people are added: CG_…. Only the people of a run get an e-mail, never "
        "the whole list."
    )
    from_email: EmailAddress = Field(
        description="The sender's address: any name at qemailserver.com, qualtrics-survey.com or "
        "qualtrics-research.com (one of these, depending on your brand). Other domains require allowCustomFromDomain."
    )
    allow_custom_from_domain: bool | None = Field(
        None,
        description="Allow a fromEmail at a domain that is registered in your Qualtrics brand. Qualtrics may accept an "
        "e-mail from any other domain, and then not deliver it.",
    )
    from_name: HeaderText = Field(description="The sender's name that people see, for example Digital Workplace.")
    reply_to_email: EmailAddress | None = Field(
        None, description="The address for replies, at any domain. Without it, replies go to fromEmail."
    )
    subject: HeaderText = Field(
        description="The subject of the e-mail. Qualtrics does not send the same subject and text to the same people "
        "again within hours. To make e-mails differ, use piped text of Qualtrics."
    )
    link_expiration_days: Annotated[int, Field(ge=1, le=365), WHOLE_NUMBER] | None = Field(
        None, description="Days after the send for which the survey link works. Without it, the link does not expire."
    )
