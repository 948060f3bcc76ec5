"""Checks whether this machine has a folder for temporary files."""

import os
import tempfile
from pathlib import Path


def write_probe(folder: Path | None = None) -> None:
    """Write a file that is removed at once, in the folder for temporary files by default. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0" * 4096)
        probe.flush()


def problem() -> str | None:
    """Why no temporary file can be written, and what to do about it; None if one can be written."""
    try:
        write_probe()
    except OSError as error:
        if folder := tempfile.tempdir:  # it was writable when the process looked for a folder
            return f"no file can be written to {folder} ({error.strerror}): set TMPDIR to another folder."
        tried = os.environ.get("TMPDIR")
        subject = f"TMPDIR is {tried}, and neither it nor" if tried else "none of"
        return f"{subject} /tmp, /var/tmp, /usr/tmp and the current directory can be written: set TMPDIR."
    return None
