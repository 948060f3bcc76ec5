"""Simulates exporters that share a mailing list and are due in one slot, on virtual time, for `benchmarks.shared_list`.

    python -m benchmarks.shared_list_simulation EXPORTERS

It prints a `SharedList` as JSON. Its figures do not depend on the time of the machine, so it only uses processors that
nothing else uses.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import asdict, dataclass

from benchmarks.queue_simulation import (
    BEGIN,
    PEOPLE,
    SLOT,
    CountingNetwork,
    QueueSimulation,
    exporter_spec,
    idle_status,
)
from tests.simulation.api_server import Body
from tests.simulation.clock import EPOCH, true_time

IMPORT_SECONDS = 15.0


@dataclass(kw_only=True)
class SharedList:
    """What was sent."""

    sends: list[float]
    """When Qualtrics got the request for each distribution, in seconds after the slot, in order."""
    mails: int
    most_to_one_address: int
    rate_limited: int
    """The number of requests that were answered with 429."""


class SharedListSimulation(QueueSimulation):
    """An operator, and exporters of one tenant with one mailing list."""

    network_class = CountingNetwork

    def __init__(self, exporters: int) -> None:
        super().__init__(exporters, 0, 1)

    def run_slot(self) -> SharedList:
        """Start the operator, and run until every exporter has an entry for its slot."""
        self.run()
        slot = (SLOT - EPOCH).total_seconds()
        distributions = [sent for brand in self._brands for sent in brand.recorder.distributions]
        mails = Counter(address for sent in distributions for address in sent.recipients)
        return SharedList(
            sends=sorted(sent.asked - slot for sent in distributions),
            mails=mails.total(),
            most_to_one_address=max(mails.values(), default=0),
            rate_limited=self.network.rate_limited,
        )

    def _add_tenant(self, tenant: int, exporters: int, tenants: int, slow_minutes: float) -> None:
        namespace, nexthink, qualtrics = self._add_services(tenant)
        qualtrics.account.import_polls, qualtrics.account.import_seconds = sys.maxsize, IMPORT_SECONDS
        shared = qualtrics.add_target(0)["mailingListId"]
        status: Body | None = None
        for number in range(exporters):
            name, query = f"exporter-{number:05d}", f"#q{number}"
            nexthink.add(query, PEOPLE)
            spec = exporter_spec(query, {**qualtrics.add_target(number), "mailingListId": shared})
            body = self.server.create(namespace, name, spec, labels={}, annotations={})
            status = status or idle_status(body, true_time(BEGIN))
            self.server.exporters[namespace, name] = {**body, "status": status}
            self.unfinished.add(name)


def main() -> None:
    """Simulate the slot and print what was sent."""
    os.nice(19)
    print(json.dumps(asdict(SharedListSimulation(int(sys.argv[1])).run_slot())), flush=True)


if __name__ == "__main__":
    main()
