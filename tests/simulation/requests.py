"""Requests of users: each of them has its entry in time, also one that is taken away before the end of the world."""

from collections.abc import Callable, Iterator
from typing import Any

from qualtrics_exporter.export.run_ids import request_run_id, test_run_id
from qualtrics_exporter.resource.exporter import RUN_REQUESTED_AT, TEST_REQUESTED_AT

from .records import NOBODY, Excuses, Record
from .world import HOUR

Annotations = dict[str, str]


class RequestJudge:
    """Follows the tokens in the annotations of each object."""

    def __init__(self, excuses: Excuses, violate: Callable[[str, str, str], None]) -> None:
        self._excuses = excuses
        self._violate = violate

    def changed(self, record: Record, old: Annotations, new: Annotations, now: float, longest: float | None) -> None:
        """Note what is requested, and judge what is taken away. `longest` is the deadline of a run, in seconds.

        A run that was in progress comes before a request. Without a valid spec, which is None, nothing is judged.
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
