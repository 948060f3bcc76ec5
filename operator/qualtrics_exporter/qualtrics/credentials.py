"""The Qualtrics credentials of a Secret: `url`, `clientId`, `clientSecret`; maybe `tokenUrl` and `scope`."""

from qualtrics_exporter.remote.credentials import Credentials, Data, required, value

SCOPE = "manage:all"


def qualtrics_from(data: Data, source: str) -> Credentials:
    """The credentials in `data`; Permanent(SecretKeyMissing) with the key's name, never with a value."""
    url = required(data, "url", source).rstrip("/")
    return Credentials(
        source=source,
        url=url,
        token_url=value(data, "tokenUrl", source) or f"{url}/oauth2/token",
        client_id=required(data, "clientId", source),
        client_secret=required(data, "clientSecret", source),
        scope=value(data, "scope", source) or SCOPE,
    )
