"""Reasons about the survey and its objects in Qualtrics."""

from qualtrics_exporter.resource.reasons.definition import QUALTRICS, TARGETS, Definition, Kind, Place

WRONG_DATACENTER = Definition(
    "WrongDatacenter", Kind.PERMANENT, QUALTRICS,
    "The Qualtrics credentials belong to another datacenter.",
    "Use the datacenter of Account Settings > Qualtrics IDs in the Secret's url.",
)  # fmt: skip
REQUESTS_PROXIED = Definition(
    "RequestsProxied", Kind.WARNING, TARGETS,
    "Qualtrics passes each request on to another datacenter, which makes it slower.",
    "Set url in the Secret to the host that the message names, or to the datacenter of Account Settings > "
    "Qualtrics IDs.",
)  # fmt: skip
SURVEY_NOT_FOUND = Definition(
    "SurveyNotFound", Kind.PERMANENT, QUALTRICS,
    "The survey does not exist, or these credentials cannot see it.",
    "Correct spec.qualtrics.surveyId, or share the survey with the owner of the credentials.",
)  # fmt: skip
SURVEY_INACTIVE = Definition(
    "SurveyInactive", Kind.PERMANENT, QUALTRICS,
    "The survey does not take answers: not published, paused or expired.",
    "Activate the survey in Qualtrics.",
)  # fmt: skip
MESSAGE_NOT_FOUND = Definition(
    "MessageNotFound", Kind.PERMANENT, QUALTRICS,
    "The library has no such message.",
    "Correct spec.qualtrics.messageId and libraryId.",
)  # fmt: skip
MESSAGE_NOT_INVITATION = Definition(
    "MessageNotInvitation", Kind.PERMANENT, QUALTRICS,
    "The message is no invitation, or has no link to the survey.",
    "Use a message of the category Email Invites whose text holds ${l://SurveyLink} or ${l://SurveyURL}.",
)  # fmt: skip
DIRECTORY_NOT_FOUND = Definition(
    "DirectoryNotFound", Kind.PERMANENT, QUALTRICS,
    "The brand has no such directory, or these credentials cannot see it.",
    "Correct spec.qualtrics.directoryId.",
)  # fmt: skip
MAILING_LIST_NOT_FOUND = Definition(
    "MailingListNotFound", Kind.PERMANENT, QUALTRICS,
    "The directory has no such mailing list.",
    "Correct spec.qualtrics.mailingListId, or make the list in that directory.",
)  # fmt: skip
FROM_EMAIL_NOT_ALLOWED = Definition(
    "FromEmailNotAllowed", Kind.PERMANENT, (*QUALTRICS, Place.VALIDATE),
    "Qualtrics does not allow this sender domain by default.",
    "Use the one of qemailserver.com, qualtrics-survey.com and qualtrics-research.com that your brand allows. For "
    "a domain that is registered in your brand, set allowCustomFromDomain.",
)  # fmt: skip
DUPLICATE_TARGET = Definition(
    "DuplicateTarget", Kind.WARNING, TARGETS,
    "Another exporter sends the same survey and message to the same list.",
    "Delete or change one of the two, unless both are meant.",
)  # fmt: skip
