"""The notice of a reply: Qualtrics answers requests for another datacenter, and says which host is faster."""

import re

from qualtrics_exporter.remote.response import NotUnderstood, Response, get_path

_PROXIED = re.compile(r"request proxied\b", re.IGNORECASE)
_HOST = re.compile(r"\b([a-z0-9-]{1,63}\.qualtrics\.com)\b", re.IGNORECASE)


def proxied_by(reply: Response) -> str | None:
    """Advice if Qualtrics passed the request on to another datacenter, None otherwise.

    The advice repeats nothing of the notice except a host name of Qualtrics.
    """
    try:
        notice = get_path(reply.document(), "meta", "notice")
    except NotUnderstood:
        return None
    if not isinstance(notice, str) or not _PROXIED.match(notice[:1024]):
        return None
    host = _HOST.search(notice[:1024])
    faster = f"https://{host[1].lower()}" if host else "the one of your datacenter (Account Settings > Qualtrics IDs)"
    return (
        f"Qualtrics passes each request on to another datacenter; for faster replies, set url in the Secret to {faster}"
    )
