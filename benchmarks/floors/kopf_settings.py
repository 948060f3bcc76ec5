"""What the Kopf programs share: a login that loads no client library, and settings that save memory."""

from typing import Any

import kopf


async def login(**settings: Any) -> kopf.ConnectionInfo | None:
    """The credentials of KUBECONFIG."""
    connection: kopf.ConnectionInfo | None = kopf.login_with_kubeconfig(**settings)
    return connection


def settings() -> kopf.OperatorSettings:
    """The settings of `controller/kube/namespace_watch.py` that cost or save something."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.watching.server_timeout = 300
    chosen.watching.chunk_size = 25
    chosen.queueing.idle_timeout = 0.1
    return chosen
