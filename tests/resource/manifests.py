"""Valid and invalid manifests. Tests check the API server and Python against the same tables."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

from hack import plain_yaml
from hack.files import ROOT

Manifest = dict[str, Any]
REMOVED = object()
"""A value for `changed` that removes the field."""


@cache
def _read_sample() -> Manifest:
    manifest: Manifest = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
    return manifest


def sample() -> Manifest:
    """The manifest in `samples/`."""
    return deepcopy(_read_sample())


def changed(changes: Mapping[str, Any], **metadata: Any) -> Manifest:
    """The sample with other values at these paths of its spec, for example `qualtrics.surveyId`."""
    manifest = sample()
    for path, value in changes.items():
        *parents, field = path.split(".")
        parent_object = manifest["spec"]
        for parent in parents:
            parent_object = parent_object[parent]
        if value is REMOVED:
            del parent_object[field]
        else:
            parent_object[field] = value
    manifest["metadata"] |= metadata
    return manifest


class InvalidManifest(NamedTuple):
    """Changes that make the sample invalid, with the path in the spec and the message of the expected error."""

    changes: Mapping[str, Any]
    path: str
    message: str
    has_own_message: bool = True
    """Whether the rule has its own message. For plain schema, the API server and Python have different messages."""


def _ids() -> dict[str, InvalidManifest]:
    ids = {
        "surveyId": ("SV", "a survey"),
        "directoryId": ("POOL", "a directory"),
        "messageId": ("MS", "a library message"),
        "libraryId": ("UR", "a library"),
        "mailingListId": ("CG", "a mailing list"),
    }
    invalid_values = {
        "of another prefix": "XX_1234567890a",
        "without a prefix": "1234567890abcde",
        "in lower case": "{}_1234567890a",
        "too short": "{}_1234567890",
        "too long": "{}_1234567890abcdef",
        "with a slash": "{}_12345678/../a",
        "with a line break after it": "{}_1234567890a\n",
        "empty": "",
    }
    return {
        f"{field} {problem}": InvalidManifest(
            {f"qualtrics.{field}": value.format(prefix.lower() if problem == "in lower case" else prefix)},
            f"qualtrics.{field}",
            f"must be the id of {description}, {prefix}_ and 11 to 15 letters and digits",
        )
        for field, (prefix, description) in ids.items()
        for problem, value in invalid_values.items()
    }


def _addresses() -> dict[str, InvalidManifest]:
    invalid_values = {
        "without @": "noreply.qemailserver.com",
        "with a name": "Dex <dex@qemailserver.com>",
        "of two": "a@qemailserver.com,b@qemailserver.com",
        "with a line break": "dex@qemailserver.com\r\nBcc: all@qemailserver.com",
        "with a line break after it": "dex@qemailserver.com\n",
        "with a space before it": " dex@qemailserver.com",
        "without a local part": "@qemailserver.com",
        "with two dots": "d..x@qemailserver.com",
        "with two @": "d@x@qemailserver.com",
        "with an umlaut": "büro@qemailserver.com",
        "without a top-level domain": "dex@qemailserver",
        "with a NUL": "dex\0@qemailserver.com",
        "with a semicolon": "d;x@qemailserver.com",
    }
    return {
        f"{field} {problem}": InvalidManifest(
            {f"qualtrics.{field}": value}, f"qualtrics.{field}", "must be one plain e-mail address"
        )
        for field in ("fromEmail", "replyToEmail")
        for problem, value in invalid_values.items()
    }


def _line_breaks() -> dict[str, InvalidManifest]:
    breaks = {"LF": "\n", "CR": "\r", "NUL": "\0", "ESC": "\x1b", "DEL": "\x7f", "NEL": "\x85", "LS": "\u2028"}
    return {
        f"{path} with {name}": InvalidManifest(
            {path: f"Hello{char}Bcc: all@example.com"}, path, "must be one line, without line"
        )
        for path in ("qualtrics.subject", "qualtrics.fromName", "description")
        for name, char in breaks.items()
    }


def _blanks() -> dict[str, InvalidManifest]:
    blanks = {
        "nothing": "",
        "spaces": "   ",
        "no-break spaces": "\xa0\xa0",
        "zero-width spaces": "\u200b",
        "BOM": "\ufeff",
    }
    return {
        f"{path} of {name}": InvalidManifest({path: text}, path, "must contain more than white space")
        for path in ("qualtrics.subject", "qualtrics.fromName", "nexthink.query")
        for name, text in blanks.items()
    }


HOURLY = {"schedule.frequency": "Hourly", "schedule.dayOfWeek": REMOVED}
DAILY = {"schedule.frequency": "Daily", "schedule.dayOfWeek": REMOVED}

INVALID: dict[str, InvalidManifest] = {
    **_ids(),
    **_addresses(),
    **_line_breaks(),
    **_blanks(),
    # Recurrence
    "Weekly without a day": InvalidManifest(
        {"schedule.dayOfWeek": REMOVED}, "schedule.dayOfWeek", "must be set with frequency Weekly: for example Monday"
    ),
    "Weekly with hours": InvalidManifest(
        {"schedule.everyHours": 4}, "schedule.everyHours", "must be set only with frequency Hourly: remove it"
    ),
    "Hourly without hours": InvalidManifest(
        HOURLY, "schedule.everyHours", "must be set with frequency Hourly: one of 1, 2, 3, 4"
    ),
    "Hourly with a day": InvalidManifest(
        {"schedule.frequency": "Hourly", "schedule.everyHours": 2},
        "schedule.dayOfWeek",
        "must be set with frequency Weekly only: remove it",
    ),
    "Daily with a day": InvalidManifest(
        {"schedule.frequency": "Daily"}, "schedule.dayOfWeek", "must be set with frequency Weekly only: remove it"
    ),
    "Daily with hours": InvalidManifest(
        {**DAILY, "schedule.everyHours": 12}, "schedule.everyHours", "must be set only with frequency Hourly: remove it"
    ),
    # Time zones
    **{
        f"time zone {name!r}": InvalidManifest(
            {"schedule.timeZone": name}, "schedule.timeZone", "must be the name of an IANA time zone"
        )
        for name in (
            *("Europe/Zuerich", "europe/zurich", "+02:00", "02:00", "../../etc/passwd", "/etc/localtime", "Local", ""),
            *("localtime", "posix/Europe/Zurich", "right/UTC", "Europe/Zurich\n", "Europe", "CET+1CEST", "UTC "),
        )
    },
    # The sender's domain
    **{
        f"sender {address}": InvalidManifest(
            {"qualtrics.fromEmail": address}, "qualtrics.fromEmail", "must be at qemailserver.com,"
        )
        for address in (
            *("dex@example.com", "dex@qemailserver.com.example.com", "dex@notqemailserver.com"),
            *("dex@mail.qemailserver.com", "dex@qemailserver.org", "qemailserver.com@example.com"),
        )
    },
    "another domain with allowCustomFromDomain: false": InvalidManifest(
        {"qualtrics.fromEmail": "dex@example.com", "qualtrics.allowCustomFromDomain": False},
        "qualtrics.fromEmail",
        "for a domain registered in your Qualtrics brand, set allowCustomFromDomain: true",
    ),
    "an invalid address with allowCustomFromDomain: true": InvalidManifest(
        {"qualtrics.fromEmail": "dex", "qualtrics.allowCustomFromDomain": True},
        "qualtrics.fromEmail",
        "must be one plain e-mail address",
    ),
    "a very long local part": InvalidManifest(
        {"qualtrics.replyToEmail": f"{'a' * 65}@example.com"},
        "qualtrics.replyToEmail",
        "must have at most 64 characters before the @",
    ),
    # The query
    **{
        f"query id {value!r}": InvalidManifest(
            {"nexthink.queryId": value}, "nexthink.queryId", "must be # and 2 to 255 of a-z, 0-9"
        )
        for value in (
            "teams_rollout",
            "#Teams",
            "#a",
            "#",
            "",
            "#teams-rollout",
            "#teams rollout",
            "##teams",
            "#teams\n",
        )
    },
    "query id too long": InvalidManifest(
        {"nexthink.queryId": "#" + "a" * 256}, "nexthink.queryId", "must be # and 2 to 255"
    ),
    "query too long": InvalidManifest(
        {"nexthink.query": "u" * 16_001}, "nexthink.query", "must have at most 16000 characters"
    ),
    **{
        f"parameter {name!r}": InvalidManifest(
            {"nexthink.parameters": {name: "7d"}}, "nexthink.parameters", "must have names of letters, digits and _"
        )
        for name in ("$days", "a b", "1st", "", "days\n", "d" * 256)
    },
    # Secrets
    **{
        f"{side} secret {name!r}": InvalidManifest(
            {f"{side}.credentialsSecretRef.name": name},
            f"{side}.credentialsSecretRef.name",
            "must be the name of a Secret: lower case letters, digits, - and .",
        )
        for side in ("nexthink", "qualtrics")
        for name in ("", "Nexthink", "a_b", "-a", "a-", "a..b", "kube-system/a", "../a", "a\n", "a?b")
    },
    # Plain schema: required fields, types and ranges
    "an unknown frequency": InvalidManifest(
        {"schedule.frequency": "Monthly"},
        "schedule.frequency",
        'Unsupported value: "Monthly": supported values: "Hourly", "Daily", "Weekly"',
        has_own_message=False,
    ),
    "an unknown day": InvalidManifest(
        {"schedule.dayOfWeek": "monday"}, "schedule.dayOfWeek", "Unsupported value", has_own_message=False
    ),
    "an unknown policy": InvalidManifest(
        {"nexthink.driftPolicy": "Stop"}, "nexthink.driftPolicy", "Unsupported value", has_own_message=False
    ),
    "an unknown source": InvalidManifest(
        {"nexthink.resultSource": "Execute"}, "nexthink.resultSource", "Unsupported value", has_own_message=False
    ),
    "an unknown check": InvalidManifest(
        {"nexthink.queryCheck": "Off"}, "nexthink.queryCheck", "Unsupported value", has_own_message=False
    ),
    "every 5 hours": InvalidManifest(
        {**HOURLY, "schedule.everyHours": 5}, "schedule.everyHours", "Unsupported value: 5", has_own_message=False
    ),
    **{
        f"{path} = {value!r}": InvalidManifest({path: value}, path, "should be", has_own_message=False)
        for path, value in (
            *(("schedule.startingDeadlineSeconds", 59), ("schedule.startingDeadlineSeconds", 86_401)),
            *(("qualtrics.linkExpirationDays", 0), ("qualtrics.linkExpirationDays", 366)),
            *(("maxRecipients", 0), ("maxRecipients", -1), ("maxRecipients", 1_000_001)),
            *(("minRecipients", -1), ("minRecipients", 1_000_001)),
        )
    },
    **{
        f"sample = {value!r}": InvalidManifest({"sample": value}, f"sample.{field}", "should be", has_own_message=False)
        for field, value in (
            *(("groups", {"groups": 1}), ("groups", {"groups": 367}), ("groups", {"groups": -4})),
            *(("percent", {"percent": 0}), ("percent", {"percent": 100})),
        )
    },
    "groups and percent": InvalidManifest(
        {"sample": {"groups": 4, "percent": 10}}, "sample.percent", "must not be set together with groups"
    ),
    "neither groups nor percent": InvalidManifest({"sample": {}}, "sample.groups", "must be set unless percent is set"),
    "groups without a number": InvalidManifest(
        {"sample": {"groups": None}}, "sample.groups", "must be set unless percent is set"
    ),
    "groups in quotes": InvalidManifest(
        {"sample": {"groups": "4"}}, "sample.groups", "must be of type", has_own_message=False
    ),
    "half a percent": InvalidManifest(
        {"sample": {"percent": 0.5}}, "sample.percent", "must be of type", has_own_message=False
    ),
    "a sample that is a number": InvalidManifest({"sample": 4}, "sample", "must be of type", has_own_message=False),
    "a minimum above the maximum": InvalidManifest(
        {"minRecipients": 11, "maxRecipients": 10}, "minRecipients", "must not be more than maxRecipients"
    ),
    **{
        f"{path} = {value!r}": InvalidManifest({path: value}, path, "must be of type", has_own_message=False)
        for path, value in (
            *(("maxRecipients", "5000"), ("maxRecipients", 0.5), ("maxRecipients", True), ("suspend", "yes")),
            *(("suspend", 0), ("dryRun", "true"), ("qualtrics.subject", 5), ("qualtrics.subject", True)),
            *(("qualtrics", []), ("nexthink.parameters", ["days"]), ("nexthink.query", {"text": "users"})),
            *(("schedule.timeZone", 2), ("qualtrics.allowCustomFromDomain", "true")),
        )
    },
    "hours that are a boolean": InvalidManifest(
        {**HOURLY, "schedule.everyHours": True}, "schedule.everyHours", "must be", has_own_message=False
    ),
    "hours in quotes": InvalidManifest(
        {**HOURLY, "schedule.everyHours": "4"}, "schedule.everyHours", "must be", has_own_message=False
    ),
    "a parameter that is a number": InvalidManifest(
        {"nexthink.parameters": {"days": 7}},
        "nexthink.parameters.days",
        "must be of type string",
        has_own_message=False,
    ),
    "a long parameter": InvalidManifest(
        {"nexthink.parameters": {"days": "7" * 1025}},
        "nexthink.parameters.days",
        "may not be more than",
        has_own_message=False,
    ),
    "21 parameters": InvalidManifest(
        {"nexthink.parameters": {f"n{number}": "7d" for number in range(21)}},
        "nexthink.parameters",
        "must have at most 20 items",
        has_own_message=False,
    ),
    **{
        f"without {path}": InvalidManifest({path: REMOVED}, path, "Required value", has_own_message=False)
        for path in (
            *("schedule", "schedule.frequency", "nexthink", "nexthink.credentialsSecretRef", "nexthink.query"),
            *("nexthink.queryId", "nexthink.credentialsSecretRef.name", "qualtrics", "qualtrics.credentialsSecretRef"),
            *("qualtrics.surveyId", "qualtrics.directoryId", "qualtrics.messageId", "qualtrics.libraryId"),
            *("qualtrics.mailingListId", "qualtrics.fromEmail", "qualtrics.fromName", "qualtrics.subject"),
        )
    },
    **{
        f"{path} too long": InvalidManifest(
            {path: "a" * (length + 1)}, path, "may not be more than", has_own_message=False
        )
        for path, length in (
            *(("description", 1024), ("qualtrics.subject", 255), ("qualtrics.fromName", 255)),
            *(("qualtrics.surveyId", 64), ("schedule.timeZone", 64), ("nexthink.credentialsSecretRef.name", 253)),
        )
    },
}

VALID: dict[str, Mapping[str, Any]] = {
    "the sample": {},
    "only required fields": {
        "description": REMOVED,
        "suspend": REMOVED,
        "maxRecipients": REMOVED,
        "dryRun": REMOVED,
        "schedule.timeZone": REMOVED,
        "schedule.startingDeadlineSeconds": REMOVED,
        "nexthink.parameters": REMOVED,
        "nexthink.driftPolicy": REMOVED,
        "nexthink.queryCheck": REMOVED,
        "nexthink.resultSource": REMOVED,
        "qualtrics.replyToEmail": REMOVED,
        "qualtrics.linkExpirationDays": REMOVED,
    },
    "Daily": DAILY,
    **{f"every {hours} hours": {**HOURLY, "schedule.everyHours": hours} for hours in (1, 2, 3, 4, 6, 12)},
    **{
        f"on {day}": {"schedule.dayOfWeek": day}
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    },
    **{
        f"in {zone}": {"schedule.timeZone": zone}
        for zone in (
            *("UTC", "Etc/GMT+12", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Asia/Kolkata"),
            *("CET", "EST5EDT", "Pacific/Chatham"),
        )
    },
    "the shortest deadline": {"schedule.startingDeadlineSeconds": 60},
    "the longest deadline": {"schedule.startingDeadlineSeconds": 86_400},
    "ids of 11 and of 15": {"qualtrics.surveyId": "SV_1234567890a", "qualtrics.messageId": "MS_1234567890abcde"},
    "a sender in capitals": {"qualtrics.fromEmail": "Dex.Team+1@QEmailServer.COM"},
    "a second sender": {"qualtrics.fromEmail": "dex@qualtrics-research.com"},
    "a third sender": {"qualtrics.fromEmail": "o'brien@qualtrics-survey.com"},
    "a custom domain": {"qualtrics.fromEmail": "dex@example.com", "qualtrics.allowCustomFromDomain": True},
    "a domain with an umlaut": {"qualtrics.replyToEmail": "dex@xn--bro-hoa.xn--p1ai"},
    "64 characters before the @": {"qualtrics.replyToEmail": f"{'a' * 64}@example.com"},
    "text in several scripts": {"qualtrics.subject": "¿Cómo va Teams? 日本語 🙂", "qualtrics.fromName": "Büro"},
    "the longest texts": {"qualtrics.subject": "é" * 255, "nexthink.query": "u" * 16_000, "description": "d" * 1024},
    "an empty description": {"description": ""},
    "the longest query id": {"nexthink.queryId": "#" + "a" * 255},
    "the shortest query id": {"nexthink.queryId": "#_0"},
    "parameters": {"nexthink.parameters": {"days": "7d", "_Name1": "", "n" * 255: "x" * 1024}},
    "a parameter without a value": {"nexthink.parameters": {"days": None}},
    "20 parameters": {"nexthink.parameters": {f"n{number}": "7d" for number in range(20)}},
    "a Secret with dots": {"nexthink.credentialsSecretRef.name": "nexthink.dex-team.0"},
    "the largest maxRecipients": {"maxRecipients": 1_000_000},
    "the smallest maxRecipients": {"maxRecipients": 1, "qualtrics.linkExpirationDays": 1},
    "a whole number with a point": {"maxRecipients": 5000.0},
    "no minimum": {"minRecipients": 0, "maxRecipients": 1},
    "a minimum and no maximum": {"minRecipients": 1_000_000, "maxRecipients": REMOVED},
    "a minimum that is the maximum": {"minRecipients": 10, "maxRecipients": 10},
    "two groups": {"sample": {"groups": 2}},
    "the largest number of groups": {"sample": {"groups": 366, "percent": None}},
    "the smallest percentage": {"sample": {"percent": 1}},
    "the largest percentage": {"sample": {"percent": 99}},
    "no sample": {"sample": None, "minRecipients": None},
    "suspended and dry run": {"suspend": True, "dryRun": True},
    "optional fields without a value": {"description": None, "maxRecipients": None, "nexthink.parameters": None},
}
