"""Paths on which text of users or services could leak past `redact`, or shortened so that `redact` does not match it.

Each path is closed at its source: such text does not become part of a message.
"""

import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from qualtrics_exporter.cli.report import report
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.nql.source import Source, Span
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, Permanent
from qualtrics_exporter.remote.hosts import Url
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, Status, entry_of
from tests.remote.clock import RecordingClock

ADDRESS = "jane.doe@example.com"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

# Text of remote services.


@pytest.mark.parametrize("text", [ADDRESS, "jane.doe%40example.com", "jane doe", "jane\uff20example.com", "j" * 81])
def test_an_invalid_error_code_or_request_id_is_left_out_of_the_message_completely(text: str) -> None:
    error = Permanent(Reason.REQUEST_REFUSED, "Qualtrics refused", remote_code=text, request_id=text)
    assert error.message == f"Qualtrics refused. {Reason.REQUEST_REFUSED.next_step}"


@pytest.mark.parametrize("text", ["jane.doe", "alice:example.com", "Q" * 65, 7, None])
async def test_an_unknown_request_status_of_a_distribution_is_left_out(
    text: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ApiContext(clock=SystemClock()) as api_context:
        qualtrics = QualtricsClient(api_context, CREDENTIALS)

        async def output(*_: Any) -> Any:
            return {"requestStatus": text, "stats": {"sent": 1}}

        monkeypatch.setattr(qualtrics, "_distribution", output)
        delivery = await qualtrics.delivery("SV_1", "EMD_1")
    assert (delivery.request_status, delivery.sent) == (None, 1)


# Values of a Secret.


CREDENTIALS = ServiceCredentials(
    source="Secret dex/qualtrics",
    url="https://tenant-7.invalid",
    token_url="https://tenant-7.invalid/token",
    client_id="client-of-tenant-7",
    client_secret="secret-of-tenant-7",
    scope="scope-of-tenant-7",
)
OPERATION = Operation(name="read", task="show the thing", path="/thing", body=ADDRESS.encode(), retry=RetryPolicy.READ)


async def test_a_traceback_does_not_show_the_host_in_a_secret() -> None:
    """Libraries put the host into their errors, for example about certificates and unknown names."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise OSError("certificate is not valid for 'tenant-7.invalid'")

    async with ApiContext(clock=RecordingClock(), allowed_hosts=["*.invalid"]) as api_context:
        for client in (api_context.transport._client(False, None), api_context.transport._client(True, None)):
            client._transport.handle_async_request = fail  # type: ignore[method-assign]
        with pytest.raises(ExportError) as error:
            await Session(api_context, CREDENTIALS, QUALTRICS).call(OPERATION, Response.document)
    output = "".join(traceback.format_exception(error.value))
    assert "Cannot send Qualtrics the request to issue a token" in output
    assert "tenant-7" not in output.replace("test_leaks", "")


def test_the_repr_of_a_request_shows_neither_its_headers_nor_its_body() -> None:
    url = Url("https", "tenant-7.invalid", 443, "/path?key")
    request = Request(
        service="qualtrics", operation="x", method="POST", url=url, headers={"Authorization": "Bearer t"}, body=b"jane"
    )
    for output in (repr(request), repr(OPERATION), repr(CREDENTIALS)):
        for secret in ("Bearer", "jane", "secret-of", "client-of"):
            assert secret not in output


# Text of users.


def test_a_validation_error_does_not_show_the_invalid_value() -> None:
    with pytest.raises(ValidationError) as error:
        Spec.model_validate({"description": 7, "suspend": "Jane Doe", "schedule": "Jane Doe"})
    assert "Jane" not in str(error.value)


@pytest.mark.parametrize(
    "at_sign", ["@", "\uff20", "\ufe6b", "%40", "%2540", "%EF%BC%A0", "&#64;", "&#x40;", "&commat;", "\\u0040", "=40"]
)
def test_a_part_of_a_query_that_may_belong_to_an_address_is_not_shown(at_sign: str) -> None:
    query = Source(f"users | where user.name == jane.doe{at_sign}example.com")
    start = query.index("jane")
    assert "jane" not in query.shown(Span(start, start + 4))
    long = Source(f"'{'jane.' * 10}{at_sign}example.com'")
    assert "jane" not in long.shown(Span(0, len(long)))


# Journal files and terminals.


def entry(message: str) -> HistoryEntry:
    return entry_of(run(), "Failed", Reason.INTERNAL_ERROR, message, NOON)


def run() -> ActiveRun:
    return ActiveRun(id="a" * 20, trigger="Request", start_time=NOON, holder="me", step="Claimed")


async def test_messages_in_the_journal_file_are_redacted(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), Ended(entry(f"no mail to {ADDRESS}, sorry")))
    assert "jane" not in path.read_text()
    with FileJournal(path) as journal:
        assert journal.history[0].message == "no mail to ***, sorry"


def test_the_report_on_the_terminal_is_redacted() -> None:
    assert "jane" not in report("teams", entry(f"no mail to {ADDRESS}, sorry"))


# Text fields of the status.


WHY_NO_ADDRESS = {
    "Condition.type": "a constant of the operator",
    "Condition.reason": "one of resource/reasons",
    "Condition.message": "redacted",
    "ActiveRun.id": "a hash",
    "ActiveRun.holder": "created by the operator from hashes and the names of the pod and the host",
    "ActiveRun.survey_id": "SurveyId of the spec: letters and digits",
    "ActiveRun.batch_id": "id_at: only a value that looks like a code",
    "ActiveRun.distribution_id": "id_at: only a value that looks like a code",
    "ActiveRun.refused_reason": "one of resource/reasons",
    "ActiveRun.warnings": "values of resource/reasons",
    "Delivery.request_status": "letters",
    "Delivery.stopped_reason": "one of resource/reasons",
    "HistoryEntry.id": "a hash",
    "HistoryEntry.reason": "one of resource/reasons",
    "HistoryEntry.message": "redacted",
    "HistoryEntry.survey_id": "as in ActiveRun",
    "HistoryEntry.batch_id": "as in ActiveRun",
    "HistoryEntry.distribution_id": "as in ActiveRun, or from a settlement: letters and digits",
    "FollowedDelivery.run_id": "a hash",
    "FollowedDelivery.survey_id": "as in HistoryEntry",
    "FollowedDelivery.distribution_id": "as in HistoryEntry",
    "StatusWarning.reason": "one of resource/reasons",
    "StatusWarning.message": "redacted",
    "Settlement.reason": "one of resource/reasons",
    "Settlement.message": "redacted",
    "ClaimedSlot.identity": "a date, or a time",
    "SampledGroup.run_id": "a hash",
    "Status.schedule": "words of the operator, and the name of an IANA time zone",
    "Status.time_zone": "the name of an IANA time zone",
    "Status.sent_runs": "hashes",
    "Status.last_handled_run_request": "a time, an identifier, or a digest",
    "Status.last_handled_test_request": "a time, an identifier, or a digest",
    "Status.last_handled_settlement": "a valid settlement, or a digest",
    "Status.handled_requests": "hashes",
    "Status.handled_run_requests": "hashes",
    "Status.handled_test_requests": "hashes",
    "Status.handled_settlements": "hashes",
}
"""For each text field of the status, why it cannot contain an address. Add an entry for each new field."""


def inner_types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    if get_origin(annotation) in (Union, UnionType, list):
        for argument in get_args(annotation):
            yield from inner_types(argument)
    else:
        yield (
            get_args(annotation)[0]
            if get_origin(annotation) is not None and hasattr(annotation, "__metadata__")
            else annotation
        )


def text_fields(model: type[BaseModel], seen: set[type]) -> Iterator[str]:
    seen.add(model)
    for name, field in model.model_fields.items():
        for type_ in inner_types(field.annotation):
            if type_ is str:
                yield f"{model.__name__}.{name}"
            elif isinstance(type_, type) and issubclass(type_, BaseModel) and type_ not in seen:
                yield from text_fields(type_, seen)


def test_every_text_field_of_the_status_is_listed_with_why_it_cannot_contain_an_address() -> None:
    assert set(text_fields(Status, set())) == set(WHY_NO_ADDRESS)
