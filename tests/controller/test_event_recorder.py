"""Events as kubectl shows them, and Events that cannot be posted."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.controller.kube.event_recorder import NOTE_BYTES, EventRecorder, EventToRecord, cut
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from tests.controller.patient_api import patient_api
from tests.support.clock import SteeredClock
from tests.support.controlplane import ControlPlane

NOW = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)

SENT = EventToRecord("Normal", Reason.SUCCEEDED, "Sent.", "Run", "run 1")


@pytest.fixture
def exporter(namespace: str) -> Exporter:
    metadata = {"namespace": namespace, "name": "teams", "uid": "11111111-2222-3333-4444-555555555555"}
    return Exporter.from_object({"metadata": metadata})


@pytest_asyncio.fixture
async def recorder(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EventRecorder]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with await connect() as api:
        yield EventRecorder(patient_api(api), "pod-1", SteeredClock(start=NOW))


def events(cluster: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    listed = cluster.kubectl("get", "events.v1.events.k8s.io", "--namespace", namespace, "-o", "json").stdout
    items: list[dict[str, Any]] = json.loads(listed)["items"]
    return items


async def test_event_has_type_reason_action_note_object_time_and_reporter(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    await recorder.record(
        exporter, EventToRecord("Warning", Reason.SURVEY_NOT_FOUND, "The survey is gone.", "Check", "1")
    )

    (event,) = events(cluster, namespace)
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "SurveyNotFound", "Check")
    assert event["note"] == "The survey is gone."
    assert event["regarding"]["uid"] == exporter.uid
    assert event["eventTime"].startswith("2026-03-02T00:00:0")
    assert event["reportingController"] == "qualtrics-exporter.dev/controller"
    assert event["reportingInstance"] == "pod-1"


async def test_kubectl_shows_the_event_of_an_exporter(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    await recorder.record(exporter, replace(SENT, note="Sent to 12 people."))
    output = cluster.kubectl("events", "--namespace", namespace, "--for", "qualtricsexporter/teams").stdout
    assert "Sent to 12 people." in output


async def test_events_with_the_same_object_reason_and_dedup_key_are_posted_once(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    for _ in range(2):
        await recorder.record(exporter, SENT)
    await recorder.record(exporter, replace(SENT, dedup="run 2"))
    await recorder.record(exporter, replace(SENT, type="Warning", reason=Reason.PARTLY_DELIVERED))
    recreated = replace(exporter, uid="99999999-2222-3333-4444-555555555555")
    await recorder.record(recreated, SENT)
    assert len(events(cluster, namespace)) == 4


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_long_note_is_truncated_to_the_limit_of_the_api_server(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str, letter: str
) -> None:
    await recorder.record(exporter, replace(SENT, note=letter * 3000))
    (event,) = events(cluster, namespace)
    assert event["note"].endswith(f"{letter}…")
    assert NOTE_BYTES - 4 <= len(event["note"].encode()) <= NOTE_BYTES


def test_note_is_truncated_only_above_the_limit() -> None:
    assert cut("a" * NOTE_BYTES) == "a" * NOTE_BYTES
    assert len(cut("a" * (NOTE_BYTES + 1)).encode()) == NOTE_BYTES


async def test_exporters_with_the_longest_names_have_events(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    for name in ("a" * 253, "a" * 235 + "-" * 10 + "a" * 8, f"{'a' * 62}." * 4 + "a"):
        await recorder.record(replace(exporter, name=name), SENT)
    assert len(events(cluster, namespace)) == 3


async def test_event_contains_no_email_address(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    await recorder.record(exporter, replace(SENT, note="no mail to jane@example.com"))
    assert "jane" not in json.dumps(events(cluster, namespace))


async def test_event_that_the_operator_has_no_permission_for_is_logged_and_raises_no_error(
    exporter: Exporter,
    cluster: ControlPlane,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.service_account(namespace, "nobody")))
    async with await connect() as api:
        recorder = EventRecorder(patient_api(api), "pod-1", SteeredClock(start=NOW))
        with caplog.at_level(logging.WARNING):
            await recorder.record(exporter, SENT)
    assert (
        f"the Event Succeeded about {namespace}/teams could not be posted: the operator may not create events"
        in caplog.text
    )


async def test_event_in_a_deleted_namespace_is_logged_and_raises_no_error(
    recorder: EventRecorder, exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    await recorder.record(replace(exporter, namespace="gone"), SENT)
    assert "could not be posted" in caplog.text
