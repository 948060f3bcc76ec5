"""Qualtrics' API v3, as far as one survey to the people of one batch needs it.

The one call that must never happen twice is `send`: there is no idempotency key. It is made once, whatever comes
back, and its outcome is looked up by `find_distribution`. Never ask for `/distributions/{id}/links` of something
that was sent: that resets its dates.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.qualtrics.chunks import body, chunks
from qualtrics_exporter.qualtrics.distributions import Distribution, NotShown, goes_to
from qualtrics_exporter.qualtrics.notice import proxied_by
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.remote.polling import poll
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import (
    NotUnderstood,
    Response,
    TooMuch,
    get_code_or_none,
    get_count,
    get_count_or_none,
    get_id,
    get_list,
    get_path,
    get_text,
)
from qualtrics_exporter.remote.service import json_object
from qualtrics_exporter.remote.session import (
    ApiContext,
    Credentials,
    Operation,
    RetryPolicy,
    Service,
    Session,
    compact,
    segment,
)
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, timestamp

__all__ = ["Distribution", "Imported", "NotShown", "QualtricsClient", "chunks"]

T = TypeVar("T")

API = "/API/v3"

_MINUTE = 61  # a second more than theirs: two clocks, and the network in between
BRAND = Rate("brand", 3000, _MINUTE)
BATCHES = Rate("transactionbatches", 500, _MINUTE)
IMPORTS = Rate("transactioncontacts", 100, _MINUTE)
IMPORT_STATUS = Rate("transactioncontacts status", 500, _MINUTE)
SENDS = Rate("distributions", 3000, _MINUTE)

IMPORT_FIRST_LOOK = 5.0
IMPORT_LONGEST_PAUSE = 30.0
IMPORT_DEADLINE = timedelta(minutes=30)
NOT_YET_THERE = timedelta(minutes=1)
"""For so long after an import was taken, a 404 for its status is taken as "not yet"."""

MOST_PAGES = 1000
MOST_ELEMENTS = 10_000
"""Of one page; Qualtrics gives up to 500."""

READ_SECONDS = 180.0
"""How long one page of the distributions, or one of them, may take with all its tries. Checks have a limit as a whole:
here, one would replace the reason that the user has to see, such as RateLimited."""

LONGEST_WORD = 64
"""What `.status.history[].delivery.requestStatus` takes."""

_LINK = re.compile(r"\$\{l://Survey(Link|URL)\b")


def _codes(document: object) -> tuple[str | None, str | None]:
    return get_code_or_none(document, "meta", "error", "errorCode"), get_code_or_none(document, "meta", "requestId")


def _in_envelope(reply: Response) -> bool:
    """Whether the reply is an error in Qualtrics' envelope (docs/facts/qualtrics.md section 4).

    A document that says that all went well, with another status on it, is not a refusal.
    """
    meta = get_path(json_object(reply), "meta")
    told = get_path(meta, "httpStatus")
    return isinstance(get_path(meta, "error"), dict) or (isinstance(told, str) and not told.strip().startswith("2"))


QUALTRICS = Service(
    key="qualtrics",
    name="QualtricsClient",
    codes=_codes,
    own=_in_envelope,
    rates=(BRAND,),
    reasons={
        "DCD_7": Reason.WRONG_DATACENTER,
        "ATP_*": Reason.CREDENTIALS_REFUSED,
        "AuthZ_*": Reason.NOT_PERMITTED,
    },
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one portion."""

    created: int
    """How many are in the batch now."""
    failed: int
    """How many Qualtrics refused, such as addresses that it takes for none."""
    unprocessed: int
    """How many it did not even look at."""
    limited: bool = False
    """Whether Qualtrics first answered with 429. It may have taken the import all the same: see `count_batch`."""


class QualtricsClient:
    """Qualtrics as one credential sees it."""

    def __init__(self, remotes: ApiContext, credentials: Credentials, tenant: Tenant = NOBODY) -> None:
        self._remote = Session(remotes, credentials, QUALTRICS, tenant)
        self.advice: str | None = None
        """Advice from the notice in a reply, if a check got one."""

    # Before anything else.

    async def ensure_token(self, good_for: timedelta) -> None:
        """See that the token is good for so long; a new one is fetched if need be."""
        await self._remote.token(good_for=good_for)

    async def turn_to_send(self) -> None:
        """Wait until one distribution more may be asked for. `send` does not wait: it relies on this."""
        await self._remote.turn((SENDS,))

    async def check_credentials(self) -> None:
        """See that the credentials are good, and good for this datacenter.

        A refusal for lack of permission is not an error here: `whoami` has a scope of its own, which nothing else
        needs. Nor is a 403 that a filter sends: if it blocks more than `whoami`, the calls that follow report it.
        """
        try:
            await self._remote.call(
                Operation(operation="whoami", task="say who asks", path=f"{API}/whoami", repeat=RetryPolicy.READ),
                self._checked,
            )
        except (Permanent, Transient) as error:
            blocked = error.reason is Reason.REMOTE_REPLY_INVALID and error.status == 403
            if not blocked and error.reason is not Reason.NOT_PERMITTED:
                raise

    def _checked(self, reply: Response) -> Any:
        """The result of a check. Keeps the advice of the reply's notice."""
        self.advice = proxied_by(reply) or self.advice
        return _result(reply)

    async def check_survey(self, survey_id: str) -> None:
        """See that the survey exists and takes answers."""
        survey = await self._remote.call(
            Operation(
                operation="read_survey",
                task=f"show survey {survey_id}",
                path=f"{API}/surveys/{segment(survey_id)}",
                repeat=RetryPolicy.READ,
                refused=_missing(Reason.SURVEY_NOT_FOUND),
            ),
            self._checked,
        )
        now = self._remote.clock.now()
        starts, ends = (_moment(get_path(survey, "expiration", key)) for key in ("startDate", "endDate"))
        if get_path(survey, "isActive") is not True:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} is not active")
        if starts and now < starts:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} takes answers only from {timestamp(starts)}")
        if ends and ends <= now:
            raise Permanent(Reason.SURVEY_INACTIVE, f"Survey {survey_id} expired at {timestamp(ends)}")

    async def check_message(self, library_id: str, message_id: str) -> None:
        """See that the message exists and invites to a survey."""
        message = await self._remote.call(
            Operation(
                operation="read_message",
                task=f"show message {message_id} of library {library_id}",
                path=f"{API}/libraries/{segment(library_id)}/messages/{segment(message_id)}",
                repeat=RetryPolicy.READ,
                refused=_missing(Reason.MESSAGE_NOT_FOUND),
            ),
            self._checked,
        )
        what = f"Message {message_id} of library {library_id}"
        category = get_path(message, "category")
        if not isinstance(category, str) or category.lower() != "invite":
            raise Permanent(Reason.MESSAGE_NOT_INVITATION, f"{what} is not of the category invite")
        texts = get_path(message, "messages")
        texts = texts.values() if isinstance(texts, dict) else ()
        if not any(isinstance(text, str) and _LINK.search(text) for text in texts):
            raise Permanent(Reason.MESSAGE_NOT_INVITATION, f"{what} has no link to the survey")

    async def check_directory(self, directory_id: str) -> None:
        """See that the directory exists: there is no way to ask for one by its id."""
        pages = self._pages("list_directories", "list the directories", f"{API}/directories", {}, ids="directoryId")
        async with aclosing(pages):
            async for directory in pages:
                if get_path(directory, "directoryId") == directory_id:
                    return
        what = f"Qualtrics lists no directory {directory_id} for the credentials of {self._remote.source}"
        raise Permanent(Reason.DIRECTORY_NOT_FOUND, what)

    async def check_mailing_list(self, directory_id: str, mailing_list_id: str) -> None:
        """See that the mailing list exists in that directory."""
        await self._remote.call(
            Operation(
                operation="read_mailing_list",
                task=f"show mailing list {mailing_list_id} of directory {directory_id}",
                path=f"{API}/directories/{segment(directory_id)}/mailinglists/{segment(mailing_list_id)}",
                repeat=RetryPolicy.READ,
                refused=_missing(Reason.MAILING_LIST_NOT_FOUND),
            ),
            self._checked,
        )

    # Bringing recipients in.

    async def create_batch(self, directory_id: str) -> str:
        """Open a batch for the people of one run. A lost reply leaves an empty one behind, which harms nobody."""
        return await self._remote.call(
            Operation(
                operation="create_batch",
                task=f"open a batch in directory {directory_id}",
                method="POST",
                path=f"{API}/directories/{segment(directory_id)}/transactionbatches",
                body=compact({"transactionIds": []}),
                repeat=RetryPolicy.READ,
                refused={404: Reason.DIRECTORY_NOT_FOUND},
                rates=(BATCHES,),
            ),
            lambda reply: get_id(reply.document(), "result", "id"),
        )

    async def import_contacts(
        self, directory_id: str, mailing_list_id: str, batch_id: str, run_id: str, addresses: Sequence[str]
    ) -> Imported:
        """Bring one portion into the batch and wait until that is done.

        OutcomeUnknown when the people may be in, now or later: never bring them into this batch again. Qualtrics takes
        one import at a time for a mailing list; those of this process wait for each other.
        """
        path = f"{API}/directories/{segment(directory_id)}/mailinglists/{segment(mailing_list_id)}/transactioncontacts"
        refusals: list[None] = []
        await self._remote.token()  # a token endpoint that hangs must not keep others from the list
        async with self._remote.alone(path):
            import_id, unprocessed = await self._remote.call(
                Operation(
                    operation="import_contacts",
                    task=f"import {len(addresses)} contacts into batch {batch_id}",
                    method="POST",
                    path=path,
                    body=lambda: body(batch_id, run_id, addresses),
                    repeat=RetryPolicy.REFUSED,
                    refused={404: Reason.MAILING_LIST_NOT_FOUND},
                    rates=(IMPORTS,),
                ),
                _started,
                limited=lambda: refusals.append(None),
            )
            created, failed = await self._import_done(f"{path}/{segment(import_id)}", batch_id)
        return Imported(created, failed, unprocessed, limited=bool(refusals))

    async def count_batch(self, directory_id: str, batch_id: str) -> int:
        """How many people are in the batch: one transaction is one mail. Raises `ExportError` if that is not shown."""
        path = f"{API}/directories/{segment(directory_id)}/transactionbatches/{segment(batch_id)}/transactions"
        task = f"list the transactions of batch {batch_id}"
        pages = self._pages("list_transactions", task, path, {}, ids="transactionId", seconds=READ_SECONDS)
        number = 0
        async with aclosing(pages):
            async for _ in pages:
                number += 1
        return number

    async def _import_done(self, path: str, batch_id: str) -> tuple[int, int]:
        """How many are in and how many were refused, when it is over."""
        clock = self._remote.clock
        began = clock.monotonic()
        ask = Operation(
            operation="import_status",
            task=f"tell how the import into batch {batch_id} stands",
            path=path,
            repeat=RetryPolicy.READ,
            rates=(IMPORT_STATUS,),
        )

        async def done() -> tuple[int, int] | None:
            try:
                failed, counts = await self._remote.call(ask, _progress)
            except Transient as error:
                raise _unknown(error) from error
            except Permanent as error:
                if error.status != 404:
                    raise
                if clock.monotonic() - began > NOT_YET_THERE.total_seconds():
                    raise _unknown(error) from error
                return None
            if failed:
                # Some may be in, and how many is not certain: the same as not knowing.
                what = f"Qualtrics ended the import into batch {batch_id} as failed"
                raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
            return counts

        most = IMPORT_DEADLINE.total_seconds()
        counts = await poll(clock, done, first=IMPORT_FIRST_LOOK, longest=IMPORT_LONGEST_PAUSE, most=most)
        if counts is None:
            what = f"Qualtrics did not finish the import into batch {batch_id} in {most / 60:g} minutes"
            raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
        return counts

    # Sending.

    async def send(self, distribution: Distribution) -> str:
        """Ask for the distribution, exactly once; its id.

        Permanent, Transient and RateLimited mean that it was certainly refused, or never asked for. OutcomeUnknown
        means that it may be out: look it up. Nothing is repeated in here, and nothing may repeat it but what knows
        from one of the former that nothing happened. Nothing is waited for either: call `turn_to_send` and
        `ensure_token` before it is written down that this is sent.
        """
        survey_id, batch_id = distribution.survey_id, distribution.batch_id
        return await self._remote.call(
            Operation(
                operation="create_distribution",
                task=f"send survey {survey_id} to batch {batch_id}",
                method="POST",
                path=f"{API}/distributions",
                body=compact(distribution.payload()),
                repeat=RetryPolicy.NEVER,
                otherwise=Reason.SEND_REFUSED,
                waits=False,
                unknown=Reason.DELIVERY_UNKNOWN,
            ),
            lambda reply: get_id(reply.document(), "result", "id"),
        )

    async def find_distribution(self, survey_id: str, batch_id: str, since: datetime, until: datetime) -> str | None:
        """The distribution of the survey to that batch, sent within these times.

        None only if the list was read to its end, every distribution in it shows where it goes, and none goes to this
        batch. Only the batch tells it apart from others of the same survey. Where the list does not show the batch,
        the distribution is read by its id. Raises `ExportError` for anything that could not be seen, unless the
        distribution is found all the same; `NotShown` if Qualtrics answered and does not show enough.
        """
        query = {
            "surveyId": survey_id,
            "sendStartDate": timestamp(since),
            "sendEndDate": timestamp(until),
            "pageSize": "100",
            "useNewPaginationScheme": "true",
        }
        unseen: ExportError | None = None
        task = f"list the distributions of survey {survey_id}"
        pages = self._pages("list_distributions", task, f"{API}/distributions", query, ids="id", seconds=READ_SECONDS)
        async with aclosing(pages):
            async for entry in pages:
                distribution_id = str(entry["id"])
                try:
                    found = goes_to(entry, batch_id)
                    if found is None:
                        found = goes_to(await self._distribution(survey_id, distribution_id), batch_id)
                    if found is None:
                        raise _not_shown(f"does not show the recipients of distribution {distribution_id}")
                except (Permanent, Transient) as error:
                    if error.status == 404:
                        # It is in the list, so it exists, or existed a moment ago.
                        error = _not_shown(f"lists distribution {distribution_id} and does not know it by its id")
                    if unseen is None or isinstance(unseen, NotShown):
                        unseen = error
                    continue
                if found:
                    return distribution_id
        if unseen:
            raise unseen
        return None

    async def delivery(self, survey_id: str, distribution_id: str) -> Delivery:
        """What became of the mails, as far as Qualtrics knows now."""
        found = await self._distribution(survey_id, distribution_id)
        stats = ("sent", "failed", "bounced", "blocked", "skipped", "opened", "started", "finished", "complaints")
        return Delivery(
            request_status=_word(found, "requestStatus"),
            observed_time=self._remote.clock.now(),
            **{name: get_count_or_none(found, "stats", name) for name in stats},
        )

    async def _distribution(self, survey_id: str, distribution_id: str) -> Any:
        ask = Operation(
            operation="read_distribution",
            task=f"show distribution {distribution_id} of survey {survey_id}",
            path=f"{API}/distributions/{segment(distribution_id)}",
            query={"surveyId": survey_id},
            repeat=RetryPolicy.READ,
        )
        return await self._read(ask, _result, seconds=READ_SECONDS)

    async def _read(self, ask: Operation, read: Callable[[Response], T], *, seconds: float | None) -> T:
        """A read that ends in time, whatever its retries, the limiter or the token take."""
        try:
            async with TimeLimit(self._remote.clock, seconds):
                return await self._remote.call(ask, read)
        except OutOfTime:
            what = f"Qualtrics did not {ask.task} within {(seconds or 0) / 60:g} minutes"
            raise Transient(Reason.REMOTE_UNAVAILABLE, what) from None

    async def _pages(
        self,
        operation: str,
        task: str,
        path: str,
        query: Mapping[str, str],
        *,
        ids: str,
        seconds: float | None = None,
    ) -> AsyncGenerator[Any, None]:
        """The elements of all pages. `nextPage` may name another host of Qualtrics: it is asked for here, all the same.

        Of that URL only the query is taken, and only if it may be followed: the token goes nowhere else. An element
        without its id would be one that nobody has looked at. A page that does not say whether another one follows is
        an error, after its elements: more may be there than was shown. `seconds` is the limit for each page.
        """
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            ask = Operation(operation=operation, task=task, path=path, query=query, repeat=RetryPolicy.READ)
            page = await self._read(ask, lambda reply: _page(reply, ids), seconds=seconds)
            for element in page.elements:
                yield element
            if page.last:
                return
            if page.following is None:
                what = f"Qualtrics' answer when asked to {task} does not say whether more follows"
                raise Transient(Reason.REMOTE_REPLY_INVALID, what)
            # First of all: it limits the length of what is kept.
            url = self._remote.allowed(page.following, f"The next page, when Qualtrics is asked to {task},")
            if page.following in seen:
                break
            seen.add(page.following)
            text = url.rest.partition("?")[2]
            query = dict(parse_qsl(text, keep_blank_values=True))
        raise Transient(Reason.REMOTE_REPLY_INVALID, f"Qualtrics' pages have no end, when asked to {task}")


def _not_shown(what: str) -> NotShown:
    return NotShown(Reason.REMOTE_REPLY_INVALID, f"Qualtrics {what}")


def _missing(reason: Reason) -> dict[int, Reason]:
    """A wrong id is a 404, a malformed one a 400."""
    return {400: reason, 404: reason}


def _unknown(error: Transient | Permanent) -> OutcomeUnknown:
    reason = error.reason if isinstance(error, Transient) else Reason.REMOTE_REPLY_INVALID
    return OutcomeUnknown(
        reason, error.what, status=error.status, remote_code=error.remote_code, request_id=error.request_id
    )


def _result(reply: Response) -> Any:
    """What is in the envelope."""
    result = get_path(reply.document(), "result")
    if not isinstance(result, dict):
        raise NotUnderstood("it has no result")
    return result


@dataclass(frozen=True, slots=True)
class _Page:
    elements: list[Any]
    following: str | None
    last: bool


def _page(reply: Response, ids: str) -> _Page:
    result = _result(reply)
    elements = get_list(result, "elements")
    if len(elements) > MOST_ELEMENTS:
        raise TooMuch(f"a page has more than {MOST_ELEMENTS:,} elements")
    for element in elements:
        get_id(element, ids)
    following = result.get("nextPage")
    if following is not None and not isinstance(following, str):
        raise NotUnderstood("its nextPage is no URL")
    return _Page(elements, following or None, last=following is None and "nextPage" in result)


def _started(reply: Response) -> tuple[str, int]:
    """The import's id, and how many contacts it does not even look at."""
    result = _result(reply)
    unprocessed = get_path(result, "contacts", "unprocessed")
    return get_id(result, "id"), len(unprocessed) if isinstance(unprocessed, list) else 0


def _progress(reply: Response) -> tuple[bool, tuple[int, int] | None]:
    """Whether the import failed; created and failed when it is over, None while it is not."""
    result = _result(reply)
    status = get_text(result, "status").lower()
    if status in ("failed", "error", "cancelled", "canceled"):
        return True, None
    over = status in ("complete", "completed")
    if not over and (status == "inprogress" or (get_count_or_none(result, "percentComplete") or 0) < 100):
        return False, None
    created = get_count(result, "transactions", "count", "created")
    return False, (created, get_count_or_none(result, "contacts", "count", "failed") or 0)


def _word(document: Any, key: str) -> str | None:
    """One of Qualtrics' own words, of letters; nothing else is let into a status."""
    word = get_code_or_none(document, key)
    return word if word and word.isalpha() and len(word) <= LONGEST_WORD else None


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text[:64])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
