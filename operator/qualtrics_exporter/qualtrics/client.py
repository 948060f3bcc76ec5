"""The client of Qualtrics' API: check ids, import recipients, send a survey, and look up what was sent.

`send` must never happen twice, and Qualtrics has no idempotency key. So it is called once, whatever it returns, and
`find_distribution` looks up its outcome.
"""

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.qualtrics import chunks, operations, responses
from qualtrics_exporter.qualtrics.distributions import Distribution, NotShown, goes_to
from qualtrics_exporter.qualtrics.notice import proxied_by
from qualtrics_exporter.qualtrics.pages import elements, read_within
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.polling import poll
from qualtrics_exporter.remote.response import Response, get_count_or_none, get_path
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, timestamp

IMPORT_FIRST_LOOK = 5.0
IMPORT_LONGEST_PAUSE = 30.0
IMPORT_DEADLINE = timedelta(minutes=30)
NOT_YET_THERE = timedelta(minutes=1)
"""How long after the start of an import a 404 for its status means "not yet"."""

READ_SECONDS = 180.0
"""The time limit for one page of a list, or for one distribution, with all tries. Checks have a limit as a whole: one
for each call would replace the reason that the user needs, such as RateLimited."""

_LINK = re.compile(r"\$\{l://Survey(Link|URL)\b")
_STATS = ("sent", "failed", "bounced", "blocked", "skipped", "opened", "started", "finished", "complaints")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of the import of one chunk."""

    created: int
    """The number of contacts that are in the batch now."""
    failed: int
    """The number that Qualtrics refused, such as invalid addresses."""
    unprocessed: int
    """The number that Qualtrics ignored."""
    limited: bool = False
    """Whether Qualtrics first answered with 429. It may have accepted that import too: see `count_batch`."""


class QualtricsClient:
    """Qualtrics with the credentials of one Secret."""

    def __init__(self, context: ApiContext, credentials: ServiceCredentials, tenant: Tenant = NOBODY) -> None:
        self._session = Session(context, credentials, operations.QUALTRICS, tenant)
        self.advice: str | None = None
        """The advice in the notice of a response, if a check got one."""

    # Checks.

    async def check_credentials(self) -> None:
        """Check that the credentials are valid, and valid for this datacenter.

        A lack of permission is not an error here: `whoami` needs a scope that nothing else needs. A 403 of a filter is
        not an error either: if the filter blocks more than `whoami`, the next calls report it.
        """
        try:
            await self._session.call(operations.whoami(), self._checked)
        except (Permanent, Transient) as error:
            blocked = error.reason is Reason.REMOTE_REPLY_INVALID and error.status == 403
            if not blocked and error.reason is not Reason.NOT_PERMITTED:
                raise

    async def check_survey(self, survey_id: str) -> None:
        """Check that the survey exists and accepts responses."""
        survey = await self._session.call(operations.survey(survey_id), self._checked)
        now = self._session.clock.now()
        starts, ends = (responses.moment(get_path(survey, "expiration", key)) for key in ("startDate", "endDate"))
        if get_path(survey, "isActive") is not True:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} is not active")
        if starts and now < starts:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} accepts responses from {timestamp(starts)}")
        if ends and ends <= now:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} expired at {timestamp(ends)}")

    async def check_message(self, library_id: str, message_id: str) -> None:
        """Check that the message exists and is an invitation to a survey."""
        message = await self._session.call(operations.message(library_id, message_id), self._checked)
        what = f"Message {message_id} of library {library_id}"
        category = get_path(message, "category")
        if not isinstance(category, str) or category.lower() != "invite":
            raise Permanent(Reason.MESSAGE_NOT_INVITATION, f"{what} does not have the category invite")
        texts = get_path(message, "messages")
        texts = texts.values() if isinstance(texts, dict) else ()
        if not any(isinstance(text, str) and _LINK.search(text) for text in texts):
            raise Permanent(Reason.MESSAGE_NOT_INVITATION, f"{what} has no link to the survey")

    async def check_directory(self, directory_id: str) -> None:
        """Check that the directory exists. The API has no call for a single directory."""
        async with aclosing(elements(self._session, operations.directories(), "directoryId")) as directories:
            async for directory in directories:
                if directory["directoryId"] == directory_id:
                    return
        what = f"Qualtrics lists no directory {directory_id} for the credentials of {self._session.source}"
        raise Permanent(Reason.DIRECTORY_NOT_FOUND, what)

    async def check_mailing_list(self, directory_id: str, mailing_list_id: str) -> None:
        """Check that the mailing list exists in the directory."""
        await self._session.call(operations.mailing_list(directory_id, mailing_list_id), self._checked)

    def _checked(self, response: Response) -> Any:
        """The result of a check. Keeps the advice in the notice of the response."""
        self.advice = proxied_by(response) or self.advice
        return responses.result(response)

    # Import.

    async def create_batch(self, directory_id: str) -> str:
        """Create a batch for the people of one run, and return its id."""
        return await self._session.call(operations.create_batch(directory_id), responses.new_id)

    async def import_contacts(
        self, directory_id: str, mailing_list_id: str, batch_id: str, run_id: str, addresses: Sequence[str]
    ) -> Imported:
        """Import one chunk into the batch, and wait until the import has ended.

        Raises OutcomeUnknown if the people may be in the batch, now or later: never import them into this batch again.
        Qualtrics accepts one import at a time for a mailing list, so the imports of this process wait for each other.
        """
        operation = operations.import_contacts(
            directory_id, mailing_list_id, batch_id, len(addresses), lambda: chunks.body(batch_id, run_id, addresses)
        )
        refusals: list[None] = []
        await self._session.token()  # before the lock: a token endpoint that hangs must not block other imports
        async with self._session.exclusive(operation.path):
            import_id, unprocessed = await self._session.call(
                operation, responses.import_started, on_rate_limited=lambda: refusals.append(None)
            )
            created, failed = await self._wait_for_import(
                operations.import_status(operation, import_id, batch_id), batch_id
            )
        return Imported(created, failed, unprocessed, limited=bool(refusals))

    async def _wait_for_import(self, status: Operation, batch_id: str) -> tuple[int, int]:
        """The numbers of created and failed contacts, when the import has ended."""
        clock = self._session.clock
        began = clock.monotonic()

        async def counts_when_done() -> tuple[int, int] | None:
            try:
                failed, counts = await self._session.call(status, responses.import_progress)
            except Transient as error:
                raise OutcomeUnknown.of(error) from error
            except Permanent as error:
                if error.status != 404:
                    raise
                if clock.monotonic() - began > NOT_YET_THERE.total_seconds():
                    raise OutcomeUnknown.of(error, Reason.REMOTE_REPLY_INVALID) from error
                return None
            if failed:
                # Some contacts may be in the batch, and their number is not certain.
                what = f"The import into batch {batch_id} failed in Qualtrics"
                raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
            return counts

        most = IMPORT_DEADLINE.total_seconds()
        counts = await poll(clock, counts_when_done, first=IMPORT_FIRST_LOOK, longest=IMPORT_LONGEST_PAUSE, most=most)
        if counts is None:
            what = f"Qualtrics did not finish the import into batch {batch_id} within {most / 60:g} minutes"
            raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
        return counts

    async def count_batch(self, directory_id: str, batch_id: str) -> int:
        """The number of people in the batch: one transaction is one e-mail. Raises `ExportError` if it is unknown."""
        operation = operations.transactions(directory_id, batch_id)
        number = 0
        async with aclosing(elements(self._session, operation, "transactionId", seconds=READ_SECONDS)) as transactions:
            async for _ in transactions:
                number += 1
        return number

    # Send.

    async def ensure_token(self, good_for: timedelta) -> None:
        """Make sure that the token is valid for that long."""
        await self._session.token(good_for=good_for)

    async def acquire_send(self) -> None:
        """Wait until one more send is within the rate limits. `send` itself does not wait."""
        await self._session.acquire((operations.SENDS,))

    async def send(self, distribution: Distribution) -> str:
        """Send the distribution, exactly once, and return its id.

        Permanent, Transient and RateLimited mean that Qualtrics certainly refused it, or did not get the request.
        OutcomeUnknown means that it may have been sent: look it up. Nothing here repeats the request, and a caller may
        repeat it only after one of the former. It does not wait either: before you journal the send, call
        `acquire_send` and `ensure_token`.
        """
        return await self._session.call(operations.create_distribution(distribution), responses.new_id)

    async def find_distribution(self, survey_id: str, batch_id: str, since: datetime, until: datetime) -> str | None:
        """The id of the distribution of the survey to the batch that was sent in a period.

        Only the batch distinguishes it from other distributions of the survey. If the list does not show the batch of a
        distribution, that one is read by its id. The answer is None only if the list is complete, every distribution
        shows its recipients, and none is for this batch. Otherwise it raises `ExportError`: `NotShown` if Qualtrics
        answered and does not show enough.
        """
        unseen: ExportError | None = None
        operation = operations.distributions(survey_id, since, until)
        async with aclosing(elements(self._session, operation, "id", seconds=READ_SECONDS)) as entries:
            async for entry in entries:
                distribution_id = str(entry["id"])
                try:
                    found = goes_to(entry, batch_id)
                    if found is None:
                        found = goes_to(await self._distribution(survey_id, distribution_id), batch_id)
                    if found is None:
                        raise NotShown.because(f"does not show the recipients of distribution {distribution_id}")
                except (Permanent, Transient) as error:
                    if error.status == 404:
                        # It is in the list, so it exists, or existed a moment ago.
                        error = NotShown.because(
                            f"lists distribution {distribution_id}, but does not find it by its id"
                        )
                    if unseen is None or isinstance(unseen, NotShown):
                        unseen = error
                    continue
                if found:
                    return distribution_id
        if unseen:
            raise unseen
        return None

    async def delivery(self, survey_id: str, distribution_id: str) -> Delivery:
        """The delivery figures of a distribution, as far as Qualtrics knows them now."""
        found = await self._distribution(survey_id, distribution_id)
        return Delivery(
            request_status=responses.word(found, "requestStatus"),
            observed_time=self._session.clock.now(),
            **{name: get_count_or_none(found, "stats", name) for name in _STATS},
        )

    async def _distribution(self, survey_id: str, distribution_id: str) -> Any:
        operation = operations.distribution(survey_id, distribution_id)
        return await read_within(self._session, operation, responses.result, READ_SECONDS)
