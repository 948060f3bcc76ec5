"""Check whether an exporter could run, without e-mailing anybody.

Both services are checked independently and at the same time, so that a user with two mistakes sees both at once.
"""

import asyncio
from dataclasses import dataclass

from qualtrics_exporter.export.clients import Clients, LimitedConnections
from qualtrics_exporter.export.guards import CheckWarning, check_sender, contradictions
from qualtrics_exporter.export.query import QueryResult, Wanted, run_query
from qualtrics_exporter.export.unexpected import internal_error, log_unexpected
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec

ONE_ADDRESS = Wanted(limit=1, rows=False)
"""What a check reads of the result: enough to know that the query works. If only an export answers the query, the check
starts the export and does not read it."""


Connections = Clients | LimitedConnections
"""How a check reaches both services. Entering and leaving a client raise `ExportError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier checks and tests found."""

    result_error: ExportError | None = None
    """What is wrong with the rows of the query. It applies unless this check reads rows."""
    qualtrics: tuple[CheckWarning, ...] | None = None
    """The warnings of a check that found no error at Qualtrics a short time ago. Then Qualtrics is checked again only
    if nothing else is wrong: an exporter never becomes ready because of what is remembered."""


NOTHING_KNOWN = Known()


async def check(
    spec: Spec, connections: Connections, *, wanted: Wanted | None = ONE_ADDRESS, known: Known = NOTHING_KNOWN
) -> Verdict:
    """Check the text of the query and both services. Nothing is created in Qualtrics, and nobody is imported.

    The query runs once, to find out what is `wanted` of its result. It does not run if nothing is wanted or if its text
    is wrong. Raises nothing: an unexpected error is `InternalError`.
    """
    text = await connections.texts.check(spec)
    if text.error:
        wanted = None
    checked: _CheckedQualtrics | None = None
    if known.qualtrics is None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_check_qualtrics(spec, connections))
            nexthink, answer = await _check_nexthink(spec, connections, wanted)
        checked = task.result()
    else:
        nexthink, answer = await _check_nexthink(spec, connections, wanted)
        if not (text.error or nexthink):
            checked = await _check_qualtrics(spec, connections)
    if not nexthink and not (answer and answer.read):
        nexthink = known.result_error
    qualtrics, found = checked or (None, known.qualtrics or ())
    return Verdict(
        query_text=text.error,
        nexthink=nexthink,
        qualtrics=qualtrics,
        answer=answer,
        warnings=(*text.warnings, *found, *contradictions(spec)),
        qualtrics_checked=checked is not None,
    )


async def _check_nexthink(
    spec: Spec, connections: Connections, wanted: Wanted | None
) -> tuple[ExportError | None, QueryResult | None]:
    """The credentials, and the answer to the query if anything of it is wanted."""
    try:
        async with connections.nexthink_client() as client:
            await client.check_credentials()
            return None, await run_query(spec.nexthink, client, connections.texts.compare, wanted) if wanted else None
    except ExportError as error:
        return error, None
    except Exception as error:  # noqa: BLE001
        log_unexpected("checking Nexthink", error)
        return internal_error(error), None


_CheckedQualtrics = tuple[ExportError | None, tuple[CheckWarning, ...]]


async def _check_qualtrics(spec: Spec, connections: Connections) -> _CheckedQualtrics:
    """The credentials, and whether every id is that of an object of the right kind; with warnings from the replies."""
    wanted = spec.qualtrics
    client: QualtricsClient | None = None
    error: ExportError | None = None
    try:
        async with connections.qualtrics_client() as client:
            check_sender(spec)
            await client.check_credentials()
            await client.check_survey(wanted.survey_id)
            await client.check_message(wanted.library_id, wanted.message_id)
            await client.check_directory(wanted.directory_id)
            await client.check_mailing_list(wanted.directory_id, wanted.mailing_list_id)
    except ExportError as found:
        error = found
    except Exception as found:  # noqa: BLE001
        log_unexpected("checking Qualtrics", found)
        error = internal_error(found)
    return error, reply_warnings(client) if client else ()


def reply_warnings(qualtrics: QualtricsClient) -> tuple[CheckWarning, ...]:
    """Warnings from the replies of Qualtrics so far."""
    return (CheckWarning(Reason.REQUESTS_PROXIED, qualtrics.advice),) if qualtrics.advice else ()
