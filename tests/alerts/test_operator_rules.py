"""The alerts about the operator: when they fire, when not, and when they resolve. See `test_rules.py`."""

import pytest

from tests.alerts.rules import LEADING, Scenario, failures, of_operator, one

pytestmark = pytest.mark.usefixtures("real_prometheus")

SCENARIOS = {
    # QueueLate
    "a queue that is half an hour late fires": Scenario(
        [LEADING, of_operator("schedule_lag_seconds", "0x10 1790x20 1801x20 0x60"),
         of_operator("schedule_lag_seconds", "0x200", pod="b")],
        {"30m": [], "40m": ["QueueLate namespace=qualtrics-exporter job=qualtrics-exporter"], "60m": []},
    ),
    # RemoteLimited
    "a service that rejects requests fires after half an hour": Scenario(
        [LEADING,
         of_operator("remote_requests_total", "0+10x50 500x40", side="qualtrics", operation="send", outcome="limited"),
         of_operator("remote_requests_total", "0+50x180", side="qualtrics", operation="send", outcome="ok"),
         of_operator("remote_requests_total", "0+1x180", side="nexthink", operation="execute", outcome="limited"),
         of_operator("remote_requests_total", "0+50x180", side="nexthink", operation="execute", outcome="ok")],
        {"20m": [], "40m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"],
         "70m": []},
    ),
    "many requests that wait for the limits fire, also across a restart": Scenario(
        # 20 requests wait all the time. The process restarts in minute 20.
        [LEADING, of_operator("rate_limit_wait_seconds_total", "0+1200x20 0+1200x25 30000x40", side="qualtrics"),
         of_operator("rate_limit_wait_seconds_total", "0+300x140", side="nexthink")],
        {"40m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"],
         "45m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"], "65m": []},
    ),
    # ReconcileFailing
    "exporters that cannot be reconciled fire after half an hour, until they can": Scenario(
        [LEADING, of_operator("failing_exporters", "0x9 1x50 0x60"),
         of_operator("failing_exporters", "0x200", pod="b")],
        {"39m": [], "41m": ["ReconcileFailing namespace=qualtrics-exporter job=qualtrics-exporter"], "61m": []},
    ),
    "an exporter that fails now and then does not fire": Scenario(
        [LEADING, of_operator("failing_exporters", "0x9 1x20 0 1x20 0 1x20")], {"31m": [], "55m": [], "70m": []},
    ),
    "another leader that also fails does not start the time again": Scenario(
        [LEADING, of_operator("failing_exporters", "3x20 stale"),
         of_operator("failing_exporters", "0x22 2x60", pod="b")],
        {"29m": [], "31m": ["ReconcileFailing namespace=qualtrics-exporter job=qualtrics-exporter"]},
    ),
    # WatchBlind
    "a namespace that is not watched fires until it is watched again": Scenario(
        [LEADING, of_operator("watch_blind_seconds", "0x4 0+60x20 0x20", namespace="dex"),
         of_operator("watch_blind_seconds", "0x60", namespace="hr")],
        {"10m": [], "16m": ["WatchBlind namespace=dex job=qualtrics-exporter"], "27m": []},
    ),
    "an operator of all namespaces that watches none fires without a namespace": Scenario(
        # Prometheus removes the label of the target if the metric has an empty one.
        [LEADING, {"series": 'qualtrics_exporter_watch_blind_seconds{job="qualtrics-exporter",pod="a"}',
                   "values": "0+60x20"}],
        {"16m": ["WatchBlind job=qualtrics-exporter"]},
    ),
    "without honorLabels, a namespace that is not watched fires too, with that of the operator": Scenario(
        [LEADING, one("watch_blind_seconds", "0+60x20", honor_labels=False, namespace="dex", name="")],
        {"16m": ["WatchBlind namespace=qualtrics-exporter job=qualtrics-exporter"]},
    ),
    "a watch that breaks for a few minutes does not fire": Scenario(
        [LEADING, of_operator("watch_blind_seconds", "0+60x8 0x20")], {"6m": [], "9m": [], "12m": []},
    ),
    # Down
    "no operator at all fires": Scenario([], {"4m": [], "6m": ["Down"]}),
    "an operator that is gone fires with its namespace, for longer than a day": Scenario(
        [of_operator("leader", "1x4 stale")],
        {"20m": [], "25m": [], "30m": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"],
         "23h": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"], "25h": ["Down"]},
        interval="5m",
    ),
    "replicas without a leader fire until one leads": Scenario(
        [of_operator("leader", "0x20 1x20"), of_operator("leader", "0x40", pod="b")],
        {"4m": [], "6m": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"], "21m": []},
    ),
    "another leader after four minutes does not fire": Scenario(
        [of_operator("leader", "1x20 stale"), of_operator("leader", "0x24 1x60", pod="b")],
        {f"{minute}m": [] for minute in (20, 22, 24, 25, 27, 30)},
    ),
    "one of two installations that is gone fires": Scenario(
        [LEADING, of_operator("leader", "1x20 stale", namespace="other", job="other")],
        {"25m": [], "27m": ["Down namespace=other job=other"]},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says about the scenarios that failed."""
    return failures(tmp_path_factory.mktemp("scenarios"), SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_exactly_the_expected_alerts_fire(messages: dict[str, str], name: str) -> None:
    assert messages.get(name, "") == ""
