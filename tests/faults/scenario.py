"""An exporter whose slots fall due under attack, with real operators, and the violations of each slot."""

import itertools
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tests.faults import assertions
from tests.faults.assertions import JournalWrite, Violation, ViolationKind
from tests.faults.mutants import Mutant
from tests.support.fault_proxy import FaultProxy
from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS, eventually

Trigger = Literal["a slot of the schedule", "a run request", "a delivering test"]
MUTANT_SECONDS = 10.0
"""How long to wait for an entry of a mutant. It may never come."""

_NUMBERS = itertools.count(1)


@dataclass
class Slot:
    """A slot, a run request or a test: it must end in one entry and at most one distribution."""

    trigger: Trigger
    name: str
    """The due time or the token, by which its entry is recognized."""
    since: int
    """How many distributions there were before."""
    known: set[str]
    """The ids of the entries that were there before."""
    may_send: bool = True
    expects_entry: bool = True
    entry: Mapping[str, Any] | None = None
    violations: list[Violation] = field(default_factory=list)
    """Sends between the verdict on the slot before and this one. They belong to no slot."""


class Scenario:
    """An exporter, its operators, and the fault proxies between them and the API server."""

    def __init__(self, stage: Stage, *, people: int = 6, mutant: Mutant | None = None, slots: bool = True) -> None:
        self.stage = stage
        self.mutant = mutant
        self.fault_proxies: list[FaultProxy] = []
        self.operators: list[Operator] = []
        self._log_before = 0
        self._judged = len(stage.sandbox.recorder.distributions)
        # Tokens expire before the next run, so that each run fetches its own.
        stage.sandbox.account.nexthink_token_seconds = stage.sandbox.account.qualtrics_token_seconds = 600
        query = "#teams_rollout"
        if people > 6:
            query = f"#people_{people}"
            stage.people(query, people)
        self.people = [str(row[0]) for row in stage.sandbox.account.queries[query].stream() if row[0]]
        # Every six hours, so that no other slot is near. Or none for days, if only requests are to run.
        every = {"frequency": "Hourly", "everyHours": 6, "timeZone": "UTC"}
        sunday = {"frequency": "Weekly", "dayOfWeek": "Sunday", "timeZone": "UTC"}
        self.exporter = stage.exporter(
            f"scenario-{next(_NUMBERS)}",
            **{"schedule": every if slots else sunday, "nexthink.queryId": query},
        )

    @property
    def fault_proxy(self) -> FaultProxy:
        """The fault proxy of the first operator."""
        return self.fault_proxies[0]

    @property
    def operator(self) -> Operator:
        """The first operator."""
        return self.operators[0]

    def start(
        self, *arguments: str, election: bool = False, steered_lease: bool = False, in_progress: int | None = None
    ) -> Operator:
        """Start one more operator behind a fault proxy. `in_progress` is how many exporters it reconciles at once."""
        fault_proxy = self.stage.fault_proxy()
        environment = {}
        if in_progress:
            environment["QUALTRICS_EXPORTER_TEST_IN_PROGRESS"] = str(in_progress)
        if self.mutant:
            environment["QUALTRICS_EXPORTER_TEST_MUTANT"] = self.mutant
        operator = self.stage.operator(
            *arguments, fault_proxy=fault_proxy, election=election, steered_lease=steered_lease, environment=environment
        )
        self.fault_proxies.append(fault_proxy)
        self.operators.append(operator)
        return operator

    def end(self) -> list[Violation]:
        """Stop the operators and delete the exporter. Returns the sends after the verdict on the last slot."""
        late = self._late_sends()
        for operator in self.operators:
            operator.kill()
        if self.exporter.exists():
            self.exporter.delete()
        return late

    def catch_up_violations(self) -> list[Violation]:
        """A slot that could not run while its exporter could not be written may run later, but only once."""
        late = self._late_sends()
        self.ignore_sends_so_far()
        return late if len(late) > 1 else []

    def ignore_sends_so_far(self) -> None:
        """Do not count the sends until now as late: they belong to no slot of this scenario."""
        self._judged = len(self.stage.sandbox.recorder.distributions)

    # One slot

    def make_due(self, trigger: Trigger) -> Slot:
        """Let a slot fall due, without waiting for its run."""
        late = self._late_sends()
        known = {entry["id"] for entry in self._entries(trigger)}
        since = len(self.stage.sandbox.recorder.distributions)
        self._log_before = len(self.operator.log)
        name = f"number-{next(_NUMBERS)}"
        if trigger == "a slot of the schedule":
            moment = _next_slot(self.stage.clock.now())
            self.stage.clock.advance_to(moment + timedelta(seconds=1))
            name = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            self.stage.clock.advance(700)  # until tokens have expired
            if trigger == "a run request":
                self.exporter.annotate(run_requested_at=name)
            else:
                self.exporter.annotate(test_requested_at=name, test_mode="Deliver")
        return Slot(trigger, name, since, known, violations=late)

    def wait_for_end(self, slot: Slot, *, pace: float = 10) -> Mapping[str, Any] | None:
        """Wait, while time passes, until the slot has an entry. Returns None if it never gets one.

        `pace` is how many seconds pass in each step of `Stage.while_time_passes`. If the exporter is gone, no entry is
        possible: then wait until the operator has released the run.
        """
        patience = MUTANT_SECONDS if self.mutant else HANG_SECONDS
        if not slot.expects_entry:
            with suppress(AssertionError) if self.mutant else nullcontext():
                self.wait_for_log("stopped working on run", patience=patience)
            return None

        def poll() -> Mapping[str, Any] | None:
            self.restart_ended_operators()
            return next((e for e in self._entries(slot.trigger) if self._is_of(e, slot)), None)

        def wait() -> Mapping[str, Any] | None:
            return eventually(poll, f"{slot.name} has an entry", patience=patience)

        with suppress(AssertionError):
            slot.entry = self.stage.while_time_passes(wait, seconds=pace)
        return slot.entry

    def restart_ended_operators(self) -> None:
        """Restart operators that ended by themselves, as the kubelet does."""
        for operator, fault_proxy in zip(self.operators, self.fault_proxies, strict=True):
            if operator.exited_with_error and not fault_proxy.is_partitioned:
                operator.start()

    def wait_until_held(self, operation: str, slot: Slot, *, required: bool = True) -> bool:
        """Wait until this operation is held. If it is not `required`, return False when the slot ends before."""
        held = self.fault_proxy.held if operation.startswith("api.") else self.stage.sandbox.held

        def poll() -> bool:
            ended = not required and any(self._is_of(entry, slot) for entry in self._entries(slot.trigger))
            return held(operation) > 0 or ended

        self.stage.while_time_passes(lambda: eventually(poll, f"{operation} is reached"), seconds=1)
        return held(operation) > 0

    def reports_invalid_spec(self, since: datetime) -> bool:
        """Whether a condition or an Event tells the user that the spec is invalid."""
        if self.exporter.condition("Ready").get("reason") == "SpecInvalid":
            return True
        times = [e["eventTime"] for e in self.exporter.events() if e["reason"] == "StatusRefused"]
        return any(datetime.fromisoformat(time) >= since for time in times)

    def wait_for_log(self, text: str, *, pace: float = 1, patience: float = HANG_SECONDS) -> None:
        """Wait, while time passes, until the first operator has logged this text since the slot fell due."""
        logged = lambda: text in self.operator.log[self._log_before :]  # noqa: E731
        what = f"the operator logs {text!r}"
        self.stage.while_time_passes(lambda: eventually(logged, what, patience=patience), seconds=pace)

    def wait_until_watching(self) -> None:
        """Wait until the first operator watches exporters again: the next slot moves the clock by hours."""
        ready = lambda: self.operator.get("/readyz") == 200  # noqa: E731
        self.stage.while_time_passes(lambda: eventually(ready, "the operator watches exporters"), seconds=1)

    def violations(self, slot: Slot) -> list[Violation]:
        """The violations of a slot that has ended."""
        recorder = self.stage.sandbox.recorder
        sent = recorder.distributions[slot.since :]
        self._judged = len(recorder.distributions)
        return [
            *slot.violations,
            *assertions.slot_violations(
                recorder, sent, slot.entry, self.people, may_send=slot.may_send, expects_entry=slot.expects_entry
            ),
            *assertions.unjournaled_sends(sent, self.journal_writes()),
            *self.leaks(),
        ]

    def journal_writes(self, uid: str = "") -> list[JournalWrite]:
        """The writes of the journal that the API server accepted from any operator, in the order of time.

        With a uid: only those of that exporter.
        """
        writes = [
            JournalWrite(call.done, call.run)
            for fault_proxy in self.fault_proxies
            for call in fault_proxy.calls
            if call.operation.startswith("api.status") and call.executed and call.done and uid in ("", call.uid)
        ]
        return sorted(writes, key=lambda write: write.at)

    def entries(self, uid: str) -> list[Mapping[str, Any]]:
        """Every entry that the history of an exporter has had, oldest first."""
        calls = [
            call
            for fault_proxy in self.fault_proxies
            for call in fault_proxy.calls
            if call.uid == uid and call.executed and call.done
        ]
        entries: dict[tuple[str, str], Mapping[str, Any]] = {}
        for call in sorted(calls, key=lambda call: call.done or 0):
            for entry in reversed(call.history):
                entries[entry["id"], entry["completionTime"]] = entry  # a later look-up may change it
        return list(entries.values())

    def leaks(self) -> list[Violation]:
        """Addresses and secrets in objects, logs, metrics or files."""
        sandbox = self.stage.sandbox
        secrets = {
            "an address": self.people[:50],
            "a client secret": [keys["clientSecret"] for keys in sandbox.secrets().values()],
            "a token": sandbox.tokens(),
            "a header": ["Bearer "],
            "a signed URL": ["X-Amz"],
        }
        places = {"the API server": self.stage.everything_written()}
        for operator in self.operators:
            places |= operator.all_output()
        return assertions.leaks(places, secrets)

    def _late_sends(self) -> list[Violation]:
        late = self.stage.sandbox.recorder.distributions[self._judged :]
        description = "was sent after the verdict on its slot"
        return [Violation(ViolationKind.DOUBLE_SEND, f"{one.id} {description}") for one in late]

    def _entries(self, trigger: Trigger) -> list[Mapping[str, Any]]:
        status = self.exporter.status() if self.exporter.exists() else {}
        if trigger == "a delivering test":
            return [status["lastTest"]] if "lastTest" in status else []
        return list(status.get("history", []))

    def _is_of(self, entry: Mapping[str, Any], slot: Slot) -> bool:
        if slot.trigger == "a slot of the schedule":
            return entry.get("scheduledTime") == slot.name
        return entry["id"] not in slot.known and entry["trigger"] != "Schedule"


def _next_slot(now: datetime) -> datetime:
    """Every six hours of UTC, twenty minutes past."""
    slot = now.replace(hour=now.hour - now.hour % 6, minute=20, second=0, microsecond=0)
    return slot if slot > now else slot + timedelta(hours=6)
