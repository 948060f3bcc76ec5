"""The Qualtrics credentials of a Secret: `url`, `clientId`, `clientSecret`; maybe `tokenUrl` and `scope`."""

from collections.abc import Mapping

from qualtrics_exporter.http.credentials import Credentials
from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason

SCOPE = "manage:all"


def qualtrics_from(data: Mapping[str, str | bytes], source: str) -> Credentials:
    """The credentials in `data`; Permanent(SecretKeyMissing) with the key's name, never with a value."""
    url = _required(data, "url", source).rstrip("/")
    return Credentials(
        source=source,
        url=url,
        token_url=_text(data, "tokenUrl", source) or f"{url}/oauth2/token",
        client_id=_required(data, "clientId", source),
        client_secret=_required(data, "clientSecret", source),
        scope=_text(data, "scope", source) or SCOPE,
    )


def _required(data: Mapping[str, str | bytes], key: str, source: str) -> str:
    if value := _text(data, key, source):
        return value
    raise Permanent(Reason.SECRET_KEY_MISSING, f"{source} has no key {key}, or an empty one")


def _text(data: Mapping[str, str | bytes], key: str, source: str) -> str:
    """The value of a key without the white space around it (`echo` adds a newline); empty when there is none."""
    value = data.get(key, "")
    try:
        text = (value.decode("utf-8-sig") if isinstance(value, bytes) else value).strip()
    except UnicodeDecodeError as error:
        raise Permanent(Reason.SECRET_KEY_MISSING, f"{source}: the key {key} is not UTF-8 text") from error
    if not text.isprintable():
        raise Permanent(Reason.SECRET_KEY_MISSING, f"{source}: the key {key} holds characters that cannot be seen")
    return text
