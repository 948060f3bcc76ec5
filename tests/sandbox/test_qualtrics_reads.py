"""Tests of what Qualtrics returns before a send, and of the envelope of its replies."""

import pytest

from tests.sandbox.caller import QualtricsCaller, error_code


async def test_whoami_returns_the_brand_and_the_datacenter(qualtrics: QualtricsCaller) -> None:
    result = (await qualtrics.get("/whoami")).json()["result"]
    assert {"brandId", "userId", "userName", "accountType", "datacenter"} <= set(result)


@pytest.mark.parametrize(("survey_id", "active"), [("SV_teamsRollout01", True), ("SV_oldSurvey00001", False)])
async def test_survey_shows_whether_it_is_active(qualtrics: QualtricsCaller, survey_id: str, active: bool) -> None:
    result = (await qualtrics.get(f"/surveys/{survey_id}")).json()["result"]
    assert (result["id"], result["isActive"]) == (survey_id, active)
    assert result["expiration"] == {"startDate": None, "endDate": None}


@pytest.mark.parametrize(
    ("message_id", "category"), [("MS_invitation0001", "invite"), ("MS_thankYou000001", "thankYou")]
)
async def test_message_shows_its_category_and_texts(qualtrics: QualtricsCaller, message_id: str, category: str) -> None:
    result = (await qualtrics.get(f"/libraries/{qualtrics.account.library_id}/messages/{message_id}")).json()["result"]
    assert set(result) == {"category", "description", "messages"}
    assert result["category"] == category
    assert ("${l://SurveyURL}" in result["messages"]["en"]) is (category == "invite")


async def test_directories_are_paged_with_absolute_urls(qualtrics: QualtricsCaller) -> None:
    first = (await qualtrics.get("/directories")).json()["result"]
    assert first["nextPage"].startswith(qualtrics.sandbox.qualtrics_url + "/API/v3/directories?")
    second = (await qualtrics.http.get(first["nextPage"], headers=qualtrics.headers)).json()["result"]
    assert second["nextPage"] is None
    ids = [entry["directoryId"] for entry in first["elements"] + second["elements"]]
    assert ids.index(qualtrics.account.directory_id) == 2


async def test_setting_next_page_origin_changes_the_host_of_the_next_page(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.next_page_origin = "https://elsewhere.example.com"
    result = (await qualtrics.get("/directories")).json()["result"]
    assert result["nextPage"].startswith("https://elsewhere.example.com/")


async def test_mailing_list_is_not_found_in_another_directory(qualtrics: QualtricsCaller) -> None:
    account = qualtrics.account
    path = f"/directories/{account.directory_id}/mailinglists/{account.mailing_list_id}"
    result = (await qualtrics.get(path)).json()["result"]
    assert (result["mailingListId"], result["contactCount"]) == (account.mailing_list_id, 2)
    other = f"/directories/POOL_customers00001/mailinglists/{account.mailing_list_id}"
    assert (await qualtrics.get(other)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/surveys/SV_missing00001",
        "/libraries/UR_library000001/messages/MS_missing00001",
        "/libraries/UR_missing00001/messages/MS_invitation0001",
        "/directories/POOL_employees00001/mailinglists/CG_missing00001",
        "/directories/POOL_employees00001",
        "/mailinglists/CG_everybody0001",
        "/distributions/EMD_missing?surveyId=SV_teamsRollout01",
        "/distributions/EMD_missing/history",
        "/directories/POOL_employees00001/transactionbatches/BT_missing/transactions",
    ],
)
async def test_missing_object_is_a_404_in_the_envelope(qualtrics: QualtricsCaller, path: str) -> None:
    reply = await qualtrics.get(path)
    assert reply.status_code == 404
    assert reply.json()["meta"]["httpStatus"] == "404 - Not Found"
    assert reply.json()["meta"]["requestId"]


async def test_post_that_is_not_json_is_refused(qualtrics: QualtricsCaller) -> None:
    url = qualtrics.url("/distributions")
    assert (await qualtrics.http.post(url, data={"a": "b"}, headers=qualtrics.headers)).status_code == 415
    headers = {**qualtrics.headers, "Content-Type": "application/json"}
    reply = await qualtrics.http.post(url, content=b"{", headers=headers)
    assert (reply.status_code, error_code(reply)) == (400, "QVAL_1")
