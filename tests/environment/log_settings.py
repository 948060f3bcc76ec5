"""Logging is one thing for the whole process: whoever sets it up for a test puts it back as it was."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qualtrics_exporter.telemetry import logs


@contextmanager
def restored() -> Iterator[None]:
    """Whatever happens to the settings of logging in the block, afterwards they are as before."""
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
