"""The checks of the objects in Qualtrics that a run needs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.remote.servers import Server, answer, result

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
Check = Callable[[QualtricsClient, Account], Awaitable[None]]


async def test_checks_of_the_default_tenant_pass_and_only_read(
    qualtrics: QualtricsClient, account: Account, sandbox: Sandbox
) -> None:
    await qualtrics.check_credentials()
    await qualtrics.check_survey(account.survey_id)
    await qualtrics.check_message(account.library_id, account.message_id)
    await qualtrics.check_directory(account.directory_id)
    await qualtrics.check_mailing_list(account.directory_id, account.mailing_list_id)
    assert {call.status for call in sandbox.recorder.calls} == {200}
    assert {call.method for call in sandbox.recorder.calls if call.operation != "qualtrics.token"} == {"GET"}


MISSING_OBJECTS: dict[str, tuple[Check, Reason, str]] = {
    "survey": (lambda q, w: q.check_survey("SV_missing00001"), Reason.SURVEY_NOT_FOUND, "SV_missing00001"),
    "message": (
        lambda q, w: q.check_message(w.library_id, "MS_missing00001"),
        Reason.MESSAGE_NOT_FOUND,
        "MS_missing00001",
    ),
    "library": (
        lambda q, w: q.check_message("UR_missing00001", w.message_id),
        Reason.MESSAGE_NOT_FOUND,
        "UR_missing00001",
    ),
    "directory": (
        lambda q, w: q.check_directory("POOL_missing00001"),
        Reason.DIRECTORY_NOT_FOUND,
        "POOL_missing00001",
    ),
    "mailing list": (
        lambda q, w: q.check_mailing_list(w.directory_id, "CG_missing00001"),
        Reason.MAILING_LIST_NOT_FOUND,
        "CG_missing00001",
    ),
    "mailing list of another directory": (
        lambda q, w: q.check_mailing_list("POOL_customers00001", w.mailing_list_id),
        Reason.MAILING_LIST_NOT_FOUND,
        "POOL_customers00001",
    ),
}


@pytest.mark.parametrize("case", MISSING_OBJECTS)
async def test_missing_object_is_reported_with_its_id(qualtrics: QualtricsClient, account: Account, case: str) -> None:
    check, reason, missing_id = MISSING_OBJECTS[case]
    with pytest.raises(Permanent) as error:
        await check(qualtrics, account)
    assert error.value.reason is reason
    assert missing_id in error.value.what
    assert "Secret dex/qualtrics" in error.value.what


async def test_inactive_survey_is_reported(qualtrics: QualtricsClient, account: Account) -> None:
    with pytest.raises(Permanent) as error:
        await qualtrics.check_survey(account.inactive_survey_id)
    assert error.value.reason is Reason.SURVEY_INACTIVE


@pytest.mark.parametrize(
    ("starts", "ends", "active"),
    [
        (None, timedelta(minutes=1), True),
        (None, timedelta(minutes=-1), False),
        (timedelta(minutes=-1), None, True),
        (timedelta(minutes=1), None, False),
        (timedelta(minutes=-1), timedelta(minutes=1), True),
    ],
)
async def test_survey_is_active_only_between_its_dates(
    qualtrics: QualtricsClient, account: Account, starts: timedelta | None, ends: timedelta | None, active: bool
) -> None:
    survey = account.surveys[account.survey_id]
    survey.starts = NOW + starts if starts else None
    survey.ends = NOW + ends if ends else None
    if active:
        await qualtrics.check_survey(account.survey_id)
        return
    with pytest.raises(Permanent) as error:
        await qualtrics.check_survey(account.survey_id)
    assert error.value.reason is Reason.SURVEY_INACTIVE


@pytest.mark.parametrize("date", ["", "soon", 7, {}, None, "2030-01-01", "2030-01-01T00:00:00"])
async def test_invalid_end_date_does_not_close_a_survey(
    server: Server, scripted_client: QualtricsClient, date: object
) -> None:
    server.script(result(id="SV_1", isActive=True, expiration={"startDate": None, "endDate": date}))
    await scripted_client.check_survey("SV_1")


@pytest.mark.parametrize("text", ["${l://SurveyLink}", "<a href='${l://SurveyURL}'>", "${l://SurveyLink?d=Take%20it}"])
@pytest.mark.parametrize("category", ["invite", "Invite"])
async def test_message_with_the_category_invite_and_a_survey_link_is_an_invitation(
    server: Server, scripted_client: QualtricsClient, text: str, category: str
) -> None:
    server.script(result(category=category, messages={"en": "Hello", "de": f"Hallo {text}"}))
    await scripted_client.check_message("UR_1", "MS_1")


@pytest.mark.parametrize(
    "message",
    [
        {"category": "thankYou", "messages": {"en": "${l://SurveyLink}"}},
        {"category": "reminder", "messages": {"en": "${l://SurveyLink}"}},
        {"category": None, "messages": {"en": "${l://SurveyLink}"}},
        {"category": "invite", "messages": {"en": "Hello"}},
        {"category": "invite", "messages": {"en": "${l://SurveyLinks}"}},
        {"category": "invite", "messages": {"en": "${l://OptOutLink}"}},
        {"category": "invite", "messages": {}},
        {"category": "invite", "messages": None},
        {},
    ],
)
async def test_message_without_the_category_invite_or_a_survey_link_is_rejected(
    server: Server, scripted_client: QualtricsClient, message: dict[str, object]
) -> None:
    server.script(result(**message))
    with pytest.raises(Permanent) as error:
        await scripted_client.check_message("UR_1", "MS_1")
    assert error.value.reason is Reason.MESSAGE_NOT_INVITATION


async def test_directory_on_the_last_page_is_found(
    qualtrics: QualtricsClient, account: Account, sandbox: Sandbox
) -> None:
    for number in range(9):
        account.add_directory(f"POOL_another{number:06}")
    last = list(account.directories)[-1]
    await qualtrics.check_directory(last)
    assert sandbox.recorder.count("qualtrics.list_directories") == 6


async def test_next_page_on_a_host_that_is_not_allowed_is_not_requested(
    qualtrics: QualtricsClient, account: Account, sandbox: Sandbox
) -> None:
    account.next_page_origin = "https://elsewhere.example.com"
    with pytest.raises(Permanent) as error:
        await qualtrics.check_directory("POOL_missing00001")
    assert error.value.reason is Reason.HOST_NOT_ALLOWED
    assert "elsewhere.example.com" not in error.value.message
    assert sandbox.recorder.count("qualtrics.list_directories") == 1


async def test_next_page_on_another_allowed_host_is_requested_from_the_host_of_the_secret(
    qualtrics: QualtricsClient, account: Account, sandbox: Sandbox
) -> None:
    """Next pages may name other hosts of Qualtrics. The token goes only to the host of the Secret."""
    async with Server() as elsewhere:
        account.next_page_origin = elsewhere.url
        await qualtrics.check_directory(account.directory_id)
        assert elsewhere.request_count == elsewhere.token_request_count == 0
    assert [call.status for call in sandbox.recorder.of("qualtrics.list_directories")] == [200, 200]


async def test_pages_that_repeat_are_rejected(server: Server, scripted_client: QualtricsClient) -> None:
    server.script(result(elements=[{"directoryId": "POOL_1"}], nextPage=f"{server.url}/API/v3/directories?skipToken=1"))
    with pytest.raises(Transient) as error:
        await scripted_client.check_directory("POOL_2")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert server.request_count == 2


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"elements": None},
        {"elements": {}},
        {"elements": [], "nextPage": 7},
        {"elements": [None]},
        {"elements": [{}]},
        {"elements": [{"directoryId": None}]},
    ],
)
async def test_malformed_page_is_not_an_empty_page(
    server: Server, scripted_client: QualtricsClient, page: dict[str, object]
) -> None:
    server.script(result(**page))
    with pytest.raises(Transient) as error:
        await scripted_client.check_directory("POOL_1")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID


@pytest.mark.parametrize("elsewhere", ["token", "call"])
async def test_credentials_of_another_datacenter_are_reported(
    qualtrics: QualtricsClient, account: Account, elsewhere: str
) -> None:
    account.qualtrics_credentials[0].elsewhere = elsewhere  # type: ignore[assignment]
    with pytest.raises(Permanent) as error:
        await qualtrics.check_credentials()
    # It is unknown whether Qualtrics refuses the token or the first call. Only the first call shows the reason.
    reasons = {"token": Reason.CREDENTIALS_REFUSED, "call": Reason.WRONG_DATACENTER}
    assert error.value.reason is reasons[elsewhere]
    assert "Secret dex/qualtrics" in error.value.what


async def test_insufficient_scope_is_reported(qualtrics: QualtricsClient, account: Account) -> None:
    account.qualtrics_credentials[0].scopes = frozenset({"read:surveys"})
    with pytest.raises(Permanent) as error:
        await qualtrics.check_credentials()
    assert error.value.reason is Reason.CREDENTIALS_REFUSED
    assert "invalid_scope" in error.value.message


ALL_BUT_WHOAMI = frozenset(
    {"read:surveys", "read:libraries", "read:directories", "read:mailing_lists", "read:distributions"}
    | {"write:mailing_list_contacts", "write:contact_transactions", "write:distributions"}
)


async def test_credentials_without_the_scope_read_users_pass_the_checks(
    sandbox: Sandbox, context: ApiContext, account: Account
) -> None:
    account.qualtrics_credentials[0].scopes = ALL_BUT_WHOAMI
    secret = {**sandbox.secrets()["qualtrics"], "scope": " ".join(ALL_BUT_WHOAMI)}
    qualtrics = QualtricsClient(context, qualtrics_from(secret, "Secret dex/qualtrics"))
    await qualtrics.check_credentials()
    await qualtrics.check_survey(account.survey_id)
    await qualtrics.check_message(account.library_id, account.message_id)
    await qualtrics.check_directory(account.directory_id)
    await qualtrics.check_mailing_list(account.directory_id, account.mailing_list_id)
    assert [call.status for call in sandbox.recorder.of("qualtrics.whoami")] == [403]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "ATP_2", Reason.CREDENTIALS_REFUSED),
        (403, "DCD_7", Reason.WRONG_DATACENTER),
        (401, "AuthZ_2.0", None),
        (403, "AuthZ_2.0", None),
    ],
)
async def test_whoami_fails_only_for_wrong_credentials(
    server: Server, scripted_client: QualtricsClient, status: int, code: str, reason: Reason | None
) -> None:
    server.script(answer(status, {"meta": {"error": {"errorCode": code}}}))
    if reason is None:
        await scripted_client.check_credentials()
        return
    with pytest.raises(Permanent) as error:
        await scripted_client.check_credentials()
    assert error.value.reason is reason


@pytest.mark.parametrize("code", ["ATP_2", "ATP_9", "AuthZ_2.0", "AuthZ_7"])
@pytest.mark.parametrize("status", [400, 404])
async def test_error_code_about_credentials_is_not_reported_as_a_missing_survey(
    server: Server, scripted_client: QualtricsClient, status: int, code: str
) -> None:
    server.script(answer(status, {"meta": {"error": {"errorCode": code}}}))
    with pytest.raises(Permanent) as error:
        await scripted_client.check_survey("SV_1")
    expected = Reason.CREDENTIALS_REFUSED if code.startswith("ATP") else Reason.NOT_PERMITTED
    assert (error.value.reason, error.value.remote_code) == (expected, code)


PROXIED = "Request proxied. For faster response times, use this host instead: "


@pytest.mark.parametrize(
    ("notice", "host_or_hint"),
    [
        (f"{PROXIED}co1.qualtrics.com", "https://co1.qualtrics.com"),
        (f"{PROXIED}FRA1.Qualtrics.com.", "https://fra1.qualtrics.com"),
        (f"{PROXIED}evil.example.com", "Qualtrics IDs"),
        ("Request proxied", "Qualtrics IDs"),
        ("Ask ana@example.com for the request proxied", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
async def test_notice_of_proxied_requests_becomes_advice(
    server: Server, scripted_client: QualtricsClient, notice: object, host_or_hint: str | None
) -> None:
    server.script(answer(200, {"result": {"isActive": True}, "meta": {"notice": notice}}))
    await scripted_client.check_survey("SV_1")
    if host_or_hint is None:
        assert scripted_client.advice is None
    else:
        assert scripted_client.advice is not None
        assert host_or_hint in scripted_client.advice
        assert "example.com" not in scripted_client.advice


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.SURVEY_NOT_FOUND),
        (403, Reason.NOT_PERMITTED),
        (404, Reason.SURVEY_NOT_FOUND),
        (500, Reason.REMOTE_UNAVAILABLE),
        (503, Reason.REMOTE_UNAVAILABLE),
        (429, Reason.RATE_LIMITED),
        (302, Reason.REMOTE_REPLY_INVALID),
    ],
)
async def test_error_status_of_a_check_has_a_reason(
    server: Server, scripted_client: QualtricsClient, status: int, reason: Reason
) -> None:
    server.script(answer(status, {"meta": {"error": {}}}))
    with pytest.raises(ExportError) as error:
        await scripted_client.check_survey("SV_1")
    assert error.value.reason is reason
    assert "survey SV_1" in error.value.what


async def test_check_is_repeated_after_a_single_server_error(
    qualtrics: QualtricsClient, account: Account, sandbox: Sandbox
) -> None:
    sandbox.faults.add("qualtrics.read_survey", status=500)
    await qualtrics.check_survey(account.survey_id)
    assert [call.status for call in sandbox.recorder.of("qualtrics.read_survey")] == [500, 200]
