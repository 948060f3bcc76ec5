"""The provenance of a release: from which commit, with which inputs and by which builder it was built.

It is a predicate of SLSA 1.0. cosign adds the digest of what was built, and signs both together.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hack.files import ROOT
from hack.image.archive import Image
from hack.image.builder import REVISION

BUILD_TYPE = "https://qualtrics-exporter.dev/release/v1"
LOCAL_BUILDER = "https://qualtrics-exporter.dev/release/local"
"""The builder of a release that somebody makes with `make release`, outside of a forge."""
INPUTS = ("requirements/runtime.txt", "requirements/build.txt", "Containerfile", "hack/release/tools/go.sum")
"""The files that pin what goes into the image, and the programs that sign it."""
BASE = "org.opencontainers.image.base.name"


def predicate(
    version: str,
    commit: str,
    images: Sequence[Image],
    started: datetime,
    finished: datetime,
    *,
    environment: Mapping[str, str] = os.environ,
    root: Path = ROOT,
) -> dict[str, Any]:
    """Return the provenance. `commit` is empty if there were uncommitted changes, and then no source is named."""
    server, repository = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    source = {"name": "source", **({"uri": f"git+{server}/{repository}"} if server and repository else {})}
    dependencies: list[dict[str, Any]] = [{**source, "digest": {"gitCommit": commit}}] if commit else []
    dependencies += [
        {"name": name, "digest": {"sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()}} for name in INPUTS
    ]
    metadata = {"startedOn": _text(started), "finishedOn": _text(finished)}
    if server and repository and "GITHUB_RUN_ID" in environment:
        run = f"{environment['GITHUB_RUN_ID']}/attempts/{environment.get('GITHUB_RUN_ATTEMPT', '1')}"
        metadata["invocationId"] = f"{server}/{repository}/actions/runs/{run}"
    workflow = environment.get("GITHUB_WORKFLOW_REF")
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"version": version, "ref": f"refs/tags/v{version}"},
            "internalParameters": {"images": [_image(image) for image in images]},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": f"{server}/{workflow}" if server and workflow else LOCAL_BUILDER},
            "metadata": metadata,
        },
    }


def _image(image: Image) -> dict[str, str]:
    labels = image.configuration["config"].get("Labels") or {}
    return {
        "architecture": image.configuration["architecture"],
        "digest": image.digest,
        "base": labels.get(BASE, ""),
        "commit": labels.get(REVISION, ""),
    }


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
