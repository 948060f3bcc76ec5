"""Whether the file of an export is the result of the query that was executed before it.

The file does not name its query. So its field, its number of rows and its people are compared with those of the
execution. People join and leave between the two, so only differences that this cannot explain are rejected.
"""

import re
from collections.abc import Iterable

from qualtrics_exporter.export.addresses import trimmed
from qualtrics_exporter.nexthink.execution import Executed
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.resource.reasons import Reason

_FEWEST = 2
"""The execution has at most this many times the rows of the export."""
_PATH = re.compile(r"[a-z_][a-z0-9_-]*(?:\.#?[a-z0-9_-]+)+")
"""The name of a field with its object. Other texts are not compared, because Nexthink does not document the header."""


class Seen:
    """What an execution returned of a result that is too large for it."""

    def __init__(self, executed: Executed) -> None:
        self._fields = executed.fields
        self._count = len(executed.rows)
        self._people = {text for row in executed.rows for cell in row if (text := _text(cell))}
        self.restart()

    def restart(self) -> None:
        """Forget the rows: the export is read again from its first row."""
        self._found = not self._people

    def take(self, cells: Iterable[str]) -> None:
        """Compare rows of the export."""
        self._found = self._found or not self._people.isdisjoint(map(_text, cells))

    def check_header(self, header: tuple[str, ...] | None) -> None:
        """Raises `Transient` if the export has another field than the execution."""
        exported, executed = _path(header), _path(self._fields)
        if exported and executed and not _same(exported, executed):
            raise _differs(f"it has the field {exported}, and the execution of the query returned {executed}")

    def check_rows(self, returned: int) -> None:
        """Raises `Transient` if the export has far fewer rows, or none of the people that the execution returned."""
        if returned * _FEWEST < self._count:
            raise _differs(f"it has {returned} rows, and the execution of the query returned {self._count:,} or more")
        if not self._found:
            raise _differs(f"it has none of the {self._count:,} rows that the execution of the query returned")


def check_empty(header: tuple[str, ...] | None, query: str) -> None:
    """Raises `Transient` for the file of an export without rows whose only line cannot be the header of this query.

    It may be a message of a proxy. Without this check, the run would end as if its query returned nobody.
    """
    name = " ".join(header or ()).strip().strip("\"'`").lower()
    if _path(header) or (name and re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", query.lower())):
        return
    raise Transient(
        Reason.REMOTE_REPLY_INVALID,
        "The file of the export has no rows, and its only line is not the name of a field of the query",
        next_step="Find out whether a proxy or another system changes files. If the saved query gives its "
        "field another name than spec.nexthink.query, correct one of them.",
    )


def _differs(how: str) -> Transient:
    return Transient(
        Reason.REMOTE_REPLY_INVALID,
        f"The file of the export is not the result of the query: {how}",
        next_step="Find out whether somebody changed the saved query at that time. Then request a run. If it happens "
        "again, ask Nexthink's support why an export differs from the execution of the same query.",
    )


def _text(cell: str) -> str:
    return trimmed(cell).casefold()


def _path(names: tuple[str, ...] | None) -> str | None:
    name = names[0].strip().strip("\"'`").strip().lower() if names and len(names) == 1 else ""
    return name if len(name) <= 100 and _PATH.fullmatch(name) else None


def _same(one: str, other: str) -> bool:
    """Whether these may be the same field. A name may omit its object."""
    return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}")
