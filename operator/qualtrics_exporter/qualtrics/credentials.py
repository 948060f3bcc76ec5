"""The Qualtrics credentials in a Secret: `url`, `clientId`, `clientSecret`; optionally `tokenUrl` and `scope`."""

from qualtrics_exporter.remote.credentials import Data, ServiceCredentials, required, value

SCOPE = "manage:all"


def qualtrics_from(data: Data, source: str) -> ServiceCredentials:
    """The credentials in `data`. Raises Permanent(SecretKeyMissing) with the key's name, never with a value."""
    url = required(data, "url", source).rstrip("/")
    return ServiceCredentials(
        source=source,
        url=url,
        token_url=value(data, "tokenUrl", source) or f"{url}/oauth2/token",
        client_id=required(data, "clientId", source),
        client_secret=required(data, "clientSecret", source),
        scope=value(data, "scope", source) or SCOPE,
    )
