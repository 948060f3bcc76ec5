"""The Nexthink credentials of a Secret: `url` or `instance` and `region`, `clientId`, `clientSecret`; maybe more."""

import re
from collections.abc import Mapping

from qualtrics_exporter.http.credentials import Credentials
from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason

SCOPE = "service:integration"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HOST = re.compile(r"https://([a-z0-9-]+)\.api\.([a-z0-9-]+)\.nexthink\.cloud", re.IGNORECASE)


def nexthink_from(data: Mapping[str, str | bytes], source: str) -> Credentials:
    """The credentials in `data`; Permanent(SecretKeyMissing) with the key's name, never with a value.

    The login host follows from an `url` of Nexthink's own form, or from `instance` and `region`; behind another name
    (a proxy, the sandbox) it cannot be derived and `tokenUrl` is required.
    """
    url = _text(data, "url", source)
    instance, region = _label(data, "instance", source), _label(data, "region", source)
    if not url and not (instance and region):
        raise _missing("region" if instance else "instance" if region else "url", source)
    url = (url or f"https://{instance}.api.{region}.nexthink.cloud").rstrip("/")
    if not (instance and region) and (known := _HOST.fullmatch(url)):
        instance, region = known.groups()
    token_url = _text(data, "tokenUrl", source)
    if not token_url:
        if not (instance and region):
            raise _missing("tokenUrl", source)
        token_url = f"https://{instance}-login.{region}.nexthink.cloud/oauth2/default/v1/token"
    return Credentials(
        source=source,
        url=url,
        token_url=token_url,
        client_id=_required(data, "clientId", source),
        client_secret=_required(data, "clientSecret", source),
        scope=_text(data, "scope", source) or SCOPE,
    )


def _required(data: Mapping[str, str | bytes], key: str, source: str) -> str:
    if value := _text(data, key, source):
        return value
    raise _missing(key, source)


def _label(data: Mapping[str, str | bytes], key: str, source: str) -> str:
    value = _text(data, key, source)
    if value and not _LABEL.fullmatch(value):
        raise Permanent(Reason.SECRET_KEY_MISSING, f"{source}: the key {key} is no part of a host name")
    return value


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


def _missing(key: str, source: str) -> Permanent:
    return Permanent(Reason.SECRET_KEY_MISSING, f"{source} has no key {key}, or an empty one")
