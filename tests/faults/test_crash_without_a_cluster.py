"""`qualtrics-exporter run` is killed at every effect, on the remote services and on its disk, and is run again."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.files import ROOT
from qualtrics_exporter.sandbox import Account
from tests.faults import assertions, mutants
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.crash import AFTER, BEFORE, DELAYED, KillPoint, kill_points
from tests.faults.tally import Tally
from tests.support.clock import AutoAdvancingClock
from tests.support.forking import Forked, fork
from tests.support.sandbox import Certificates, SandboxThread
from tests.support.stage import NOON
from tests.support.waiting import HANG_SECONDS, eventually

ATTACK = "killed at an effect"
AROUND_THE_SEND = ("qualtrics.import_status", "qualtrics.create_distribution")


class LocalRun:
    """The command, with the exporter of the sandbox. Each slot has a new journal."""

    def __init__(self, folder: Path, target: str, arguments: list[str], mutant: mutants.Mutant | None = None) -> None:
        self.target = target
        self.mutant = mutant
        self._folder = folder
        self._arguments = arguments
        self._clock_file = folder / "clock"
        self._effects = folder / "effects"
        self.clock = AutoAdvancingClock(self._clock_file, start=NOON)
        certificates = Certificates(folder)
        self._authority = certificates.authority
        self.sandbox = SandboxThread(self.clock, certificates.server, Account.default())
        self._number = 0

    def begin_slot(self) -> None:
        """Use a new journal."""
        self._number += 1
        self._since = len(self.sandbox.recorder.distributions)
        self.sandbox.clear_faults()

    def start(self, kill: str = "") -> Forked:
        """Start the command. Its output and files go to the folder of this slot."""
        self._effects.unlink(missing_ok=True)
        home = self._home
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": str(self._authority),
            "QUALTRICS_EXPORTER_TEST_CLOCK": str(self._clock_file),
            "QUALTRICS_EXPORTER_TEST_EFFECTS": str(self._effects),
            **({"QUALTRICS_EXPORTER_TEST_KILL": kill} if kill else {}),
            **({"QUALTRICS_EXPORTER_TEST_MUTANT": self.mutant} if self.mutant else {}),
        }
        command = ["run", *map(str, self._files()), "--journal", str(self._journal), "--allowed-host", "localhost"]
        with (home / "output").open("ab") as output:
            return fork("tests.faults.local_process", [*command, *self._arguments], environment, output, ROOT)

    def record_effects(self) -> tuple[list[str], list[str]]:
        """The effects of an undisturbed run: on the remote services, and on the disk."""
        self.begin_slot()
        calls = len(self.sandbox.recorder.calls)
        assert self.start().wait(HANG_SECONDS) == 0
        assert self.violations() == []
        return self.sandbox.recorder.operations()[calls:], self._effects.read_text().splitlines()

    def kill_at_call(self, kill: KillPoint) -> list[Violation]:
        """Kill the command at a call to a remote service, and run it again."""
        self.begin_slot()
        hold = "after" if kill.moment == AFTER else "before"
        self.sandbox.fault(kill.operation, after=kill.number - 1, hold=hold)
        process = self.start()
        violations = []
        try:
            self.sandbox.reached(kill.operation)
            if kill.operation == "qualtrics.create_distribution":
                violations = self._unjournaled_send()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if kill.moment != DELAYED:
            self.sandbox.release(kill.operation, drop=True)
        process = self.start()
        if kill.moment == DELAYED:
            eventually(lambda: self._effects.exists() or process.poll() is not None, "the next process has begun")
        self.sandbox.clear_faults()
        self._wait_for_end(process)
        return [*violations, *self.violations()]

    def kill_at_disk_effect(self, number: int, when: str) -> list[Violation]:
        """Kill the command before or after that effect on the disk. If it did not report success, run it again."""
        self.begin_slot()
        assert self.start(f"{when} {number}").wait(HANG_SECONDS) == -signal.SIGKILL
        if "result        Succeeded" not in (self._home / "output").read_text():
            self._wait_for_end(self.start())
        return self.violations()

    def violations(self) -> list[Violation]:
        """The violations of this slot."""
        recorder = self.sandbox.recorder
        sent = recorder.distributions[self._since :]
        people = {str(row[0]) for row in self.sandbox.account.queries["#teams_rollout"].stream() if row[0]}
        files = {path.name: path.read_text(errors="replace") for path in self._home.rglob("*") if path.is_file()}
        secrets = {
            "an address": people,
            "a client secret": [keys["clientSecret"] for keys in self.sandbox.secrets().values()],
            "a token": self.sandbox.tokens(),
        }
        return [*assertions.slot_violations(recorder, sent, self._entry(), people), *assertions.leaks(files, secrets)]

    @property
    def _home(self) -> Path:
        return self._folder / f"slot-{self._number}"

    @property
    def _journal(self) -> Path:
        return self._home / "journal.json"

    def _files(self) -> list[str | Path]:
        exporter, secrets = self._folder / "exporter.yaml", self._folder / "secrets.yaml"
        exporter.write_text(yaml.safe_dump({
            "apiVersion": "qualtrics-exporter.dev/v1alpha1", "kind": "QualtricsExporter",
            "metadata": {"name": "teams-rollout", "namespace": "dex"}, "spec": self.sandbox.account.exporter_spec(),
        }))  # fmt: skip
        secrets.write_text(yaml.safe_dump_all(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
            for name, keys in self.sandbox.secrets().items()
        ))  # fmt: skip
        return [exporter, "--secrets", secrets]

    def _wait_for_end(self, process: Forked) -> None:
        """Wait for its end. A test that was dropped, or a run that ended before the kill, does not begin again."""
        try:
            process.wait(HANG_SECONDS)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _status(self) -> dict[str, Any]:
        return json.loads(self._journal.read_text()) if self._journal.exists() else {}

    def _entry(self) -> Mapping[str, Any] | None:
        """The entry of the slot: the first one is of the run that was killed, if it ended before the next one began."""
        status = self._status()
        if status.get("activeRun"):
            return None
        return status.get("lastTest") or next(iter(status.get("history", [])), None)

    def _unjournaled_send(self) -> list[Violation]:
        run = self._status().get("activeRun") or {}
        if run.get("step") == "Sending" and run.get("batchId") in self.sandbox.recorder.batches:
            return []
        description = f"Qualtrics is asked to send while the journal has {run.get('step')}"
        return [Violation(ViolationKind.UNJOURNALED_SEND, description)]


@pytest.fixture
def local_run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LocalRun]:
    """The parameter has the target in the table, the arguments, and perhaps a mutant."""
    run = LocalRun(tmp_path, *request.param)
    with run.sandbox:
        yield run
        assert run.sandbox.recorder.errors == []


SEND, TEST = "`run --send`", "`run --test --send`"
ALL = pytest.mark.parametrize(
    "local_run", [(SEND, ["--send"]), (TEST, ["--test", "--send"])], indirect=True, ids=["run", "test"]
)


@pytest.mark.parametrize("local_run", [(SEND, ["--send"])], indirect=True, ids=["run"])
def test_command_killed_around_its_send_sends_at_most_once_and_ends_in_an_entry(
    local_run: LocalRun, tally: Tally
) -> None:
    calls, effects = local_run.record_effects()
    for kill in kill_points([call for call in calls if call in AROUND_THE_SEND], [BEFORE, AFTER]):
        tally.add(ATTACK, local_run.target, str(kill), local_run.kill_at_call(kill))
    renames = [number for number, effect in enumerate(effects, 1) if effect == "rename"]
    for number in renames[2:]:  # `Sending`, `Sent`, the end, and that the user has seen the result
        violations = local_run.kill_at_disk_effect(number, "after")
        tally.add(ATTACK, local_run.target, f"after effect {number}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@ALL
def test_command_killed_at_any_remote_call_sends_at_most_once_and_ends_in_an_entry(
    local_run: LocalRun, tally: Tally
) -> None:
    calls, _ = local_run.record_effects()
    for kill in kill_points(calls):
        tally.add(ATTACK, local_run.target, str(kill), local_run.kill_at_call(kill))
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@ALL
def test_command_killed_at_any_disk_effect_sends_at_most_once_and_ends_in_an_entry(
    local_run: LocalRun, tally: Tally
) -> None:
    _, effects = local_run.record_effects()
    for number, effect in enumerate(effects, 1):
        for when in ("before", "after"):
            violations = local_run.kill_at_disk_effect(number, when)
            tally.add(ATTACK, local_run.target, f"{when} {effect} {number}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize(
    "local_run",
    [(SEND, ["--send"], mutants.JOURNAL_AFTER_SEND), (SEND, ["--send"], mutants.REPEATED_SEND)],
    indirect=True,
    ids=[mutants.JOURNAL_AFTER_SEND, mutants.REPEATED_SEND],
)
def test_kill_after_the_send_of_the_command_catches_each_mutant(local_run: LocalRun, tally: Tally) -> None:
    kill = KillPoint("qualtrics.create_distribution", AFTER)
    violations = local_run.kill_at_call(kill)
    assert local_run.mutant
    tally.add(ATTACK, local_run.target, str(kill), violations, mutant=local_run.mutant)
    assert tally.caught, f"the kill does not find this bug: {local_run.mutant}"
