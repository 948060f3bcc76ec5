"""The API calls to Qualtrics: paths, bodies, rate limits and the meaning of each refusal.

Never request `/distributions/{id}/links` of a distribution that was sent: that resets its dates.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.remote.operation import Operation, compact, segment
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import Response, get_code_or_none, get_path
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.service import Service, json_object
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import timestamp

_MINUTE = 61  # a second more than the service's, because of its clock and the network
BRAND = Rate("brand", 3000, _MINUTE)
BATCHES = Rate("transactionbatches", 500, _MINUTE)
IMPORTS = Rate("transactioncontacts", 100, _MINUTE)
IMPORT_STATUS = Rate("transactioncontacts status", 500, _MINUTE)
SENDS = Rate("distributions", 3000, _MINUTE)

_API = "/API/v3"


def _codes(document: object) -> tuple[str | None, str | None]:
    return get_code_or_none(document, "meta", "error", "errorCode"), get_code_or_none(document, "meta", "requestId")


def _is_own_refusal(response: Response) -> bool:
    """Whether a response is an error in Qualtrics' envelope (docs/facts/qualtrics.md section 4).

    A document that reports success, under a status that does not, is not a refusal.
    """
    meta = get_path(json_object(response), "meta")
    status = get_path(meta, "httpStatus")
    return isinstance(get_path(meta, "error"), dict) or (isinstance(status, str) and not status.strip().startswith("2"))


QUALTRICS = Service(
    key="qualtrics",
    name="Qualtrics",
    codes=_codes,
    is_own_refusal=_is_own_refusal,
    rates=(BRAND,),
    reasons={
        "DCD_7": Reason.WRONG_DATACENTER,
        "ATP_*": Reason.CREDENTIALS_REFUSED,
        "AuthZ_*": Reason.NOT_PERMITTED,
    },
)


# Checks.


def whoami() -> Operation:
    return _read("whoami", "return the user of the credentials", "whoami")


def survey(survey_id: str) -> Operation:
    return _read(
        "read_survey",
        f"return survey {survey_id}",
        f"surveys/{segment(survey_id)}",
        refusals=_missing(Reason.SURVEY_NOT_FOUND),
    )


def message(library_id: str, message_id: str) -> Operation:
    return _read(
        "read_message",
        f"return message {message_id} of library {library_id}",
        f"libraries/{segment(library_id)}/messages/{segment(message_id)}",
        refusals=_missing(Reason.MESSAGE_NOT_FOUND),
    )


def directories() -> Operation:
    """List the directories. There is no operation for one directory."""
    return _read("list_directories", "list the directories", "directories")


def mailing_list(directory_id: str, mailing_list_id: str) -> Operation:
    return _read(
        "read_mailing_list",
        f"return mailing list {mailing_list_id} of directory {directory_id}",
        f"directories/{segment(directory_id)}/mailinglists/{segment(mailing_list_id)}",
        refusals=_missing(Reason.MAILING_LIST_NOT_FOUND),
    )


# Import.


def create_batch(directory_id: str) -> Operation:
    """Create a batch. A lost response leaves an empty batch behind, which does no harm."""
    return Operation(
        name="create_batch",
        task=f"create a batch in directory {directory_id}",
        method="POST",
        path=f"{_API}/directories/{segment(directory_id)}/transactionbatches",
        body=compact({"transactionIds": []}),
        retry=RetryPolicy.READ,
        refusals={404: Reason.DIRECTORY_NOT_FOUND},
        rates=(BATCHES,),
    )


def import_contacts(
    directory_id: str, mailing_list_id: str, batch_id: str, count: int, body: Callable[[], bytes]
) -> Operation:
    """Import contacts into a mailing list and a batch."""
    return Operation(
        name="import_contacts",
        task=f"import {count} contacts into batch {batch_id}",
        method="POST",
        path=f"{_API}/directories/{segment(directory_id)}/mailinglists/{segment(mailing_list_id)}/transactioncontacts",
        body=body,
        retry=RetryPolicy.REFUSED,
        refusals={404: Reason.MAILING_LIST_NOT_FOUND},
        rates=(IMPORTS,),
    )


def import_status(started: Operation, import_id: str, batch_id: str) -> Operation:
    return Operation(
        name="import_status",
        task=f"return the status of the import into batch {batch_id}",
        path=f"{started.path}/{segment(import_id)}",
        retry=RetryPolicy.READ,
        rates=(IMPORT_STATUS,),
    )


def transactions(directory_id: str, batch_id: str) -> Operation:
    return _read(
        "list_transactions",
        f"list the transactions of batch {batch_id}",
        f"directories/{segment(directory_id)}/transactionbatches/{segment(batch_id)}/transactions",
    )


# Send.


def create_distribution(distribution: Distribution) -> Operation:
    """Send a survey. There is no idempotency key: never repeat it."""
    return Operation(
        name="create_distribution",
        task=f"send survey {distribution.survey_id} to batch {distribution.batch_id}",
        method="POST",
        path=f"{_API}/distributions",
        body=compact(distribution.payload()),
        retry=RetryPolicy.NEVER,
        other_refusal=Reason.SEND_REFUSED,
        waits=False,
        unknown=Reason.DELIVERY_UNKNOWN,
    )


def distributions(survey_id: str, since: datetime, until: datetime) -> Operation:
    """List the distributions of a survey that were sent in a period."""
    query = {
        "surveyId": survey_id,
        "sendStartDate": timestamp(since),
        "sendEndDate": timestamp(until),
        "pageSize": "100",
        "useNewPaginationScheme": "true",
    }
    return _read("list_distributions", f"list the distributions of survey {survey_id}", "distributions", query=query)


def distribution(survey_id: str, distribution_id: str) -> Operation:
    return _read(
        "read_distribution",
        f"return distribution {distribution_id} of survey {survey_id}",
        f"distributions/{segment(distribution_id)}",
        query={"surveyId": survey_id},
    )


def _read(name: str, task: str, path: str, **more: Any) -> Operation:
    return Operation(name=name, task=task, path=f"{_API}/{path}", retry=RetryPolicy.READ, **more)


def _missing(reason: Reason) -> dict[int, Reason]:
    """Qualtrics answers 404 to an unknown id, and 400 to a malformed one."""
    return {400: reason, 404: reason}
