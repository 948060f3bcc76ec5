"""The result of the execution of a saved query."""

from dataclasses import dataclass, field

from qualtrics_exporter.remote.response import NotUnderstood, Response, get_count_or_none, get_list, get_path

MAX_ROWS = 1000
"""The maximum number of rows of one execution. Nothing in the response shows that there are more."""
LONGEST_CELL = 400
"""Characters. An address has 254 at most."""


@dataclass(frozen=True)
class Executed:
    """The result of one execution of a query."""

    columns: int
    """0 if unknown, because there is no row."""
    rows: list[tuple[str, ...]] = field(repr=False)
    executed_query: str | None = field(repr=False)
    """The NQL that ran, if Nexthink reports it."""
    complete: bool
    """False if the number of rows is the maximum: there may be more."""
    truncated: bool
    """The maximum of the licence cut the rows."""
    fields: tuple[str, ...] = ()
    """The name of the column, if a row shows it. Empty if there are several columns."""


def read_execution(response: Response) -> Executed:
    """The result in a response. Raises `NotUnderstood`."""
    document = response.document()
    data = get_list(document, "data")
    columns: dict[str, None] = {}
    for row in data[:MAX_ROWS]:  # the export has the others
        if not isinstance(row, dict):
            raise NotUnderstood("a row of its data is not an object")
        columns.update(dict.fromkeys(row))
    executed = get_path(document, "executedQuery")
    only = next(iter(columns), "") if len(columns) <= 1 else None
    return Executed(
        columns=max(1, len(columns)) if data else 0,
        # A result with several columns is refused without its rows, which would take rows times columns of memory.
        rows=[] if only is None else [(_cell(row.get(only)),) for row in data[:MAX_ROWS]],
        executed_query=executed if isinstance(executed, str) else None,
        complete=max(len(data), get_count_or_none(document, "rows") or 0) < MAX_ROWS,
        truncated=response.status == 206,
        fields=tuple(columns) if only is not None else (),
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    # Lists, objects and long texts are not addresses, and a run keeps all cells for a while. A long text is replaced
    # instead of cut, because its beginning may look like an address.
    text = str(value).strip(" ") if isinstance(value, str | int | float) else ""
    return text if len(text) <= LONGEST_CELL and (text or value == "") else "?"
