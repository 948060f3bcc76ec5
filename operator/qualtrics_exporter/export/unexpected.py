"""Unexpected errors: what users and the log learn about them.

The text of such an error can contain an address or a secret, so only its type is shown.
"""

import logging
import traceback
from pathlib import Path

from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.resource.reasons import Reason

logger = logging.getLogger(__name__)


def internal_error(error: Exception) -> Transient:
    """The error that users see, with the reason `InternalError`."""
    return Transient(Reason.INTERNAL_ERROR, f"Unexpected internal error ({type(error).__name__})")


def log_unexpected(action: str, error: Exception) -> None:
    """Log where the error occurred. `action` completes "unexpected error while"."""
    logger.error("unexpected error while %s: %s at %s", action, type(error).__name__, places(error, 8))


def places(error: Exception, most: int) -> str:
    """The file and line of the innermost calls in which the error occurred."""
    calls = traceback.walk_tb(error.__traceback__)
    return " ".join([f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in calls][-most:])
