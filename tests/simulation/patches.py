"""Patches that make the code under test repeatable and fast. They do not change its behavior otherwise.

All random numbers of the process come from the seed. The results of pure functions that the controller often calls with
the same arguments are cached: to read a spec or a status, to check the text of a query, to compare two queries, and to
redact a message. Objects of the simulated API server are never changed in place, so their identity is a valid key.
"""

import contextlib
import functools
import logging
import random
import secrets
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

from qualtrics_exporter import schedule
from qualtrics_exporter.controller.plan import wake
from qualtrics_exporter.controller.status import store as status_store
from qualtrics_exporter.export import run_ids
from qualtrics_exporter.nexthink import execution
from qualtrics_exporter.nql import check as nql_check
from qualtrics_exporter.nql import compare
from qualtrics_exporter.resource import exporter
from qualtrics_exporter.telemetry import redact as redaction

from .tenants import EXECUTE_ROWS


@contextlib.contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Within the block, all random numbers come from the seed."""
    source = random.Random(f"process {seed}")
    state = random.getstate()
    random.seed(f"module {seed}")

    def token_hex(nbytes: int | None = None) -> str:
        return source.randbytes(nbytes or 32).hex()

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=source.getrandbits(128), version=4)

    try:
        with contextlib.ExitStack() as stack:
            for patch in (
                mock.patch.object(secrets, "token_hex", token_hex),
                mock.patch.object(secrets, "token_urlsafe", token_hex),
                mock.patch.object(uuid, "uuid4", uuid4),
                *_faster(),
            ):
                stack.enter_context(patch)
            yield
    finally:
        random.setstate(state)


IDLE_SECONDS = 600.0
"""How often an idle replica reads its clock, and the Secrets of exporters that are not ready. The real 30 seconds would
use most of the CPU."""


def _faster() -> list[Any]:
    redact = functools.lru_cache(maxsize=4096)(redaction.redact)
    return [
        mock.patch.object(wake, "SECRET_WATCH", timedelta(seconds=IDLE_SECONDS)),
        mock.patch.object(execution, "MAX_ROWS", EXECUTE_ROWS),
        mock.patch.object(exporter, "read_status", _by_identity(exporter.read_status)),
        mock.patch.object(exporter.Exporter, "from_object", staticmethod(_by_identity(exporter.Exporter.from_object))),
        mock.patch.object(status_store, "_dump", _by_identity(status_store._dump)),
        mock.patch.object(status_store, "redact", redact),
        mock.patch.object(run_ids, "_id", functools.lru_cache(maxsize=4096)(run_ids._id)),
        *_everywhere(schedule.next_slot, functools.lru_cache(maxsize=4096)(schedule.next_slot)),
        *_everywhere(exporter.read_spec, _by_identity(exporter.read_spec)),
        mock.patch.object(nql_check, "check", _by_value(nql_check.check)),
        *_everywhere(compare.difference, _by_value(compare.difference)),
    ]


def _everywhere(function: Callable[..., Any], replacement: Callable[..., Any]) -> list[Any]:
    """Replace a function in every module that imported it."""
    return [
        mock.patch.object(module, function.__name__, replacement)
        for name, module in sorted(sys.modules.items())
        if name.startswith("qualtrics_exporter.") and getattr(module, function.__name__, None) is function
    ]


def _by_identity(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache results by the identity of the argument, which is kept alive as long as its result."""
    known: dict[int, tuple[Any, Any]] = {}

    @functools.wraps(function)
    def cached(argument: Any) -> Any:
        if (found := known.get(id(argument))) is not None:
            return found[1]
        result = function(argument)
        if argument is not None:
            if len(known) > 2000:
                for key in list(known)[:1000]:
                    del known[key]
            known[id(argument)] = argument, result
        return result

    return cached


def _by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[str, Any] = {}

    def cached(*arguments: Any) -> Any:
        key = repr(arguments)
        if key not in known:
            known[key] = function(*arguments)
        return known[key]

    return cached


@contextlib.contextmanager
def logs(sink: Callable[[str], None] | None, unexpected: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Send the log of the code under test to `sink`. Without a sink, most lines are disabled, which is faster.

    `unexpected` is called for errors that the code under test did not expect.
    """
    root = logging.getLogger("qualtrics_exporter")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if sink is not None:
                sink(f"log: {record.getMessage()}")
            if record.levelno >= logging.ERROR:
                unexpected(record.getMessage())

    handler, level, disabled = Handler(), root.level, logging.root.manager.disable
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.disable(logging.NOTSET if sink is not None else logging.WARNING)
    propagate, root.propagate = root.propagate, False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.disable(disabled)
        root.propagate = propagate
