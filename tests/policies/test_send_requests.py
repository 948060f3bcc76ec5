"""samples/policies/send-requests.yaml: who may request a run, or a test that e-mails people."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.policies.users import Response, User, named
from tests.support.controlplane import ControlPlane
from tests.support.stage import NOON, Stage

pytestmark = pytest.mark.cluster

RUN = "qualtrics-exporter.dev/run-requested-at"
WHOM_TO_ASK = "bind you to the ClusterRole qualtrics-exporter-send in the namespace"


@pytest.fixture
def policy() -> str:
    return "send-requests"


@pytest.fixture
def name(manifest: dict[str, Any], editor: User) -> str:
    """An exporter that exists, and that a user without the verb has created."""
    assert editor.create(manifest).ok
    name: str = manifest["metadata"]["name"]
    return name


def assert_refused(response: Response) -> None:
    assert response.status == 403, response
    assert "needs the verb send on qualtricsexporters.qualtrics-exporter.dev" in response.message
    assert WHOM_TO_ASK in response.message


def with_annotations(manifest: dict[str, Any], **annotations: str | None) -> dict[str, Any]:
    return manifest | {"metadata": manifest["metadata"] | {"annotations": named(annotations)}}


def pointer(annotation: str) -> str:
    return f"/metadata/annotations/{annotation.replace('/', '~1')}"


def test_every_way_to_request_a_run_is_refused_without_the_verb(
    name: str, editor: User, manifest: dict[str, Any], cluster: ControlPlane, namespaces: Mapping[str, str]
) -> None:
    assert_refused(editor.annotate(name, run_requested_at="now"))
    assert_refused(editor.merge(name, {"metadata": {"annotations": {RUN: "now"}}, "spec": {"dryRun": True}}))
    assert_refused(editor.json_patch(name, {"op": "add", "path": "/metadata/annotations", "value": {RUN: "now"}}))
    requested = with_annotations(manifest, run_requested_at="now")
    assert_refused(editor.apply(requested))
    path = f"/apis/qualtrics-exporter.dev/v1alpha1/namespaces/{namespaces['send-requests']}/qualtricsexporters/{name}"
    stored = cluster.read(path)
    assert_refused(editor.replace(with_annotations(stored, run_requested_at="now")))
    assert_refused(editor.create(with_annotations(manifest, run_requested_at="now") | {"metadata": {
        "generateName": "new-", "annotations": {RUN: "now"}}}))  # fmt: skip
    # The status subresource ignores annotations.
    assert editor.merge(name, {"metadata": {"annotations": {RUN: "now"}}}, "/status").ok
    assert editor.replace_status(with_annotations(cluster.read(path), run_requested_at="now")).ok
    assert cluster.read(path)["metadata"].get("annotations") in (None, {})
    assert cluster.read(path)["spec"] == stored["spec"]


def test_kubectl_shows_who_is_refused_and_what_to_do(
    name: str, editor: User, cluster: ControlPlane, namespaces: Mapping[str, str]
) -> None:
    namespace = namespaces["send-requests"]
    kubectl = cluster.kubectl(
        "annotate", "qex", name, "-n", namespace, f"{RUN}=now", kubeconfig=editor.kubeconfig, check=False
    )
    assert kubectl.returncode == 1
    assert (
        "denied request: the annotation qualtrics-exporter.dev/run-requested-at e-mails people, and needs the verb "
        "send on qualtricsexporters.qualtrics-exporter.dev, which "
        f"system:serviceaccount:{namespace}:editor does not have: ask an administrator to bind you to the ClusterRole "
        f"qualtrics-exporter-send in the namespace {namespace}, or ask a user who has it to send"
    ) in kubectl.stderr


def test_a_user_without_the_verb_changes_everything_else_while_a_request_is_there(
    name: str, editor: User, sender: User
) -> None:
    assert sender.annotate(name, run_requested_at="now").ok
    assert editor.merge(name, {"spec": {"suspend": True}, "metadata": {"labels": {"team": "dex"}}}).ok
    assert editor.annotate(name, settle_run="run-1=Sent", run_requested_at="now").ok
    assert_refused(editor.annotate(name, run_requested_at="later"))
    assert_refused(editor.annotate(name, run_requested_at="NOW"))
    # The user can withdraw the request, and not make it again.
    assert editor.annotate(name, run_requested_at=None).ok
    assert_refused(editor.annotate(name, run_requested_at="now"))
    assert_refused(editor.json_patch(name, {"op": "add", "path": pointer(RUN), "value": "now"}))
    assert sender.annotate(name, run_requested_at="now").ok


def test_only_a_test_that_delivers_needs_the_verb(name: str, editor: User, sender: User) -> None:
    assert editor.annotate(name, test_mode="Dry", test_requested_at="1").ok
    refused = editor.annotate(name, test_mode="Deliver")
    assert_refused(refused)
    assert "set test-mode=Dry to count the people without sending" in refused.message
    assert_refused(editor.annotate(name, test_mode="Deliver", test_requested_at="2"))
    # A sender leaves the mode behind.
    assert sender.annotate(name, test_mode="Deliver", test_requested_at="2").ok
    assert editor.merge(name, {"spec": {"suspend": True}}).ok
    assert_refused(editor.annotate(name, test_requested_at="3"))
    assert_refused(editor.annotate(name, test_requested_at=" dry"))
    assert editor.annotate(name, test_requested_at="Dry-3").ok
    assert editor.annotate(name, test_requested_at=None).ok
    assert_refused(editor.annotate(name, test_requested_at="2"))
    assert editor.annotate(name, test_mode="Dry", test_requested_at="4").ok
    assert editor.annotate(name, test_mode=None).ok
    assert_refused(editor.annotate(name, test_mode="Deliver"))


def test_one_request_of_a_user_with_the_verb_sends_once_and_other_spellings_send_nothing(
    cluster: ControlPlane, namespaces: Mapping[str, str], editor: User, sender: User, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stage = Stage(cluster, namespaces["send-requests"], tmp_path, stack, start=NOON)
        stage.operator()
        exporter = stage.exporter()
        exporter.checked()
        # The operator reads annotations exactly as they are written, so the policy allows these.
        for spelling in (RUN.upper(), "qualtrics-exporter.dev/Run-Requested-At", "example.com/run-requested-at"):
            assert editor.merge(exporter.name, {"metadata": {"annotations": {spelling: "now"}}}).ok
        assert editor.annotate(exporter.name, test_mode="deliver", test_requested_at="1").ok
        assert exporter.tested("1")["reason"] == "TestPassed"
        assert_refused(editor.annotate(exporter.name, run_requested_at="now"))
        assert stage.sandbox.recorder.distributions == []

        assert sender.annotate(exporter.name, run_requested_at="now").ok
        assert exporter.ended()["reason"] == "Succeeded"
        assert editor.annotate(exporter.name, run_requested_at=None).ok
        assert editor.annotate(exporter.name, test_requested_at="2").ok
        exporter.tested("2")
        assert len(stage.sandbox.recorder.distributions) == 1
