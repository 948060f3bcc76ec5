"""What a command needs of the machine that it runs on, checked before anything is asked of a remote side.

A file that is missing here must not look like a remote side that does not answer. Each problem names the variable or
the flag, and the path. It is wrong usage: exit code 2.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

_HASHED = 8
"""Digits of the hash that a file in SSL_CERT_DIR is called after."""

_PROBE = b"\0" * 4096


class LocalSetupError(click.UsageError):
    """Something on this machine has to be changed first."""


def check_tls(environment: Mapping[str, str] = os.environ) -> None:
    """See that connections can be encrypted and verified with the settings of the environment."""
    for problem in (*_authorities_file(environment), *_authorities_folders(environment), *_key_log(environment)):
        raise LocalSetupError(problem)
    try:
        ssl.create_default_context()
    except (OSError, ValueError) as error:
        cause = "OPENSSL_CONF" if environment.get("OPENSSL_CONF") else "the OpenSSL settings of this machine"
        raise LocalSetupError(f"TLS cannot be set up: {_why(error)}. Look at {cause}.") from None


def _authorities_file(environment: Mapping[str, str]) -> Iterator[str]:
    path = environment.get("SSL_CERT_FILE")
    if not path:
        return
    try:
        with Path(path).open("rb") as file:  # the reason of a file that cannot be read, which OpenSSL does not tell
            file.read(1)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        what = "has no certificate" if error.reason == "NO_CERTIFICATE_OR_CRL_FOUND" else f"is not PEM ({_why(error)})"
        yield f"SSL_CERT_FILE is {path}, which {what}. Put the certificates of your authorities there, in PEM."
    except OSError as error:
        yield f"SSL_CERT_FILE is {path}, which cannot be read: {_why(error)}."


def _authorities_folders(environment: Mapping[str, str]) -> Iterator[str]:
    paths = environment.get("SSL_CERT_DIR")
    if not paths:
        return
    hashed = False
    for path in filter(None, paths.split(os.pathsep)):
        try:
            hashed = hashed or any(map(_is_hashed, os.listdir(path)))
        except OSError as error:
            yield f"SSL_CERT_DIR has {path}, which cannot be read: {_why(error)}."
            return
    if not hashed and not environment.get("SSL_CERT_FILE"):
        yield f"SSL_CERT_DIR is {paths}, which has no certificate under its hash. Run `openssl rehash` on it."


def _is_hashed(name: str) -> bool:
    hash_, _, number = name.partition(".")
    return len(hash_) == _HASHED and number.isdecimal()


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
    """The folder for what programs keep between two runs of theirs. It need not exist."""
    state = Path(environment.get("XDG_STATE_HOME") or "")
    if state.is_absolute():
        return state
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        told = f"HOME is not set, and user id {os.getuid()} has no home directory"
        raise LocalSetupError(
            f"{told}: set HOME or XDG_STATE_HOME, or say where the journal is with --journal."
        ) from None


def check_journal(path: Path, *, chosen: bool, environment: Mapping[str, str] = os.environ) -> None:
    """See that a journal can be kept there. `chosen`: by --journal or its variable, not by default.

    The folder of one that is not chosen is made.
    """
    folder = path.parent
    try:
        if not chosen:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
            probe.flush()
        if path.exists():
            path.read_bytes()
    except OSError as error:
        raise LocalSetupError(
            f"The journal {path} cannot be kept: {_why(error)}. {_remedy(chosen, environment)}"
        ) from None


def _remedy(chosen: bool, environment: Mapping[str, str]) -> str:
    if chosen:
        return "Choose another place with --journal (or QUALTRICS_EXPORTER_JOURNAL), or make its directory writable."
    variable = "XDG_STATE_HOME" if Path(environment.get("XDG_STATE_HOME") or "").is_absolute() else "HOME"
    return f"Its place comes from {variable}: let it name a directory that you can write to, or use --journal."


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder that is removed at the end."""
    try:
        return tempfile.TemporaryDirectory()
    except OSError:
        tried = os.environ.get("TMPDIR")
        told = f"TMPDIR is {tried}, and neither it nor" if tried else "None of"
        raise LocalSetupError(
            f"{told} /tmp, /var/tmp, /usr/tmp and the current directory can be written: set TMPDIR."
        ) from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
