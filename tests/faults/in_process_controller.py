"""The controller within the process of a test: its real parts, without Kopf's watch, the work queue and the election.

The real reconciler manages one exporter in the real API server, over the real HTTP clients, against the sandbox on real
sockets. The test calls the reconciler, and each sleep moves the clock. So a scenario takes a few hundred milliseconds,
and a test can try hundreds of them.
"""

import base64
import io
import itertools
import json
import logging
import secrets
import traceback
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kubernetes.aio import client

from qualtrics_exporter.controller.app import build
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.queue.work_item import Turn
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.export.query_texts import QueryTexts, at_once
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT
from qualtrics_exporter.sandbox import Sandbox
from qualtrics_exporter.sandbox.account import EMAIL, Query
from qualtrics_exporter.sandbox.recorder import SentDistribution
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.faults.api_access import RecordingClusterApi, User
from tests.faults.assertions import Violation, leaks
from tests.faults.scripted_clock import ScriptedClock
from tests.faults.transport_faults import TransportFaults
from tests.remote.servers import Server

MAX_RECONCILIATIONS = 12
"""After so many reconciliations, a run that has no entry never ends."""
MAX_RUNS = 9
"""The history of the exporter keeps one more."""
ADDRESS_PREFIX = "planted."
"""How every address begins that must not leak."""
PEOPLE = [f"{ADDRESS_PREFIX}{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")]

_NUMBERS = itertools.count(1)
_PROCESS = secrets.token_hex(3)
"""Distinguishes the names of this process from those of other test workers."""


class InProcessController:
    """One exporter, and the controller that manages it."""

    def __init__(
        self,
        api: client.ApiClient,
        namespace: str,
        folder: Path,
        *,
        sandbox: Sandbox,
        clock: ScriptedClock,
        context: ApiContext,
        metrics: Metrics,
        canary: Server,
        log: io.StringIO,
    ) -> None:
        self.sandbox, self.account, self.faults = sandbox, sandbox.account, sandbox.faults
        self.clock = clock
        self.canary = canary
        """A server to which no request may go."""
        self.transport_faults = TransportFaults(context.transport, sandbox)
        self.cluster = RecordingClusterApi(api, clock)
        self.user = User(api, namespace)
        self.name = f"exporter-{_PROCESS}-{next(_NUMBERS)}"
        self.spec: dict[str, Any] = sandbox.account.exporter_spec()
        self.metrics = metrics
        self.errors: list[str] = []
        """Tracebacks of exceptions that the reconciler raised."""
        self.runs = 0
        self._namespace, self._folder = namespace, folder
        self._settings_before: dict[str, Any] = {}
        self._log = log
        self._uid = ""
        self._sent_before = 0
        for service in ("nexthink", "qualtrics"):
            self.spec[service]["credentialsSecretRef"] = {"name": self.secret_name(service)}
        self.set_people(PEOPLE)
        self._clients = ClientFactory(self.cluster, context, QueryTexts(at_once))
        self.restart()

    def restart(self) -> None:
        """Start again as a new process of the same pod: only what the API server keeps is left."""
        self._first = True
        operator = build(
            Settings(leader_election=False),
            self.cluster,
            self.clock,
            clients=self._clients,
            metrics=self.metrics,
            instance="controller",
            pod="controller",
        )
        self.reconciler, self.targets = operator.reconciler, operator.targets

    @property
    def uid(self) -> str:
        """The uid of the exporter."""
        return self._uid

    @property
    def exists(self) -> bool:
        """Whether the exporter was applied."""
        return bool(self._uid)

    async def begin_scenario(self) -> None:
        """Remove all faults and records, to use the same exporter in another scenario."""
        await self.remove_faults()
        self._sent_before = len(self.sandbox.recorder.distributions)
        self.sandbox.recorder.clear()
        self.canary.received_requests.clear()
        self.canary.token_requests.clear()
        self._log.seek(0)
        self._log.truncate()

    def change_sandbox(self, **settings: Any) -> None:
        """Change settings of the sandbox until `remove_faults`, for example what Qualtrics shows."""
        for name, value in settings.items():
            self._settings_before.setdefault(name, getattr(self.account, name))
            setattr(self.account, name, value)

    async def remove_faults(self) -> None:
        """End all faults."""
        for name, value in self._settings_before.items():
            setattr(self.account, name, value)
        self._settings_before.clear()
        self.faults.clear()
        await self.transport_faults.clear()

    # What the user of the exporter does

    def secret_name(self, service: str) -> str:
        """The name of the Secret for Nexthink or Qualtrics."""
        return f"{self.name}-{service}"

    def set_people(self, people: Collection[str] | int) -> None:
        """Let the query return these people, or so many."""
        if isinstance(people, int):
            people = [f"{ADDRESS_PREFIX}{n:05d}@example.com" for n in range(people)]
        self.people = people
        executed = self.spec["nexthink"]["query"]
        rows = [[person] for person in people]
        self.account.add_query(Query(self.account.query_id, [EMAIL], rows, executed))

    async def put_secret(self, service: str, data: Mapping[str, str | bytes]) -> None:
        """Write the Secret for Nexthink or Qualtrics."""
        await self.user.put_secret(self.secret_name(service), {key: _base64(value) for key, value in data.items()})

    async def apply(self, secrets_: Mapping[str, Mapping[str, str | bytes]] | None = None) -> dict[str, Any]:
        """Write the Secrets and the exporter, and reconcile it. Returns its condition `Ready`."""
        for service, data in (secrets_ or self.sandbox.secrets()).items():
            await self.put_secret(service, data)
        created = await self.user.create_exporter(self.name, self.spec)
        self._uid = created["metadata"]["uid"]
        status = await self.reconcile_until(lambda status: status.get("observedGeneration") == 1)
        return condition(status, "Ready")

    async def apply_ready(self) -> None:
        """Apply the exporter, which must become ready."""
        ready = await self.apply()
        assert ready.get("status") == "True", ready

    async def run(self) -> dict[str, Any] | None:
        """Request a run. Returns its entry, or None if it has none."""
        self.runs += 1
        await self.user.patch(self.name, metadata={"annotations": {RUN_REQUESTED_AT: str(self.runs)}})
        status = await self.reconcile_until(
            lambda status: "activeRun" not in status and status.get("lastHandledRunRequest") == str(self.runs)
        )
        requested = [entry for entry in status.get("history", []) if entry["trigger"] == "Request"]
        return requested[0] if len(requested) == self.runs else None

    async def reconcile_until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Reconcile at the times that the work queue would choose, until the status is as expected.

        Returns the last status, after `MAX_RECONCILIATIONS` in any case.
        """
        for _ in range(MAX_RECONCILIATIONS):
            wake = await self.reconcile()
            if reached(status := await self._observe()):
                break
            self.clock.advance_to(wake)
        return status

    async def reconcile(self) -> datetime:
        """Reconcile the exporter once. Returns the time of the next reconciliation."""
        key = Key(self._namespace, self.name, self._uid)
        try:
            wake = await self.reconciler.reconcile(
                key, Turn(self._first, urgent=False, waited=timedelta(0), waiting=0, in_progress=1)
            )
            self._first = False
        except Exception:  # as the work queue, which logs it and tries again
            logging.getLogger(__name__).exception("%s could not be reconciled", key)
            self.errors.append(traceback.format_exc())
            return self.clock.now() + timedelta(minutes=1)
        # An invalid spec is reconciled again only after an edit.
        return min(wake.at, self.clock.now() + timedelta(days=1))

    async def _observe(self) -> dict[str, Any]:
        """Pass the object to the targets and metrics, as the watch does. Returns its status."""
        body = await self.user.exporter(self.name)
        exporter = Exporter.from_object(body)
        self.targets.observe(Key(exporter.namespace, exporter.name, exporter.uid), exporter)
        self.metrics.exporter(exporter, conditions.is_ready(exporter.status, exporter.generation))
        status: dict[str, Any] = body.get("status", {})
        return status

    # What a test can see afterwards

    async def status(self) -> dict[str, Any]:
        """The status of the exporter."""
        status: dict[str, Any] = (await self.user.exporter(self.name)).get("status", {})
        return status

    async def condition(self, type_: str) -> dict[str, Any]:
        """One condition of the exporter."""
        return condition(await self.status(), type_)

    @property
    def sent(self) -> list[SentDistribution]:
        """The distributions that Qualtrics accepted in this scenario."""
        return self.sandbox.recorder.distributions[self._sent_before :]

    def count_calls(self, operation: str) -> int:
        """How many calls of this operation Nexthink or Qualtrics got in this scenario."""
        return self.sandbox.recorder.count(operation)

    @property
    def log(self) -> str:
        """The log of the product, at level `debug`."""
        return self._log.getvalue()

    async def leaks(self, **more: Collection[str]) -> list[Violation]:
        """The addresses, tokens and secrets that can be read somewhere. `more` adds other texts, by kind."""
        events = await self.user.events(self.name)
        places = {
            "the object": json.dumps(await self.user.exporter(self.name), ensure_ascii=False),
            "its Events": json.dumps(events, ensure_ascii=False),
            "the log": self.log,
            "a traceback": "\n".join(self.errors),
            "the metrics": b"".join(self.metrics.text()).decode(),
            **{f"the file {path.name}": path.read_text("utf-8", "replace") for path in _files(self._folder)},
        }
        account = self.account
        credentials = [*account.nexthink_credentials, *account.qualtrics_credentials]
        return leaks(
            places,
            {
                "an address": [ADDRESS_PREFIX],
                "a secret": [one.client_secret for one in credentials],
                "a token": self.sandbox.issued_tokens(),
                "a header": ["Bearer ", *(_base64(f"{one.client_id}:{one.client_secret}") for one in credentials)],
                "a signature": ["X-Amz"],
                **more,
            },
        )


def condition(status: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """One condition of a status. Empty if the status does not have it."""
    return next((dict(one) for one in status.get("conditions", []) if one["type"] == type_), {})


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
