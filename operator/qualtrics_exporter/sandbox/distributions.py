"""Distributions (Qualtrics §3).

Unknown, and decided here: whether survey, message, list and batch exist is not looked at by the POST (I, §5), only
their prefixes; `surveyLink.type` is required; the list is sorted newest first, takes the documented filters only,
and its date filters compare the send date, both ends included; the filter `mailingListId` finds a batch only while
`Account.batch_echo` says so; history and stats show at the same moment.
"""

from datetime import timedelta
from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox.middleware import CALL, Reply
from qualtrics_exporter.sandbox.qualtrics_api import QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_state import ADDRESS, new_id
from qualtrics_exporter.sandbox.recorder import SentDistribution
from qualtrics_exporter.sandbox.strict import date, document, keys, refusal, result, text, written

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

RECIPIENTS = [{"mailingListId"}, {"mailingListId", "contactId"}, {"transactionBatchId"}, {"sampleId"}]
"""The kinds; two together are refused."""


class Distributions:
    """Sending, and looking up what was sent."""

    def __init__(self, qualtrics: QualtricsApi) -> None:
        self._api = qualtrics
        self._state = qualtrics.state
        self._listed: list[SentDistribution] = []

    def mount(self, app: web.Application) -> None:
        route = self._api.route
        route(app, "POST", "/distributions", "create_distribution", self.create)
        route(app, "GET", "/distributions", "list_distributions", self.find)
        route(app, "GET", "/distributions/{distribution_id}", "read_distribution", self.read)
        route(app, "GET", "/distributions/{distribution_id}/history", "distribution_history", self.history)
        route(app, "GET", "/distributions/{distribution_id}/links", "distribution_links", self.links)

    async def create(self, request: web.Request) -> Reply:
        body = keys(
            await document(request),
            {"message", "recipients", "header", "surveyLink", "sendDate"},
            {"embeddedData", "customHeaders"},
        )
        message = keys(body["message"], {"libraryId", "messageId"})
        recipients = keys(body["recipients"], set(), {"mailingListId", "contactId", "transactionBatchId", "sampleId"})
        if set(recipients) not in RECIPIENTS:
            raise refusal(400, "recipients holds exactly one kind.", "QVAL_1")
        for key, prefix in {"mailingListId": "CG_", "contactId": "CGC_", "transactionBatchId": "BT_"}.items():
            if key in recipients:
                text(recipients, key, prefix)
        header = keys(body["header"], {"fromName", "fromEmail", "subject"}, {"replyToEmail"})
        link = keys(body["surveyLink"], {"surveyId", "type"}, {"expirationDate"})
        _check_header(header)
        if link["type"] not in {"Individual", "Anonymous", "Multiple"}:
            raise refusal(400, "surveyLink.type is Individual, Anonymous or Multiple.", "QVAL_1")
        if "expirationDate" in link:
            date(link["expirationDate"], "expirationDate")
        _check_embedded(body.get("embeddedData", {}))
        _check_custom_headers(body.get("customHeaders", {}))
        sent = SentDistribution(
            id=new_id("EMD"),
            survey_id=text(link, "surveyId", "SV_"),
            message_id=text(message, "messageId", "MS_"),
            library_id=text(message, "libraryId"),
            subject=header["subject"],
            asked=CALL.get().moment,
            created=self._api.clock.now(),
            send_date=date(body["sendDate"], "sendDate"),
            request=body,
            batch_id=recipients.get("transactionBatchId"),
            mailing_list_id=recipients.get("mailingListId"),
            contact_id=recipients.get("contactId"),
            sample_id=recipients.get("sampleId"),
        )
        self._state.send(sent)
        self._listed.append(sent)
        return result({"id": sent.id})

    async def find(self, request: web.Request) -> Reply:
        query = request.query
        survey_id = _survey(request)
        if extra := sorted(set(query) - FILTERS):
            raise refusal(400, f"Unexpected parameter: {extra[0]}", "RP_9")
        start = date(query["sendStartDate"], "sendStartDate") if "sendStartDate" in query else None
        end = date(query["sendEndDate"], "sendEndDate") if "sendEndDate" in query else None
        account = self._api.account
        size = query.get("pageSize", "100")
        if not size.isdecimal() or not 1 <= int(size) <= 100:
            raise refusal(400, "pageSize is 1 to 100.", "QVAL_1")
        visible = self._api.clock.now() - timedelta(seconds=account.list_lag_seconds)
        elements = []
        for sent in reversed(self._listed):
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
        return result(self._shown(self._sent(request), in_list=False))

    async def history(self, request: web.Request) -> Reply:
        sent = self._state.distribution(request.match_info["distribution_id"])
        if sent is None:
            raise refusal(404, "The requested distribution does not exist.")
        rows = []
        if self._state.done(sent):
            bounced = set(sent.bounced)
            delivered = [("HardBounce" if address in bounced else "Success") for address in sent.recipients]
            rows = delivered + ["Blocked"] * len(sent.blocked)
            rows += ["Skipped"] * len(sent.skipped) + ["Failure"] * len(sent.failed)
        elements = [
            {
                "contactId": f"CID_{n:015d}",
                "distributionId": sent.id,
                "status": status,
                "sentAt": written(sent.send_date),
            }
            for n, status in enumerate(rows, 1)
        ]
        return self._api.page(request, elements, self._api.account.rows_page_size)

    async def links(self, request: web.Request) -> Reply:
        """Never ask for this on what was sent: it resets the dates (D)."""
        sent = self._sent(request)
        sent.links_read += 1
        sent.created = sent.send_date = self._api.clock.now()
        return result({"elements": [], "nextPage": None})

    def _sent(self, request: web.Request) -> SentDistribution:
        survey_id = _survey(request)
        sent = self._state.distribution(request.match_info["distribution_id"])
        if sent is None or sent.survey_id != survey_id:
            raise refusal(404, "The requested distribution does not exist.")
        return sent

    def _shown(self, sent: SentDistribution, *, in_list: bool) -> dict[str, Any]:
        """A distribution as the API tells it: `headers` is plural here (D)."""
        done = self._state.done(sent)
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
            "sendDate": written(sent.send_date),
            "createdDate": written(sent.created),
            "modifiedDate": written(sent.created),
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


def _survey(request: web.Request) -> str:
    if "surveyId" not in request.query:
        raise refusal(400, "Expected param not found: surveyId", "RP_10")
    return request.query["surveyId"]


def _check_header(header: dict[str, Any]) -> None:
    for key in header:
        text(header, key)
    for key in ("fromEmail", "replyToEmail"):
        if key in header and not ADDRESS.fullmatch(header[key]):
            raise refusal(400, f"{key} is not an address.", "QVAL_1")


def _check_custom_headers(pairs: object) -> None:
    """Names and texts (I)."""
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise refusal(400, "customHeaders holds pairs of texts.", "QVAL_1")


def _check_embedded(pairs: object) -> None:
    """At most 10 pairs, key ≤ 200 and value ≤ 1024 characters (Qualtrics §3)."""
    good = isinstance(pairs, dict) and len(pairs) <= 10
    if isinstance(pairs, dict):
        for key, value in pairs.items():
            good = good and len(key) <= 200 and isinstance(value, str) and len(value) <= 1024
    if not good:
        raise refusal(400, "embeddedData holds at most 10 short pairs.", "QVAL_1")
