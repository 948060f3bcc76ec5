"""Sandboxes of Nexthink and Qualtrics in a process of their own, over HTTPS, with the limits of the vendors.

Run as a module, it starts them and answers questions about what happened, one JSON document per line.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trustme

from benchmarks.processes import Child
from benchmarks.shifted_clock import ShiftedClock
from qualtrics_exporter.sandbox import Account, Query, Sandbox
from qualtrics_exporter.sandbox.account import EMAIL

IMPORT_SECONDS, IMPORT_SECONDS_PER_THOUSAND = 1.0, 0.3
"""How long Qualtrics needs for an import, with realistic times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """What the sandboxes have."""

    sandboxes: int = 1
    """Each is one Nexthink instance and one Qualtrics brand."""
    exporters: int = 1
    """In each sandbox. Each has its own saved query and mailing list; see `spec_of`."""
    people: int = 6
    """The number of people that each query returns."""
    instant: bool = False
    """Imports and exports end at once, and there are no rate limits."""
    shift: float = 0.0
    brands: int = 0
    """The number of brands that the exporters use, if it is not that of the sandboxes."""
    hanging: int = 0
    """The Nexthink of this number of sandboxes never answers, after `hang`."""


class Certificates:
    """An authority, and the certificate of a server on this machine, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority, self.server = folder / "remote-ca.pem", folder / "remote-server.pem"
        authority.cert_pem.write_to_path(self.authority)
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.server)


class RemoteProcess(Child):
    """The sandboxes, as the process of a benchmark sees them."""

    def __init__(self, settings: RemoteSettings, certificate: Path, log: Path) -> None:
        super().__init__(__name__, json.dumps(asdict(settings)), str(certificate), log=log)
        self.secrets: list[dict[str, dict[str, str]]] = self.receive()

    def progress(self) -> "Progress":
        return Progress(**self.ask(question="progress"))

    def sends(self) -> list[float]:
        """Only `Progress.sends`, which costs the sandboxes little time."""
        times: list[float] = self.ask(question="sends")
        return times

    def hang(self) -> None:
        """From now on, the Nexthink of `RemoteSettings.hanging` sandboxes never answers."""
        self.ask(question="hang")

    def forget_calls(self) -> None:
        self.ask(question="forget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What happened in all sandboxes."""

    sends: list[float]
    """When each distribution was requested, by the monotonic clock of the machine."""
    mails: int
    most_to_one_address: int
    calls: dict[str, int]
    rate_limited: int
    """The number of requests that were answered with 429."""
    errors: list[str]
    """Errors of the sandbox itself."""


def spec_of(exporter: int, sandbox: int) -> dict[str, dict[str, str]]:
    """The fields of the spec that select the query and the mailing list of an exporter."""
    return {
        "nexthink": {"queryId": f"#q_{sandbox}_{exporter}"},
        "qualtrics": {
            "mailingListId": f"CG_list{sandbox:04d}{exporter:05d}",
            "subject": f"Survey {sandbox}-{exporter}",
        },
    }


def people_of(exporter: int, sandbox: int, people: int) -> Iterable[list[str]]:
    return ([f"user{n:06d}.{sandbox}.{exporter}@example.com"] for n in range(people))


class Sandboxes:
    """All sandboxes of this process."""

    def __init__(self, settings: RemoteSettings, certificate: Path) -> None:
        self._settings = settings
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        clock = ShiftedClock(settings.shift)
        self._all = [
            Sandbox(self._account(number), clock=clock, tls=tls, advertise="localhost")
            for number in range(settings.sandboxes)
        ]
        brands = settings.brands or settings.sandboxes
        for number in range(settings.sandboxes):
            account = self._all[number % brands].account
            for exporter in range(settings.exporters):
                account.add_mailing_list(spec_of(exporter, number)["qualtrics"]["mailingListId"])

    def _account(self, number: int) -> Account:
        settings, account = self._settings, Account.default()
        executed = account.queries[account.query_id].executed
        for exporter in range(settings.exporters):
            rows = list(people_of(exporter, number, settings.people))
            query_id = spec_of(exporter, number)["nexthink"]["queryId"]
            account.add_query(Query(query_id, [EMAIL], rows, executed))
        account.busy_list = "queue"
        if settings.instant:
            account.import_seconds = account.import_polls = account.export_polls = 0
            account.limits = type(account.limits).off()
        else:
            account.import_seconds = IMPORT_SECONDS
            account.import_seconds_per_thousand = IMPORT_SECONDS_PER_THOUSAND
        return account

    async def serve(self) -> None:
        """Serve until the standard input ends."""
        async with AsyncExitStack() as stack:
            for sandbox in self._all:
                await stack.enter_async_context(sandbox)
            _print([sandbox.secrets() for sandbox in self._all])
            while line := await asyncio.to_thread(sys.stdin.readline):
                _print(self._answer(json.loads(line)["question"]))

    def _answer(self, question: str) -> Any:
        """The answer to a question of `RemoteProcess`."""
        if question == "hang":
            for sandbox in self._all[: self._settings.hanging]:
                for operation in ("token", "execute", "export", "status", "download"):
                    sandbox.faults.add(f"nexthink.{operation}", times=None, hold="before")
        elif question == "forget":
            for sandbox in self._all:
                sandbox.recorder.clear()
        elif question == "sends":
            return [sent.asked for sandbox in self._all for sent in sandbox.recorder.distributions]
        elif question == "progress":
            return self._progress()
        return {}

    def _progress(self) -> dict[str, Any]:
        recorders = [sandbox.recorder for sandbox in self._all]
        calls = [call for recorder in recorders for call in recorder.calls]
        sends = [sent for recorder in recorders for sent in recorder.distributions]
        mails = Counter(address for sent in sends for address in sent.recipients)
        progress = Progress(
            sends=[sent.asked for sent in sends],
            mails=mails.total(),
            most_to_one_address=max(mails.values(), default=0),
            calls=dict(Counter(f"{call.service}.{call.operation}" for call in calls)),
            rate_limited=sum(call.status == 429 for call in calls),
            errors=[error for recorder in recorders for error in recorder.errors],
        )
        return asdict(progress)


def _print(document: Any) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    asyncio.run(Sandboxes(RemoteSettings(**json.loads(sys.argv[1])), Path(sys.argv[2])).serve())
