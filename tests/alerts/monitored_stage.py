"""A stage with two replicas that a real Prometheus scrapes, whose alerts a real Alertmanager sends to a webhook.

**Time.** Nobody can move the clock of Prometheus, and the operators run on a clock that the test moves. Both begin with
the time of the machine, and a test moves the clock by minutes only, so the times in the metrics fit to `time()` of
Prometheus. The rules have shorter durations, see `shortened`.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.alerts.rules import OPERATOR, PREFIX, shortened
from tests.support.alertmanager import Alertmanager, Notification, Webhook, to_webhook
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.prometheus import Prometheus
from tests.support.stage import Stage
from tests.support.waiting import eventually


class MonitoredStage:
    """The stage, its replicas, and what watches them."""

    def __init__(
        self, stage: Stage, folder: Path, stack: ExitStack, durations: Mapping[str, str], arguments: tuple[str, ...]
    ) -> None:
        self.stage = stage
        self.webhook = stack.enter_context(Webhook())
        rules = folder / "alerts.yaml"
        rules.write_text(shortened(durations))
        alertmanager = stack.enter_context(Alertmanager(folder / "alertmanager", to_webhook(self.webhook.url)))
        self.prometheus = stack.enter_context(
            Prometheus(folder / "prometheus", rules=[rules], alertmanager=alertmanager.address)
        )
        self.replicas = [stage.operator(*arguments, election=True, steered_lease=True) for _ in range(2)]
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
            return any(found.status == status for found in self.notifications(alert, **labels))

        self.webhook.until(arrived, f"{alert} {labels} is {status}")
        return next(found for found in self.notifications(alert, **labels) if found.status == status)


@contextmanager
def monitored_stage(
    cluster: ControlPlane, namespace: str, folder: Path, durations: Mapping[str, str], *arguments: str
) -> Iterator[MonitoredStage]:
    """A monitored stage whose rules have other durations and thresholds, and whose replicas have these arguments."""
    with ExitStack() as stack:
        start = datetime.now(UTC).replace(microsecond=0)
        yield MonitoredStage(Stage(cluster, namespace, folder, stack, start=start), folder, stack, durations, arguments)
