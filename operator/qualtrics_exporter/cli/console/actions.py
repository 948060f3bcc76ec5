"""Writes the requests of the reader. One confirmation page causes at most one request, however often it is sent.

The token of a request is the time at which the page with its button was made, and it comes back with the form. So a
second click writes the same token, which acts once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    time: datetime

    @classmethod
    def of(cls, exporter: Exporter, now: datetime) -> "Confirmed":
        """For the form of a page that shows this exporter now."""
        return cls(exporter.namespace, exporter.name, exporter.uid, exporter.generation, now)

    @property
    def fields(self) -> Mapping[str, str]:
        """The hidden fields of the form."""
        return {"uid": self.uid, "generation": str(self.generation), "time": timestamp(self.time)}

    @classmethod
    def from_form(cls, namespace: str, name: str, form: Mapping[str, object]) -> "Confirmed":
        """Raises `Refused` if the form is not from a page of the console."""
        try:
            time = datetime.fromisoformat(str(form["time"]))
            return cls(namespace, name, str(form["uid"]), int(str(form["generation"])), time)
        except (KeyError, ValueError):
            raise Refused("the form is incomplete. Open the page again") from None


async def run(source: Source, confirmed: Confirmed, now: datetime) -> str:
    """Request a run, and return its id. Raises `Refused` and `Failed`."""
    return await _request(source, RUN, confirmed, now, lambda exporter: requests.request_run(exporter, confirmed.time))


async def test(source: Source, confirmed: Confirmed, now: datetime, *, deliver: bool) -> str:
    """Request a test, and return its id. Raises `Refused` and `Failed`."""

    def change(exporter: Exporter) -> Request:
        return requests.request_test(exporter, confirmed.time, deliver=deliver)

    return await _request(source, TEST, confirmed, now, change)


async def suspend(source: Source, namespace: str, name: str, *, suspended: bool) -> None:
    """Suspend or resume. Raises `Failed`."""
    await _write(source, namespace, name, lambda exporter: requests.suspension(exporter, suspend=suspended))


async def resolve(source: Source, confirmed: Confirmed, value: str) -> None:
    """Report the outcome of an unknown run. Raises `Refused` and `Failed`."""

    def change(exporter: Exporter) -> Patch:
        if exporter.uid != confirmed.uid:
            raise Refused("the exporter was deleted, and another one has its name now. Nothing was changed")
        return requests.report_outcome(exporter, value).patch

    await _write(source, confirmed.namespace, confirmed.name, change)


async def _request(
    source: Source, kind: Kind, confirmed: Confirmed, now: datetime, decide: Callable[[Exporter], Request]
) -> str:
    run_id = kind.id_of(confirmed.uid, timestamp(confirmed.time))
    if not now - LONGEST_CONFIRMATION < confirmed.time <= now + timedelta(seconds=1):
        raise Refused("this page is older than an hour. Nothing was requested. Look again")

    def change(exporter: Exporter) -> Patch | None:
        if exporter.uid == confirmed.uid and _is_known(exporter, kind, confirmed, run_id):
            return None
        requests.check_unchanged(confirmed.uid, confirmed.generation, exporter)
        return decide(exporter).patch

    await _write(source, confirmed.namespace, confirmed.name, change)
    return run_id


def _is_known(exporter: Exporter, kind: Kind, confirmed: Confirmed, run_id: str) -> bool:
    """Whether the same page made the request before."""
    status = exporter.status
    return (
        exporter.annotations.get(kind.annotation) == timestamp(confirmed.time)
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
