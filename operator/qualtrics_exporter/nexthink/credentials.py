"""The Nexthink credentials in a Secret.

Keys: `url`, or `instance` and `region`; `clientId`, `clientSecret`; optionally `tokenUrl` and `scope`.
"""

import re

from qualtrics_exporter.remote.credentials import Data, ServiceCredentials, missing, required, unusable, value

SCOPE = "service:integration"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HOST = re.compile(r"https://([a-z0-9-]+)\.api\.([a-z0-9-]+)\.nexthink\.cloud", re.IGNORECASE)


def nexthink_from(data: Data, source: str) -> ServiceCredentials:
    """The credentials in `data`. Raises Permanent(SecretKeyMissing) with the key's name, never with a value.

    The login host is derived from `instance` and `region`, or from a `url` of Nexthink's usual form. For any other
    `url` (a gateway, the sandbox), `tokenUrl` is required.
    """
    url = value(data, "url", source)
    instance, region = _label(data, "instance", source), _label(data, "region", source)
    if not url and not (instance and region):
        raise missing("region" if instance else "instance" if region else "url", source)
    url = (url or f"https://{instance}.api.{region}.nexthink.cloud").rstrip("/")
    if not (instance and region) and (known := _HOST.fullmatch(url)):
        instance, region = known.groups()
    token_url = value(data, "tokenUrl", source)
    if not token_url:
        if not (instance and region):
            raise missing("tokenUrl", source)
        token_url = f"https://{instance}-login.{region}.nexthink.cloud/oauth2/default/v1/token"
    return ServiceCredentials(
        source=source,
        url=url,
        token_url=token_url,
        client_id=required(data, "clientId", source),
        client_secret=required(data, "clientSecret", source),
        scope=value(data, "scope", source) or SCOPE,
    )


def _label(data: Data, key: str, source: str) -> str:
    label = value(data, key, source)
    if label and not _LABEL.fullmatch(label):
        raise unusable(key, source, "is not a label of a host name")
    return label
