"""A stage with two replicas that a real Prometheus scrapes, whose alerts a real Alertmanager sends to a webhook.

**Time.** Nobody can move the clock of Prometheus, and the operators run on a clock that the test moves. So the stage
begins in the past, and `catch_up` moves its clock to the time of the machine: then the times in the metrics fit to
`time()` of Prometheus. The rules have a shorter `for`, see `shortened`; all thresholds are unchanged.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.alerts.rules import OPERATOR, PREFIX, shortened
from tests.support.alertmanager import Alertmanager, Notification, Webhook, to_webhook
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.prometheus import Prometheus
from tests.support.stage import Stage
from tests.support.waiting import eventually

BEHIND = timedelta(hours=3)


class MonitoredStage:
    """The stage, its replicas, and what watches them."""

    def __init__(self, stage: Stage, folder: Path, stack: ExitStack, durations: Mapping[str, str]) -> None:
        self.stage = stage
        self.webhook = stack.enter_context(Webhook())
        rules = folder / "alerts.yaml"
        rules.write_text(shortened(durations))
        alertmanager = stack.enter_context(Alertmanager(folder / "alertmanager", to_webhook(self.webhook.url)))
        self.prometheus = stack.enter_context(
            Prometheus(folder / "prometheus", rules=[rules], alertmanager=alertmanager.address)
        )
        self.replicas = [stage.operator(election=True, steered_lease=True) for _ in range(2)]
        self.scrape()

    def scrape(self) -> None:
        """Scrape the current addresses of the replicas. Each has the labels that a ServiceMonitor gives it."""
        self.prometheus.scrape(
            {replica.address: {**OPERATOR, "pod": replica.folder.name} for replica in self.replicas if replica.alive}
        )

    def leader(self) -> Operator:
        """The replica that leads."""

        def poll() -> list[Operator]:
            return [r for r in self.replicas if r.alive and "qualtrics_exporter_leader 1.0" in r.metrics()]

        return eventually(poll, "a replica leads")[0]

    def catch_up(self) -> None:
        """Move the clock of the stage to the time of the machine."""
        while (behind := (datetime.now(UTC) - self.stage.clock.now()).total_seconds()) > 1:
            self.stage.pass_time(min(behind, 600.0))

    def notifications(self, alert: str, **labels: str) -> list[Notification]:
        """What arrived about an alert, oldest first."""
        return [
            notification
            for notification in self.webhook.notifications
            if notification.alert == PREFIX + alert and labels.items() <= notification.labels.items()
        ]

    def fires(self, alert: str, **labels: str) -> Notification:
        """Wait until the alert arrives, and return it."""
        return self._until("firing", alert, labels)

    def resolves(self, alert: str, **labels: str) -> Notification:
        """Wait until the alert that arrived before is resolved."""
        return self._until("resolved", alert, labels)

    def _until(self, status: str, alert: str, labels: Mapping[str, str]) -> Notification:
        def arrived() -> bool:
            found = self.notifications(alert, **labels)
            return bool(found) and found[-1].status == status

        self.webhook.until(arrived, f"{alert} {labels} is {status}")
        return self.notifications(alert, **labels)[-1]


@contextmanager
def monitored_stage(
    cluster: ControlPlane, namespace: str, folder: Path, durations: Mapping[str, str]
) -> Iterator[MonitoredStage]:
    """A monitored stage that begins in the past. `durations` replaces durations in the rules."""
    with ExitStack() as stack:
        start = datetime.now(UTC).replace(microsecond=0) - BEHIND
        yield MonitoredStage(Stage(cluster, namespace, folder, stack, start=start), folder, stack, durations)
