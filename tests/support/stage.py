"""Everything that a scenario needs: a namespace, the sandbox, a clock, operators and exporters."""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from hack.api_calls import ApiCallError
from qualtrics_exporter.sandbox import Query
from tests.support import chart_rules
from tests.support.applied_exporter import KIND, AppliedExporter, changed
from tests.support.clock import SteeredClock
from tests.support.controlplane import ControlPlane, ControlPlaneError
from tests.support.fault_proxy import FaultProxy
from tests.support.lease_time import LEASE_SECONDS
from tests.support.operator import Operator
from tests.support.sandbox import Certificates, SandboxThread
from tests.support.waiting import eventually

T = TypeVar("T")

# A Tuesday at noon, far from changes to and from daylight saving time.
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

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
        fault_proxy: FaultProxy | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Operator:
        """An operator for this namespace, with its own service account and the permissions of the chart.

        If it is not `steered`, it uses the clock of the machine: for measurements, because the controlled clock takes
        processor time. With a `fault_proxy`, it reaches the API server through this proxy. With `steered_lease`, its
        Lease expires only during `until_lease_runs_out`.
        """
        environment = {**(environment or {})}
        if steered_lease:
            environment["QUALTRICS_EXPORTER_TEST_LEASES"] = str(self._leases_file)
        granted = chart_rules.namespaced() if rules is None else rules
        kubeconfig = self.cluster.service_account(self.namespace, "operator", rules=granted)
        operator = self.process(
            fault_proxy.kubeconfig(kubeconfig) if fault_proxy else kubeconfig,
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

    def fault_proxy(self, *, tls: bool = False) -> FaultProxy:
        """A proxy in front of the API server, to inject faults into the calls of an operator, or of kubectl (TLS)."""
        certificates = self.certificates if tls else None
        return self._stack.enter_context(FaultProxy(self.cluster.kubeconfig, self.clock, certificates))

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

    def exporter(self, name: str = "teams-rollout", /, **changes: Any) -> AppliedExporter:
        exporter = self.existing(name)
        exporter.apply(self.manifest(name, **changes))
        return exporter

    def existing(self, name: str) -> AppliedExporter:
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
