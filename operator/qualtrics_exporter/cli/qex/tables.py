"""Columns of text."""

from collections.abc import Iterable, Sequence

GAP = 3
"""Spaces between two columns, as in the tables of kubectl."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns. A column that is empty in every row is left out."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    used = [n for n in range(len(header)) if n == 0 or any(line[n] for line in lines[1:])]
    widths = {n: max(len(line[n]) for line in lines) + GAP for n in used}
    return "\n".join("".join(line[n].ljust(widths[n]) for n in used).rstrip() for line in lines)
