"""Everything that a scenario needs: a namespace, the sandbox, a clock, operators and exporters."""

import base64
import copy
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml

from hack.api_calls import ApiCallError
from qualtrics_exporter.sandbox import Query
from tests.environment import chart_rules
from tests.environment.api_gate import ApiGate
from tests.environment.clock import SteeredClock
from tests.environment.controlplane import ControlPlane, ControlPlaneError
from tests.environment.lease_time import LEASE_SECONDS
from tests.environment.operator import Operator
from tests.environment.sandbox import Certificates, SandboxThread
from tests.environment.waiting import eventually

T = TypeVar("T")

KIND = "qualtricsexporter"

# A Tuesday at noon, far from changes to and from daylight saving time.
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

POLL_SECONDS = 2.0
"""How far each poll of a status advances the controlled clock."""
ROUNDS_PER_STEP = 8
"""How many rounds every process has time for between two steps of the clock."""
LEASE_STEP = LEASE_SECONDS / 30


class Stage:
    """A namespace with the Secrets of the sandbox. The given stack ends everything that is started here."""

    def __init__(
        self,
        cluster: ControlPlane,
        namespace: str,
        folder: Path,
        stack: ExitStack,
        *,
        start: datetime | None = None,
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._folder = folder
        self._stack = stack
        self._clock_file = folder / "clock"
        self.clock = SteeredClock(self._clock_file, start=start)
        self._leases_file = folder / "leases"
        self._leases = SteeredClock(self._leases_file)
        self.certificates = Certificates(folder)
        self.sandbox = stack.enter_context(SandboxThread(self.clock, self.certificates.server))
        self._operators: list[Operator] = []
        self._apply_secrets(self.sandbox.secrets())

    def operator(
        self,
        *arguments: str,
        start: bool = True,
        election: bool = False,
        steered_lease: bool = False,
        steered: bool = True,
        rules: Sequence[dict[str, list[str]]] | None = None,
        gate: ApiGate | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Operator:
        """An operator for this namespace, with its own service account and the permissions of the chart.

        If it is not `steered`, it uses the clock of the machine: for measurements, because the controlled clock takes
        processor time. With a `gate`, it reaches the API server through the gate. With `steered_lease`, its Lease
        expires only during `until_lease_runs_out`.
        """
        environment = {**(environment or {})}
        if steered_lease:
            environment["QUALTRICS_EXPORTER_TEST_LEASES"] = str(self._leases_file)
        granted = chart_rules.namespaced() if rules is None else rules
        kubeconfig = self.cluster.service_account(self.namespace, "operator", rules=granted)
        operator = self.process(
            gate.kubeconfig(kubeconfig) if gate else kubeconfig,
            *("--namespace", self.namespace, "--allowed-host", "localhost"),
            *("--leader-election" if election else "--no-leader-election", "--lease-namespace", self.namespace),
            *("--log-level", "debug", "--log-format", "console"),
            *arguments,
            steered=steered,
            environment=environment,
        )
        if start:
            operator.start()
        return operator

    def process(
        self, kubeconfig: Path, *arguments: str, steered: bool = True, environment: Mapping[str, str] | None = None
    ) -> Operator:
        """An operator with these credentials and settings. It is not started yet, and ends with the stage."""
        operator = Operator(
            kubeconfig,
            self._folder / f"operator-{len(self._operators) + 1}",
            *arguments,
            clock=self._clock_file if steered else None,
            ca=self.certificates.authority,
            environment=environment,
            forked=steered,
        )
        self._operators.append(operator)
        return self._stack.push(operator)

    def another_sandbox(self) -> SandboxThread:
        """A second sandbox of both services, for another tenant."""
        return self._stack.enter_context(SandboxThread(self.clock, self.certificates.server))

    def gate(self) -> ApiGate:
        """A gate in front of the API server, to inject faults into the calls of an operator."""
        return self._stack.enter_context(ApiGate(self.cluster.kubeconfig, self.clock))

    def secret(self, name: str, keys: dict[str, str]) -> None:
        self._apply_secrets({name: keys})

    def _apply_secrets(self, secrets: Mapping[str, dict[str, str]]) -> None:
        for name, keys in secrets.items():
            data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
            self.cluster.put(f"/api/v1/namespaces/{self.namespace}/secrets/{name}", secret)

    def manifest(self, name: str = "teams-rollout", /, **changes: Any) -> dict[str, Any]:
        """The manifest of an exporter for the sandbox. `changes` are dotted paths below spec, and None removes a field:
        `**{"schedule.frequency": "Daily"}`.
        """
        manifest: dict[str, Any] = {
            "apiVersion": "qualtrics-exporter.dev/v1alpha1",
            "kind": "QualtricsExporter",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": self.sandbox.account.exporter_spec(),
        }
        return changed(manifest, changes)

    def apply(self, manifest: dict[str, Any]) -> None:
        """`kubectl apply`."""
        self.cluster.kubectl("apply", "--namespace", self.namespace, "-f", "-", input=json.dumps(manifest))

    def exporter(self, name: str = "teams-rollout", /, **changes: Any) -> "AppliedExporter":
        exporter = self.existing(name)
        exporter.apply(self.manifest(name, **changes))
        return exporter

    def existing(self, name: str) -> "AppliedExporter":
        """Return an exporter that exists already."""
        return AppliedExporter(self.cluster, self.namespace, name, self.pass_time)

    def people(self, query_id: str, people: int | list[str]) -> None:
        """Create a saved query that returns these people, or this number of people."""
        account = self.sandbox.account
        query = Query.generated(query_id, people) if isinstance(people, int) else Query.people(query_id, people)
        query.executed = account.queries[account.query_id].executed
        self.sandbox.call(lambda: account.add_query(query))

    def reached(self, operation: str) -> None:
        """Wait until a call of the operation is held."""
        self.while_time_passes(lambda: self.sandbox.reached(operation), seconds=1)

    def while_time_passes(self, wait: Callable[[], T], *, seconds: float = 10, pause: float = 0.05) -> T:
        """Wait for something while the clock runs up to 200 times as fast, so that retries and look-ups are quick.

        On a slow machine, the clock is slower too. Otherwise, more time would pass between two steps of the same work,
        and time limits would expire.
        """
        done = threading.Event()

        def run() -> None:
            took = self.round()
            while not done.wait(max(0.0, max(pause, ROUNDS_PER_STEP * took) - took)):
                took = self.pass_time(seconds)

        clock = threading.Thread(target=run, name="time passes", daemon=True)
        clock.start()
        try:
            return wait()
        finally:
            done.set()
            clock.join()

    def round(self) -> float:
        """Wait until every process has done its current work, and return how many real seconds that took."""
        began = time.monotonic()
        if not self.cluster.is_frozen:
            # The control plane may be stopping or starting.
            with suppress(ApiCallError, ControlPlaneError, urllib3.exceptions.HTTPError):
                self.cluster.read("/version")
        self.sandbox.call(lambda: None)
        for operator in tuple(self._operators):
            operator.wait_for_event_loop()
        return time.monotonic() - began

    def pass_time(self, seconds: float) -> float:
        """Advance the clock after a round, and return how many real seconds the round took."""
        took = self.round()
        self.clock.advance(seconds)
        return took

    def until_lease_runs_out(self, poll: Callable[[], T | None], what: str) -> T:
        """Wait for something that happens after a Lease has expired. Replicas have the time to renew their Lease."""

        def step() -> T | None:
            if not (seen := poll()):
                self.round()
                self._leases.advance(LEASE_STEP)
            return seen

        return eventually(step, what)

    def let_a_lease_pass(self) -> None:
        """Advance only the clock of Leases, by the duration of a Lease."""
        self._leases.advance(LEASE_SECONDS)

    def everything_written(self) -> str:
        """All exporters, Events, Leases and ConfigMaps of this namespace, as YAML."""
        kinds = f"{KIND}s,events.v1.events.k8s.io,leases,configmaps"
        return self.cluster.kubectl("get", kinds, "--namespace", self.namespace, "-o", "yaml").stdout


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

    told = wait_for_event  # the former name, which tests outside this repository use

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
