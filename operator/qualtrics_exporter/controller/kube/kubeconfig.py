"""One kubeconfig, read as kubectl reads it where the client library does not.

The library ignores impersonation (`as`), prefers `token` to `tokenFile`, and only logs that it got no credentials.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from kubernetes.aio import client, config

from qualtrics_exporter.controller import temporary_files
from qualtrics_exporter.controller.kube.connection import UnusableConnection
from qualtrics_exporter.controller.kube.errors import NotConfigured, NoTemporaryFile

_AUTH_PROVIDERS = {"gcp", "oidc"}
_HEADER_CHARACTERS = "!#$&'*+-.^_`|~"


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The current context of a kubeconfig."""

    configuration: client.Configuration
    headers: dict[str, str | list[str]]
    """The headers of each request."""
    expires: datetime | None
    """When the token expires, if a command (exec) returned that time."""


async def read_kubeconfig(path: str) -> Kubeconfig:
    """Read a kubeconfig, and run the command that it names for credentials. Raises `NotConfigured`."""
    configuration = client.Configuration()
    try:
        loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, client_configuration=configuration, persist_config=False
        )
        cluster, user = (node.value if node else {} for node in (loader._cluster, loader._user))
        if user.get("tokenFile") and user.get("token") and not user.keys() & {"exec", "auth-provider"}:
            # kubectl prefers the file, the library prefers the token.
            text = _read_relative(loader._user.path or path, user["tokenFile"])
            configuration.api_key["BearerToken"] = f"Bearer {text}"
        _check_credentials(configuration, user)
        headers = _headers(cluster, user)
    except UnusableConnection as error:
        raise NotConfigured(f"the kubeconfig at {path} cannot be used: {error}") from None
    except (config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and (problem := temporary_files.problem()):
            message = f"certificates or keys of the kubeconfig at {path} are used as temporary files, but {problem}"
            raise NoTemporaryFile(message) from error
        raise NotConfigured(f"no cluster: no service account, and no usable kubeconfig at {path}") from error
    if token := configuration.api_key.get("BearerToken"):
        configuration.api_key["BearerToken"] = token.strip()  # a tokenFile ends in a newline, which no header may have
    return Kubeconfig(configuration, headers, getattr(loader, "exec_plugin_expiry", None))


def _check_credentials(configuration: client.Configuration, user: Mapping[str, Any]) -> None:
    """Raise `UnusableConnection` if the user has no credentials although the kubeconfig says where to get them.

    The library only logs that. The operator would be anonymous then, and every call would be refused without a cause.
    """
    if configuration.api_key.get("BearerToken") or configuration.cert_file:
        return
    if "auth-provider" in user and (name := str(user["auth-provider"].get("name"))) not in _AUTH_PROVIDERS:
        raise UnusableConnection(f"the auth-provider {name} of its user is not supported. Use exec")
    if "exec" in user:
        command = user["exec"].get("command")
        raise UnusableConnection(f"the command {command} of its user (exec) did not return credentials")


def _read_relative(kubeconfig: str, file: str) -> str:
    """The text of a file that a kubeconfig names; its path may be relative to the kubeconfig."""
    return (Path(kubeconfig).expanduser().parent / file).read_text("utf-8")


def _headers(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The headers for fields of a kubeconfig that the library ignores.

    With `as` the user impersonates another one. Without these headers, the operator would act with other permissions.
    """
    headers: dict[str, str | list[str]] = {}
    if name := user.get("as"):
        headers["Impersonate-User"] = str(name)
    if uid := user.get("as-uid"):
        headers["Impersonate-Uid"] = str(uid)
    if groups := user.get("as-groups"):
        headers["Impersonate-Group"] = [str(group) for group in groups]
    for key, values in (user.get("as-user-extra") or {}).items():
        # Other characters are percent-encoded, as in client-go.
        headers[f"Impersonate-Extra-{quote(str(key), safe=_HEADER_CHARACTERS)}"] = [str(value) for value in values]
    if headers and "Impersonate-User" not in headers:
        raise UnusableConnection("the user has as-uid, as-groups or as-user-extra without as")
    if cluster.get("disable-compression"):
        headers["Accept-Encoding"] = "identity"
    return headers
