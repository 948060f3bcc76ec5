"""Configures logging: one line per event to standard error, as JSON or as plain text.

Every line and every traceback goes through `redact`. Libraries have a minimum level that no setting can lower, because
they log secrets: httpx logs URLs at INFO (a pre-signed URL is a key), httpcore logs headers at DEBUG, and the
Kubernetes client logs bodies with Secrets at DEBUG.
"""

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from qualtrics_exporter.telemetry.redact import MASK, redact

Format = Literal["json", "console"]
Level = Literal["debug", "info", "warning", "error"]

FLOORS = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "urllib3": logging.WARNING,
    "aiohttp": logging.WARNING,
    "kubernetes": logging.WARNING,
    "client": logging.WARNING,  # the logger of the Kubernetes client for bodies
    "asyncio": logging.WARNING,
    "kopf": logging.WARNING,
}
"""The minimum level of each library."""

_HIDDEN = {"k8s_skip", "k8s_ref", "settings", "taskName", "color_message"}  # attributes that Kopf and others attach
_SECRET_WORDS = ("authorization", "token", "secret", "password", "cookie", "apikey", "api_key", "credential")


def configure(format: Format = "json", level: Level = "info", *, stream: TextIO | None = None) -> None:  # noqa: A002
    """Send all logs of this process to standard error, redacted. A later call replaces the configuration."""
    stream = stream or sys.stderr
    handler = _Handler(stream)
    handler.setFormatter(_Json(stream) if format == "json" else _Console())
    handler.addFilter(_audible)
    root = logging.getLogger()
    for former in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, floor in FLOORS.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught


def _audible(record: logging.LogRecord) -> bool:
    """Apply the minimum level of a library also to its child loggers that have their own level."""
    return record.levelno >= FLOORS.get(record.name.partition(".")[0], 0)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("qualtrics_exporter").critical("the process ends with an error", exc_info=(kind, error, trace))


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that never prints the arguments of a record that it could not format."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging calls it
        error = sys.exc_info()[0]
        if error is None or issubclass(error, OSError):
            return  # standard error cannot be written
        source = f"{record.pathname}:{record.lineno}"
        sys.stderr.write(f"a log record of {source} could not be written: {error.__name__}\n")


class _Json(JsonFormatter):
    """One object per line: time, level, logger, message, then the fields of `extra`."""

    def __init__(self, stream: TextIO) -> None:
        # If the encoding lacks a character, Python writes an escape that is not valid JSON.
        ascii_only = (stream.encoding or "utf-8").lower().replace("-", "") != "utf8"
        super().__init__(reserved_attrs=[*RESERVED_ATTRS, *_HIDDEN], json_ensure_ascii=ascii_only, json_default=str)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = _time(record)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.message
        log_data.update(_object(record))
        super().add_fields(log_data, record, message_dict)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {redact(key): clean(value, key) for key, value in log_data.items()}


class _Console(logging.Formatter):
    """One line of plain text. A traceback follows on separate lines."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {k: v for k, v in record.__dict__.items() if k not in RESERVED_ATTRS and k not in _HIDDEN}
        facts = "".join(f" {k}={clean(v, k)}" for k, v in {**_object(record), **extra}.items() if k != "message")
        message = (record.getMessage() + facts).replace("\r", "\\r").replace("\n", "\\n")
        line = f"{_time(record)} {record.levelname:<7} {record.name.removeprefix('qualtrics_exporter.')}: {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            line += "\n" + record.stack_info
        return redact(line)


def clean(value: Any, key: str = "") -> Any:
    """A value for the log: redacted at every level, and masked completely if its name is that of a secret."""
    if value is not None and any(word in key.lower() for word in _SECRET_WORDS):
        return MASK
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(k)): clean(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(v) for v in value]
    return redact(str(value))


def _object(record: logging.LogRecord) -> dict[str, Any]:
    """The namespace and name of the object that Kopf attaches to a record."""
    reference = getattr(record, "k8s_ref", None)
    return {k: reference[k] for k in ("namespace", "name") if reference.get(k)} if isinstance(reference, dict) else {}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
