"""One exporter, and runs of it on request, next to the same runs of the plain script."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.exporters import NOT_DUE, ApiConnection, Body, manifest, path_of
from benchmarks.installation import Installation
from benchmarks.operator_process import OperatorProcess
from benchmarks.processes import HANG_SECONDS, Child, forget_peak, peak_memory, resident_memory
from benchmarks.status_watch import StatusWatch

QUERY_PAUSE = 1.2
"""Nexthink accepts one query a second, and the operator keeps that limit with a margin."""

Keys = dict[str, dict[str, str]]
"""The keys of the two Secrets, by the name of the Secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run took."""

    seconds: float
    cpu: float
    people: int
    memory_before: int = 0
    peak_memory: int = 0
    """The highest memory during the run, in bytes."""
    changes: int = 0
    """How often the run changed the object."""


class Exporters:
    """Exporters in one namespace, each with its own Secrets, and the means to run them."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        self._installation = installation
        self.namespace = installation.cluster.namespace(namespace)
        self._api = ApiConnection(installation.kubeconfig)
        self._specs: dict[str, tuple[Body, Keys]] = {}
        self.watch = installation.until_the_end(StatusWatch(installation.kubeconfig, self.namespace))

    def add(self, name: str, keys: Keys, **spec: Any) -> None:
        """Create an exporter that is never due by itself."""
        body = manifest(name, NOT_DUE, **spec)
        for service, values in keys.items():
            secret = f"{service}-{name}"
            self._installation.secret(self.namespace, secret, values)
            body["spec"][service]["credentialsSecretRef"] = {"name": secret}
        self._api.call("POST", path_of(self.namespace), body)
        self._specs[name] = body["spec"], keys

    def wait_until_checked(self) -> None:
        """Wait until each exporter is Ready."""
        deadline = time.monotonic() + HANG_SECONDS
        while unready := [name for name in self._specs if not self._is_ready(name)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{unready[0]} is not Ready: {self._get(unready[0]).get('status')}")
            time.sleep(0.2)

    def run(self, operator: OperatorProcess, name: str) -> Run:
        """Request a run, and wait for its entry. Raises RuntimeError unless it succeeds.

        The run does not wait for the query of the one before it, because it begins more than a second later.
        """
        time.sleep(QUERY_PAUSE)
        before, changes = len(self.watch.ended[name]), self.watch.changes[name]
        forget_peak(operator.pid)
        memory, used = resident_memory(operator.pid), operator.cpu_seconds
        annotation = {"qualtrics-exporter.dev/run-requested-at": secrets.token_hex(8)}
        began = time.monotonic()
        patch: Body = {"metadata": {"annotations": annotation}}
        self._api.call("PATCH", path_of(self.namespace, name), patch, content_type="application/merge-patch+json")
        ended, entry = self.watch.wait_for_entry(name, before)
        if entry["result"] != "Succeeded":
            raise RuntimeError(f"{name}: {entry['result']}, {entry['reason']}: {entry['message']}")
        return Run(
            seconds=ended - began,
            cpu=operator.cpu_seconds - used,
            people=entry["recipients"]["imported"],
            memory_before=memory,
            peak_memory=peak_memory(operator.pid),
            changes=self.watch.changes[name] - changes - 1,  # one is the annotation
        )

    def events(self, name: str) -> int:
        """The number of Events of an exporter."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        listed = self._api.call("GET", f"{path}?fieldSelector=regarding.name%3D{name}")
        return sum(event.get("series", {}).get("count", 1) for event in listed["items"])

    def script(self) -> Child:
        """The plain script, as a process that runs on request."""
        environment = {"SSL_CERT_FILE": str(self._installation.certificates.authority)}
        log = self._installation.log()
        return self._installation.until_the_end(Child("benchmarks.floors.script", log=log, environment=environment))

    def run_script(self, script: Child, name: str) -> Run:
        """The same run by the script."""
        spec, keys = self._specs[name]
        wanted = {"queryId": spec["nexthink"]["queryId"], **spec["qualtrics"]}
        report = script.ask(spec=wanted, **keys)
        return Run(**report)

    def _get(self, name: str) -> Body:
        found: Body = self._api.call("GET", path_of(self.namespace, name))
        return found

    def _is_ready(self, name: str) -> bool:
        conditions = self._get(name).get("status", {}).get("conditions", [])
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
