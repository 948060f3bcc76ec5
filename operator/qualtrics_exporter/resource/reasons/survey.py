"""Reasons about the survey and its objects in Qualtrics."""

from qualtrics_exporter.resource.reasons.definition import QUALTRICS, TARGETS, Definition, Kind, Place

WRONG_DATACENTER = Definition(
    "WrongDatacenter", Kind.PERMANENT, QUALTRICS,
    "The Qualtrics credentials belong to another datacenter.",
    "In the url of the Secret, use the datacenter that Qualtrics shows under Account Settings > Qualtrics IDs.",
)  # fmt: skip
REQUESTS_PROXIED = Definition(
    "RequestsProxied", Kind.WARNING, TARGETS,
    "Qualtrics forwards each request to another datacenter, which makes requests slower.",
    "In the url of the Secret, use the host that the message names, or the datacenter that Qualtrics shows under "
    "Account Settings > Qualtrics IDs.",
)  # fmt: skip
SURVEY_NOT_FOUND = Definition(
    "SurveyNotFound", Kind.PERMANENT, QUALTRICS,
    "The survey does not exist, or these credentials cannot see it.",
    "Correct spec.qualtrics.surveyId, or share the survey with the owner of the credentials.",
)  # fmt: skip
SURVEY_INACTIVE = Definition(
    "SurveyInactive", Kind.PERMANENT, QUALTRICS,
    "The survey does not accept responses: it is not published, paused or expired.",
    "Activate the survey in Qualtrics.",
)  # fmt: skip
MESSAGE_NOT_FOUND = Definition(
    "MessageNotFound", Kind.PERMANENT, QUALTRICS,
    "The library does not contain this message.",
    "Correct spec.qualtrics.messageId and libraryId.",
)  # fmt: skip
MESSAGE_NOT_INVITATION = Definition(
    "MessageNotInvitation", Kind.PERMANENT, QUALTRICS,
    "The message is not an invitation, or does not link to the survey.",
    "Use a message of the category Email Invites whose text contains ${l://SurveyLink} or ${l://SurveyURL}.",
)  # fmt: skip
DIRECTORY_NOT_FOUND = Definition(
    "DirectoryNotFound", Kind.PERMANENT, QUALTRICS,
    "The directory does not exist in the brand, or these credentials cannot see it.",
    "Correct spec.qualtrics.directoryId.",
)  # fmt: skip
MAILING_LIST_NOT_FOUND = Definition(
    "MailingListNotFound", Kind.PERMANENT, QUALTRICS,
    "The directory does not contain this mailing list.",
    "Correct spec.qualtrics.mailingListId, or create the list in that directory.",
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
    "Delete or change one of the two, unless you want both.",
)  # fmt: skip
