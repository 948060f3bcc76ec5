"""`status.credentialsExpiry`: when the credentials of an exporter expire."""

import re
from datetime import UTC, datetime

from pydantic import Field, TypeAdapter

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Time

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    rf"{_DATE.pattern}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"
)
_DESCRIPTION = (
    "When the credentials in the Secret of spec.{}.credentialsSecretRef expire. Absent if the Secret does not exist, "
    "or has no valid annotation qualtrics-exporter.dev/expires-at."
)
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


class CredentialsExpiry(Model):
    """When the credentials of each side expire."""

    nexthink: Time | None = Field(None, description=_DESCRIPTION.format("nexthink"))
    qualtrics: Time | None = Field(None, description=_DESCRIPTION.format("qualtrics"))


def parse_expiry(text: str) -> datetime | None:
    """The time in an annotation; None unless it is a date or a date-time of RFC 3339.

    A date means the beginning of that day in UTC: an alert may come up to a day early, and never too late.
    """
    text = text.strip()
    if not (_DATE.fullmatch(text) or _DATE_TIME.fullmatch(text)):
        return None
    try:
        time = datetime.fromisoformat(text)
        return _TIME.validate_python(time if time.tzinfo else time.replace(tzinfo=UTC))
    except ValueError:
        return None
