"""Checks the settings of this machine before the first request.

Otherwise, a missing file would look like a remote service that does not answer. Each message names the variable or the
flag, and the path. A problem counts as wrong usage: exit code 2.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from qualtrics_exporter.controller import temporary_files
from qualtrics_exporter.export.file_journal import JournalUnreadable, check_file

_HASH_LENGTH = 8
"""Digits of the hash in the name of a file in SSL_CERT_DIR."""


class LocalSetupError(click.UsageError):
    """A setting of this machine must be corrected first."""


def check_tls(environment: Mapping[str, str] = os.environ) -> None:
    """Check that TLS works with the variables of the environment. Raises `LocalSetupError`."""
    for problem in (*_authorities_file(environment), *_authorities_folders(environment), *_key_log(environment)):
        raise LocalSetupError(problem)
    try:
        ssl.create_default_context()
    except (OSError, ValueError) as error:
        cause = "OPENSSL_CONF" if environment.get("OPENSSL_CONF") else "the OpenSSL settings of this machine"
        raise LocalSetupError(f"TLS cannot be set up: {_why(error)}. Check {cause}.") from None


def _authorities_file(environment: Mapping[str, str]) -> Iterator[str]:
    path = environment.get("SSL_CERT_FILE")
    if not path:
        return
    try:
        with Path(path).open("rb") as file:  # OpenSSL does not report why it cannot read a file
            file.read(1)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        what = "has no certificate" if error.reason == "NO_CERTIFICATE_OR_CRL_FOUND" else f"is not PEM ({_why(error)})"
        yield f"SSL_CERT_FILE is {path}, which {what}. Put the certificates of your authorities there, in PEM format."
    except OSError as error:
        yield f"SSL_CERT_FILE is {path}, which cannot be read: {_why(error)}."


def _authorities_folders(environment: Mapping[str, str]) -> Iterator[str]:
    # A list often has directories that exist only on other systems. One usable directory is enough.
    paths = environment.get("SSL_CERT_DIR", "")
    folders = [path for path in paths.split(os.pathsep) if path]
    unreadable: list[str] = []
    for path in folders:
        try:
            if any(map(_is_hashed, os.listdir(path))):
                return
        except OSError as error:
            unreadable.append(f"{path} cannot be read: {_why(error)}")
    if unreadable and len(unreadable) == len(folders):
        yield f"SSL_CERT_DIR is {paths}. {'. '.join(unreadable)}."
    elif folders and not environment.get("SSL_CERT_FILE"):
        yield f"SSL_CERT_DIR is {paths}, which has no certificate under its hash. Run `openssl rehash` on it."


def _is_hashed(name: str) -> bool:
    hash_, _, number = name.partition(".")
    return len(hash_) == _HASH_LENGTH and number.isdecimal()


def _key_log(environment: Mapping[str, str]) -> Iterator[str]:
    path = environment.get("SSLKEYLOGFILE")
    if not path:
        return
    try:
        with Path(path).open("ab"):
            pass
    except OSError as error:
        yield f"SSLKEYLOGFILE is {path}, which cannot be written: {_why(error)}. Unset it."


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for files that a program keeps from run to run. It may not exist yet. Raises `LocalSetupError`."""
    state = Path(environment.get("XDG_STATE_HOME") or "")
    if state.is_absolute():
        return state
    try:
        home = Path.home()
        # A relative path would be another journal in each working directory, and a second run would send again.
        problem = "" if home.is_absolute() else f"HOME is {home}, which is not an absolute path"
        if environment.get("HOME") == "":  # it would be the root folder
            problem = "HOME is empty"
    except RuntimeError:
        problem = f"HOME is not set, and user id {os.getuid()} has no home directory"
    if problem:
        raise LocalSetupError(f"{problem}: set HOME or XDG_STATE_HOME, or choose a journal with --journal.")
    return home / ".local" / "state"


def check_journal(path: Path, *, chosen: bool, environment: Mapping[str, str] = os.environ) -> Path:
    """Check that a journal can be written there. Returns its path without links. Raises `LocalSetupError`.

    `chosen` means that --journal or its variable names the path. Otherwise this creates its folder.
    """
    if not path.is_absolute():
        # The same command in another working directory would have another journal, and send a second time.
        raise LocalSetupError(
            f"The journal {path} is not an absolute path: in another directory, the same command would not find it and "
            "would send again. Give an absolute path with --journal (or QUALTRICS_EXPORTER_JOURNAL)."
        )
    try:
        if not chosen:
            # Not the resolved path: a link to a disk that is not mounted is an error, not a new folder.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = Path(os.path.realpath(path))
        check_file(path)
        temporary_files.write_probe(path.parent)
        if path.exists():
            path.read_bytes()
    except JournalUnreadable as error:
        raise LocalSetupError(str(error)) from None
    except OSError as error:
        raise LocalSetupError(
            f"The journal {path} cannot be written: {_why(error)}. {_remedy(chosen, environment)}"
        ) from None
    return path


def _remedy(chosen: bool, environment: Mapping[str, str]) -> str:
    if chosen:
        return "Choose another file with --journal (or QUALTRICS_EXPORTER_JOURNAL), or make its directory writable."
    variable = "XDG_STATE_HOME" if Path(environment.get("XDG_STATE_HOME") or "").is_absolute() else "HOME"
    return f"Its directory comes from {variable}: set it to a directory that you can write to, or use --journal."


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder that is removed at the end. Raises `LocalSetupError`."""
    if problem := temporary_files.problem():
        raise LocalSetupError(f"{problem[0].upper()}{problem[1:]}")
    return tempfile.TemporaryDirectory()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
