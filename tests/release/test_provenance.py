"""The provenance says from which commit, with which inputs and by which builder the release was built."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hack.files import ROOT
from hack.image.archive import Image
from hack.release import provenance
from tests.release.images import tiny_image

STARTED = datetime(2026, 1, 31, 12, tzinfo=UTC)
COMMIT = "c" * 40
FORGE = {
    "GITHUB_SERVER_URL": "https://git.example.com",
    "GITHUB_REPOSITORY": "tools/qualtrics-exporter",
    "GITHUB_WORKFLOW_REF": "tools/qualtrics-exporter/.github/workflows/release.yml@refs/tags/v0.1.0",
    "GITHUB_RUN_ID": "17",
    "GITHUB_RUN_ATTEMPT": "2",
}


def predicate(image: Image, commit: str, environment: dict[str, str]) -> dict[str, Any]:
    finished = (STARTED + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=2)))
    return provenance.predicate("0.1.0", commit, [image], STARTED, finished, environment=environment)


def test_provenance_names_the_commit_the_inputs_and_the_image(tmp_path: Path) -> None:
    image = tiny_image(tmp_path, "amd64")
    built = predicate(image, COMMIT, FORGE)["buildDefinition"]
    assert built["externalParameters"] == {"version": "0.1.0", "ref": "refs/tags/v0.1.0"}
    assert built["internalParameters"]["images"][0]["digest"] == image.digest
    source, *inputs = built["resolvedDependencies"]
    assert source["uri"] == "git+https://git.example.com/tools/qualtrics-exporter"
    assert source["digest"] == {"gitCommit": COMMIT}
    pinned = ROOT / "requirements" / "runtime.txt"
    digest = hashlib.sha256(pinned.read_bytes()).hexdigest()
    assert {"name": "requirements/runtime.txt", "digest": {"sha256": digest}} in inputs


def test_provenance_of_a_forge_names_the_workflow_and_the_run(tmp_path: Path) -> None:
    details = predicate(tiny_image(tmp_path, "amd64"), COMMIT, FORGE)["runDetails"]
    assert details["builder"]["id"] == f"https://git.example.com/{FORGE['GITHUB_WORKFLOW_REF']}"
    assert details["metadata"] == {
        "invocationId": "https://git.example.com/tools/qualtrics-exporter/actions/runs/17/attempts/2",
        "startedOn": "2026-01-31T12:00:00Z",
        "finishedOn": "2026-01-31T12:05:00Z",
    }


def test_provenance_of_a_local_release_does_not_claim_a_forge(tmp_path: Path) -> None:
    local = predicate(tiny_image(tmp_path, "amd64"), COMMIT, {})
    assert local["runDetails"]["builder"]["id"] == provenance.LOCAL_BUILDER
    assert "invocationId" not in local["runDetails"]["metadata"]
    assert "uri" not in local["buildDefinition"]["resolvedDependencies"][0]


def test_provenance_of_uncommitted_changes_names_no_commit(tmp_path: Path) -> None:
    dependencies = predicate(tiny_image(tmp_path, "amd64"), "", FORGE)["buildDefinition"]["resolvedDependencies"]
    assert [one for one in dependencies if "gitCommit" in one["digest"]] == []
