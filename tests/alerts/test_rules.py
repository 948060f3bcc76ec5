"""Each alert: when it fires, when not, and when it resolves. promtool evaluates the rules over simulated time."""

from pathlib import Path

import pytest

from tests.alerts.rules import LEADING, Scenario, failures, of_operator, one

pytestmark = pytest.mark.usefixtures("real_prometheus")

HOURLY = one("expected_interval_seconds", "3600x10000")
EXPORTER = "namespace=dex name=teams-rollout"
DAY = 86400



SCENARIOS = {
    # NotSent
    "an exporter that sends is not overdue": Scenario(
        # A success each hour.
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "0x600"),
         one("last_success_timestamp_seconds", "0x59 3600x59 7200x59 10800x59 14400x59")],
        {"61m": [], "100m": [], "4h": []},
    ),
    "an exporter that never succeeded becomes overdue": Scenario(
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "0x600")],
        {"90m": [], "100m": [], "106m": [f"NotSent {EXPORTER}"]},
        pending={"92m": [f"NotSent {EXPORTER}"]},
    ),
    "a success resolves the overdue exporter": Scenario(
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "0x600"),
         one("last_success_timestamp_seconds", "0x120 7200x600")],
        {"120m": [f"NotSent {EXPORTER}"], "121m": []},
    ),
    "a weekly exporter becomes overdue after ten and a half days": Scenario(
        [of_operator("leader", "1x400"), one("expected_interval_seconds", f"{7 * DAY}x400"),
         one("counted_since_timestamp_seconds", "0x400"), one("last_success_timestamp_seconds", f"{DAY}x400")],
        {"11d12h": [], "11d14h": [f"NotSent {EXPORTER}"]},
        interval="1h",
    ),
    "a monthly interval works too": Scenario(
        [of_operator("leader", "1x1200"), one("expected_interval_seconds", f"{30 * DAY}x1200"),
         one("counted_since_timestamp_seconds", "0x1200")],
        {"45d": [], "45d2h": [f"NotSent {EXPORTER}"]},
        interval="1h",
    ),
    "a dry-run exporter that once succeeded is not overdue": Scenario(
        [LEADING, HOURLY, one("last_success_timestamp_seconds", "0x600")], {"3h": [], "9h": []},
    ),
    "a suspended exporter is not overdue": Scenario(
        # The interval and the time since when slots count are absent while suspended.
        [LEADING, one("expected_interval_seconds", "3600x100 stale"),
         one("counted_since_timestamp_seconds", "0x100 stale"), one("suspended", "0x100 1x600")],
        {"100m": [], "106m": [], "9h": []},
    ),
    "a resumed exporter starts again": Scenario(
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "7200x600"),
         one("last_success_timestamp_seconds", "0x600")],
        {"2h": [], "3h20m": [], "3h50m": [f"NotSent {EXPORTER}"]},
    ),
    "a deleted exporter resolves within five minutes": Scenario(
        [LEADING, one("expected_interval_seconds", "3600x120 stale"),
         one("counted_since_timestamp_seconds", "0x120 stale")],
        {"120m": [f"NotSent {EXPORTER}"], "127m": []},
    ),
    "a recreated exporter starts again": Scenario(
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "0x120 stale _x2 7440x600"),
         one("last_success_timestamp_seconds", "0x120 stale")],
        {"120m": [f"NotSent {EXPORTER}"], "124m": [], "3h30m": [], "3h50m": [f"NotSent {EXPORTER}"]},
    ),
    "another leader does not interrupt a pending alert": Scenario(
        # Pod a leads until minute 95. Nobody leads for three minutes. Pod b leads from minute 99.
        [LEADING,
         one("expected_interval_seconds", "3600x95 stale"), one("counted_since_timestamp_seconds", "0x95 stale"),
         one("expected_interval_seconds", "_x98 3600x200", pod="b"),
         one("counted_since_timestamp_seconds", "_x98 0x200", pod="b")],
        {"105m": [], "106m": [f"NotSent {EXPORTER}"], "115m": [f"NotSent {EXPORTER}"]},
        pending={f"{minute}m": [f"NotSent {EXPORTER}"] for minute in range(91, 105)},
    ),
    "another leader does not interrupt a firing alert": Scenario(
        [LEADING,
         one("unresolved_runs", "1x30 stale"), one("unresolved_runs", "_x33 1x100", pod="b"),
         one("last_run_info", "1x30 stale", result="Failed", reason="CredentialsRefused"),
         one("last_run_info", "_x33 1x100", pod="b", result="Failed", reason="CredentialsRefused")],
        {f"{minute}m": [f"OutcomeUnknown {EXPORTER}", f"RunFailed {EXPORTER} result=Failed"]
         for minute in (20, 30, 31, 32, 33, 34, 36, 50)},
    ),
    "a success that only the new leader knows is not overdue": Scenario(
        # The series of both leaders are in the same five minutes.
        [LEADING, HOURLY,
         one("counted_since_timestamp_seconds", "0x105 stale"), one("last_success_timestamp_seconds", "0x105 stale"),
         one("counted_since_timestamp_seconds", "_x105 0x300", pod="b"),
         one("last_success_timestamp_seconds", "_x105 6300x300", pod="b")],
        {"105m": [], "106m": [], "108m": [], "112m": []},
        pending={"105m": [f"NotSent {EXPORTER}"], "106m": []},
    ),
    "two exporters with the same name in two namespaces have one alert each": Scenario(
        [LEADING, HOURLY, one("counted_since_timestamp_seconds", "0x600"),
         one("expected_interval_seconds", "3600x600", namespace="hr"),
         one("counted_since_timestamp_seconds", "0x600", namespace="hr"),
         one("last_success_timestamp_seconds", "0x300", namespace="hr")],
        {"2h": [f"NotSent {EXPORTER}", "NotSent namespace=hr name=teams-rollout"]},
    ),
    "without honorLabels, an alert has the namespace of its exporter too": Scenario(
        [LEADING,
         *(one(metric, values, honor_labels=False, namespace=namespace)
           for namespace in ("dex", "hr")
           for metric, values in {"expected_interval_seconds": "3600x600", "unresolved_runs": "1x600",
                                  "counted_since_timestamp_seconds": "0x600"}.items()),
         one("last_success_timestamp_seconds", "0x100 6000x600", honor_labels=False, namespace="hr")],
        {"2h": [f"NotSent {EXPORTER}", f"OutcomeUnknown {EXPORTER}",
                "OutcomeUnknown namespace=hr name=teams-rollout"]},
    ),
    # RunFailed
    "a failed, held or missed run fires at once": Scenario(
        [LEADING, *(one("last_run_info", "1x60", name=result, result=result, reason="X")
                    for result in ("Failed", "Held", "Missed", "Skipped", "Succeeded", "DryRun", "Unknown"))],
        {"1m": [f"RunFailed namespace=dex name={result} result={result}" for result in ("Failed", "Held", "Missed")]},
    ),
    "the next success resolves a failed run": Scenario(
        [LEADING, one("last_run_info", "1x20 stale", result="Failed", reason="X"),
         one("last_run_info", "_x20 1x60", result="Succeeded", reason="Sent")],
        {"20m": [f"RunFailed {EXPORTER} result=Failed"], "27m": []},
    ),
    "a suspended exporter has no alert about its last run": Scenario(
        [LEADING, one("last_run_info", "1x60", result="Failed", reason="X"), one("suspended", "0x10 1x60")],
        {"10m": [f"RunFailed {EXPORTER} result=Failed"], "12m": []},
    ),
    # OutcomeUnknown
    "an unresolved run fires after a quarter of an hour, until somebody resolves it": Scenario(
        [LEADING, one("unresolved_runs", "0x9 1x30 0x60")],
        {"24m": [], "26m": [f"OutcomeUnknown {EXPORTER}"], "42m": []},
    ),
    # NotReady
    "an exporter that is not ready fires after half an hour": Scenario(
        [LEADING, one("ready", "1x9 0x40 1x60"), one("suspended", "0x200")],
        {"39m": [], "41m": [f"NotReady {EXPORTER}"], "52m": []},
    ),
    "a suspended exporter that is not ready does not fire": Scenario(
        [LEADING, one("ready", "0x100"), one("suspended", "1x100")], {"60m": []},
    ),
    "a check that fails now and then does not fire": Scenario(
        [LEADING, one("ready", "0x20 1 0x20 1 0x20")], {"25m": [], "60m": []},
    ),
    # Audience
    "a tenth of the people, or ten times as many, fire until the next run": Scenario(
        [LEADING,
         one("previous_run_recipients", "500x20 40x60", stage="accepted"),
         one("last_run_recipients", "40x20 45x60", stage="accepted"),
         one("previous_run_recipients", "40x20 500x60", stage="accepted", name="grew"),
         one("last_run_recipients", "500x20 490x60", stage="accepted", name="grew")],
        {"10m": [f"AudienceDropped {EXPORTER}", "AudienceGrew namespace=dex name=grew"], "22m": []},
    ),
    "nobody after many people, and many people after nobody, fire": Scenario(
        [LEADING,
         one("previous_run_recipients", "500x20", stage="accepted"), one("last_run_recipients", "0x20", stage="accepted"),
         one("previous_run_recipients", "0x20", stage="accepted", name="grew"),
         one("last_run_recipients", "500x20", stage="accepted", name="grew")],
        {"10m": [f"AudienceDropped {EXPORTER}", "AudienceGrew namespace=dex name=grew"]},
    ),
    "the sample does not change the audience": Scenario(
        # A thousand people: a new sample surveys 50 of them instead of all.
        [LEADING, one("previous_run_recipients", "1000x20", stage="accepted"),
         one("last_run_recipients", "50x20", stage="accepted"),
         one("last_run_recipients", "950x20", stage="sampled_out"), one("last_run_recipients", "1000x20", stage="returned")],
        {"10m": []},
    ),
    "a small audience, and the first run, have no alert": Scenario(
        [LEADING, one("previous_run_recipients", "40x20", stage="accepted"),
         one("last_run_recipients", "1x20", stage="accepted"),
         one("last_run_recipients", "5000x20", stage="accepted", name="first")],
        {"10m": []},
    ),
    # MailBlocked
    "many undelivered mails fire, a few do not": Scenario(
        [LEADING,
         *(one("last_delivery_messages", f"{number}x20", outcome=outcome) for outcome, number in
           {"sent": 90, "failed": 4, "bounced": 5, "blocked": 6, "skipped": 50, "opened": 0}.items()),
         *(one("last_delivery_messages", f"{number}x20", outcome=outcome, name="few") for outcome, number in
           {"sent": 96, "failed": 1, "bounced": 2, "blocked": 3}.items()),
         *(one("last_delivery_messages", f"{number}x20", outcome=outcome, name="small") for outcome, number in
           {"sent": 3, "bounced": 2, "failed": 2}.items())],
        {"10m": [f"MailBlocked {EXPORTER}"]},
    ),
    "an all-blocked survey fires": Scenario(
        [LEADING, one("last_delivery_messages", "0x20", outcome="sent"),
         one("last_delivery_messages", "200x20", outcome="blocked")],
        {"10m": [f"MailBlocked {EXPORTER}"]},
    ),
    # SuspensionForgotten
    "a suspension of two weeks fires, also if the operator was away for half an hour": Scenario(
        [of_operator("leader", "1x2400"), one("suspended", "1x800 stale _x2 1x1000"),
         one("suspended", "1x600 0 1x1200", name="resumed")],
        {"13d23h": [], "14d1h": [f"SuspensionForgotten {EXPORTER}"]},
        interval="15m",
    ),
    "a resumed exporter resolves": Scenario(
        [of_operator("leader", "1x400"), one("suspended", "1x340 0x60")],
        {"14d2h": [f"SuspensionForgotten {EXPORTER}"], "14d5h": []},
        interval="1h",
    ),
    # CredentialsExpire
    "credentials fire two weeks before they expire, and after it": Scenario(
        [of_operator("leader", "1x2000"),
         one("credentials_expiry_timestamp_seconds", f"{30 * DAY}x800 {90 * DAY}x200", side="qualtrics"),
         one("credentials_expiry_timestamp_seconds", f"{90 * DAY}x1000", side="nexthink")],
        {"15d": [], "17d": [f"CredentialsExpire {EXPORTER} side=qualtrics"],
         "31d": [f"CredentialsExpire {EXPORTER} side=qualtrics"], "34d": []},
        interval="1h",
    ),
    # QueueLate
    "a queue that is half an hour late fires": Scenario(
        [LEADING, of_operator("schedule_lag_seconds", "0x10 1790x20 1801x20 0x60"),
         of_operator("schedule_lag_seconds", "0x200", pod="b")],
        {"30m": [], "40m": ["QueueLate namespace=qualtrics-exporter job=qualtrics-exporter"], "60m": []},
    ),
    # RemoteLimited
    "a service that rejects requests fires after half an hour": Scenario(
        [LEADING,
         of_operator("remote_requests_total", "0+10x90 900x90", side="qualtrics", operation="send", outcome="limited"),
         of_operator("remote_requests_total", "0+50x180", side="qualtrics", operation="send", outcome="ok"),
         of_operator("remote_requests_total", "0+1x180", side="nexthink", operation="execute", outcome="limited"),
         of_operator("remote_requests_total", "0+50x180", side="nexthink", operation="execute", outcome="ok")],
        {"20m": [], "40m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"],
         "120m": []},
    ),
    "many requests that wait for the limits fire, also across a restart": Scenario(
        # 20 requests wait all the time. The process restarts in minute 40.
        [LEADING, of_operator("rate_limit_wait_seconds_total", "0+1200x40 0+1200x40 48000x60", side="qualtrics"),
         of_operator("rate_limit_wait_seconds_total", "0+300x140", side="nexthink")],
        {"45m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"],
         "60m": ["RemoteLimited namespace=qualtrics-exporter job=qualtrics-exporter side=qualtrics"], "110m": []},
    ),
    # Down
    "no operator at all fires": Scenario([], {"4m": [], "6m": ["Down"]}),
    "an operator that is gone fires with its namespace, for longer than a day": Scenario(
        [of_operator("leader", "1x20 stale")],
        {"20m": [], "25m": [], "27m": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"],
         "23h": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"], "25h": ["Down"]},
    ),
    "replicas without a leader fire until one leads": Scenario(
        [of_operator("leader", "0x20 1x20"), of_operator("leader", "0x40", pod="b")],
        {"4m": [], "6m": ["Down namespace=qualtrics-exporter job=qualtrics-exporter"], "21m": []},
    ),
    "another leader after four minutes does not fire": Scenario(
        [of_operator("leader", "1x20 stale"), of_operator("leader", "0x24 1x60", pod="b")],
        {f"{minute}m": [] for minute in (20, 22, 24, 25, 27, 30, 60)},
    ),
    "one of two installations that is gone fires": Scenario(
        [LEADING, of_operator("leader", "1x20 stale", namespace="other", job="other")],
        {"25m": [], "27m": ["Down namespace=other job=other"]},
    ),
    "a healthy installation has no alert": Scenario(
        [LEADING, of_operator("leader", "0x200", pod="b"), HOURLY, one("ready", "1x200"), one("suspended", "0x200"),
         one("counted_since_timestamp_seconds", "0x200"), one("unresolved_runs", "0x200"),
         one("last_success_timestamp_seconds", "0x59 3600x59 7200x59"),
         one("last_run_info", "1x200", result="Succeeded", reason="Sent"),
         one("last_run_recipients", "120x200", stage="accepted"),
         one("previous_run_recipients", "100x200", stage="accepted"),
         one("last_delivery_messages", "100x200", outcome="sent"),
         one("last_delivery_messages", "2x200", outcome="bounced"),
         of_operator("schedule_lag_seconds", "3x200"),
         of_operator("rate_limit_wait_seconds_total", "0+1x200", side="qualtrics"),
         of_operator("remote_requests_total", "0+5x200", side="qualtrics", operation="send", outcome="ok")],
        {"10m": [], "90m": [], "170m": []},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says about the scenarios that failed."""
    return failures(tmp_path_factory.mktemp("scenarios"), SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_exactly_the_expected_alerts_fire(messages: dict[str, str], name: str) -> None:
    assert messages.get(name, "") == ""
