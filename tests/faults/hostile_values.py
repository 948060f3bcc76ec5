"""Hostile values of Secrets, specs and replies, and a controller that may only talk to `localhost`.

Everything here uses TLS. Every host name resolves to this machine, and all of them have a certificate that the clients
trust. So only the product prevents a request to the canary, a server that records every request.
"""

import gzip
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from tests.faults.assertions import Violation, ViolationKind
from tests.faults.controller_factory import ControllerFactory
from tests.faults.in_process_controller import InProcessController, condition
from tests.faults.remote_faults import Outcome
from tests.faults.run_violations import outcome_violations, promise_violations
from tests.remote.servers import Server

CONDITIONS = {"nexthink": "NexthinkReady", "qualtrics": "QualtricsReady"}
SECRET = "hunter2"
"""Part of values that are refused. It must not appear anywhere."""
HOST = "evil"
"""Part of hosts in a Secret or in a reply. People who can read an exporter may not be allowed to read either."""

# {port} is that of the canary.
_FOREIGN_URLS = """
https://evil.example:{port}
https://localhost.evil.example:{port}
https://qualtrics.com.evil.example:{port}
https://evillocalhost:{port}
https://LOCALHOST.EVIL.example:{port}
https://localhost.:{port}
https://evil.example:{port}/localhost
https://evil.example:{port}/?localhost
https://evil.example:{port}?@localhost
https://evil.example:{port}#localhost
https://evil.example:{port}#@localhost
https://localhost#@evil.example:{port}
https://localhost@evil.example:{port}
https://localhost:hunter2@evil.example:{port}
https://localhost:443@evil.example:{port}
https://hunter2@localhost:{port}
https://evil.example:{port}\\@localhost
https://localhost\\@evil.example:{port}
https://localhost\\.evil.example:{port}
https:\\\\localhost:{port}
https://localhost%2eevil.example:{port}
https://localhost%00.evil.example:{port}
https://localhost%23.evil.example:{port}
https://%6cocalhost:{port}
https://lоcalhost:{port}
https://ｌocalhost:{port}
https://localhost。evil.example:{port}
https://localhoſt:{port}
https://evil.example;localhost:{port}
https://evil.example,localhost:{port}
https://localhost evil.example:{port}
https://127.0.0.1:{port}
https://127.1:{port}
https://2130706433:{port}
https://0x7f.0.0.1:{port}
https://0177.0.0.1:{port}
https://0.0.0.0:{port}
https://[::1]:{port}
https://[::ffff:127.0.0.1]:{port}
http://localhost:{port}
ftp://localhost:{port}
file:///etc/passwd
gopher://localhost:{port}/_GET
javascript:alert(1)//localhost
//localhost:{port}
localhost:{port}
https:localhost:{port}
https:///localhost:{port}
https://localhost:{port}:{port}
https://localhost:0{port}
https://localhost:99999
https://localhost:{port}@
"""
FOREIGN_URLS = _FOREIGN_URLS.strip().splitlines()
"""URLs of other servers than the allowed one, some of which look like it."""

FILE_URLS = {
    "https://evil.example:{port}/file?X-Amz-Signature=hunter2": "HostNotAllowed",
    "http://localhost:{port}/file?X-Amz-Signature=hunter2": "HostNotAllowed",
    "https://hunter2@localhost:{port}/file": "HostNotAllowed",
    "https://localhost\\@evil.example:{port}/file": "HostNotAllowed",
    "file:///etc/passwd": "HostNotAllowed",
    "https://localhost:{port}/file?X-Amz-Signature=hunter2": "RemoteReplyInvalid",  # requested, and empty
}
"""URLs of the file of an export, and how the run ends."""

NAMES = ("localhost", "127.0.0.1", "*.evil.example", "evil.example", "evillocalhost", "0.0.0.0", "::1")

UNUSABLE_VALUES: list[str | bytes] = [
    b"\xff\xfehunter2",
    "hunter2\r\nX-Injected: 1",
    "hunter2\n1",
    "hunter2\x001",
    "hunter2\u20281",
    "hunter2\u202e1",
]
LARGE_VALUE = SECRET + "x" * 700_000
"""A Secret can hold one megabyte in all its keys together."""

INJECTIONS = [
    "\r\nX-Injected: 1",
    "\nX-Injected: 1",
    "\x00",
    "/../../whoami",
    "?x=1#",
    "%0d%0aX-Injected:1",
    "\u2028x",
    "{{x}}",
]
FIELDS = {
    "qualtrics": ("surveyId", "directoryId", "messageId", "libraryId", "mailingListId", "fromName", "subject"),
    "nexthink": ("queryId", "query", "parameters"),
}


@cache
def gzip_bomb() -> bytes:
    """64 MiB of spaces, compressed only when a test needs them, because each test worker loads this module."""
    return gzip.compress(b" " * (64 * 1024 * 1024), 9, mtime=0)


LARGE_REPLIES: dict[str, Callable[[], dict[str, Any]]] = {
    "a gzip bomb": lambda: {"body": gzip_bomb()},
    "a gzip bomb with Content-Encoding": lambda: {"body": gzip_bomb(), "headers": {"Content-Encoding": "gzip"}},
    "no end": lambda: {"endless": True},
}


def unusable_values(key: str) -> Iterator[tuple[str, str | bytes, dict[str, str]]]:
    """A name for each value, the value, and the reason that each service reports."""
    for value in UNUSABLE_VALUES:
        yield ascii(value), value, dict.fromkeys(CONDITIONS, "SecretKeyMissing")
    empty = dict.fromkeys(CONDITIONS, "SecretKeyMissing")
    if key == "scope":
        empty = dict.fromkeys(CONDITIONS, "Checked")  # it has a default
    if key == "tokenUrl":
        empty["qualtrics"] = "Checked"  # derived from the url; for Nexthink, only from its own hosts
    yield "empty", "", empty
    yield "blank", " \n", empty
    for value in (SECRET + "x" * 2_048, LARGE_VALUE):
        yield "too long", value, dict.fromkeys(CONDITIONS, "SecretKeyMissing")
    if key in ("url", "tokenUrl"):
        return
    wrong = dict.fromkeys(CONDITIONS, "CredentialsRefused")
    if key == "scope":
        wrong["qualtrics"] = "NotPermitted"  # the client of the sandbox may do anything, but requested no scope
    for value in (SECRET + "x" * 2_000, f"{SECRET}:1", f"{SECRET}&grant_type=password", f"{SECRET}\u00fc\u4e2d"):
        yield ascii(value)[:40], value, wrong


@asynccontextmanager
async def restricted_controller(controllers: ControllerFactory, **how: Any) -> AsyncIterator[InProcessController]:
    """A controller that may talk to `localhost` over TLS, and to no other host."""
    async with controllers.create(
        allowed_hosts=("localhost",),
        allow_http=False,
        canary=Server(tls=controllers.certificates.of(*NAMES)),
        tls=controllers.certificates.server,
        advertise="localhost",
        **how,
    ) as controller:
        yield controller


def port(controller: InProcessController) -> str:
    """The port of the canary."""
    return controller.canary.url.rpartition(":")[2]


def canary_violations(controller: InProcessController) -> list[Violation]:
    """The requests that the canary got, if it must not get any."""
    canary = controller.canary
    requests = [
        f"{one.method} {one.target.partition('?')[0]}" for one in canary.received_requests + canary.token_requests
    ]
    canary.received_requests.clear()
    canary.token_requests.clear()
    return [Violation(ViolationKind.LEAK, f"a request went to a host that is not allowed: {one}") for one in requests]


async def apply_secrets(controller: InProcessController, changes: Mapping[str, str | bytes]) -> dict[str, Any]:
    """Make these changes to both Secrets. Returns the status after a check."""
    secrets = {service: {**data, **changes} for service, data in controller.sandbox.secrets().items()}
    if not controller.exists:
        await controller.apply(secrets)
        return await controller.status()
    for service, data in secrets.items():
        await controller.put_secret(service, data)
    await controller.begin_scenario()
    controller.clock.advance(1)
    now = controller.clock.now()
    return await controller.reconcile_until(lambda status: status["lastCheckTime"] >= now.isoformat()[:19])


async def refusal_violations(
    controller: InProcessController, reasons: Mapping[str, str], *, run: bool
) -> list[Violation]:
    """The condition of each service must have this reason, and a run must fail with it."""
    status = await controller.status()
    violations = canary_violations(controller)
    for service, reason in reasons.items():
        type_ = CONDITIONS[service]
        shown = condition(status, type_)
        if (shown["status"], shown["reason"]) != ("True" if reason == "Checked" else "False", reason):
            description = f"{type_} is {shown['status']}, {shown['reason']}, not {reason}"
            violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))
        if len(shown["message"]) > 1000:
            description = f"the message of {type_} has {len(shown['message'])} characters"
            violations.append(Violation(ViolationKind.LEAK, description))
    if run:
        entry = await controller.run()
        if set(reasons.values()) != {"Checked"}:
            reason = next(reason for reason in reasons.values() if reason != "Checked")
            violations += outcome_violations(controller, entry, Outcome("Failed", reason))
        violations += await promise_violations(controller, entry)
    return violations + await controller.leaks(value=[SECRET], host=[HOST])
