"""What `kubectl qex` prints for programs, and which modules it imports before it prints anything."""

import subprocess
import sys

import pytest
import yaml

from tests.cli.qex import Qex
from tests.support.stage import Stage

NAME = "qualtricsexporter.qualtrics-exporter.dev/teams-rollout"


def test_run_and_test_print_the_entry_of_the_history(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()

    printed = stage.while_time_passes(lambda: qex.json("test", "teams-rollout", "-o", "json"), seconds=1)
    assert printed == exporter.status()["lastTest"]
    assert printed["recipients"]["accepted"] == 6

    request = qex.json("run", "teams-rollout", "--yes", "--no-wait", "-o", "json")
    assert request == {"id": exporter.ended()["id"]}


@pytest.mark.long
def test_run_that_fails_prints_its_entry_and_exits_with_1(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter(maxRecipients=1)
    exporter.checked()
    done = stage.while_time_passes(lambda: qex("run", "teams-rollout", "--yes", "-o", "yaml", code=1), seconds=1)
    assert yaml.safe_load(done.stdout) == exporter.history()[0]
    assert exporter.history()[0]["reason"] == "RecipientLimitExceeded"


def test_wait_status_and_history_print_the_object(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    own = ("-n", stage.namespace)

    for command in (("wait", "teams-rollout", "--for", "ready"), ("status", "teams-rollout")):
        assert qex.in_process(*command, *own, "-o", "name").stdout == f"{NAME}\n"
        for output in ("json", "yaml"):
            found = yaml.safe_load(qex.in_process(*command, *own, "-o", output).stdout)
            assert (found["kind"], found["metadata"]["name"]) == ("QualtricsExporter", "teams-rollout")
            assert found["status"]["observedGeneration"] == 1
    printed = qex.in_process("history", "teams-rollout", *own, "-o", "yaml").stdout
    assert yaml.safe_load(printed) == {"history": None, "lastTest": None}


def add_event(stage: Stage, name: str, uid: str) -> None:
    """Add an Event about an exporter `teams-rollout` with this uid."""
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": stage.namespace},
        "regarding": {
            "kind": "QualtricsExporter",
            "namespace": stage.namespace,
            "name": "teams-rollout",
            "uid": uid,
        },
        "eventTime": "2026-11-24T12:00:00.000000Z",
        "type": "Normal",
        "reason": "Tested",
        "note": f"Event {name}.",
        "action": "Test",
        "reportingController": "tests",
        "reportingInstance": "tests",
    }
    stage.cluster.put(f"/apis/events.k8s.io/v1/namespaces/{stage.namespace}/events/{name}", event)


def test_events_are_those_of_the_exporter_and_not_of_an_earlier_one(stage: Stage, qex: Qex) -> None:
    exporter = stage.exporter()
    own = ("events", "teams-rollout", "-n", stage.namespace)
    assert "There are no Events" in qex.in_process(*own).stderr
    add_event(stage, "earlier", "another-uid")
    add_event(stage, "present", exporter.get()["metadata"]["uid"])

    header, row = qex.in_process(*own).stdout.splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "MESSAGE"]
    assert row.endswith("Event present.")
    assert qex.in_process(*own, "-o", "name").stdout == "event.events.k8s.io/present\n"
    for output in ("json", "yaml"):
        (event,) = yaml.safe_load(qex.in_process(*own, "-o", output).stdout)["items"]
        assert event["note"] == "Event present."


SLOW = {"aiohttp", "email_validator", "httpx", "kopf", "kubernetes.client", "lark", "prometheus_client", "yaml"}
"""Packages that take a tenth of a second or more to import, or that need others that do."""
MODELS = {"asyncio", "pydantic", "ssl"}
"""Commands that show an exporter need these. Help, completion of commands and wrong usage do not."""


def imported(code: str) -> set[str]:
    """The modules that a new process imports to run this code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


def test_commands_import_no_slow_package() -> None:
    program = "from qualtrics_exporter.cli.qex import program"
    assert imported(f"{program}; program(['--help'], standalone_mode=False)") & (SLOW | MODELS) == set()
    for module in ("show", "act", "wait"):
        assert imported(f"import qualtrics_exporter.cli.qex.{module}") & SLOW == set(), module
