"""The values in the responses of Qualtrics."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qualtrics_exporter.remote.response import (
    NotUnderstood,
    Response,
    TooMuch,
    get_code_or_none,
    get_count,
    get_count_or_none,
    get_id,
    get_list,
    get_path,
    get_text,
)

MAX_ELEMENTS = 10_000
"""Of one page. Qualtrics returns up to 500."""

LONGEST_WORD = 64
"""The maximum length of `.status.history[].delivery.requestStatus`."""


def result(response: Response) -> Any:
    """The content of the envelope. Raises `NotUnderstood`."""
    content = get_path(response.document(), "result")
    if not isinstance(content, dict):
        raise NotUnderstood("it has no result")
    return content


def new_id(response: Response) -> str:
    return get_id(response.document(), "result", "id")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    elements: list[Any]
    next_page: str | None
    """The URL of the next page."""
    last: bool
    """Whether the page says that no other page follows."""


def page(response: Response, id_key: str) -> Page:
    """One page of a list. Each element has an id: an element without one could not be looked at."""
    content = result(response)
    elements = get_list(content, "elements")
    if len(elements) > MAX_ELEMENTS:
        raise TooMuch(f"a page has more than {MAX_ELEMENTS:,} elements")
    for element in elements:
        get_id(element, id_key)
    next_page = content.get("nextPage")
    if next_page is not None and not isinstance(next_page, str):
        raise NotUnderstood("its nextPage is not a URL")
    return Page(elements, next_page or None, last=next_page is None and "nextPage" in content)


def import_started(response: Response) -> tuple[str, int]:
    """The id of an import, and the number of contacts that it ignores."""
    content = result(response)
    unprocessed = get_path(content, "contacts", "unprocessed")
    return get_id(content, "id"), len(unprocessed) if isinstance(unprocessed, list) else 0


def import_progress(response: Response) -> tuple[bool, tuple[int, int] | None]:
    """Whether an import failed; the numbers of created and failed contacts, or None while it runs."""
    content = result(response)
    status = get_text(content, "status").lower()
    if status in ("failed", "error", "cancelled", "canceled"):
        return True, None
    over = status in ("complete", "completed")
    if not over and (status == "inprogress" or (get_count_or_none(content, "percentComplete") or 0) < 100):
        return False, None
    created = get_count(content, "transactions", "count", "created")
    return False, (created, get_count_or_none(content, "contacts", "count", "failed") or 0)


def word(document: Any, key: str) -> str | None:
    """A single word of letters; None for any other text, which must not get into a status."""
    text = get_code_or_none(document, key)
    return text if text and text.isalpha() and len(text) <= LONGEST_WORD else None


def moment(text: object) -> datetime | None:
    """A time; None for a missing or invalid one."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text[:64])
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
