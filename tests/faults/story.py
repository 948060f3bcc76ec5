"""One exporter on a stage, whose slots fall due under attack, and what is believed of each of them afterwards."""

import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tests.environment.api_gate import ApiGate
from tests.environment.operator import Operator
from tests.environment.stage import Stage
from tests.environment.waiting import HANG_SECONDS, eventually
from tests.faults import oracle
from tests.faults.broken import Build
from tests.faults.oracle import Finding, Found

Trigger = Literal["a slot of the schedule", "a run request", "a delivering test"]
SHORT_PATIENCE_SECONDS = 10.0
"""With a broken build: there silence is what is waited for."""

_NUMBERS = itertools.count(1)


@dataclass
class Slot:
    """Something that has to end in one entry and at most one distribution."""

    trigger: Trigger
    name: str
    """What tells its entry: the due time, or the token."""
    since: int
    """How many distributions there were before."""
    known: set[str]
    """The entries that were there before."""
    may_send: bool = True
    told: bool = True
    entry: Mapping[str, Any] | None = None
    found: list[Found] = field(default_factory=list)
    """What was sent between the judgement of the one before and this one: it belongs to none, so it is one too many."""


class Story:
    """An exporter, its operators, and the gates between them and the API server."""

    def __init__(self, stage: Stage, *, people: int = 6, broken: Build | None = None, slots: bool = True) -> None:
        self.stage = stage
        self.broken = broken
        self.gates: list[ApiGate] = []
        self.operators: list[Operator] = []
        self._log_before = 0
        self._judged = len(stage.sandbox.ledger.distributions)
        # So short-lived that each run has to fetch its own.
        stage.sandbox.world.nexthink_token_seconds = stage.sandbox.world.qualtrics_token_seconds = 600
        query = "#teams_rollout"
        if people > 6:
            query = f"#people_{people}"
            stage.people(query, people)
        self.people = [str(row[0]) for row in stage.sandbox.world.queries[query].stream() if row[0]]
        # Every six hours: no other slot is near when the clock runs. Or none for days, where only requests are to run.
        every = {"frequency": "Hourly", "everyHours": 6, "timeZone": "UTC"}
        sunday = {"frequency": "Weekly", "dayOfWeek": "Sunday", "timeZone": "UTC"}
        self.exporter = stage.exporter(
            f"story-{next(_NUMBERS)}",
            **{"schedule": every if slots else sunday, "nexthink.queryId": query},
        )

    @property
    def gate(self) -> ApiGate:
        """The gate of the first operator."""
        return self.gates[0]

    @property
    def operator(self) -> Operator:
        """The first operator."""
        return self.operators[0]

    def start(
        self, *arguments: str, election: bool = False, steered_lease: bool = False, in_progress: int | None = None
    ) -> Operator:
        """One more operator, with a gate of its own, ready. It reconciles so many exporters at once."""
        gate = self.stage.gate()
        environment = {}
        if in_progress:
            environment["QUALTRICS_EXPORTER_TEST_IN_PROGRESS"] = str(in_progress)
        if self.broken:
            environment["QUALTRICS_EXPORTER_TEST_BROKEN"] = self.broken
        operator = self.stage.operator(
            *arguments, gate=gate, election=election, steered_lease=steered_lease, environment=environment
        )
        self.gates.append(gate)
        self.operators.append(operator)
        return operator

    def end(self) -> list[Found]:
        """Make room for another story on the same stage; what came after the last slot was judged."""
        afterwards = self._afterwards()
        for operator in self.operators:
            operator.kill()
        if self.exporter.exists():
            self.exporter.delete()
        return afterwards

    def made_up_for(self) -> list[Found]:
        """A slot that could not run while its exporter could not be written to may do so when it can: once."""
        late = self._afterwards()
        self.counts_from_now()
        return late if len(late) > 1 else []

    def counts_from_now(self) -> None:
        """What was sent until now belongs to something that is no slot of this story."""
        self._judged = len(self.stage.sandbox.ledger.distributions)

    # A slot

    def due(self, trigger: Trigger) -> Slot:
        """Let a slot fall due; what happens then is the operators' business."""
        found = self._afterwards()
        known = {entry["id"] for entry in self._entries(trigger)}
        since = len(self.stage.sandbox.ledger.distributions)
        self._log_before = len(self.operator.log)
        name = f"number-{next(_NUMBERS)}"
        if trigger == "a slot of the schedule":
            moment = _next_slot(self.stage.clock.now())
            self.stage.clock.advance_to(moment + timedelta(seconds=1))
            name = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            self.stage.clock.advance(700)  # longer than tokens are good for
            if trigger == "a run request":
                self.exporter.annotate(run_requested_at=name)
            else:
                self.exporter.annotate(test_requested_at=name, test_mode="Deliver")
        return Slot(trigger, name, since, known, found=found)

    def over(self, slot: Slot, *, pace: float = 10) -> Mapping[str, Any] | None:
        """Wait, while time passes, until the slot has an entry; None if it never gets one.

        `pace` is how many seconds of the story pass in each step of `Stage.while_time_passes`. Of an exporter that is
        gone nobody can tell: there, until its operator has let go of the run.
        """
        patience = SHORT_PATIENCE_SECONDS if self.broken else HANG_SECONDS
        if not slot.told:
            with suppress(AssertionError):
                self.says("leaving run", patience=patience)
            return None

        def look() -> Mapping[str, Any] | None:
            self.kubelet()
            return next((e for e in self._entries(slot.trigger) if self._is_of(e, slot)), None)

        def wait() -> Mapping[str, Any] | None:
            return eventually(look, f"{slot.name} is over", patience=patience)

        with suppress(AssertionError):
            slot.entry = self.stage.while_time_passes(wait, seconds=pace)
        return slot.entry

    def kubelet(self) -> None:
        """Start operators again that ended by themselves."""
        for operator, gate in zip(self.operators, self.gates, strict=True):
            if operator.gave_up and not gate.is_cut:
                operator.start()

    def stands_at(self, operation: str, slot: Slot, *, for_sure: bool = True) -> bool:
        """Wait until that operation stands held. If that is not `for_sure`: False when the slot is over before."""
        held = self.gate.held if operation.startswith("api.") else self.stage.sandbox.held

        def look() -> bool:
            over = not for_sure and any(self._is_of(entry, slot) for entry in self._entries(slot.trigger))
            return held(operation) > 0 or over

        self.stage.while_time_passes(lambda: eventually(look, f"{operation} is reached"), seconds=1)
        return held(operation) > 0

    def tells_of_its_spec(self, since: datetime) -> bool:
        """Whether the exporter's user can see that its spec cannot be used: by its condition, or by an Event."""
        if self.exporter.condition("Ready").get("reason") == "SpecInvalid":
            return True
        told = [e["eventTime"] for e in self.exporter.events() if e["reason"] == "StatusRefused"]
        return any(datetime.fromisoformat(time) >= since for time in told)

    def says(self, words: str, *, pace: float = 1, patience: float = HANG_SECONDS) -> None:
        """Wait until the first operator has logged this, since the slot fell due, while time passes."""
        said = lambda: words in self.operator.log[self._log_before :]  # noqa: E731
        what = f"the operator says {words!r}"
        self.stage.while_time_passes(lambda: eventually(said, what, patience=patience), seconds=pace)

    def watches(self) -> None:
        """Wait until the first operator sees exporters again: the next slot moves the clock by hours."""
        seen = lambda: self.operator.get("/readyz") == 200  # noqa: E731
        self.stage.while_time_passes(lambda: eventually(seen, "the operator watches exporters"), seconds=1)

    def judged(self, slot: Slot) -> list[Found]:
        """What was wrong with a slot that is over."""
        ledger = self.stage.sandbox.ledger
        sent = ledger.distributions[slot.since :]
        self._judged = len(ledger.distributions)
        return [
            *slot.found,
            *oracle.judged(ledger, sent, slot.entry, self.people, may_send=slot.may_send, told=slot.told),
            *oracle.unwritten(sent, self.written()),
            *self.leaks(),
        ]

    def written(self, uid: str = "") -> list[oracle.Written]:
        """What the journal said, in the order of time, as the API server took it from any of the operators.

        With a uid: the journal of that exporter alone.
        """
        taken = [
            oracle.Written(call.done, call.run)
            for gate in self.gates
            for call in gate.calls
            if call.operation.startswith("api.status") and call.taken and call.done and uid in ("", call.uid)
        ]
        return sorted(taken, key=lambda one: one.at)

    def entries(self, uid: str) -> list[Mapping[str, Any]]:
        """Every entry that the history of an exporter has had, oldest first."""
        calls = [call for gate in self.gates for call in gate.calls if call.uid == uid and call.taken and call.done]
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for call in sorted(calls, key=lambda call: call.done or 0):
            for entry in reversed(call.history):
                found[entry["id"], entry["completionTime"]] = entry  # a later look-up may change it
        return list(found.values())

    # Inside

    def _afterwards(self) -> list[Found]:
        late = self.stage.sandbox.ledger.distributions[self._judged :]
        return [Found(Finding.DOUBLE, f"{one.id} was sent when its slot was over and judged") for one in late]

    def _entries(self, trigger: Trigger) -> list[Mapping[str, Any]]:
        status = self.exporter.status() if self.exporter.exists() else {}
        if trigger == "a delivering test":
            return [status["lastTest"]] if "lastTest" in status else []
        return list(status.get("history", []))

    def _is_of(self, entry: Mapping[str, Any], slot: Slot) -> bool:
        if slot.trigger == "a slot of the schedule":
            return entry.get("scheduledTime") == slot.name
        return entry["id"] not in slot.known and entry["trigger"] != "Schedule"

    def leaks(self) -> list[Found]:
        """What must stay inside, and can be read by somebody."""
        sandbox = self.stage.sandbox
        needles = {
            "an address": self.people[:50],
            "a client secret": [keys["clientSecret"] for keys in sandbox.secrets().values()],
            "a token": sandbox.tokens(),
            "a header": ["Bearer "],
            "a signed URL": ["X-Amz"],
        }
        places = {"the API server": self.stage.everything_written()}
        for operator in self.operators:
            places |= operator.everything_left()
        return oracle.leaks(places, needles)


def _next_slot(now: datetime) -> datetime:
    """Every six hours of UTC, twenty minutes past."""
    slot = now.replace(hour=now.hour - now.hour % 6, minute=20, second=0, microsecond=0)
    return slot if slot > now else slot + timedelta(hours=6)
