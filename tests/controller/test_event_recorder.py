"""Events as kubectl shows them, and what becomes of those that cannot be posted."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.controller.kube.event_recorder import NOTE_BYTES, EventRecorder, EventToRecord, cut
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from tests.environment.clock import SteeredClock
from tests.environment.controlplane import ControlPlane

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
        yield EventRecorder(ClusterApi(api), "pod-1", SteeredClock(start=NOW))


def events(cluster: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    listed = cluster.kubectl("get", "events.v1.events.k8s.io", "--namespace", namespace, "-o", "json").stdout
    found: list[dict[str, Any]] = json.loads(listed)["items"]
    return found


async def test_an_event_says_what_who_and_about_which_object(
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


async def test_kubectl_shows_it_with_its_object(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    await recorder.record(exporter, replace(SENT, note="Sent to 12 people."))
    told = cluster.kubectl("events", "--namespace", namespace, "--for", "qualtricsexporter/teams").stdout
    assert "Sent to 12 people." in told


async def test_the_same_thing_told_twice_is_one_event(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    for _ in range(2):
        await recorder.record(exporter, SENT)
    await recorder.record(exporter, replace(SENT, dedup="run 2"))
    await recorder.record(exporter, replace(SENT, type="Warning", reason=Reason.PARTLY_DELIVERED))
    again = replace(exporter, uid="99999999-2222-3333-4444-555555555555")
    await recorder.record(again, SENT)
    assert len(events(cluster, namespace)) == 4


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_a_long_note_is_cut_to_what_the_api_server_takes(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str, letter: str
) -> None:
    await recorder.record(exporter, replace(SENT, note=letter * 3000))
    (event,) = events(cluster, namespace)
    assert event["note"].endswith(f"{letter}…")
    assert NOTE_BYTES - 4 <= len(event["note"].encode()) <= NOTE_BYTES


def test_a_note_that_fits_is_left_alone() -> None:
    assert cut("a" * NOTE_BYTES) == "a" * NOTE_BYTES
    assert len(cut("a" * (NOTE_BYTES + 1)).encode()) == NOTE_BYTES


async def test_an_exporter_with_the_longest_of_names_has_events(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    for name in ("a" * 253, "a" * 235 + "-" * 10 + "a" * 8, f"{'a' * 62}." * 4 + "a"):
        await recorder.record(replace(exporter, name=name), SENT)
    assert len(events(cluster, namespace)) == 3


async def test_no_address_stands_in_an_event(
    recorder: EventRecorder, exporter: Exporter, cluster: ControlPlane, namespace: str
) -> None:
    await recorder.record(exporter, replace(SENT, note="no mail to jane@example.com"))
    assert "jane" not in json.dumps(events(cluster, namespace))


async def test_an_event_that_cannot_be_posted_is_logged_and_nothing_else(
    exporter: Exporter,
    cluster: ControlPlane,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.service_account(namespace, "nobody")))
    async with await connect() as api:
        recorder = EventRecorder(ClusterApi(api), "pod-1", SteeredClock(start=NOW))
        with caplog.at_level(logging.WARNING):
            await recorder.record(exporter, SENT)
    assert (
        f"the Event Succeeded about {namespace}/teams could not be posted: the operator may not create events"
        in caplog.text
    )


async def test_a_namespace_that_is_gone_loses_the_event_only(
    recorder: EventRecorder, exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    await recorder.record(replace(exporter, namespace="gone"), SENT)
    assert "could not be posted" in caplog.text
