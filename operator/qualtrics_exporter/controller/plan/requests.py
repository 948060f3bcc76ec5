"""Requests: what a person or a tool requests with an annotation, and the receipts by which each token acts once.

Git may restore an old annotation at any time, so a token is remembered for the lifetime of the object. Each kind of
request has its own receipts: a thousand tests never displace the receipt of a run.

An annotation may contain anything, such as an e-mail address. So the status shows a token only if it is a time or an
identifier, and otherwise its digest. Ids and receipts are hashes of the token.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from qualtrics_exporter.controller.status import resolution
from qualtrics_exporter.export.run_ids import request_run_id, settlement_id, test_run_id
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import HANDLED_REQUESTS, HANDLED_TOKENS, HistoryEntry, Result, Status, Trigger

LONGEST_TOKEN = 253
"""Characters. The identity of a longer token is its digest."""
_KEPT = 10
"""Characters of an id in a receipt: 50 bits. A new token equals one of 5,000 receipts in 1 of 10^11 cases."""
RECENT_TOKENS = HANDLED_TOKENS // 50
RECENT_REQUESTS = HANDLED_REQUESTS // 2
"""How many of the newest receipts and ids count as recent: see `with_current_receipts`."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_SHOWN = 63
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]*")
"""The characters of a label value, and those of a time."""
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_PART = rf"(?:(?:{_DAYS}|{_MONTHS})[,.]?|[0-9+-][0-9:.,+TZ-]*|AM|PM|[A-Z]{{3,5}})"
_DATE = re.compile(rf"(?=.*[0-9]){_PART}(?: {{1,2}}{_PART})*")
"""A time as `date` prints it in English."""


@dataclass(frozen=True, slots=True)
class Token:
    """The value of an annotation, which acts once."""

    identity: str
    """The input of ids and receipts. It is the same in all versions: a token that has acted never acts again."""
    shown: str
    """The token as the status shows it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: its annotation, the status fields of its receipts, and the ids of its tokens."""

    annotation: str
    last: str
    """The status field with the token that was handled last."""
    handled: str
    """The status field with the receipts."""
    id_of: Callable[[str, str], str]
    """The id, from the uid of the exporter and the identity of the token."""

    def token(self, exporter: Exporter) -> Token | None:
        text = exporter.annotations.get(self.annotation)
        if not text:
            return None
        if self is SETTLEMENT:
            # A value that cannot be parsed may be a mistake, such as an address.
            identity = text if resolution.understood(text) else _digest(text)
            return Token(identity, identity)
        return Token(
            identity=text if len(text) <= LONGEST_TOKEN else _digest(text),
            shown=text if _is_plain(text) else _digest(text),
        )


RUN = Kind(RUN_REQUESTED_AT, "last_handled_run_request", "handled_run_requests", request_run_id)
TEST = Kind(TEST_REQUESTED_AT, "last_handled_test_request", "handled_test_requests", test_run_id)
SETTLEMENT = Kind(SETTLE_RUN, "last_handled_settlement", "handled_settlements", settlement_id)
KINDS = (RUN, TEST, SETTLEMENT)


def requested(kind: Kind, exporter: Exporter, status: Status | None = None) -> Token | None:
    """The token of a request that has no receipt yet in this status (by default, the status of the exporter)."""
    token = kind.token(exporter)
    return None if token is None or _handled(kind, exporter.uid, status or exporter.status, token) else token


def with_receipt(kind: Kind, exporter: Exporter, status: Status, token: Token) -> Status:
    status = _with_older_receipts(status)
    id_ = kind.id_of(exporter.uid, token.identity)
    receipts = _in_front(id_[:_KEPT], getattr(status, kind.handled) or [], HANDLED_TOKENS)
    # Versions before 0.2 know only `handledRequests`, and an older CRD keeps no other receipts.
    recent = [id_, *(known for known in status.handled_requests or [] if known != id_)]
    current = {k.id_of(exporter.uid, t.identity) for k in KINDS if (t := k.token(exporter))}
    recent.sort(key=lambda known: known not in current)  # the sort is stable: the newest stay first
    update = {kind.last: token.shown, kind.handled: receipts, "handled_requests": recent[:HANDLED_REQUESTS]}
    return status.model_copy(update=update)


def with_current_receipts(exporter: Exporter, status: Status) -> Status:
    """The status in which the receipts of the handled tokens in the annotations are recent.

    A tool may restore a token again and again, with many other tokens in between. Its receipt was written when it was
    handled, and newer receipts would displace it. So it moves to the front, unless it is recent: then the status does
    not change, and most tokens never cause a write.
    """
    for kind in KINDS:
        token = kind.token(exporter)
        if token is None or not _handled(kind, exporter.uid, status, token):
            continue
        id_ = kind.id_of(exporter.uid, token.identity)
        receipts, ids = getattr(status, kind.handled), status.handled_requests or []
        update: dict[str, list[str]] = {}
        # Without receipts, the CRD may be older and drop them: then writing them each time would be useless.
        if receipts is not None and id_[:_KEPT] not in receipts[:RECENT_TOKENS]:
            update[kind.handled] = _in_front(id_[:_KEPT], receipts, HANDLED_TOKENS)
        if id_ not in ids[:RECENT_REQUESTS]:
            update["handled_requests"] = _in_front(id_, ids, HANDLED_REQUESTS)
        if update:
            status = status.model_copy(update=update)
    return status


def _in_front(first: str, others: list[str], limit: int) -> list[str]:
    return [first, *(other for other in others if other != first)][:limit]


def _with_older_receipts(status: Status) -> Status:
    """The status with the receipts of a version before 0.2, which knows only `handledRequests`, in the newer lists.

    Otherwise later requests would displace them after an upgrade. Ids of different kinds never collide, so each list
    can contain all of them.
    """
    older = [id_[:_KEPT] for id_ in status.handled_requests or []]
    update = {kind.handled: older for kind in KINDS if getattr(status, kind.handled) is None}
    return status.model_copy(update=update) if older and update else status


def with_receipts_again(exporter: Exporter, status: Status) -> Status:
    """The status with receipts for what it still shows: the last token of each kind, the active run, the entries.

    These are replaced soon, and the token may not be in the annotation any more.
    """
    status = _with_older_receipts(status)
    shown = [part for part in (status.active_run, status.last_test, *(status.history or [])) if part]
    for kind, trigger in ((RUN, "Request"), (TEST, "Test"), (SETTLEMENT, None)):
        last = getattr(status, kind.last)
        ids = [_id_of_shown(kind, exporter.uid, last)] if last else []
        ids += [part.id for part in shown if part.trigger == trigger]
        receipts = getattr(status, kind.handled) or []
        if missing := [id_[:_KEPT] for id_ in dict.fromkeys(ids) if id_[:_KEPT] not in receipts]:
            status = status.model_copy(update={kind.handled: [*missing, *receipts][:HANDLED_TOKENS]})
    return status


def _id_of_shown(kind: Kind, uid: str, shown: str) -> str:
    """The id of a token of which only the text in the status is known.

    If that text is a digest, this id is not the id of the run. No annotation can contain the null character, so a token
    that looks like the digest of another token has a different id.
    """
    return kind.id_of(uid, f"\0{shown}" if _DIGEST.fullmatch(shown) else shown)


def without_texts(status: Status) -> Status:
    """The status with a digest for each token that must not be shown. Earlier versions showed all tokens."""
    update = {
        kind.last: _digest(text)
        for kind in (RUN, TEST)
        if (text := getattr(status, kind.last)) and not _is_plain(text) and not _DIGEST.fullmatch(text)
    }
    return status.model_copy(update=update) if update else status


def wants_delivery(exporter: Exporter) -> bool:
    """Whether the test e-mails people. Only the exact word counts: a doubtful test is dry.

    A token that begins with "dry" is a dry test whatever the mode says: mode and token are two annotations, and a
    GitOps tool may restore an old "Deliver".
    """
    meant_dry = exporter.annotations.get(TEST_REQUESTED_AT, "").lower().startswith("dry")
    return exporter.annotations.get(TEST_MODE) == "Deliver" and not meant_dry


def _handled(kind: Kind, uid: str, status: Status, token: Token) -> bool:
    id_ = kind.id_of(uid, token.identity)
    receipts = getattr(status, kind.handled) or []
    return (
        _is_last(token, getattr(status, kind.last))
        or id_[:_KEPT] in receipts
        or _id_of_shown(kind, uid, token.shown)[:_KEPT] in receipts
        or id_ in (status.handled_requests or [])
    )


def _is_last(token: Token, last: str | None) -> bool:
    # Earlier versions wrote the identity. A digest there belongs to another text, even if this token looks like it.
    return last == token.shown or (last == token.identity and not _DIGEST.fullmatch(token.identity))


def _is_plain(text: str) -> bool:
    """Whether the text is a time or an identifier, and so may be shown."""
    return len(text) <= _LONGEST_SHOWN and bool(_IDENTIFIER.fullmatch(text) or _DATE.fullmatch(text))


def _digest(text: str) -> str:
    return "sha256:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def refuse_run(exporter: Exporter, status: Status, now: datetime, result: Result, reason: Reason, what: str) -> Status:
    """Refuse a request of a run: write its receipt and an entry, so that nobody waits for it."""
    token = requested(RUN, exporter, status)
    if token is None:
        return status
    entry = _refusal("Request", RUN.id_of(exporter.uid, token.identity), now, result, reason, what)
    return with_receipt(RUN, exporter, status.with_entry(entry), token)


def refuse_test(exporter: Exporter, status: Status, now: datetime, reason: Reason) -> Status:
    """Refuse a request of a test: write its receipt, and an entry unless that test has one.

    The entry becomes the last test. But a last test whose outcome is in doubt stays, because it can only be looked for
    and settled there: then the entry goes into the history.
    """
    token = requested(TEST, exporter, status)
    if token is None:
        return status
    id_ = TEST.id_of(exporter.uid, token.identity)
    if not any(entry.id == id_ for entry in status.entries):
        entry = _refusal("Test", id_, now, "Skipped", reason, "The test did not start")
        unseen = status.last_test is not exporter.status.last_test  # another test has ended in the same plan
        if unseen or any(doubted is status.last_test for doubted in resolution.in_doubt(status)):
            status = status.with_entry(entry)
        else:
            status = status.model_copy(update={"last_test": entry})
    return with_receipt(TEST, exporter, status, token)


def _refusal(trigger: Trigger, id_: str, now: datetime, result: Result, reason: Reason, what: str) -> HistoryEntry:
    return HistoryEntry(
        id=id_,
        trigger=trigger,
        completion_time=now,
        result=result,
        reason=str(reason),
        message=f"{what}, nobody was mailed. {reason.meaning} {reason.next_step}".rstrip(),
    )


def with_tokens_handled(exporter: Exporter, status: Status, kinds: tuple[Kind, ...] = KINDS) -> Status:
    """The status in which the tokens that are in the annotations of these kinds now never act.

    The field with the last token is not enough: the next token replaces it there.
    """
    for kind in kinds:
        token = kind.token(exporter)
        if token and kind.id_of(exporter.uid, token.identity)[:_KEPT] not in (getattr(status, kind.handled) or []):
            status = with_receipt(kind, exporter, status, token)
    return status
