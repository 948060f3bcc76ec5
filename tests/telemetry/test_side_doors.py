"""Ways on which a text of a user or of a remote side could leave without `redact`, or cut so that it is not recognized.

Each is closed where it begins: what is not put into a message cannot be read in one.
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
from tests.remote.clock import HastyClock

ADDRESS = "jane.doe@example.com"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

# What a remote side says


@pytest.mark.parametrize("text", [ADDRESS, "jane.doe%40example.com", "jane doe", "jane\uff20example.com", "j" * 81])
def test_a_code_or_request_id_that_is_none_is_left_out_and_not_cut_to_what_a_code_can_have(text: str) -> None:
    error = Permanent(Reason.REQUEST_REFUSED, "Qualtrics refused", remote_code=text, request_id=text)
    assert error.message == f"Qualtrics refused. {Reason.REQUEST_REFUSED.next_step}"


@pytest.mark.parametrize("text", ["jane.doe", "alice:example.com", "Q" * 65, 7, None])
async def test_a_request_status_that_is_no_word_of_qualtrics_is_left_out(
    text: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ApiContext(clock=SystemClock()) as remotes:
        qualtrics = QualtricsClient(remotes, CREDENTIALS)

        async def shown(*_: Any) -> Any:
            return {"requestStatus": text, "stats": {"sent": 1}}

        monkeypatch.setattr(qualtrics, "_distribution", shown)
        delivery = await qualtrics.delivery("SV_1", "EMD_1")
    assert (delivery.request_status, delivery.sent) == (None, 1)


# What stands in a Secret


CREDENTIALS = ServiceCredentials(
    source="Secret dex/qualtrics",
    url="https://tenant-7.invalid",
    token_url="https://tenant-7.invalid/token",
    client_id="client-of-tenant-7",
    client_secret="secret-of-tenant-7",
    scope="scope-of-tenant-7",
)
ASK = Operation(name="read", task="show the thing", path="/thing", body=ADDRESS.encode(), retry=RetryPolicy.READ)


async def test_a_traceback_shows_no_host_of_a_secret() -> None:
    """Libraries put the host into the texts of their errors: that of a certificate, of a name that is not known."""

    async def resolved(*_: Any, **__: Any) -> Any:
        raise OSError("certificate is not valid for 'tenant-7.invalid'")

    async with ApiContext(clock=HastyClock(), allowed_hosts=["*.invalid"]) as remotes:
        for client in (remotes.transport._client(False, None), remotes.transport._client(True, None)):
            client._transport.handle_async_request = resolved  # type: ignore[method-assign]
        with pytest.raises(ExportError) as failed:
            await Session(remotes, CREDENTIALS, QUALTRICS).call(ASK, Response.document)
    shown = "".join(traceback.format_exception(failed.value))
    assert "Cannot send Qualtrics the request to issue a token" in shown
    assert "tenant-7" not in shown.replace("test_side_doors", "")


def test_a_request_shows_neither_its_headers_nor_its_body() -> None:
    url = Url("https", "tenant-7.invalid", 443, "/path?key")
    request = Request(
        service="qualtrics", operation="x", method="POST", url=url, headers={"Authorization": "Bearer t"}, body=b"jane"
    )
    for shown in (repr(request), repr(ASK), repr(CREDENTIALS)):
        for secret in ("Bearer", "jane", "secret-of", "client-of"):
            assert secret not in shown


# What a user writes


def test_an_error_of_a_model_shows_nothing_of_what_was_written() -> None:
    with pytest.raises(ValidationError) as wrong:
        Spec.model_validate({"description": 7, "suspend": "Jane Doe", "schedule": "Jane Doe"})
    assert "Jane" not in str(wrong.value)


@pytest.mark.parametrize(
    "sign", ["@", "\uff20", "\ufe6b", "%40", "%2540", "%EF%BC%A0", "&#64;", "&#x40;", "&commat;", "\\u0040", "=40"]
)
def test_a_piece_of_a_query_is_not_shown_if_it_may_be_part_of_an_address(sign: str) -> None:
    query = Source(f"users | where user.name == jane.doe{sign}example.com")
    start = query.index("jane")
    assert "jane" not in query.shown(Span(start, start + 4))
    long = Source(f"'{'jane.' * 10}{sign}example.com'")
    assert "jane" not in long.shown(Span(0, len(long)))


# What is written elsewhere than to the API server


def entry(message: str) -> HistoryEntry:
    return entry_of(run(), "Failed", Reason.INTERNAL_ERROR, message, NOON)


def run() -> ActiveRun:
    return ActiveRun(id="a" * 20, trigger="Request", start_time=NOON, holder="me", step="Claimed")


async def test_the_journal_file_is_redacted_as_a_status_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), Ended(entry(f"no mail to {ADDRESS}, sorry")))
    assert "jane" not in path.read_text()
    with FileJournal(path) as journal:
        assert journal.history[0].message == "no mail to ***, sorry"


def test_the_terminal_is_redacted_as_a_log_is() -> None:
    assert "jane" not in report("teams", entry(f"no mail to {ADDRESS}, sorry"))


# What status holds at all


TEXTS = {
    "Condition.type": "one of ours",
    "Condition.reason": "one of resource/reasons",
    "Condition.message": "redacted",
    "ActiveRun.id": "a hash",
    "ActiveRun.holder": "made by the operator of hashes, the pod's and the host's name",
    "ActiveRun.survey_id": "SurveyId of the spec: letters and digits",
    "ActiveRun.batch_id": "id_at: what looks like a code",
    "ActiveRun.distribution_id": "id_at: what looks like a code",
    "ActiveRun.refused_reason": "one of resource/reasons",
    "ActiveRun.warnings": "some of resource/reasons",
    "Delivery.request_status": "letters",
    "Delivery.stopped_reason": "one of resource/reasons",
    "HistoryEntry.id": "a hash",
    "HistoryEntry.reason": "one of resource/reasons",
    "HistoryEntry.message": "redacted",
    "HistoryEntry.survey_id": "as in ActiveRun",
    "HistoryEntry.batch_id": "as in ActiveRun",
    "HistoryEntry.distribution_id": "as in ActiveRun, or of a settlement: letters and digits",
    "StatusWarning.reason": "one of resource/reasons",
    "StatusWarning.message": "redacted",
    "Settlement.reason": "one of resource/reasons",
    "Settlement.message": "redacted",
    "ClaimedSlot.identity": "a date, or a time",
    "SampledGroup.run_id": "a hash",
    "Status.schedule": "words of ours, and the name of an IANA time zone",
    "Status.time_zone": "the name of an IANA time zone",
    "Status.sent_runs": "hashes",
    "Status.last_handled_run_request": "a time, an identifier, or a digest",
    "Status.last_handled_test_request": "a time, an identifier, or a digest",
    "Status.last_handled_settlement": "what settling understands, or a digest",
    "Status.handled_requests": "hashes",
    "Status.handled_run_requests": "hashes",
    "Status.handled_test_requests": "hashes",
    "Status.handled_settlements": "hashes",
}
"""Why no address can be in it, for each text of a status. Who adds one says it here."""


def inner(annotation: Any) -> Iterator[Any]:
    """The types in a type."""
    if get_origin(annotation) in (Union, UnionType, list):
        for argument in get_args(annotation):
            yield from inner(argument)
    else:
        yield (
            get_args(annotation)[0]
            if get_origin(annotation) is not None and hasattr(annotation, "__metadata__")
            else annotation
        )


def texts(model: type[BaseModel], seen: set[type]) -> Iterator[str]:
    seen.add(model)
    for name, field in model.model_fields.items():
        for type_ in inner(field.annotation):
            if type_ is str:
                yield f"{model.__name__}.{name}"
            elif isinstance(type_, type) and issubclass(type_, BaseModel) and type_ not in seen:
                yield from texts(type_, seen)


def test_for_each_text_of_a_status_it_is_known_why_no_address_can_be_in_it() -> None:
    assert set(texts(Status, set())) == set(TEXTS)
