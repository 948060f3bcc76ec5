"""Hostile Secrets, specs and replies: no request goes to a host that is not allowed, and no secret leaks."""

import base64
import json
import socket
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.api_access import ApiError
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.controller_factory import ControllerFactory
from tests.faults.fault_injection import TOKENS_EXPIRED
from tests.faults.hostile_values import (
    CONDITIONS,
    FIELDS,
    FILE_URLS,
    FOREIGN_URLS,
    HOST,
    INJECTIONS,
    LARGE_REPLIES,
    SECRET,
    apply_secrets,
    canary_violations,
    port,
    refusal_violations,
    restricted_controller,
    unusable_values,
)
from tests.faults.in_process_controller import MAX_RUNS, condition
from tests.faults.remote_faults import (
    CHECK_OPERATIONS,
    EXPORT_OPERATIONS,
    FAULT_TYPES,
    RUN_OPERATIONS,
    Outcome,
    RemoteFault,
    expected_outcome,
)
from tests.faults.run_violations import SEND, outcome_violations, promise_violations
from tests.faults.tally import Tally

ATTACK = "secrets as input"
MAX_MEMORY = 32 * 1024 * 1024
"""A few times what the operator reads of any reply (8 MiB), and half of what the bomb unpacks to."""


@pytest.fixture(autouse=True)
def resolve_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host name resolves to this machine."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def long(*values: Any) -> list[Any]:
    """Parameters that only `make test-long` tries."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


# URLs in a Secret


async def try_urls(controllers: ControllerFactory, tally: Tally, key: str, templates: list[str], *, runs: int) -> None:
    """Put each URL into both Secrets, one after the other, and check. Also run with the last of them."""
    async with restricted_controller(controllers) as controller:
        for left, template in zip(range(len(templates), 0, -1), templates, strict=True):
            await apply_secrets(controller, {key: template.format(port=port(controller))})
            reasons = dict.fromkeys(CONDITIONS, "HostNotAllowed")
            violations = await refusal_violations(controller, reasons, run=left <= runs)
            tally.add(ATTACK, f"{key} elsewhere", template, violations)


@pytest.mark.parametrize("key", ["url", "tokenUrl"])
async def test_url_of_another_server_is_refused_and_gets_no_request(
    controllers: ControllerFactory, tally: Tally, key: str
) -> None:
    await try_urls(controllers, tally, key, FOREIGN_URLS[3::11], runs=1)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("key", ["url", "tokenUrl"])
async def test_url_of_another_server_gets_no_request_from_a_run(
    controllers: ControllerFactory, tally: Tally, key: str
) -> None:
    for start in range(0, len(FOREIGN_URLS), MAX_RUNS):
        await try_urls(controllers, tally, key, FOREIGN_URLS[start : start + MAX_RUNS], runs=MAX_RUNS)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.parametrize("host", ["localhost", "LocalHost"])
async def test_allowed_host_on_another_port_gets_requests_but_no_secret_of_another_service(
    controllers: ControllerFactory, tally: Tally, host: str
) -> None:
    """As documented for `localhost` in --allowed-host. This also shows that requests can reach the canary."""
    async with restricted_controller(controllers) as controller:
        secrets = controller.sandbox.secrets()
        url = controller.canary.url.replace("localhost", host)
        secrets["qualtrics"] = {**secrets["qualtrics"], "url": url, "tokenUrl": f"{url}/oauth2/token"}
        await controller.apply(secrets)
        canary = controller.canary
        assert canary.token_requests
        assert canary.received_requests
        violations = []
        foreign = [*controller.sandbox.issued_tokens(), _basic(secrets["nexthink"])]
        assert len(foreign) == 2, "Nexthink gave no token"
        if any(secret in str(one.headers) for one in canary.token_requests for secret in foreign):
            violations.append(Violation(ViolationKind.LEAK, "a secret of Nexthink went to the canary"))
        if {one.headers["authorization"] for one in canary.received_requests} != {"Bearer a-token"}:
            violations.append(Violation(ViolationKind.LEAK, "another token than that of the canary went to it"))
        violations += await controller.leaks(token=["a-token"])
        tally.add(ATTACK, "another port of an allowed host", host, violations)
    assert tally.violations == [], tally.how_to_repeat


def _basic(secret: Mapping[str, str]) -> str:
    return base64.b64encode(f"{secret['clientId']}:{secret['clientSecret']}".encode()).decode()


# Other values in a Secret


@pytest.mark.parametrize("key", ["clientSecret", *long("url", "tokenUrl", "clientId", "scope")])
async def test_unusable_value_of_a_secret_is_reported_by_its_key_and_never_shown(
    controllers: ControllerFactory, tally: Tally, key: str
) -> None:
    async with restricted_controller(controllers) as controller:
        for number, (name, value, reasons) in enumerate(unusable_values(key)):
            status = await apply_secrets(controller, {key: value})
            violations = await refusal_violations(controller, reasons, run=number % 6 == 0)
            for service, reason in reasons.items():
                message, secret = condition(status, CONDITIONS[service])["message"], controller.secret_name(service)
                if reason == "SecretKeyMissing" and (key not in message or secret not in message):
                    description = f"no message says that {key} of {secret} is wrong"
                    violations.append(Violation(ViolationKind.SILENT_SLOT, description))
            tally.add(ATTACK, f"value of {key}", name, violations)
    assert tally.violations == [], tally.how_to_repeat


# The spec


async def inject(controllers: ControllerFactory, part: str, field: str, text: str) -> tuple[bool, list[Violation]]:
    """Append a text to a field. Returns whether the API server accepted it, and the violations of a run with it."""
    async with restricted_controller(controllers) as controller:
        value = {"x": text} if field == "parameters" else controller.spec[part][field] + text
        controller.spec[part][field] = value
        try:
            await controller.apply()
        except ApiError as error:
            if error.status not in (400, 422):
                raise
            return False, []
        violations = await promise_violations(controller, await controller.run())
        for request in controller.transport_faults.requests:
            head = [request.url.text, *request.headers, *request.headers.values()]
            if any(not one.isprintable() for one in head):
                description = f"the request {request.operation} has a line break or a control character"
                violations.append(Violation(ViolationKind.LEAK, description))
        if unknown := {one for one in controller.sandbox.recorder.operations() if one.endswith(".unknown")}:
            violations.append(Violation(ViolationKind.LEAK, f"the text changed the path of a request: {unknown}"))
        if violations:
            print(f"--- {part}.{field} {text!r}: {violations}\n{controller.log}")
        return True, violations


@pytest.mark.parametrize("part", FIELDS)
async def test_text_in_a_field_of_the_spec_changes_no_request(
    controllers: ControllerFactory, tally: Tally, part: str
) -> None:
    for field in ("fromName", "surveyId") if part == "qualtrics" else ("parameters",):
        for text in INJECTIONS[:1]:
            _, violations = await inject(controllers, part, field, text)
            tally.add(ATTACK, "names and ids in the spec", f"{part}.{field} {text!r}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("part", FIELDS)
async def test_no_text_in_any_field_of_the_spec_changes_a_request(
    controllers: ControllerFactory, tally: Tally, part: str
) -> None:
    accepted = 0
    for field in FIELDS[part]:
        for text in INJECTIONS:
            is_accepted, violations = await inject(controllers, part, field, text)
            accepted += is_accepted
            tally.add(ATTACK, "names and ids in the spec", f"{part}.{field} {text!r}", violations)
    assert tally.violations == [], tally.how_to_repeat
    assert accepted, "the API server accepts some of these texts"


# URLs in replies


@pytest.mark.parametrize("allowed", [True, False])
async def test_next_page_of_a_list_is_requested_from_allowed_hosts_only(
    controllers: ControllerFactory, tally: Tally, allowed: bool
) -> None:
    async with restricted_controller(controllers) as controller:
        host = "localhost" if allowed else "evil.example"
        controller.account.next_page_origin = f"https://{host}:{port(controller)}"
        await controller.apply()
        assert controller.count_calls("qualtrics.list_directories") == (2 if allowed else 1)
        reasons = {"nexthink": "Checked", "qualtrics": "Checked" if allowed else "HostNotAllowed"}
        violations = await refusal_violations(controller, reasons, run=not allowed)
        tally.add(ATTACK, "nextPage elsewhere", host, violations)
    assert tally.violations == [], tally.how_to_repeat


async def test_file_of_an_export_is_requested_from_allowed_hosts_only_and_without_a_token(
    controllers: ControllerFactory, tally: Tally
) -> None:
    async with restricted_controller(controllers, people=1000) as controller:
        await controller.apply_ready()
        for url, reason in FILE_URLS.items():
            await controller.begin_scenario()
            status = {"status": "COMPLETED", "resultsFileUrl": url.format(port=port(controller))}
            controller.faults.add("nexthink.status", body=json.dumps(status), times=None)
            entry = await controller.run()
            violations = [
                *outcome_violations(controller, entry, Outcome("Failed", reason)),
                *await controller.leaks(value=[SECRET], host=[HOST]),
            ]
            requests = controller.canary.received_requests
            if reason == "HostNotAllowed":
                violations += canary_violations(controller)
            elif not requests or any("authorization" in one.headers for one in requests):
                description = "the file was requested with a token, or not at all"
                violations.append(Violation(ViolationKind.LEAK, description))
            controller.canary.received_requests.clear()
            violations += await promise_violations(controller, entry)
            tally.add(ATTACK, "export elsewhere", url, violations)
    assert tally.violations == [], tally.how_to_repeat


# Replies without an end


async def reply_without_end(controllers: ControllerFactory, operation: str, name: str) -> list[Violation]:
    """Run or check while every reply of an operation is large or endless. Returns the violations."""
    kind = RUN_OPERATIONS.get(operation) or CHECK_OPERATIONS[operation]
    expected = expected_outcome(RemoteFault(operation, FAULT_TYPES["not JSON"], once=False), kind)
    if expected.reason == "RemoteReplyInvalid" and operation != "qualtrics.import_contacts":
        # The outcome of an import is unknown after such a reply.
        expected = replace(expected, reason="RemoteReplyTooLarge")
    order = LARGE_REPLIES[name]()
    people = 1000 if operation in EXPORT_OPERATIONS else None
    async with restricted_controller(controllers, people=people) as controller:
        if operation in RUN_OPERATIONS:
            await controller.apply_ready()
            controller.clock.advance(TOKENS_EXPIRED)
        fault = controller.faults.add(operation, times=None, **order)
        tracemalloc.start()
        try:
            if operation in RUN_OPERATIONS:
                entry = await controller.run()
                violations = outcome_violations(controller, entry, expected)
            else:
                entry, ready = None, await controller.apply()
                violations = []
                if ready["reason"] != expected.reason:
                    violations.append(Violation(ViolationKind.UNTRUE_ENTRY, f"Ready: {ready}"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert fault.hits
        assert peak < MAX_MEMORY, f"{operation}, {name}: {peak} bytes"
        return violations + await promise_violations(controller, entry, expects_entry=entry is not None)


@pytest.mark.parametrize(("operation", "name"), [("qualtrics.token", "no end"), (SEND, "a gzip bomb")])
async def test_reply_without_end_takes_little_memory(
    controllers: ControllerFactory, tally: Tally, operation: str, name: str
) -> None:
    violations = await reply_without_end(controllers, operation, name)
    tally.add(ATTACK, "replies without end", f"{operation}: {name}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE_REPLIES)
async def test_reply_without_end_of_any_operation_takes_little_memory(
    controllers: ControllerFactory, tally: Tally, name: str
) -> None:
    for operation in {**CHECK_OPERATIONS, **RUN_OPERATIONS}:
        violations = await reply_without_end(controllers, operation, name)
        tally.add(ATTACK, "replies without end", f"{operation}: {name}", violations)
    assert tally.violations == [], tally.how_to_repeat
