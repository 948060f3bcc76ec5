"""`qualtrics-exporter run` is killed at every effect, on the remote sides and on its disk; the same command goes on."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from qualtrics_exporter.sandbox import Account
from tests.environment.build import ROOT
from tests.environment.clock import HastyClock
from tests.environment.forking import Forked, fork
from tests.environment.sandbox import Certificates, SandboxThread
from tests.environment.stage import NOON
from tests.environment.waiting import HANG_SECONDS, eventually
from tests.faults import broken, oracle
from tests.faults.crash import MOMENTS, KillPoint, points
from tests.faults.oracle import Finding, Found
from tests.faults.tally import Tally

MATRIX = "killed at an effect"
AROUND_THE_SEND = ("qualtrics.import_status", "qualtrics.create_distribution")


class Local:
    """The command on the sandbox's own exporter. Each slot has a journal of its own."""

    def __init__(self, folder: Path, subject: str, arguments: list[str], build: broken.Build | None = None) -> None:
        self.subject = subject
        self.build = build
        self._folder = folder
        self._arguments = arguments
        self._clock_file = folder / "clock"
        self._effects = folder / "effects"
        self.clock = HastyClock(self._clock_file, start=NOON)
        certificates = Certificates(folder)
        self._authority = certificates.authority
        self.sandbox = SandboxThread(self.clock, certificates.server, Account.default())
        self._number = 0

    def begin(self) -> None:
        """A new journal: what the next slot is."""
        self._number += 1
        self._since = len(self.sandbox.ledger.distributions)
        self.sandbox.clear_faults()

    def start(self, kill: str = "") -> Forked:
        """The command, with what it writes in files of this slot."""
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
            **({"QUALTRICS_EXPORTER_TEST_BROKEN": self.build} if self.build else {}),
        }
        command = ["run", *map(str, self._files()), "--journal", str(self._journal), "--allowed-host", "localhost"]
        with (home / "output").open("ab") as output:
            return fork("tests.faults.local_process", [*command, *self._arguments], environment, output, ROOT)

    def recorded(self) -> tuple[list[str], list[str]]:
        """The effects of an undisturbed run: on the remote sides, and on the disk."""
        self.begin()
        calls = len(self.sandbox.ledger.calls)
        assert self.start().wait(HANG_SECONDS) == 0
        assert not self.judged()
        return self.sandbox.ledger.operations()[calls:], self._effects.read_text().splitlines()

    def killed_at(self, kill: KillPoint) -> list[Found]:
        """Killed at a call to a remote side."""
        self.begin()
        hold = "after" if kill.moment == "happens unseen" else "before"
        self.sandbox.fault(kill.operation, after=kill.number - 1, hold=hold)
        process = self.start()
        found = []
        try:
            self.sandbox.reached(kill.operation)
            if kill.operation == "qualtrics.create_distribution":
                found = self._named()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if kill.moment != "happens late":
            self.sandbox.release(kill.operation, drop=True)
        process = self.start()
        if kill.moment == "happens late":
            eventually(lambda: self._effects.exists() or process.poll() is not None, "the next one has begun")
        self.sandbox.clear_faults()
        self._ended(process)
        return [*found, *self.judged()]

    def killed_on_disk(self, number: int, when: str) -> list[Found]:
        """Killed before or after that effect on the disk. Who was told how it ended does not give the command again."""
        self.begin()
        assert self.start(f"{when} {number}").wait(HANG_SECONDS) == -signal.SIGKILL
        if "result        Succeeded" not in (self._home / "output").read_text():
            self._ended(self.start())
        return self.judged()

    def judged(self) -> list[Found]:
        """What was wrong with this slot."""
        ledger = self.sandbox.ledger
        sent = ledger.distributions[self._since :]
        people = {str(row[0]) for row in self.sandbox.account.queries["#teams_rollout"].stream() if row[0]}
        left = {path.name: path.read_text(errors="replace") for path in self._home.rglob("*") if path.is_file()}
        needles = {
            "an address": people,
            "a client secret": [keys["clientSecret"] for keys in self.sandbox.secrets().values()],
            "a token": self.sandbox.tokens(),
        }
        return [*oracle.judged(ledger, sent, self._entry(), people), *oracle.leaks(left, needles)]

    # Inside

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

    def _ended(self, process: Forked) -> None:
        """Wait for its end. A test that was dropped, or a run that ended before the kill, is not begun once more."""
        try:
            process.wait(HANG_SECONDS)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _status(self) -> dict[str, Any]:
        return json.loads(self._journal.read_text()) if self._journal.exists() else {}

    def _entry(self) -> Mapping[str, Any] | None:
        """How the slot ended: the first entry is of the run that was killed, if it got one before a next began."""
        status = self._status()
        if status.get("activeRun"):
            return None
        return status.get("lastTest") or next(iter(status.get("history", [])), None)

    def _named(self) -> list[Found]:
        run = self._status().get("activeRun") or {}
        if run.get("step") == "Sending" and run.get("batchId") in self.sandbox.ledger.batches:
            return []
        return [Found(Finding.UNWRITTEN, f"it is asked to send while the journal says {run.get('step')}")]


@pytest.fixture
def local(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Local]:
    """Parametrised with its name in the table, the arguments, and perhaps how the build is broken."""
    made = Local(tmp_path, *request.param)
    with made.sandbox:
        yield made
        assert made.sandbox.ledger.errors == []


SEND, TEST = "`run --send`", "`run --test --send`"
ALL = pytest.mark.parametrize("local", [(SEND, ["--send"]), (TEST, ["--test", "--send"])], indirect=True)


@pytest.mark.parametrize("local", [(SEND, ["--send"])], indirect=True)
def test_a_kill_around_the_send_sends_at_most_once_and_ends_in_an_entry(local: Local, tally: Tally) -> None:
    calls, effects = local.recorded()
    for kill in points([call for call in calls if call in AROUND_THE_SEND], MOMENTS[:2]):
        tally.add(MATRIX, local.subject, str(kill), local.killed_at(kill))
    renamed = [number for number, effect in enumerate(effects, 1) if effect == "rename"]
    for number in renamed[2:]:  # Sending, Sent, the end, and that its user knows
        tally.add(MATRIX, local.subject, f"after effect {number}", local.killed_on_disk(number, "after"))


@pytest.mark.long
@ALL
def test_a_kill_at_any_call_to_a_remote_side(local: Local, tally: Tally) -> None:
    calls, _ = local.recorded()
    for kill in points(calls):
        tally.add(MATRIX, local.subject, str(kill), local.killed_at(kill))


@pytest.mark.long
@ALL
def test_a_kill_at_any_effect_on_the_disk(local: Local, tally: Tally) -> None:
    _, effects = local.recorded()
    for number, effect in enumerate(effects, 1):
        for when in ("before", "after"):
            tally.add(MATRIX, local.subject, f"{when} {effect} {number}", local.killed_on_disk(number, when))


@pytest.mark.long
@pytest.mark.parametrize(
    "local",
    [(SEND, ["--send"], broken.WRITTEN_LATE), (SEND, ["--send"], broken.SENT_AGAIN)],
    indirect=True,
    ids=["written late", "sent again"],
)
def test_a_broken_build_is_caught(local: Local, tally: Tally) -> None:
    kill = KillPoint("qualtrics.create_distribution", "happens unseen")
    found = local.killed_at(kill)
    assert local.build
    tally.add(MATRIX, local.subject, str(kill), found, broken=local.build)
    assert found
