"""What reaches standard error, and what never does."""

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
from tests.environment import log_settings

ADDRESS = "jane.doe@example.com"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with log_settings.restored():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line(stream: io.StringIO) -> None:
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


def test_console_is_one_line_for_people(stream: io.StringIO) -> None:
    logs.configure("console", "info", stream=stream)
    logging.getLogger("qualtrics_exporter.controller.x").warning("two\nlines", extra={"slot": 3})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r" WARNING controller.x: two\nlines slot=3")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_address_gets_out_by_any_way(form: Any, stream: io.StringIO) -> None:
    logs.configure(form, "debug", stream=stream)
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


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_is_called_a_secret_is_masked_whole(form: Any, stream: io.StringIO) -> None:
    logs.configure(form, "info", stream=stream)
    logging.getLogger("x").info("asked", extra={"clientSecret": "hunter2", "headers": {"Authorization": "hunter2"}})

    assert "asked" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
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
def test_libraries_cannot_be_made_to_talk(logger: str, level: int, form: Any, stream: io.StringIO) -> None:
    logs.configure(form, "debug", stream=stream)
    talkative = logging.getLogger(logger)
    former = talkative.level
    talkative.setLevel(logging.DEBUG)  # as a debug switch of that library would
    try:
        talkative.log(level, "secret bytes")
        talkative.warning("a warning is heard")
    finally:
        talkative.setLevel(former)

    assert "a warning is heard" in stream.getvalue()
    assert "secret bytes" not in stream.getvalue()


def test_a_record_that_cannot_be_formatted_does_not_show_its_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest raise
    logs.configure("json", "info", stream=stream)
    logging.getLogger("x").info("%d people", ADDRESS)

    told = capsys.readouterr().err
    assert "test_logs.py" in told
    assert "jane" not in told + stream.getvalue()


def test_kopf_tells_which_object_it_speaks_of(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    reference = {"kind": "QualtricsExporter", "namespace": "dex", "name": "teams", "uid": "u"}
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    logging.getLogger("kopf.objects").error("bad", extra={"k8s_ref": reference, "settings": settings, "k8s_skip": True})

    (line,) = lines(stream)
    assert (line["namespace"], line["name"]) == ("dex", "teams")
    assert not {"k8s_ref", "settings", "k8s_skip"} & line.keys()


def test_configuring_again_replaces_the_former(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=io.StringIO())
    logs.configure("json", "error", stream=stream)
    logging.getLogger("x").warning("not heard")
    logging.getLogger("x").error("heard once")

    assert [line["message"] for line in lines(stream)] == ["heard once"]
