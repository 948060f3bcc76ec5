"""The form of the settings and limits: what each is called, how it is entered, and what is wrong with an entry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.settings import apply_settings, show_settings, validated

ENDPOINTS = "qualtrics_endpoints_per_minute"
HINTS = {**get_type_hints(Account), **{f"limits.{name}": hint for name, hint in get_type_hints(Limits).items()}}
ENTERED = {int: "number", float: "number", str: "text", set: "textarea", bool: "select"}
"""The kind of input for values of these types."""


@dataclass(frozen=True)
class Setting:
    """A setting. `name` is its name in an `Account`, or after `limits.` in its `Limits`."""

    name: str
    label: str
    hint: str = ""
    minimum: int = 0
    maximum: int = 10**9

    @property
    def type(self) -> Any:
        """The type of its values, without None."""
        if self.name.startswith(f"limits.{ENDPOINTS}."):
            return int
        hint = HINTS[self.name]
        return next(kind for kind in get_args(hint) if kind is not NoneType) if self.optional else hint

    @property
    def optional(self) -> bool:
        """Whether it can be empty."""
        return self.name not in HINTS or NoneType in get_args(HINTS[self.name])

    @property
    def kind(self) -> str:
        """The kind of its input: `number`, `text`, `textarea` or `select`."""
        return "select" if get_origin(self.type) is Literal else ENTERED[get_origin(self.type) or self.type]

    @property
    def step(self) -> str:
        return "1" if self.type is int else "any"

    @property
    def choices(self) -> dict[str, str]:
        """The values that can be selected, each with its text. They are JSON, because forms change line ends."""
        values = (True, False) if self.type is bool else get_args(self.type)
        names = {True: "yes", False: "no", "\n": "LF", "\r\n": "CR LF"}
        return {json.dumps(value): names.get(value, str(value)) for value in values}

    def text(self, value: Any) -> str:
        """The value as it is entered."""
        if value is None:
            return ""
        if self.kind == "select":
            return json.dumps(value)
        return "\n".join(value) if isinstance(value, list) else str(value)

    def read(self, text: str) -> Any:
        """The value that was entered. Raises ValueError."""
        if self.kind == "textarea":
            return text.split()
        if self.optional and not text.strip():
            return None
        if self.kind == "select":
            if text not in self.choices:
                raise ValueError("Choose one of the values.")
            return json.loads(text)
        if self.type is str:
            return text.strip()
        try:
            number = self.type(text)
        except ValueError:
            raise ValueError("Enter a whole number." if self.type is int else "Enter a number.") from None
        if not self.minimum <= number <= self.maximum:
            raise ValueError(f"Enter a number from {self.minimum} to {self.maximum:,}.")
        return number


NO_LIMIT = "Empty: no limit."

GROUPS: dict[str, tuple[Setting, ...]] = {
    "Limits of Nexthink": (
        Setting("limits.nexthink_queries_per_second", "Queries per second", f"Executions and exports. {NO_LIMIT}"),
        Setting("limits.nexthink_calls_per_day", "Queries per day", NO_LIMIT),
        Setting(
            "limits.nexthink_execute_rows", "Rows of an execution", f"More are cut without a sign of it. {NO_LIMIT}"
        ),
        Setting("limits.nexthink_export_rows", "Rows of an export", NO_LIMIT),
        Setting("limits.nexthink_retry_after", "Retry-After of a 429"),
    ),
    "Limits of Qualtrics": (
        Setting("limits.qualtrics_brand_per_minute", "Requests per minute", f"All endpoints together. {NO_LIMIT}"),
        Setting("limits.qualtrics_jobs", "Imports in progress", NO_LIMIT),
        Setting("limits.qualtrics_retry_after", "Retry-After of a 429"),
    ),
    "Sends and their results": (
        Setting("list_lag_seconds", "Seconds until a list shows a new distribution"),
        Setting("delivery_seconds", "Seconds until a distribution has its statistics"),
        Setting(
            "suppression_hours", "Hours without the same mail", "Qualtrics blocks it for people who already got it."
        ),
        Setting("batch_echo", "Where a distribution shows its batch", "In lists too, in a read by id, or never."),
        Setting("own_domains", "More domains for the sender", "One a line."),
        Setting("opted_out_addresses", "People who opted out", "One address a line."),
        Setting("bouncing_addresses", "Addresses whose mail bounces", "One a line."),
    ),
    "Imports": (
        Setting("import_polls", "Requests for the status until an import ends"),
        Setting("import_seconds", "Seconds until an import ends", "Whichever is first."),
        Setting("import_seconds_per_thousand", "More seconds for each thousand people", "If not 0, only time counts."),
        Setting("import_ends", "How an import ends"),
        Setting("busy_list", "A second import into a list", "It is queued, or refused with a 429."),
        Setting("refused_addresses", "Addresses that an import refuses", "One a line."),
        Setting("vanishing_addresses", "Addresses that an import loses", "Without counting them. One a line."),
    ),
    "Nexthink": (
        Setting("nexthink_token_seconds", "Seconds that an access token is valid"),
        Setting("export_polls", "Requests for the status until an export ends"),
        Setting("export_completed_word", "Status of an export that has ended"),
        Setting("download_seconds", "Seconds that the URL of a file is valid"),
        Setting("download_content_encoding", "Content-Encoding of a compressed file"),
        Setting("csv_byte_order_mark", "Byte order mark in a file"),
        Setting("csv_line_end", "Ends of lines in a file"),
        Setting("heavy_status", "Status of a heavy query", "If it is executed.", 200, 599),
        Setting("parameters_quoted", "Parameters in quotes", "In the query that a reply shows."),
        Setting("instance_zone", "Time zone", "Such as Europe/Zurich."),
    ),
    "Qualtrics": (
        Setting("qualtrics_token_seconds", "Seconds that an access token is valid"),
        Setting("directories_page_size", "Directories on a page", "", 1),
        Setting("distributions_page_size", "Distributions on a page", "", 1),
        Setting("rows_page_size", "Transactions on a page", "", 1),
        Setting("next_page_origin", "Another host of next pages", "Scheme, host and port. Empty: its own."),
    ),
}
"""All settings that people can change. The ids of the default account are not among them: pages only show them."""


def groups(account: Account) -> dict[str, tuple[Setting, ...]]:
    """All settings with the limits of single endpoints."""
    endpoints = sorted({**Limits().qualtrics_endpoints_per_minute, **account.limits.qualtrics_endpoints_per_minute})
    own = (Setting(f"limits.{ENDPOINTS}.{name}", f"{name} per minute", NO_LIMIT) for name in endpoints)
    return {**GROUPS, "Limits of Qualtrics": (*GROUPS["Limits of Qualtrics"], *own)}


def texts(account: Account) -> dict[str, str]:
    """The values of all settings as they are entered."""
    shown = show_settings(account)
    limits = shown.pop("limits")
    values = {**shown, **{f"limits.{name}": value for name, value in limits.items()}}
    values |= {f"limits.{ENDPOINTS}.{name}": value for name, value in limits[ENDPOINTS].items()}
    return {each.name: each.text(values.get(each.name)) for settings in groups(account).values() for each in settings}


def change(account: Account, form: Mapping[str, str]) -> dict[str, str]:
    """Change all settings to these values, or (if something is wrong) none. Returns what is wrong, by setting."""
    wrong: dict[str, str] = {}
    changes: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for settings in groups(account).values():
        for each in settings:
            if each.name not in form:
                continue
            top, _, name = each.name.rpartition(".")
            try:
                value = each.read(form[each.name])
                if top != f"limits.{ENDPOINTS}":
                    validated(Limits if top else Account, {name: value})
                if name == "instance_zone":
                    _check_zone(value)
            except ValueError as error:
                wrong[each.name] = str(error)
                continue
            if top == f"limits.{ENDPOINTS}":
                limits.setdefault(ENDPOINTS, {}).update({} if value is None else {name: value})
            else:
                (limits if top else changes)[name] = value
    if not wrong:
        apply_settings(account, {**changes, "limits": limits})
    return wrong


def restore_defaults(account: Account) -> None:
    """Give all settings that people can change their defaults again."""
    default = Account()
    change(account, texts(default))
    account.limits = default.limits


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, OSError):
        raise ValueError("There is no such time zone.") from None
