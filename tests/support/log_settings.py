"""Restores the logging settings, which are global, after a test that changes them."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qualtrics_exporter.telemetry import logs


@contextmanager
def restored() -> Iterator[None]:
    """Restore the settings of logging at the end of the block."""
    root = logging.getLogger()
    level, handlers, hook = root.level, list(root.handlers), sys.excepthook
    levels = {name: logging.getLogger(name).level for name in logs.FLOORS}
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.handlers[:] = handlers
        sys.excepthook = hook
        for name, former in levels.items():
            logging.getLogger(name).setLevel(former)
