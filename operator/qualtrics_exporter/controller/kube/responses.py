"""Responses of the API server: their bodies, and the error for a failed one."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from qualtrics_exporter.controller.kube import refusals
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden, NotFound, Refused, Unreachable
from qualtrics_exporter.controller.kube.resources import ApiRequest


class TooLarge(Exception):
    """The body has more bytes than allowed."""


async def read_body(response: aiohttp.ClientResponse, max_bytes: int | None) -> bytes:
    """The bytes of the body. Raises `TooLarge` after `max_bytes`."""
    if max_bytes is None:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            response.close()
            raise TooLarge
    return bytes(body)


def parse_body(body: bytes, status: int) -> dict[str, Any]:
    """The JSON object in the body. Errors may come as plain text ("404 page not found"): their result is empty.

    Raises ValueError if a successful response has no JSON object.
    """
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    if 200 <= status < 300:
        raise ValueError("the body of the response is not a JSON object")
    return {}


def raise_for_status(status: int, body: Mapping[str, Any], request: ApiRequest) -> None:
    """Raise the `ClusterError` for a failed response."""
    if 200 <= status < 300:
        return
    if status == 403 and refusals.lacks_permission(body):
        raise missing_permission(request, refusals.authorizer_reason(body))
    if status == 403:
        why = refusals.stated_reason(body) or "the API server does not say why"
        raise Refused(f"{request} was refused (HTTP 403): {why}", status)
    if status == 401:
        raise Forbidden(f"{request}: the API server does not accept the operator's credentials (HTTP 401)", status)
    if status == 404 and not request.name:
        raise NotFound(f"{request}: the cluster has no such resource or namespace (HTTP 404)", status)
    if status == 404:
        raise NotFound(f"{request}: not found (HTTP 404)", status)
    if status == 409:
        raise Conflict(f"{request}: conflict (HTTP 409)", status)
    if refusals.is_too_large(body):
        raise Refused(f"{request} was refused (HTTP {status}): the object is too large", status)
    if status == 410 or status == 429 or status >= 500 or status < 400:
        webhook = refusals.failed_webhook(body)
        raise Unreachable(f"{request} failed (HTTP {status})" + (f": {webhook}" if webhook else ""), status)
    why = refusals.admission_reason(body) or refusals.named_fields(body)
    raise Refused(f"{request} was refused (HTTP {status}): {why}", status)


def missing_permission(request: ApiRequest, authorizer_reason: str = "") -> Forbidden:
    """The error for a permission that the operator's role lacks."""
    where = f"in namespace {request.namespace}" if request.namespace else "in all namespaces"
    message = f"the operator may not {request.verb} {request.resource} {where} (HTTP 403): its role lacks that rule"
    return Forbidden(f"{message} ({authorizer_reason})" if authorizer_reason else message, 403)
