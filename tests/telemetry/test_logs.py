"""The log on standard error: its formats, and the addresses, secrets and library records that stay out of it."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import kopf
import pytest

from qualtrics_exporter.telemetry import logs
from tests.support import log_settings

ADDRESS = "jane.doe@example.com"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    with log_settings.restored():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_format_writes_one_object_for_each_record(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    logging.getLogger("qualtrics_exporter.x").info("two\nlines %d", 2, extra={"namespace": "dex", "slots": [1, 2]})

    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "qualtrics_exporter.x",
        "message": "two\nlines 2",
        "namespace": "dex",
        "slots": [1, 2],
    }


def test_console_format_writes_one_line_for_each_record(stream: io.StringIO) -> None:
    logs.configure("console", "info", stream=stream)
    logging.getLogger("qualtrics_exporter.controller.x").warning("two\nlines", extra={"slot": 3})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r" WARNING controller.x: two\nlines slot=3")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_part_of_a_log_record_shows_an_address(log_format: Any, stream: io.StringIO) -> None:
    logs.configure(log_format, "debug", stream=stream)
    log = logging.getLogger("qualtrics_exporter.x")
    log.info("mailed %s", ADDRESS)
    log.info("mailed", extra={"who": ADDRESS, ADDRESS: 1, "deep": {"er": [{ADDRESS: (ADDRESS,)}]}})
    log.info({"event": ADDRESS})
    log.info("an object: %r, and one in extra", [ADDRESS], extra={"error": ValueError(ADDRESS)})
    try:
        int(ADDRESS)
    except ValueError:
        log.exception("failed for %s", ADDRESS, stack_info=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"deprecated: {ADDRESS}", stacklevel=1)
    sys.excepthook(ValueError, ValueError(ADDRESS), None)

    text = stream.getvalue()
    assert "invalid literal for int" in text
    assert "deprecated" in text
    assert "the process ends with an error" in text
    assert "jane" not in text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_values_of_fields_that_are_named_like_secrets_are_masked(log_format: Any, stream: io.StringIO) -> None:
    logs.configure(log_format, "info", stream=stream)
    logging.getLogger("x").info("asked", extra={"clientSecret": "hunter2", "headers": {"Authorization": "hunter2"}})

    assert "asked" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    ("logger", "level"),
    [
        ("httpx", logging.INFO),  # whole URLs
        ("httpcore.http11", logging.DEBUG),  # headers
        ("kubernetes.client.rest", logging.DEBUG),  # whole bodies
        ("client", logging.DEBUG),
        ("kopf.objects", logging.DEBUG),
        ("aiohttp.access", logging.INFO),
    ],
)
def test_debug_records_of_libraries_are_dropped_even_if_their_level_is_lowered(
    logger: str, level: int, log_format: Any, stream: io.StringIO
) -> None:
    logs.configure(log_format, "debug", stream=stream)
    library_logger = logging.getLogger(logger)
    level_before = library_logger.level
    library_logger.setLevel(logging.DEBUG)  # as the debug setting of that library does
    try:
        library_logger.log(level, "secret bytes")
        library_logger.warning("a warning")
    finally:
        library_logger.setLevel(level_before)

    assert "a warning" in stream.getvalue()
    assert "secret bytes" not in stream.getvalue()


def test_a_record_that_cannot_be_formatted_does_not_show_its_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # the handlers of pytest raise the error
    logs.configure("json", "info", stream=stream)
    logging.getLogger("x").info("%d people", ADDRESS)

    output = capsys.readouterr().err
    assert "test_logs.py" in output
    assert "jane" not in output + stream.getvalue()


def test_a_record_of_kopf_has_the_namespace_and_name_of_its_object(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    reference = {"kind": "QualtricsExporter", "namespace": "dex", "name": "teams", "uid": "u"}
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    logging.getLogger("kopf.objects").error("bad", extra={"k8s_ref": reference, "settings": settings, "k8s_skip": True})

    (line,) = lines(stream)
    assert (line["namespace"], line["name"]) == ("dex", "teams")
    assert not {"k8s_ref", "settings", "k8s_skip"} & line.keys()


def test_configuring_the_log_again_replaces_the_earlier_configuration(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=io.StringIO())
    logs.configure("json", "error", stream=stream)
    logging.getLogger("x").warning("below the level")
    logging.getLogger("x").error("logged once")

    assert [line["message"] for line in lines(stream)] == ["logged once"]
