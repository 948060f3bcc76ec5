"""The API calls to Nexthink: paths, bodies, rate limits and the meaning of each refusal.

They follow the documentation. Where that is silent (`executedQuery`, the bodies of errors, the answer of an expired
export URL), the client accepts everything that it can read.
"""

from collections.abc import Mapping
from typing import Any

from qualtrics_exporter.remote.operation import Operation, compact, segment
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import Response, get_code_or_none
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.service import Service, json_object
from qualtrics_exporter.resource.reasons import Reason

QUERIES = Rate("queries", 1, 1.1)
"""One call a second, with a margin for the jitter of the network."""

EXECUTE_TRIES = 3
EXECUTE_SECONDS = 20.0
"""The number of tries of an execution, and the time limit of each, before an export replaces it: about a minute in
total. Executions are for small requests: clients report that they end after about 5 s (docs/facts/nexthink.md
section 1)."""

_REFUSALS = {
    400: Reason.QUERY_REFUSED,
    403: Reason.QUERY_NOT_PERMITTED,
    404: Reason.QUERY_NOT_FOUND,
    422: Reason.QUERY_REFUSED,
}


def _is_own_refusal(response: Response) -> bool:
    """Whether a refusal is JSON, or has no body, which Nexthink never sends with 403 (facts section 1).

    Its errors vary too much for a stricter rule, and no call to Nexthink has an effect that must not be repeated.
    """
    return json_object(response) is not None or (response.empty and response.status != 403)


NEXTHINK = Service(
    key="nexthink",
    name="Nexthink",
    codes=lambda document: (get_code_or_none(document, "code"), None),
    is_own_refusal=_is_own_refusal,
)


def execute(query_id: str, parameters: Mapping[str, str], *, patient: bool) -> Operation:
    """Run a saved query. An impatient caller gets an error after few short tries."""
    return Operation(
        name="execute",
        task=f"run query {query_id}",
        method="POST",
        path="/api/v2/nql/execute",
        body=compact(_query(query_id, parameters)),
        retry=RetryPolicy.READ,
        refusals=_REFUSALS,
        rates=(QUERIES,),
        received_tries=None if patient else EXECUTE_TRIES,
        seconds=None if patient else EXECUTE_SECONDS,
    )


def start_export(query_id: str, parameters: Mapping[str, str]) -> Operation:
    return Operation(
        name="export",
        task=f"export query {query_id}",
        method="POST",
        path="/api/v1/nql/export",
        body=compact({**_query(query_id, parameters), "compression": "GZIP"}),
        retry=RetryPolicy.READ,
        refusals=_REFUSALS,
        rates=(QUERIES,),
    )


def export_status(query_id: str, export_id: str) -> Operation:
    return Operation(
        name="status",
        task=f"return the status of the export of query {query_id}",
        path=f"/api/v1/nql/status/{segment(export_id)}",
        retry=RetryPolicy.READ,
    )


def _query(query_id: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"queryId": query_id, **({"parameters": dict(parameters)} if parameters else {})}
