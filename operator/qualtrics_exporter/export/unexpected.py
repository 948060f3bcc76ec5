"""Unexpected errors: what users and the log learn about them.

The text of such an error can contain an address or a secret, so only its type is shown.
"""

import logging
from pathlib import Path

from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.resource.reasons import Reason

logger = logging.getLogger(__name__)
_LOGGED_FRAMES = 8


def internal_error(error: Exception) -> Transient:
    """The error that users see, with the reason `InternalError`."""
    return Transient(Reason.INTERNAL_ERROR, f"Unexpected internal error ({type(error).__name__})")


def log_unexpected(action: str, error: Exception) -> None:
    """Log where the error occurred. `action` completes "unexpected error while"."""
    traceback, frames = error.__traceback__, []
    while traceback:
        frames.append(f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    places = " ".join(frames[-_LOGGED_FRAMES:])
    logger.error("unexpected error while %s: %s at %s", action, type(error).__name__, places)
