"""The API of distributions: sends, and the list of what was sent (Qualtrics §3).

Unknown, and decided here: a POST checks only the prefixes of the ids, not whether the survey, message, list and batch
exist (§5, I). `surveyLink.type` is required. The list has the newest distribution first and accepts only the documented
filters. Its date filters compare the send date and include both ends. Its filter `mailingListId` finds a batch only if
`Account.batch_echo` says so. History and statistics appear at the same time.
"""

from datetime import timedelta
from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox.middleware import CALL, Reply
from qualtrics_exporter.sandbox.qualtrics_api import QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_json import (
    check_keys,
    check_text,
    format_time,
    parse_time,
    read_object,
    refusal,
    result,
)
from qualtrics_exporter.sandbox.qualtrics_state import ADDRESS, new_id
from qualtrics_exporter.sandbox.recorder import SentDistribution

FILTERS = {
    "surveyId",
    "mailingListId",
    "distributionRequestType",
    "sendStartDate",
    "sendEndDate",
    "pageSize",
    "skipToken",
    "useNewPaginationScheme",
}

RECIPIENT_KINDS = [{"mailingListId"}, {"mailingListId", "contactId"}, {"transactionBatchId"}, {"sampleId"}]
"""The kinds of recipients. Any other combination of keys is refused (Qualtrics §3)."""


class Distributions:
    """The operations on distributions."""

    def __init__(self, qualtrics: QualtricsApi) -> None:
        self._api = qualtrics
        self._state = qualtrics.state
        self._accepted: list[SentDistribution] = []

    def mount(self, app: web.Application) -> None:
        route = self._api.route
        route(app, "POST", "/distributions", "create_distribution", self.create)
        route(app, "GET", "/distributions", "list_distributions", self.list_distributions)
        route(app, "GET", "/distributions/{distribution_id}", "read_distribution", self.read)
        route(app, "GET", "/distributions/{distribution_id}/history", "distribution_history", self.history)
        route(app, "GET", "/distributions/{distribution_id}/links", "distribution_links", self.links)

    async def create(self, request: web.Request) -> Reply:
        body = check_keys(
            await read_object(request),
            {"message", "recipients", "header", "surveyLink", "sendDate"},
            {"embeddedData", "customHeaders"},
        )
        message = check_keys(body["message"], {"libraryId", "messageId"})
        recipients = check_keys(
            body["recipients"], set(), {"mailingListId", "contactId", "transactionBatchId", "sampleId"}
        )
        if set(recipients) not in RECIPIENT_KINDS:
            raise refusal(400, "recipients has exactly one kind.", "QVAL_1")
        for key, prefix in {"mailingListId": "CG_", "contactId": "CGC_", "transactionBatchId": "BT_"}.items():
            if key in recipients:
                check_text(recipients, key, prefix)
        header = check_keys(body["header"], {"fromName", "fromEmail", "subject"}, {"replyToEmail"})
        link = check_keys(body["surveyLink"], {"surveyId", "type"}, {"expirationDate"})
        _check_header(header)
        if link["type"] not in {"Individual", "Anonymous", "Multiple"}:
            raise refusal(400, "surveyLink.type is Individual, Anonymous or Multiple.", "QVAL_1")
        if "expirationDate" in link:
            parse_time(link["expirationDate"], "expirationDate")
        _check_embedded_data(body.get("embeddedData", {}))
        _check_custom_headers(body.get("customHeaders", {}))
        sent = SentDistribution(
            id=new_id("EMD"),
            survey_id=check_text(link, "surveyId", "SV_"),
            message_id=check_text(message, "messageId", "MS_"),
            library_id=check_text(message, "libraryId"),
            subject=header["subject"],
            asked=CALL.get().monotonic,
            created=self._api.clock.now(),
            send_date=parse_time(body["sendDate"], "sendDate"),
            request=body,
            batch_id=recipients.get("transactionBatchId"),
            mailing_list_id=recipients.get("mailingListId"),
            contact_id=recipients.get("contactId"),
            sample_id=recipients.get("sampleId"),
        )
        self._state.send(sent)
        self._accepted.append(sent)
        return result({"id": sent.id})

    async def list_distributions(self, request: web.Request) -> Reply:
        query = request.query
        survey_id = _survey_id(request)
        if extra := sorted(set(query) - FILTERS):
            raise refusal(400, f"Unexpected parameter: {extra[0]}", "RP_9")
        start = parse_time(query["sendStartDate"], "sendStartDate") if "sendStartDate" in query else None
        end = parse_time(query["sendEndDate"], "sendEndDate") if "sendEndDate" in query else None
        account = self._api.account
        size = query.get("pageSize", "100")
        if not size.isdecimal() or not 1 <= int(size) <= 100:
            raise refusal(400, "pageSize is 1 to 100.", "QVAL_1")
        visible = self._api.clock.now() - timedelta(seconds=account.list_lag_seconds)
        elements = []
        for sent in reversed(self._accepted):
            if sent.survey_id != survey_id:
                continue
            shown = self._shown(sent, in_list=True)
            if (
                sent.created <= visible
                and (start is None or start <= sent.send_date)
                and (end is None or sent.send_date <= end)
                and query.get("mailingListId") in {None, shown["recipients"]["mailingListId"]}
                and query.get("distributionRequestType") in {None, shown["requestType"]}
            ):
                elements.append(shown)
        return self._api.page(request, elements, min(int(size), account.distributions_page_size))

    async def read(self, request: web.Request) -> Reply:
        return result(self._shown(self._find(request), in_list=False))

    async def history(self, request: web.Request) -> Reply:
        sent = self._state.distribution(request.match_info["distribution_id"])
        if sent is None:
            raise refusal(404, "The requested distribution does not exist.")
        rows = []
        if self._state.has_stats(sent):
            bounced = set(sent.bounced)
            delivered = [("HardBounce" if address in bounced else "Success") for address in sent.recipients]
            rows = delivered + ["Blocked"] * len(sent.blocked)
            rows += ["Skipped"] * len(sent.skipped) + ["Failure"] * len(sent.failed)
        elements = [
            {
                "contactId": f"CID_{n:015d}",
                "distributionId": sent.id,
                "status": status,
                "sentAt": format_time(sent.send_date),
            }
            for n, status in enumerate(rows, 1)
        ]
        return self._api.page(request, elements, self._api.account.rows_page_size)

    async def links(self, request: web.Request) -> Reply:
        """Reset the dates of the distribution, like Qualtrics does (D). Clients must not call it after a send."""
        sent = self._find(request)
        sent.links_read += 1
        sent.created = sent.send_date = self._api.clock.now()
        return result({"elements": [], "nextPage": None})

    def _find(self, request: web.Request) -> SentDistribution:
        survey_id = _survey_id(request)
        sent = self._state.distribution(request.match_info["distribution_id"])
        if sent is None or sent.survey_id != survey_id:
            raise refusal(404, "The requested distribution does not exist.")
        return sent

    def _shown(self, sent: SentDistribution, *, in_list: bool) -> dict[str, Any]:
        """The distribution as the API returns it. It has `headers`, where the request has `header` (D)."""
        done = self._state.has_stats(sent)
        echo = self._api.account.batch_echo
        batch = sent.batch_id if echo == "mailingListId" or (echo == "byId" and not in_list) else None
        request = sent.request
        link = request["surveyLink"]
        shown: dict[str, Any] = {
            "id": sent.id,
            "parentDistributionId": None,
            "ownerId": self._api.account.library_id,
            "organizationId": "sandbox",
            "requestStatus": "Done" if done else "Pending",
            "requestType": "Invite",
            "sendDate": format_time(sent.send_date),
            "createdDate": format_time(sent.created),
            "modifiedDate": format_time(sent.created),
            "headers": {
                "fromEmail": request["header"]["fromEmail"],
                "fromName": request["header"]["fromName"],
                "replyToEmail": request["header"].get("replyToEmail"),
                "subject": sent.subject,
            },
            "recipients": {
                "mailingListId": sent.mailing_list_id or batch,
                "contactId": sent.contact_id,
                "libraryId": None,
                "sampleId": sent.sample_id,
            },
            "message": {"libraryId": sent.library_id, "messageId": sent.message_id, "messageText": None},
            "surveyLink": {
                "surveyId": sent.survey_id,
                "expirationDate": link.get("expirationDate"),
                "linkType": link["type"],
            },
            "embeddedData": request.get("embeddedData"),
            "customHeaders": request.get("customHeaders"),
            "stats": sent.stats if done else dict.fromkeys(sent.stats, 0),
        }
        return shown


def _survey_id(request: web.Request) -> str:
    if "surveyId" not in request.query:
        raise refusal(400, "Expected param not found: surveyId", "RP_10")
    return request.query["surveyId"]


def _check_header(header: dict[str, Any]) -> None:
    for key in header:
        check_text(header, key)
    for key in ("fromEmail", "replyToEmail"):
        if key in header and not ADDRESS.fullmatch(header[key]):
            raise refusal(400, f"{key} is not an address.", "QVAL_1")


def _check_custom_headers(pairs: object) -> None:
    """Check that the custom headers are names with texts (Qualtrics §3, I)."""
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise refusal(400, "customHeaders is an object of texts.", "QVAL_1")


def _check_embedded_data(pairs: object) -> None:
    """Check for at most 10 pairs, with keys of 200 and texts of 1,024 characters at most (Qualtrics §3)."""
    valid = isinstance(pairs, dict) and len(pairs) <= 10
    if isinstance(pairs, dict):
        for key, value in pairs.items():
            valid = valid and len(key) <= 200 and isinstance(value, str) and len(value) <= 1024
    if not valid:
        raise refusal(400, "embeddedData is an object of at most 10 short texts.", "QVAL_1")
