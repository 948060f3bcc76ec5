"""From the end of a try to the error that the caller gets.

A try ends without a response, with a response that cannot be read, or with a response that is not a success. The error
depends on the retry policy of the operation. A read fails with `Transient` or `Permanent`. For any other operation, a
try that the service may have processed is `OutcomeUnknown`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from qualtrics_exporter.remote.bodies import TooLarge
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import NotUnderstood, Response, TooMuch
from qualtrics_exporter.remote.retry import RetryPolicy, retry_after
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.resource.reasons import Reason

R = TypeVar("R")
T = TypeVar("T", bound=Transient)

_GATEWAY_GAVE_UP = {408, 499}
"""Gateways send these statuses when they stop waiting. The service may have received the request."""


def no_response(service: Service, operation: Operation, failure: ConnectFailed | ResponseLost) -> ExportError:
    """The error for a try without a complete response."""
    if isinstance(failure, TooLarge):
        return _too_large(service, operation, failure, failure.status)
    if isinstance(failure, ConnectFailed):
        what = f"Cannot send {service.name} the request to {operation.task}: {failure}"
        return Transient(Reason.REMOTE_UNAVAILABLE, what, next_step=failure.next_step)
    what = f"{service.name} did not answer the request to {operation.task}: {failure}"
    error = Transient(Reason.REMOTE_UNAVAILABLE, what, status=failure.status)
    error.received, error.timed_out = True, failure.timed_out
    return _uncertain(operation, error)


def content(service: Service, operation: Operation, response: Response, read: Callable[[Response], R]) -> R:
    """What `read` finds in a success. One without the expected content says nothing about the effect of the request."""
    try:
        return read(response)
    except TooMuch as limit:
        raise _too_large(service, operation, limit, response.status) from None
    except NotUnderstood as problem:
        what = f"{service.name} sent an invalid response to the request to {operation.task}: {problem}"
        raise _uncertain(operation, Transient(Reason.REMOTE_REPLY_INVALID, what, status=response.status)) from None


def unsuccessful(service: Service, operation: Operation, response: Response, source: str, now: datetime) -> ExportError:
    """The error for a response that is not a success. `source` is where the credentials come from."""
    if error := not_a_refusal(service, operation, response, now):
        return error
    status, name = response.status, service.name
    if not service.refused(response):
        return intercepted(service, operation, response)
    code, request_id = service.read_codes(response)
    # Codes about credentials are certain. A 400 or a 404 alone does not say what is wrong.
    if reason := service.reason(code):
        what = f"{name} rejected the credentials of {source} for the request to {operation.task}"
    elif status == 401:
        reason, what = Reason.CREDENTIALS_REFUSED, f"{name} refused the credentials of {source}"
    elif reason := operation.refusals.get(status):
        with_which = f" with the credentials of {source}" if status in (403, 404) else ""
        what = f"{name} refused to {operation.task}{with_which}"
    else:
        reason = Reason.NOT_PERMITTED if status == 403 else operation.other_refusal
        what = f"{name} refused to {operation.task}"
    if reason is Reason.NOT_PERMITTED:
        what = f"{name} refused to {operation.task}: the credentials of {source} do not have permission"
    return Permanent(reason, what, status=status, remote_code=code, request_id=request_id)


def not_a_refusal(service: Service, operation: Operation, response: Response, now: datetime) -> ExportError | None:
    """The error for a rate limit, a redirect or a failure of the service; None for a refusal."""
    status, name = response.status, service.name
    code, request_id = service.read_codes(response)

    def error(kind: type[T], reason: Reason, what: str) -> T:
        return kind(reason, what, status=status, remote_code=code, request_id=request_id)

    wait = retry_after(response.headers.get("retry-after"), now)
    if status == 429:
        limited = error(RateLimited, Reason.RATE_LIMITED, f"{name} rate-limited the request to {operation.task}")
        limited.retry_after = wait
        return limited
    if status < 400:
        what = f"{name} answered the request to {operation.task} with a redirect"
        return _uncertain(operation, error(Transient, Reason.REMOTE_REPLY_INVALID, what))
    if status >= 500 or status in _GATEWAY_GAVE_UP:
        failed = error(Transient, Reason.REMOTE_UNAVAILABLE, f"{name} failed to {operation.task}")
        failed.retry_after, failed.received, failed.timed_out = wait, True, status == 504
        return _uncertain(operation, failed)
    return None


def intercepted(service: Service, operation: Operation, response: Response) -> ExportError:
    """The error for a refusal that the service did not write.

    A filter may block only the response: the service may have processed the request.
    """
    what = f"A proxy or filter, and not {service.name}, answered the request to {operation.task}"
    code, request_id = service.read_codes(response)
    error = Transient(
        Reason.REMOTE_REPLY_INVALID, what, status=response.status, remote_code=code, request_id=request_id
    )
    return _uncertain(operation, error)


def _too_large(service: Service, operation: Operation, limit: Exception, status: int | None) -> ExportError:
    """The error for a response that exceeds a limit. A read is not repeated."""
    what = f"{service.name}'s response to the request to {operation.task} is too large: {limit}"
    if operation.retry is RetryPolicy.READ:
        return Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what, status=status)
    return _uncertain(operation, Transient(Reason.REMOTE_REPLY_INVALID, what, status=status))


def _uncertain(operation: Operation, error: Transient) -> ExportError:
    """The error for a try that the service may have processed."""
    if operation.retry is RetryPolicy.READ:
        return error
    return OutcomeUnknown.of(error, operation.unknown)
