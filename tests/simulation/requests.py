"""Checks that each request of a user has an entry in time, even if the user removes the request again."""

from collections.abc import Callable, Iterator
from typing import Any

from qualtrics_exporter.export.run_ids import request_run_id, test_run_id
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, TEST_REQUESTED_AT

from .records import NOBODY, Excuses, Record
from .world import HOUR

Annotations = dict[str, str]


class RequestChecks:
    """Follows the tokens in the annotations of each object."""

    def __init__(self, excuses: Excuses, violate: Callable[[str, str, str], None]) -> None:
        self._excuses = excuses
        self._violate = violate

    def changed(self, record: Record, old: Annotations, new: Annotations, now: float, longest: float | None) -> None:
        """Note new requests, and check those that are removed. `longest` is the deadline of a run, in seconds.

        A request waits for a run in progress. If `longest` is None, the spec is invalid, and nothing is checked.
        """
        for name, tokens, id_of in requests(record):
            token, before = new.get(name), old.get(name)
            if token == before:
                continue
            if before and longest is not None and before not in record.exempt and len(tokens[before]) == 1:
                began, run_id = tokens[before][0], id_of(record.uid, before)
                ended = run_id in record.entries or (record.active is not None and record.active[0] == run_id)
                owned = all(shard != NOBODY for _, end, shard in record.stays() if end > began)
                slow = now - began > longest and self._excuses.undisturbed(record, began - 600, now)
                if owned and slow and not ended:
                    waited = f"{name} {before} after {(now - began) / HOUR:.1f} hours"
                    self._violate("a request waits without an entry", record.name, waited)
            if token:
                tokens.setdefault(token, []).append(now)


def requests(record: Record) -> Iterator[tuple[str, dict[str, list[float]], Callable[[Any, str], str]]]:
    """The two kinds of requests: the annotation, its tokens, and the id of the run of a token."""
    yield RUN_REQUESTED_AT, record.run_tokens, request_run_id
    yield TEST_REQUESTED_AT, record.test_tokens, test_run_id
