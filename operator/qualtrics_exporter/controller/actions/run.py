"""One claimed run of one exporter, from its claim to its entry in the history.

The steps are in `export`; here is what only a controller knows: credentials come from Secrets, the spec can change
under a run, and a run that can't even begin still ends in an entry.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.plan.deadlines import run_deadline, schedule_of, spec_problem
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from qualtrics_exporter.controller.secrets import nexthink_credentials, qualtrics_credentials
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.journal import StatusJournal
from qualtrics_exporter.controller.status.store import Key, StatusStore, tenant_of
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.guards import previous_audience
from qualtrics_exporter.export.heavy_query import begins_with_export
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged
from qualtrics_exporter.export.messages import unknown_message
from qualtrics_exporter.export.query_texts import QueryTexts, TenantTexts
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.sample import Sample, sample_of, surveyed_groups
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.remote.retry import RetryPolicy, retry
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Status, entry_of

log = logging.getLogger(__name__)


class ClientFactory:
    """The clients of one exporter, made from its Secrets as they are now, and what checks its query."""

    def __init__(self, cluster: ClusterApi, remotes: ApiContext, texts: QueryTexts | None = None) -> None:
        self._cluster = cluster
        self._remotes = remotes
        self._texts = texts or QueryTexts()

    def texts(self, exporter: Exporter) -> TenantTexts:
        """What checks the text of the query, and compares it."""
        return TenantTexts(self._texts, tenant_of(exporter))

    async def nexthink(self, exporter: Exporter, spec: Spec) -> NexthinkClient:
        """The client of Nexthink. Raises `Permanent` when the Secret is missing or incomplete."""
        name = spec.nexthink.credentials_secret_ref.name
        credentials, _ = await nexthink_credentials(self._cluster, exporter.namespace, name)
        return NexthinkClient(self._remotes, credentials, tenant_of(exporter))

    async def qualtrics(self, exporter: Exporter, spec: Spec) -> QualtricsClient:
        """The client of Qualtrics, likewise."""
        name = spec.qualtrics.credentials_secret_ref.name
        credentials, _ = await qualtrics_credentials(self._cluster, exporter.namespace, name)
        return QualtricsClient(self._remotes, credentials, tenant_of(exporter))

    async def sides(self, exporter: Exporter, spec: Spec) -> Clients:
        """Both clients. A Secret that the API server cannot read now is read again for some minutes.

        Raises `Permanent` and `Transient`.
        """

        async def read() -> Clients:
            clients = await self.nexthink(exporter, spec), await self.qualtrics(exporter, spec)
            return Clients(*clients, self.texts(exporter))

        return await retry(RetryPolicy.READ, self._remotes.clock, read)

    async def versions(self, exporter: Exporter, spec: Spec) -> tuple[str | None, str | None]:
        """The versions of both Secrets, without reading what is in them; None for one that is missing.

        One that cannot be read has a version too: that it can be read again is a change.
        """
        return (
            await self._version(exporter.namespace, spec.nexthink.credentials_secret_ref.name),
            await self._version(exporter.namespace, spec.qualtrics.credentials_secret_ref.name),
        )

    async def _version(self, namespace: str, name: str) -> str | None:
        try:
            return await self._cluster.secret_version(namespace, name)
        except NotFound:
            return None
        except ClusterError:
            return NOT_READABLE


NOT_READABLE = "not readable"
"""In place of the version of a Secret that cannot be read."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Brings claimed runs to their end."""

    store: StatusStore
    credentials: ClientFactory
    clock: Clock
    identity: ProcessIdentity
    default_zone: str
    memory: RecipientMemory
    unsure: Callable[[], bool] = lambda: False
    """Whether the clock was set forward a moment ago, and may be wrong."""

    async def run(self, key: Key, exporter: Exporter, run: ActiveRun) -> None:
        """Do what is left of a run that was just claimed or taken over.

        Returns when it has ended or is somebody else's. Cancelling leaves a run that has not reached its send for the
        next start, and waits for a send that is under way.
        """
        journal = StatusJournal(self.store, key, self.clock, self.default_zone)
        try:
            while True:
                try:
                    async with journal.heartbeat(run):
                        await self._attempt(journal, exporter, run)
                except SpecChanged:
                    log.info("%s was edited during run %s: starting again with the new spec", key, run.id)
                    exporter, run = await self._start_again(key, run)
                else:
                    return
        except Abandoned as why:
            log.warning("leaving run %s of %s as it stands: %s", run.id, key, str(why) or "it is not ours any more")

    async def _attempt(self, journal: StatusJournal, exporter: Exporter, run: ActiveRun) -> None:
        try:
            if problem := spec_problem(exporter, self.default_zone):
                raise problem
            assert exporter.spec is not None  # noqa: S101  no problem, so there is a spec
            sides = await self.credentials.sides(exporter, exporter.spec)
        except ExportError as error:
            await journal.finish(run, self._without_clients(run, error))
            return
        unchecked = run.step == "Claimed" and not conditions.is_ready(exporter.status, exporter.generation)
        left = self._time_left(exporter.spec, run)
        await execute(
            *(run, exporter.spec, sides, journal, self.clock),
            check_first=unchecked,
            unsure=self.unsure,
            deadline=left,
            memory=partial(self.memory.hold, tenant_of(exporter)),
            sample=self._sample(exporter, exporter.spec, run),
            previous=previous_audience(exporter.status.history or []),
            export_first=begins_with_export(
                exporter.spec.nexthink, exporter.status.heavy_query, exporter.generation, self.clock.now()
            ),
        )

    def _sample(self, exporter: Exporter, spec: Spec, run: ActiveRun) -> Sample | None:
        status, name = exporter.status, f"{exporter.namespace}/{exporter.name}"
        surveyed = surveyed_groups(status.sampled_groups, status.history)
        return sample_of(spec, name, schedule_of(exporter, spec, self.default_zone), run, surveyed)

    def _time_left(self, spec: Spec, run: ActiveRun) -> timedelta:
        """How long the run may still take. A start in the future does not count: a clock that was ahead wrote it."""
        elapsed = max(timedelta(0), self.clock.now() - run.start_time)
        return max(timedelta(0), run_deadline(spec) - elapsed)

    def _without_clients(self, run: ActiveRun, error: ExportError) -> Ended:
        """How a run ends that can't talk to the remote sides: by what its journal knows."""
        now = self.clock.now()
        if run.step == "Sent":
            return Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, Reason.SUCCEEDED.meaning, now))
        if not run.before_send:
            message = unknown_message(run, f"what came of it could not be looked up: {error.what}")
            return Ended(entry_of(run, "Unknown", Reason.DELIVERY_UNKNOWN, message, now))
        return Ended(entry_of(run, "Failed", error.reason, f"{error.message} Nobody was mailed.", now))

    async def _start_again(self, key: Key, run: ActiveRun) -> tuple[Exporter, ActiveRun]:
        again: ActiveRun | None = None

        def claim(exporter: Exporter) -> Status | None:
            nonlocal again
            stored = exporter.status.active_run
            if again is not None and stored == again:
                return None  # the reply to our own write was lost
            if stored is None or (stored.id, stored.holder) != (run.id, run.holder):
                raise Abandoned
            again = ActiveRun(
                id=run.id,
                trigger=run.trigger,
                scheduled_time=run.scheduled_time,
                start_time=run.start_time,
                generation=exporter.generation,
                attempt=run.attempt + 1,
                holder=self.identity.new_holder(),
                heartbeat_time=self.clock.now(),
                step="Claimed",
                send_attempts=run.send_attempts,
            )
            return exporter.status.model_copy(update={"active_run": again})

        exporter = await self.store.change(key, claim)
        assert again is not None  # noqa: S101  else it was abandoned
        return exporter, again
