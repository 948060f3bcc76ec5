"""Lists that Qualtrics returns in pages, and reads with a time limit."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from qualtrics_exporter.qualtrics import responses
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.reasons import Reason

T = TypeVar("T")

MAX_PAGES = 1000


async def elements(
    session: Session, operation: Operation, id_key: str, *, seconds: float | None = None, most_pages: int = MAX_PAGES
) -> AsyncGenerator[Any, None]:
    """The elements of all pages of a list. `seconds` is the time limit for each page.

    At most `most_pages` pages are read, and at most `MAX_PAGES` without an element.

    `nextPage` may have another host of Qualtrics. Only its query is used, and only if the host is allowed: the token is
    sent to no other host. A page that does not say whether another one follows is an error, after its elements: the
    list may be incomplete.
    """
    empty = 0
    seen: set[int] = set()  # hashes, because a list may have thousands of pages with long URLs
    for _ in range(most_pages):
        page = await read_within(session, operation, lambda response: responses.page(response, id_key), seconds)
        for element in page.elements:
            yield element
        empty += not page.elements
        if page.last:
            return
        if page.next_page is None:
            what = f"Qualtrics' response to the request to {operation.task} does not say whether another page follows"
            raise Transient(Reason.REMOTE_REPLY_INVALID, what)
        # This comes first, because it limits the length of the URLs that are kept.
        url = session.check_url(page.next_page, f"The next page of the request to {operation.task}")
        if hash(page.next_page) in seen or empty == MAX_PAGES:
            break
        seen.add(hash(page.next_page))
        query = url.rest.partition("?")[2]
        operation = replace(operation, query=dict(parse_qsl(query, keep_blank_values=True)))
    what = f"Qualtrics' response to the request to {operation.task} has an endless number of pages"
    raise Transient(Reason.REMOTE_REPLY_INVALID, what)


async def read_within(
    session: Session, operation: Operation, read: Callable[[Response], T], seconds: float | None
) -> T:
    """Make a call within a time limit, which includes its retries, its rate limits and its token."""
    try:
        async with TimeLimit(session.clock, seconds):
            return await session.call(operation, read)
    except OutOfTime:
        what = f"Qualtrics did not {operation.task} within {(seconds or 0) / 60:g} minutes"
        raise Transient(Reason.REMOTE_UNAVAILABLE, what) from None
