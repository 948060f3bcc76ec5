"""The notice in a response: Qualtrics forwarded the request to another datacenter, and names a faster host."""

import re

from qualtrics_exporter.remote.response import NotUnderstood, Response, get_path

_PROXIED = re.compile(r"request proxied\b", re.IGNORECASE)
_HOST = re.compile(r"\b([a-z0-9-]{1,63}\.qualtrics\.com)\b", re.IGNORECASE)


def proxied_by(response: Response) -> str | None:
    """Advice if Qualtrics forwarded the request to another datacenter; otherwise None.

    The advice contains nothing of the notice except a host name of Qualtrics.
    """
    try:
        notice = get_path(response.document(), "meta", "notice")
    except NotUnderstood:
        return None
    if not isinstance(notice, str) or not _PROXIED.match(notice[:1024]):
        return None
    host = _HOST.search(notice[:1024])
    faster = f"https://{host[1].lower()}" if host else "the one of your datacenter (Account Settings > Qualtrics IDs)"
    what = "Qualtrics forwards each request to another datacenter"
    return f"{what}; for faster responses, set url in the Secret to {faster}"
