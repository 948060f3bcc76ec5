"""The client of Qualtrics' API: check ids, import recipients, send a survey, and look up what was sent.

`send` must never happen twice, and Qualtrics has no idempotency key. So it is called once, whatever it returns, and
`find_distribution` looks up its outcome.
"""

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.qualtrics import operations, responses
from qualtrics_exporter.qualtrics.distributions import Distribution, NotShown, goes_to
from qualtrics_exporter.qualtrics.imports import Imported, Imports
from qualtrics_exporter.qualtrics.notice import proxied_by
from qualtrics_exporter.qualtrics.pages import MAX_PAGES, elements, read_within
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.remote.response import Response, get_count_or_none, get_path
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.time_limit import TimeLimit
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, timestamp

READ_SECONDS = 180.0
"""The time limit for one page of a list, or for one distribution, with all tries. Checks have a limit as a whole: one
for each call would replace the reason that the user needs, such as RateLimited."""

_LINK = re.compile(r"\$\{l://Survey(Link|URL)\b")
_STATS = ("sent", "failed", "bounced", "blocked", "skipped", "opened", "started", "finished", "complaints")


class QualtricsClient:
    """Qualtrics with the credentials of one Secret."""

    def __init__(
        self,
        context: ApiContext,
        credentials: ServiceCredentials,
        tenant: Tenant = NOBODY,
        limit: TimeLimit | None = None,
    ) -> None:
        self._session = Session(context, credentials, operations.QUALTRICS, tenant, limit)
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

    def import_chunks(
        self, directory_id: str, mailing_list_id: str, batch_id: str, run_id: str, parts: Iterable[list[str]]
    ) -> AsyncGenerator[Imported, None]:
        """Import the chunks into the batch, and yield their results in order. Close the generator (`aclosing`).

        Raises OutcomeUnknown if the people may be in the batch, now or later: never import them into this batch again.
        """
        imports = Imports(self._session, directory_id, mailing_list_id, batch_id, run_id)
        return imports.all(parts)

    async def count_batch(self, directory_id: str, batch_id: str, most: int) -> int:
        """The number of people in the batch, or any number above `most`: one transaction is one e-mail.

        Raises `ExportError` if it is unknown.
        """
        operation = operations.transactions(directory_id, batch_id)
        number = 0
        pages = elements(self._session, operation, "transactionId", seconds=READ_SECONDS, most_pages=MAX_PAGES + most)
        async with aclosing(pages) as transactions:
            async for _ in transactions:
                number += 1
                if number > most:
                    break
        return number

    # Send.

    async def ensure_token(self, good_for: timedelta) -> None:
        """Make sure that the token is valid for that long."""
        await self._session.token(good_for=good_for)

    async def acquire_send(self) -> None:
        """Wait until one more send is within the rate limits. `send` itself does not wait."""
        await self._session.reserve((operations.SENDS,))

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

    async def delivery(self, survey_id: str, distribution_id: str, batch_id: str | None = None) -> Delivery:
        """The delivery figures of a distribution, as far as Qualtrics knows them now.

        With a batch, it raises `Permanent` (`DistributionNotFound`) if the distribution is for another batch.
        """
        found = await self._distribution(survey_id, distribution_id)
        if batch_id and goes_to(found, batch_id) is False:
            reason = Reason.DISTRIBUTION_NOT_FOUND
            raise Permanent(reason, f"distribution {distribution_id} is not for batch {batch_id}")
        return Delivery(
            request_status=responses.word(found, "requestStatus"),
            observed_time=self._session.clock.now(),
            **{name: get_count_or_none(found, "stats", name) for name in _STATS},
        )

    async def _distribution(self, survey_id: str, distribution_id: str) -> Any:
        operation = operations.distribution(survey_id, distribution_id)
        return await read_within(self._session, operation, responses.result, READ_SECONDS)
