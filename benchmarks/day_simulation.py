"""Simulates a day of an operator with many exporters and several schedules, on virtual time, for `benchmarks.day`.

    python -m benchmarks.day_simulation EXPORTERS TENANTS

It prints a `Day` as JSON. It computes for minutes, and its figures do not depend on the time of the machine, so it only
uses processors that nothing else uses.
"""

import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from benchmarks.queue_simulation import BEGIN, SLOT, QueueSimulation, exporter_spec, idle_status
from benchmarks.remote_process import IMPORT_SECONDS, IMPORT_SECONDS_PER_THOUSAND
from qualtrics_exporter.resource.spec import ScheduleSpec
from qualtrics_exporter.schedule import count_slots
from tests.simulation import patches
from tests.simulation.api_server import Body
from tests.simulation.clock import true_time

DAY = timedelta(days=1)
GRACE = timedelta(hours=2)
"""Runs that began in the day may end so much later."""
PEOPLE = 3
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ZONES = ("UTC", "Europe/Zurich", "America/New_York")
TENTHS_WEEKLY, TENTHS_DAILY = 6, 3
"""Of ten exporters, so many have a weekly and a daily schedule. The others run every four hours."""


@dataclass
class Day:
    """What happened in a day. Times are in seconds."""

    expected: int = 0
    """The number of slots of all exporters."""
    results: dict[str, int] = field(default_factory=dict)
    """The number of slots that ended, by result."""
    longest_start: float = 0.0
    """The longest time from a slot to the start of its run."""
    longest_send: float = 0.0
    """The longest time from a slot to the end of its run."""
    rate_limited: int = 0
    """The number of requests that were answered with 429: a limit was violated."""
    sent_twice: int = 0
    """The number of distributions beyond the first one of a run."""
    cpu: float = 0.0


def schedule_of(number: int) -> dict[str, Any]:
    """The schedule of an exporter."""
    kind, zone = number % 10, ZONES[number // 10 % len(ZONES)]
    if kind < TENTHS_WEEKLY:
        return {"frequency": "Weekly", "dayOfWeek": WEEKDAYS[number // 10 % len(WEEKDAYS)], "timeZone": zone}
    if kind < TENTHS_WEEKLY + TENTHS_DAILY:
        return {"frequency": "Daily", "timeZone": zone}
    return {"frequency": "Hourly", "everyHours": 4, "timeZone": zone}


def slots_of(schedule: dict[str, Any]) -> int:
    """The number of slots of a schedule in the day."""
    parsed = ScheduleSpec.model_validate(schedule).in_zone("UTC")
    moment = timedelta(microseconds=1)
    return count_slots(parsed, SLOT - moment, SLOT + DAY - moment)


class DaySimulation(QueueSimulation):
    """An operator, and exporters with several schedules and tenants."""

    def __init__(self, exporters: int, tenants: int) -> None:
        self.day = Day()
        self._seen: set[tuple[str, str]] = set()
        self._statuses: dict[str, Body] = {}
        super().__init__(exporters, 0, tenants)

    def run_day(self) -> Day:
        """Start the operator and run until the day is over."""
        began, day = time.process_time(), self.day
        with patches.repeatable(0), patches.logs(None):
            self.loop.outside(0.0, self._replica.start)
            self.loop.run_until(BEGIN + (DAY + GRACE).total_seconds())
            self.loop.dispose()
        day.rate_limited = self.network.rate_limited
        runs = Counter(run for one in self._brands for sent in one.recorder.distributions for run in sent.run_ids)
        day.sent_twice = sum(number - 1 for number in runs.values())
        day.cpu = time.process_time() - began
        return day

    def _add_tenant(self, tenant: int, exporters: int, tenants: int, slow_minutes: float) -> None:
        namespace, nexthink, qualtrics = self._add_services(tenant)
        account = qualtrics.account
        account.import_seconds, account.import_seconds_per_thousand = IMPORT_SECONDS, IMPORT_SECONDS_PER_THOUSAND
        for number in range(tenant, exporters, tenants):
            name, query, schedule = f"exporter-{number:05d}", f"#q{number}", schedule_of(number)
            nexthink.add(query, PEOPLE)
            spec = {**exporter_spec(query, qualtrics.add_target(number)), "schedule": schedule}
            body = self.server.create(namespace, name, spec, labels={}, annotations={})
            key = repr(schedule)
            if key not in self._statuses:
                self._statuses[key] = idle_status(body, true_time(BEGIN))
            self.server.exporters[namespace, name] = {**body, "status": self._statuses[key]}
            self.day.expected += slots_of(schedule)

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        name, day = body["metadata"]["name"], self.day
        for entry in body["status"].get("history", ()):
            slot = datetime.fromisoformat(entry["scheduledTime"])
            if (name, entry["id"]) in self._seen or slot >= SLOT + DAY:
                continue
            self._seen.add((name, entry["id"]))
            day.results[entry["result"]] = day.results.get(entry["result"], 0) + 1
            if "startTime" in entry:
                day.longest_start = max(day.longest_start, _seconds(slot, entry["startTime"]))
                day.longest_send = max(day.longest_send, _seconds(slot, entry["completionTime"]))
        if sum(day.results.values()) == day.expected:
            self.loop.stopped = True


def _seconds(slot: datetime, moment: str) -> float:
    return (datetime.fromisoformat(moment) - slot).total_seconds()


def main() -> None:
    """Simulate a day and print it."""
    os.nice(19)
    exporters, tenants = map(int, sys.argv[1:])
    print(json.dumps(asdict(DaySimulation(exporters, tenants).run_day())), flush=True)


if __name__ == "__main__":
    main()
