"""Writes the requests of the reader. One confirmation page causes at most one request, however often it is sent.

The token of a request is the time at which the page with its button was made, and it comes back with the form. So a
second click writes the same token, which acts once.

A page may be open for long, and another page or user may act meanwhile. So the form also has what its page showed. A
page that e-mails people acts only if the exporter is still the same, and nothing has run since.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from qualtrics_exporter.cli.console.source import Source
from qualtrics_exporter.cli.qex import requests
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.cli.qex.requests import Patch, Refused, Request
from qualtrics_exporter.controller.plan.requests import RUN, TEST, Kind
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import timestamp

ATTEMPTS = 10
"""How often a conflicting write is tried. The operator may be writing the status at the same time."""
LONGEST_CONFIRMATION = timedelta(hours=1)
"""A confirmation page that was open for longer is not valid: its number of people may be out of date."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the reader saw when confirming: which object, and when."""

    namespace: str
    name: str
    uid: str
    generation: int
    latest: str
    time: datetime

    @classmethod
    def of(cls, exporter: Exporter, now: datetime) -> "Confirmed":
        """For the form of a page that shows this exporter now."""
        return cls(exporter.namespace, exporter.name, exporter.uid, exporter.generation, requests.latest(exporter), now)

    @property
    def fields(self) -> Mapping[str, str]:
        """The hidden fields of the form."""
        time = timestamp(self.time)
        return {"uid": self.uid, "generation": str(self.generation), "latest": self.latest, "time": time}

    @classmethod
    def from_form(cls, namespace: str, name: str, form: Mapping[str, object]) -> "Confirmed":
        """Raises `Refused` if the form is not from a page of the console."""
        try:
            time = datetime.strptime(str(form["time"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            return cls(namespace, name, str(form["uid"]), int(str(form["generation"])), str(form["latest"]), time)
        except (KeyError, ValueError):
            raise Refused("the form is incomplete. Open the page again") from None


async def run(source: Source, confirmed: Confirmed, now: datetime) -> str:
    """Request a run, and return its id. Raises `Refused` and `Failed`."""

    def change(exporter: Exporter) -> Request:
        requests.check_no_newer_run(confirmed.latest, exporter)
        return requests.request_run(exporter, confirmed.time)

    return await _request(source, RUN, timestamp(confirmed.time), confirmed, now, change)


async def test(source: Source, confirmed: Confirmed, now: datetime, *, deliver: bool) -> str:
    """Request a test, and return its id. Raises `Refused` and `Failed`."""

    def change(exporter: Exporter) -> Request:
        if deliver:
            requests.check_no_newer_run(confirmed.latest, exporter)
        return requests.request_test(exporter, confirmed.time, deliver=deliver)

    token = requests.test_token(confirmed.time, deliver=deliver)
    return await _request(source, TEST, token, confirmed, now, change)


async def suspend(source: Source, confirmed: Confirmed) -> None:
    """Suspend. An old page may do it, too: it only stops e-mail. Raises `Failed`."""
    await _write(
        source, confirmed.namespace, confirmed.name, lambda exporter: requests.suspension(exporter, suspend=True)
    )


async def resume(source: Source, confirmed: Confirmed, now: datetime) -> None:
    """Resume, unless somebody has changed the exporter since the page was made. Raises `Refused` and `Failed`."""

    def change(exporter: Exporter) -> Patch | None:
        patch = requests.suspension(exporter, suspend=False)
        if patch is not None:
            _check_age(confirmed, now)
            requests.check_unchanged(confirmed.uid, confirmed.generation, exporter)
        return patch

    await _write(source, confirmed.namespace, confirmed.name, change)


async def resolve(source: Source, confirmed: Confirmed, run_id: str, outcome: str, seen: str) -> None:
    """Report the outcome of an unknown run. `seen` is what the page showed of it. Raises `Refused` and `Failed`."""
    value = f"{run_id}={outcome}"

    def change(exporter: Exporter) -> Patch | None:
        requests.check_same(confirmed.uid, exporter)
        forms = (value, requests.repeated(value, confirmed.time))
        if any(requests.is_newest_report(exporter, each) for each in forms):
            return None  # for example, the same page has reported it before
        requests.check_same_outcome(seen, exporter, run_id)
        return requests.report_outcome(exporter, value, confirmed.time).patch

    await _write(source, confirmed.namespace, confirmed.name, change)


async def _request(
    source: Source,
    kind: Kind,
    token: str,
    confirmed: Confirmed,
    now: datetime,
    decide: Callable[[Exporter], Request],
) -> str:
    run_id = kind.id_of(confirmed.uid, token)
    _check_age(confirmed, now)

    def change(exporter: Exporter) -> Patch | None:
        if exporter.uid == confirmed.uid and _is_known(exporter, kind, token, run_id):
            return None
        requests.check_unchanged(confirmed.uid, confirmed.generation, exporter)
        return decide(exporter).patch

    await _write(source, confirmed.namespace, confirmed.name, change)
    return run_id


def _check_age(confirmed: Confirmed, now: datetime) -> None:
    if confirmed.time > now + timedelta(seconds=1):
        raise Refused("the clock of this machine was set back. Nothing was changed. Look again")
    if confirmed.time <= now - LONGEST_CONFIRMATION:
        raise Refused("this page is older than an hour. Nothing was changed. Look again")


def _is_known(exporter: Exporter, kind: Kind, token: str, run_id: str) -> bool:
    """Whether the same page made the request before."""
    status = exporter.status
    return (
        exporter.annotations.get(kind.annotation) == token
        or (status.active_run is not None and status.active_run.id == run_id)
        or any(entry.id == run_id for entry in status.entries)
    )


async def _write(source: Source, namespace: str, name: str, change: Callable[[Exporter], Patch | None]) -> None:
    """Read, decide, and write if the object has not changed in the meantime; on a conflict do it again."""
    for _ in range(ATTEMPTS):
        found = await source.get(namespace, name)
        patch = change(Exporter.from_object(found))
        if patch is None:
            return
        try:
            await source.patch(found, patch)
        except Failed as failed:
            if failed.cause != "Conflict":
                raise
        else:
            return
    raise Failed("The exporter changes all the time. Nothing was requested. Try again.")
