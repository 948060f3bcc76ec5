"""An exporter in the cluster, as its user sees it: manifests, waiting for a status, annotations."""

import copy
from collections.abc import Callable
from typing import Any

import yaml

from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

KIND = "qualtricsexporter"

POLL_SECONDS = 2.0
"""How far each poll of a status advances the controlled clock."""


class AppliedExporter:
    """An exporter in the cluster, as its user sees it.

    Most methods do not use kubectl: starting a process for each call would take longer than most tests. The tests of
    the whole path, of GitOps and of the documentation use kubectl, as users do.
    """

    def __init__(
        self, cluster: ControlPlane, namespace: str, name: str, pass_time: Callable[[float], object] | None = None
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._pass_time = pass_time
        self.name = name
        self.manifest: dict[str, Any] = {}

    @property
    def _path(self) -> str:
        return f"/apis/qualtrics-exporter.dev/v1alpha1/namespaces/{self._namespace}/{KIND}s/{self.name}"

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace of the exporter."""
        return self._cluster.kubectl(*arguments, "--namespace", self._namespace).stdout

    def get(self) -> dict[str, Any]:
        """Return the object, as `kubectl get` shows it. Raise LookupError if it does not exist."""
        found: dict[str, Any] | None = self._cluster.read(self._path)
        if found is None:
            raise LookupError(f"{KIND} {self._namespace}/{self.name} does not exist")
        found["metadata"].pop("managedFields", None)
        return found

    def exists(self) -> bool:
        return self._cluster.read(self._path) is not None

    def status(self) -> dict[str, Any]:
        """Return the status, which can be empty."""
        found: dict[str, Any] = self.get().get("status", {})
        return found

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of the history, newest first."""
        entries: list[dict[str, Any]] = self.status().get("history", [])
        return entries

    def condition(self, type_: str) -> dict[str, str]:
        """Return a condition, or an empty dictionary if it is absent."""
        conditions = self.status().get("conditions", [])
        return next((dict(c) for c in conditions if c["type"] == type_), {})

    def events(self) -> list[dict[str, Any]]:
        """Return the Events of the exporter, oldest first."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self._namespace}/events"
        listed = self._cluster.read(f"{path}?fieldSelector=regarding.name%3D{self.name}")
        return sorted(listed["items"], key=lambda event: event["eventTime"])

    def wait_for_event(self, reason: str) -> list[dict[str, Any]]:
        """Wait for an Event with this reason, and return all Events, oldest first. Events follow after the status."""

        def poll() -> list[dict[str, Any]]:
            events = self.events()
            return events if reason in [event["reason"] for event in events] else []

        return eventually(poll, f"{self.name} has an Event with the reason {reason}")

    def change(self, **changes: Any) -> None:
        """Change the manifest and apply it again. `changes` are as in `Stage.manifest`."""
        self.apply(changed(self.manifest, changes))

    def apply(self, manifest: dict[str, Any]) -> None:
        """Apply a manifest of this exporter, as `kubectl apply --server-side` does."""
        self.manifest = manifest
        self._cluster.put(self._path, manifest)

    def annotate(self, **annotations: str | None) -> None:
        """Set annotations of the API group, such as `run_requested_at="now"`. None removes an annotation."""
        names = {f"qualtrics-exporter.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
        self._cluster.merge(self._path, {"metadata": {"annotations": names}})

    def forget_status(self) -> None:
        """Remove the status, like a restore from a backup that does not contain subresources."""
        self._cluster.merge(f"{self._path}/status", {"status": None})

    def delete(self) -> None:
        self._cluster.delete(self._path)

    def checked(self) -> dict[str, str]:
        """Wait until the operator has observed this generation, and return the condition Ready."""

        def poll() -> dict[str, str] | None:
            object_ = self.get()
            status = object_.get("status", {})
            if status.get("observedGeneration") != object_["metadata"]["generation"]:
                return None
            return next((dict(c) for c in status.get("conditions", []) if c["type"] == "Ready"), None)

        return eventually(poll, f"{self.name} is checked")

    def until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait for a status that meets a condition, and return it."""

        def poll() -> dict[str, Any] | None:
            status = self.status()
            if status and wanted(status):
                return status
            if self._pass_time:
                self._pass_time(POLL_SECONDS)  # so that the operator polls Qualtrics without real waiting
            return None

        return eventually(poll, what)

    def tested(self, token: str) -> dict[str, Any]:
        """Wait until a test has ended, and return its outcome."""
        done: dict[str, Any] = self.until(
            lambda status: (
                status.get("lastHandledTestRequest") == token and "activeRun" not in status and "lastTest" in status
            ),
            f"test {token} of {self.name} has ended",
        )["lastTest"]
        return done

    def delivered(self, after: str = "") -> dict[str, Any]:
        """Wait until the newest entry has delivery figures that are newer than `after`, and return them."""
        found: dict[str, Any] = self.until(
            lambda status: status["history"][0].get("delivery", {}).get("observedTime", "") > after,
            f"the newest entry of {self.name} has delivery figures",
        )["history"][0]["delivery"]
        return found

    def ended(self, number: int = 1) -> dict[str, Any]:
        """Wait until the history has this number of entries and no run is active, and return the newest entry."""

        status = self.until(
            lambda status: len(status.get("history", [])) >= number and "activeRun" not in status,
            f"{self.name} has {number} entries in its history and no active run",
        )
        newest: dict[str, Any] = status["history"][0]
        return newest

    def step(self, step: str) -> dict[str, Any]:
        """Wait until the active run is at this step, and return its journal."""

        def poll() -> dict[str, Any] | None:
            run: dict[str, Any] = self.status().get("activeRun", {})
            return run if run.get("step") == step else None

        return eventually(poll, f"{self.name} is at {step}")


def changed(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a manifest with changes: dotted paths below spec, with values, or None to remove a field."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = path.split(".")
        parent_object = result["spec"]
        for parent in parents:
            parent_object = parent_object.setdefault(parent, {})
        if value is None:
            parent_object.pop(last, None)
        else:
            parent_object[last] = value
    return result


def shown(manifest: dict[str, Any]) -> str:
    """Return a manifest as YAML."""
    return yaml.safe_dump(manifest, sort_keys=False)
