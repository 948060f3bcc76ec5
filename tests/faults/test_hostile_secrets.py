"""A Secret is written by a user, and what a remote side says is written by nobody we know: neither leads elsewhere.

Everything is over TLS here, every name that a URL could hold leads to this machine, and the canary's certificate is
trusted for all of them: what keeps a request from going there is the product alone. The canary writes down what it is
asked.
"""

import base64
import gzip
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tests.faults.desk import RUNS_AT_A_DESK, ApiRefused, Desk, Office, condition
from tests.faults.oracle import Finding, Found
from tests.faults.remote_faults import OF_A_CHECK, OF_A_RUN, TROUBLES, WITH_AN_EXPORT, Ending, Strike, expected
from tests.faults.tally import Tally
from tests.faults.test_remote_faults import SEND, TOKENS_ARE_OVER, differs, told
from tests.remote.servers import Server

MATRIX = "secrets as input"
SIDES = {"nexthink": "NexthinkReady", "qualtrics": "QualtricsReady"}
SECRET = "hunter2"
"""Stands in values that are refused, and must stand nowhere else."""
HOST = "evil"
"""Part of hosts in a Secret or in a reply: people who can read an exporter may not be allowed to read either."""

# {port} is the canary's.
LEADING_ELSEWHERE = """
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
ELSEWHERE = LEADING_ELSEWHERE.strip().splitlines()

NAMES = ("localhost", "127.0.0.1", "*.evil.example", "evil.example", "evillocalhost", "0.0.0.0", "::1")


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name in the world is one of this machine."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@asynccontextmanager
async def guarded(office: Office, **how: Any) -> AsyncIterator[Desk]:
    """A desk that may talk to `localhost` by TLS, and to nobody else."""
    async with office.desk(
        allowed_hosts=("localhost",),
        allow_http=False,
        canary=Server(tls=office.certificates.of(*NAMES)),
        tls=office.certificates.server,
        advertise="localhost",
        **how,
    ) as desk:
        yield desk


def port(desk: Desk) -> str:
    return desk.canary.url.rpartition(":")[2]


def heard(desk: Desk) -> list[Found]:
    """What is wrong if the canary was not to be asked at all."""
    asked = [f"{one.method} {one.target.partition('?')[0]}" for one in desk.canary.heard + desk.canary.heard_for_tokens]
    desk.canary.heard.clear()
    desk.canary.heard_for_tokens.clear()
    return [Found(Finding.LEAK, f"a host that is not allowed was asked: {what}") for what in asked]


async def looked_at(desk: Desk, changes: Mapping[str, str | bytes]) -> dict[str, Any]:
    """The status once both Secrets have these changes."""
    secrets = {side: {**data, **changes} for side, data in desk.sandbox.secrets().items()}
    if not desk.exists:
        await desk.apply(secrets)
        return await desk.status()
    for side, data in secrets.items():
        await desk.put_secret(side, data)
    await desk.begin()
    desk.clock.advance(1)
    now = desk.clock.now()
    return await desk.until(lambda status: status["lastCheckTime"] >= now.isoformat()[:19])


async def refused(desk: Desk, reasons: Mapping[str, str], *, run: bool) -> list[Found]:
    """What is wrong unless each side's condition, and then a run, end with these reasons."""
    status = await desk.status()
    found = heard(desk)
    for side, reason in reasons.items():
        shown = condition(status, SIDES[side])
        if (shown["status"], shown["reason"]) != ("True" if reason == "Checked" else "False", reason):
            found.append(Found(Finding.UNTRUE, f"{SIDES[side]} is {shown['status']}, {shown['reason']}, not {reason}"))
        if len(shown["message"]) > 1000:
            found.append(Found(Finding.LEAK, f"the message of {SIDES[side]} is {len(shown['message'])} long"))
    if run:
        entry = await desk.run()
        if set(reasons.values()) != {"Checked"}:
            reason = next(reason for reason in reasons.values() if reason != "Checked")
            found += differs(desk, entry, Ending("Failed", reason))
        found += await told(desk, entry)
    return found + await desk.leaks(value=[SECRET], host=[HOST])


def long(*values: Any) -> list[Any]:
    """Parameters that belong to `make test-long`."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


# Urls


async def urls(office: Office, tally: Tally, key: str, templates: list[str], *, runs: int) -> None:
    """Each in both Secrets, one after the other; the last of them are met by runs as well."""
    async with guarded(office) as desk:
        for left, template in zip(range(len(templates), 0, -1), templates, strict=True):
            await looked_at(desk, {key: template.format(port=port(desk))})
            found = await refused(desk, dict.fromkeys(SIDES, "HostNotAllowed"), run=left <= runs)
            tally.add(MATRIX, f"{key} elsewhere", template, found)


@pytest.mark.parametrize("key", ["url", "tokenUrl"])
async def test_a_url_that_leads_elsewhere_is_refused_and_nobody_is_asked_there(
    office: Office, tally: Tally, key: str
) -> None:
    await urls(office, tally, key, ELSEWHERE[3::11], runs=1)


@pytest.mark.long
@pytest.mark.parametrize("key", ["url", "tokenUrl"])
async def test_no_url_that_leads_elsewhere_is_followed_by_a_run_either(office: Office, tally: Tally, key: str) -> None:
    for start in range(0, len(ELSEWHERE), RUNS_AT_A_DESK):
        await urls(office, tally, key, ELSEWHERE[start : start + RUNS_AT_A_DESK], runs=RUNS_AT_A_DESK)


@pytest.mark.parametrize("host", ["localhost", "LocalHost"])
async def test_an_allowed_host_of_this_machine_is_allowed_on_any_port_and_gets_no_secret_of_another(
    office: Office, tally: Tally, host: str
) -> None:
    """As documented for `localhost` in --allowed-host; and the proof that the canary would have been reached."""
    async with guarded(office) as desk:
        secrets = desk.sandbox.secrets()
        canary = desk.canary.url.replace("localhost", host)
        secrets["qualtrics"] = {**secrets["qualtrics"], "url": canary, "tokenUrl": f"{canary}/oauth2/token"}
        await desk.apply(secrets)
        assert desk.canary.heard_for_tokens
        assert desk.canary.heard
        found = []
        foreign = [*desk.sandbox.issued_tokens(), _basic(secrets["nexthink"])]
        assert len(foreign) == 2, "the other side gave a token"
        if any(word in str(one.headers) for one in desk.canary.heard_for_tokens for word in foreign):
            found.append(Found(Finding.LEAK, "a secret of another side went to the canary"))
        if {one.headers["authorization"] for one in desk.canary.heard} != {"Bearer a-token"}:
            found.append(Found(Finding.LEAK, "another token than the canary's own went there"))
        found += await desk.leaks(token=["a-token"])
        tally.add(MATRIX, "another port of an allowed host", host, found)


def _basic(secret: Mapping[str, str]) -> str:
    return base64.b64encode(f"{secret['clientId']}:{secret['clientSecret']}".encode()).decode()


# Values


BAD = [b"\xff\xfehunter2", "hunter2\r\nX-Injected: 1", "hunter2\n1", "hunter2\x001", "hunter2\u20281", "hunter2\u202e1"]
LARGE = SECRET + "x" * 700_000
"""A Secret may hold a megabyte, all its keys together."""


def expectations(key: str) -> Iterator[tuple[str, str | bytes, dict[str, str]]]:
    """A name for a value, the value, and what each side has to say to it."""
    for value in BAD:
        yield ascii(value), value, dict.fromkeys(SIDES, "SecretKeyMissing")
    empty = dict.fromkeys(SIDES, "SecretKeyMissing")
    if key == "scope":
        empty = dict.fromkeys(SIDES, "Checked")  # it has a default
    if key == "tokenUrl":
        empty["qualtrics"] = "Checked"  # it follows from the url; Nexthink's does so for its own hosts only
    yield "empty", "", empty
    yield "blank", " \n", empty
    for value in (SECRET + "x" * 2_048, LARGE):
        yield "too long", value, dict.fromkeys(SIDES, "SecretKeyMissing")
    if key in ("url", "tokenUrl"):
        return
    wrong = dict.fromkeys(SIDES, "CredentialsRefused")
    if key == "scope":
        wrong["qualtrics"] = "NotPermitted"  # the sandbox's client may do anything, and then has asked for nothing
    for value in (SECRET + "x" * 2_000, f"{SECRET}:1", f"{SECRET}&grant_type=password", f"{SECRET}\u00fc\u4e2d"):
        yield ascii(value)[:40], value, wrong


@pytest.mark.parametrize("key", ["clientSecret", *long("url", "tokenUrl", "clientId", "scope")])
async def test_a_value_that_cannot_be_one_is_told_by_its_key_and_shown_nowhere(
    office: Office, tally: Tally, key: str
) -> None:
    async with guarded(office) as desk:
        for number, (name, value, reasons) in enumerate(expectations(key)):
            status = await looked_at(desk, {key: value})
            found = await refused(desk, reasons, run=number % 6 == 0)
            for side, reason in reasons.items():
                message = condition(status, SIDES[side])["message"]
                if reason == "SecretKeyMissing" and (key not in message or desk.secret(side) not in message):
                    found.append(Found(Finding.SILENT, f"it is not said that {key} of {desk.secret(side)} is wrong"))
            tally.add(MATRIX, f"value of {key}", name, found)


# The spec


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


async def injected(office: Office, part: str, field: str, text: str) -> tuple[bool, list[Found]]:
    """An exporter with that text in a field: whether the API server let it in, and what then came of it."""
    async with guarded(office) as desk:
        value = {"x": text} if field == "parameters" else desk.spec[part][field] + text
        desk.spec[part][field] = value
        try:
            await desk.apply()
        except ApiRefused as no:
            if no.status not in (400, 422):
                raise
            return False, []
        found = await told(desk, await desk.run())
        for request in desk.exit.requests:
            head = [request.url.text, *request.headers, *request.headers.values()]
            if any(not one.isprintable() for one in head):
                found.append(Found(Finding.LEAK, f"{request.operation} was asked with more than one line"))
        if odd := {one for one in desk.sandbox.ledger.operations() if one.endswith(".unknown")}:
            found.append(Found(Finding.LEAK, f"what was asked left its place: {odd}"))
        if found:
            print(f"--- {part}.{field} {text!r}: {found}\n{desk.log}")
        return True, found


@pytest.mark.parametrize("part", FIELDS)
async def test_what_stands_in_a_spec_stays_in_its_place(office: Office, tally: Tally, part: str) -> None:
    for field in ("fromName", "surveyId") if part == "qualtrics" else ("parameters",):
        for text in INJECTIONS[:1]:
            _, found = await injected(office, part, field, text)
            tally.add(MATRIX, "names and ids in the spec", f"{part}.{field} {text!r}", found)


@pytest.mark.long
@pytest.mark.parametrize("part", FIELDS)
async def test_nothing_in_a_spec_leaves_its_place(office: Office, tally: Tally, part: str) -> None:
    let_in = 0
    for field in FIELDS[part]:
        for text in INJECTIONS:
            taken, found = await injected(office, part, field, text)
            let_in += taken
            tally.add(MATRIX, "names and ids in the spec", f"{part}.{field} {text!r}", found)
    assert let_in, "some of these are good names"


# What remote sides say


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_next_page_is_asked_for_where_the_first_one_was(office: Office, tally: Tally, allowed: bool) -> None:
    async with guarded(office) as desk:
        host = "localhost" if allowed else "evil.example"
        desk.account.next_page_origin = f"https://{host}:{port(desk)}"
        await desk.apply()
        assert desk.asked("qualtrics.list_directories") == (2 if allowed else 1)
        reasons = {"nexthink": "Checked", "qualtrics": "Checked" if allowed else "HostNotAllowed"}
        tally.add(MATRIX, "nextPage elsewhere", host, await refused(desk, reasons, run=not allowed))


FILES = {
    "https://evil.example:{port}/file?X-Amz-Signature=hunter2": "HostNotAllowed",
    "http://localhost:{port}/file?X-Amz-Signature=hunter2": "HostNotAllowed",
    "https://hunter2@localhost:{port}/file": "HostNotAllowed",
    "https://localhost\\@evil.example:{port}/file": "HostNotAllowed",
    "file:///etc/passwd": "HostNotAllowed",
    "https://localhost:{port}/file?X-Amz-Signature=hunter2": "RemoteReplyInvalid",  # where it is asked for, and empty
}


async def test_an_export_is_fetched_from_allowed_hosts_only_and_without_a_token(office: Office, tally: Tally) -> None:
    async with guarded(office, people=1000) as desk:
        await desk.ready()
        for url, reason in FILES.items():
            await desk.begin()
            where = {"status": "COMPLETED", "resultsFileUrl": url.format(port=port(desk))}
            desk.faults.add("nexthink.status", body=json.dumps(where), times=None)
            entry = await desk.run()
            found = [*differs(desk, entry, Ending("Failed", reason)), *await desk.leaks(value=[SECRET], host=[HOST])]
            if reason == "HostNotAllowed":
                found += heard(desk)
            elif not desk.canary.heard or any("authorization" in one.headers for one in desk.canary.heard):
                found.append(Found(Finding.LEAK, "the file was asked for with a token, or not at all"))
            desk.canary.heard.clear()
            found += await told(desk, entry)
            tally.add(MATRIX, "export elsewhere", url, found)


# Replies without end


@cache
def bomb() -> bytes:
    """64 MiB of spaces, compressed when a test wants them: each worker loads this module."""
    return gzip.compress(b" " * (64 * 1024 * 1024), 9, mtime=0)


REPLIES: dict[str, Callable[[], dict[str, Any]]] = {
    "a gzip bomb": lambda: {"body": bomb()},
    "a gzip bomb that says so": lambda: {"body": bomb(), "headers": {"Content-Encoding": "gzip"}},
    "no end": lambda: {"endless": True},
}
MOST_MEMORY = 32 * 1024 * 1024
"""A few times what is read of a reply at all (8 MiB), and half of what the bomb unpacks to."""


async def flooded(office: Office, operation: str, name: str) -> list[Found]:
    """A run, or a check, in which every reply of an operation is like that."""
    kind = OF_A_RUN.get(operation) or OF_A_CHECK[operation]
    wanted = expected(Strike(operation, TROUBLES["not JSON"], once=False), kind)
    if (
        wanted.reason == "RemoteReplyInvalid" and operation != "qualtrics.import_contacts"
    ):  # else its outcome is unknown
        wanted = replace(wanted, reason="RemoteReplyTooLarge")
    order = REPLIES[name]()
    async with guarded(office, people=1000 if operation in WITH_AN_EXPORT else None) as desk:
        if operation in OF_A_RUN:
            await desk.ready()
            desk.clock.advance(TOKENS_ARE_OVER)
        fault = desk.faults.add(operation, times=None, **order)
        tracemalloc.start()
        try:
            if operation in OF_A_RUN:
                entry = await desk.run()
                found = differs(desk, entry, wanted)
            else:
                entry, ready = None, await desk.apply()
                found = [] if ready["reason"] == wanted.reason else [Found(Finding.UNTRUE, f"Ready: {ready}")]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert fault.hits
        assert peak < MOST_MEMORY, f"{operation}, {name}: {peak} bytes"
        return found + await told(desk, entry, told=entry is not None)


@pytest.mark.parametrize(("operation", "name"), [("qualtrics.token", "no end"), (SEND, "a gzip bomb")])
async def test_a_reply_without_end_costs_no_memory(office: Office, tally: Tally, operation: str, name: str) -> None:
    tally.add(MATRIX, "replies without end", f"{operation}: {name}", await flooded(office, operation, name))


@pytest.mark.long
@pytest.mark.parametrize("name", REPLIES)
async def test_no_reply_without_end_costs_memory(office: Office, tally: Tally, name: str) -> None:
    for operation in {**OF_A_CHECK, **OF_A_RUN}:
        tally.add(MATRIX, "replies without end", f"{operation}: {name}", await flooded(office, operation, name))
