"""What only the controller contributes to a check: clients made from Secrets, time limits, what earlier checks found,
and other exporters with the same target."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.credentials import NOT_READABLE, ClientFactory, SecretState
from qualtrics_exporter.controller.memory import Memories, PassedCheck
from qualtrics_exporter.controller.plan.wake import CHECK_INTERVAL
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.export.checks import Known
from qualtrics_exporter.export.clients import LimitedConnections
from qualtrics_exporter.export.guards import CheckWarning
from qualtrics_exporter.export.heavy_query import begins_with_export, remembered, to_be_tried_again
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError, Reported, Transient
from qualtrics_exporter.remote.time_limit import MAX_STOPPED, OutOfTime, TimeLimit, pending_failure
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import EXPIRES_AT
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import CredentialsExpiry, Status, parse_expiry
from qualtrics_exporter.telemetry.metrics import Metrics

INITIAL_RETRY_BACKOFF = timedelta(seconds=30)
MAX_RETRY_BACKOFF = timedelta(minutes=15)

CHECK_SECONDS = 120.0
"""How long the check of one service may take, without its waits for rate limits. With all their retries, the requests
of a check would make a slot of the same exporter wait for many minutes."""

RESULT_REASONS = frozenset({Reason.QUERY_RETURNS_SEVERAL_FIELDS, Reason.QUERY_RETURNS_NO_EMAIL})
"""Errors in the rows of the result. A check that reads no rows cannot withdraw them."""


class Expiry(NamedTuple):
    """When the credentials expire, according to the annotations on their Secrets."""

    times: CredentialsExpiry
    warnings: tuple[CheckWarning, ...]


class Prepared(NamedTuple):
    """A check that is about to begin."""

    connections: LimitedConnections
    known: Known
    basis: tuple[object, ...]
    """What the verdict about Qualtrics depends on: the generation of the spec, and the version of the Secret."""
    secret_known: bool
    """Whether the version of that Secret is known. Otherwise the verdict is not remembered."""
    expiry: Expiry


@dataclass(frozen=True, slots=True)
class CheckInputs:
    """Prepares checks and dry tests, and remembers their verdicts."""

    credentials: ClientFactory
    targets: Targets
    memories: Memories
    metrics: Metrics
    clock: Clock

    async def prepare(self, key: Key, exporter: Exporter, spec: Spec) -> Prepared:
        """Connections and earlier findings for a check of this spec."""
        memory = self.memories.of(key)
        # Before the Secrets are read: if one changes in between, the next look notices it.
        secrets = await self.credentials.secrets(exporter, spec)
        memory.secrets = secrets[0].version, secrets[1].version
        version = secrets[1].version
        basis = (exporter.generation, version)
        secret_known = version not in (None, NOT_READABLE)
        ready = exporter.status.condition(conditions.QUALTRICS_READY)
        if not secret_known or not ready or (ready.status, ready.observed_generation) != ("True", exporter.generation):
            memory.qualtrics_passed = None  # another process may have found something else since
        well = memory.qualtrics_passed
        still_well = well is not None and well.what == basis and self.clock.monotonic() < well.until
        known = Known(
            result_error=found_in_result(exporter.status, exporter.generation),
            qualtrics=well.warnings if well and still_well else None,
        )
        return Prepared(self._connections(exporter, spec), known, basis, secret_known, expiry_of(exporter, secrets))

    def complete(self, key: Key, prepared: Prepared, verdict: Verdict) -> Verdict:
        """Remember what the check found; returns the verdict with the warnings that only the controller knows."""
        if verdict.error and verdict.error.reason is Reason.INTERNAL_ERROR:
            self.metrics.failed("check")
        if verdict.qualtrics_checked and prepared.secret_known and not verdict.qualtrics:
            until = self.clock.monotonic() + CHECK_INTERVAL.total_seconds()
            self.memories.of(key).qualtrics_passed = PassedCheck(prepared.basis, until, verdict.qualtrics_warnings)
        warnings = (*verdict.warnings, *prepared.expiry.warnings, *self._duplicates(key))
        return replace(verdict, warnings=warnings, credentials_expiry=prepared.expiry.times)

    def tries_execution(self, exporter: Exporter) -> bool:
        """Whether a check runs the query again that Nexthink failed to execute."""
        heavy, spec = exporter.status.heavy_query, exporter.spec
        return bool(spec and to_be_tried_again(spec.nexthink, heavy, exporter.generation, self.clock.now()))

    def export_first(self, exporter: Exporter, spec: Spec) -> bool:
        """Whether the result comes from an export at once."""
        heavy = exporter.status.heavy_query
        known = begins_with_export(spec.nexthink, heavy, exporter.generation, self.clock.now())
        return known and not self.tries_execution(exporter)

    def status_after(self, key: Key, exporter: Exporter, status: Status, verdict: Verdict) -> Status:
        """The status after a check with this verdict."""
        now = self.clock.now()
        failures = self.memories.of(key).failures
        pause = min(MAX_RETRY_BACKOFF, INITIAL_RETRY_BACKOFF * 2 ** min(max(failures - 1, 0), 10))
        retry_time = now + pause if verdict.error and not verdict.needs_new_spec else None
        return conditions.checked(
            status, verdict, exporter.generation, now, suspended=exporter.suspended, retry_time=retry_time
        )

    def with_heavy_query(self, exporter: Exporter, status: Status, verdict: Verdict) -> Status:
        """The status with what the check found out about executing the query."""
        learnt = verdict.answer.begin_with if verdict.answer else None
        drifted = conditions.has_drifted(status, exporter.generation)
        heavy = remembered(status.heavy_query, learnt, exporter.generation, self.clock.now(), drifted=drifted)
        return status.model_copy(update={"heavy_query": heavy})

    def _connections(self, exporter: Exporter, spec: Spec) -> LimitedConnections:
        @asynccontextmanager
        async def nexthink() -> AsyncIterator[NexthinkClient]:
            async with self._limited("Nexthink") as limit:
                yield await self.credentials.nexthink(exporter, spec, limit)

        @asynccontextmanager
        async def qualtrics() -> AsyncIterator[QualtricsClient]:
            async with self._limited("Qualtrics") as limit:
                yield await self.credentials.qualtrics(exporter, spec, limit)

        return LimitedConnections(nexthink, qualtrics, self.credentials.texts(exporter))

    @asynccontextmanager
    async def _limited(self, service: str) -> AsyncIterator[TimeLimit]:
        try:
            async with TimeLimit(self.clock, CHECK_SECONDS) as limit:
                yield limit
        except OutOfTime as out_of_time:
            if limit.is_used_up:
                what = f"Other exporters used the rate limit of {service} for {MAX_STOPPED / 60:g} minutes"
                raise Transient(Reason.RATE_LIMITED, what) from None
            what = f"{service} did not answer all checks within {CHECK_SECONDS:g} s"
            raise too_slow(what, out_of_time) from None

    def _duplicates(self, key: Key) -> list[CheckWarning]:
        if not (others := ", ".join(self.targets.others(key)[:3])):
            return []
        return [CheckWarning(Reason.DUPLICATE_TARGET, f"the same survey and message go to the same list by {others}")]


def too_slow(what: str, out_of_time: OutOfTime) -> Transient:
    """The error of work that took too long. If it was about to repeat a call, that call's failure is the reason."""
    failure = pending_failure(out_of_time)
    if failure is None:
        return Transient(Reason.REMOTE_UNAVAILABLE, what)
    return Transient(
        failure.reason,
        f"{what}, because {failure.what}",
        status=failure.status,
        remote_code=failure.remote_code,
        request_id=failure.request_id,
    )


def expiry_of(exporter: Exporter, secrets: tuple[SecretState, SecretState]) -> Expiry:
    """When the credentials in these Secrets expire. For an unreadable Secret, the time of the last check stays."""
    before = exporter.status.credentials_expiry or CredentialsExpiry()
    times: dict[str, datetime | None] = {}
    invalid: dict[str, None] = {}  # both sides may have the same Secret
    for side, secret in zip(("nexthink", "qualtrics"), secrets, strict=True):
        if secret.version == NOT_READABLE:
            times[side] = getattr(before, side)
        elif secret.expires_at is not None:
            times[side] = parse_expiry(secret.expires_at)
            if times[side] is None:
                invalid[secret.name] = None
    what = f"the annotation {EXPIRES_AT} of Secret {exporter.namespace}/%s is not a date or a date-time of RFC 3339"
    warnings = tuple(CheckWarning(Reason.SECRET_EXPIRY_INVALID, what % name) for name in invalid)
    return Expiry(CredentialsExpiry(**times), warnings)


def found_in_result(status: Status, generation: int) -> ExportError | None:
    """What a test found wrong with the rows of this spec's query, unless a later run read them without an error."""
    condition = status.condition(conditions.NEXTHINK_READY)
    if not condition or (condition.status, condition.observed_generation) != ("False", generation):
        return None
    reason = next((reason for reason in RESULT_REASONS if reason == condition.reason), None)
    if reason is None:
        return None
    since, test = condition.last_transition_time, status.last_test
    if test and test.reason == reason and test.completion_time:
        since = max(since, test.completion_time)  # the condition may have been False before, for another reason
    if any(e.recipients and e.start_time and e.start_time >= since for e in status.history or []):
        return None
    return Reported(reason, condition.message)
