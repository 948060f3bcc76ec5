"""Known names of the NQL data model, to warn of typing errors and of fields that do not exist.

The model grows, so a name that is missing here is never an error. docs/facts/nexthink.md section 5 has the sources.
"""

from collections.abc import Collection
from difflib import get_close_matches

EMAIL = ("ad", "email_address")

USERS = frozenset({"users", "user.users", "user.user", "user"})

OF_DEVICES = frozenset(
    {
        *("device_performance.events", "device_performance.boots", "device_performance.hard_resets"),
        *("device_performance.system_crashes", "connectivity.events"),
    }
)
"""Events without linked users (docs/facts/nexthink.md section 4, D)."""

WITHOUT_USER = OF_DEVICES | frozenset(
    {
        *("devices", "device.devices", "binaries", "binary.binaries", "applications", "application.applications"),
        *("packages", "package.packages", "campaigns", "campaign.campaigns"),
    }
)
"""Tables with rows that have no linked user, or several."""

TABLES = (
    USERS - {"user"}
    | WITHOUT_USER
    | frozenset(
        {
            *("agent.conversations", "ai.interactions_summary", "ai.tools"),
            *("alerts", "alert.alerts", "alert.impacts", "alert.monitors"),
            *("application.guide_steps", "application.guides", "application.network_applications"),
            *("application.pages", "application.transactions"),
            *("campaign.responses", "collaboration.sessions"),
            *("connection.events", "connection.tcp_events", "connection.udp_events", "custom_trend.snapshots"),
            *("device.antiviruses", "device.cpus", "device.disks", "device.firewalls", "device.gpus"),
            *("device.local_admins", "device.mobile_devices", "device.monitors", "device.volumes"),
            *("dex.application_scores", "dex.scores", "execution.crashes", "execution.events"),
            *("package.installations", "package.installed_packages", "platform.nql_api_logs"),
            *("remote_actions", "remote_action.executions", "remote_action.executions_summary"),
            *("session.events", "session.logins", "session.vdi_events", "software_metering.events"),
            *("web.context_help_executions", "web.errors", "web.events", "web.guide_executions"),
            *("web.guide_step_executions", "web.page_views", "web.transactions"),
            *("workflows", "workflow.executions", "workflow.executions_summary"),
        }
    )
)

OBJECTS = frozenset(
    {
        *("alert", "application", "binary", "campaign", "collaboration", "connection", "connectivity", "device"),
        *("device_performance", "dex", "execution", "package", "remote_action", "session", "software_metering"),
        *("web", "workflow"),
    }
)
"""The first names of paths to objects other than the user."""

USER_FIELDS = frozenset(
    {
        *("name", "username", "uid", "sid", "upn", "type", "first_seen", "last_seen", "days_since_last_seen"),
        *("ad.city", "ad.country_code", "ad.department", "ad.distinguished_name", "ad.email_address", "ad.full_name"),
        *("ad.job_title", "ad.last_update", "ad.office", "ad.organizational_unit", "ad.username"),
    }
)

METRICS = frozenset({"sum", "avg", "first", "last", "max", "min", "p95", "p05"})
"""Functions that are written after a field."""

FUNCTIONS = METRICS | {
    *("count", "countif", "sumif", "time_elapsed", "hour", "day", "day_of_week", "as"),
}


def has_no_user(table: str) -> bool:
    """Whether the rows of the table are known to have no single linked user."""
    return _without_id(table) in WITHOUT_USER


def is_known_table(table: str) -> bool:
    """Whether the table is in the data model, also as the table of one campaign or remote action."""
    known = _without_id(table)
    # The namespace is optional: `with antiviruses` was seen.
    return known in TABLES or f"device.{known}" in TABLES


def is_of_devices(table: str) -> bool:
    """Whether the events of the table are documented to have no linked users."""
    return _without_id(table) in OF_DEVICES


def meant_to_be(word: str, meant: str | None) -> str | None:
    """A hint as a question, or None."""
    if not meant or meant == word.casefold():
        return None
    if not word.isascii():
        return f"it contains a letter of another alphabet; did you mean `{meant}`?"
    return f"did you mean `{meant}`?"


def _without_id(table: str) -> str:
    """`campaign.#asked.responses` is `campaign.responses`."""
    segments = table.split(".")
    return f"{segments[0]}.{segments[2]}" if len(segments) == 3 else table


def nearest(word: str, known: Collection[str], alike: float = 0.75) -> str | None:
    """The known name that was probably meant."""
    if not 3 <= len(word) <= 64:
        return None
    return next(iter(get_close_matches(word.casefold(), known, n=1, cutoff=alike)), None)
