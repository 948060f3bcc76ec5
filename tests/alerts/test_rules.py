"""The alerts about exporters: when they fire, when not, and when they resolve.

promtool evaluates the rules over simulated time. `test_operator_rules.py` has the alerts about the operator.
"""

import pytest

from tests.alerts.rules import LEADING, Scenario, failures, of_operator, one

pytestmark = pytest.mark.usefixtures("real_prometheus")

INTERVAL = one("expected_interval_seconds", "1200x120")
EXPORTER = "namespace=dex name=teams-rollout"
DAY = 86400


SCENARIOS = {
    # NotSent. The interval of these schedules is 20 minutes, so an exporter is overdue after 30, and fires after 45.
    "an exporter that sends is not overdue": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100"),
         one("last_success_timestamp_seconds", "0x19 1200x19 2400x19 3600x19")],
        {"31m": [], "50m": [], "70m": []},
    ),
    "an exporter that never succeeded becomes overdue": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100")],
        {"30m": [], "45m": [], "46m": [f"NotSent {EXPORTER}"]},
        pending={"30m": [], "32m": [f"NotSent {EXPORTER}"]},
    ),
    "a success resolves the overdue exporter": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100"),
         one("last_success_timestamp_seconds", "0x50 3060x50")],
        {"50m": [f"NotSent {EXPORTER}"], "51m": []},
    ),
    "a weekly exporter becomes overdue after ten and a half days": Scenario(
        [of_operator("leader", "1x100"), one("expected_interval_seconds", f"{7 * DAY}x100"),
         one("counted_since_timestamp_seconds", "0x100"), one("last_success_timestamp_seconds", f"{DAY}x100")],
        {"11d12h": [], "12d": [f"NotSent {EXPORTER}"]},
        interval="6h",
    ),
    "a monthly interval works too": Scenario(
        [of_operator("leader", "1x100"), one("expected_interval_seconds", f"{30 * DAY}x100"),
         one("counted_since_timestamp_seconds", "0x100")],
        {"46d": [], "47d": [f"NotSent {EXPORTER}"]},
        interval="1d",
    ),
    "a dry-run exporter that once succeeded is not overdue": Scenario(
        [LEADING, INTERVAL, one("last_success_timestamp_seconds", "0x100")], {"60m": []},
    ),
    "a suspended exporter is not overdue": Scenario(
        # The interval and the time since when slots count are absent while suspended.
        [LEADING, one("expected_interval_seconds", "1200x40 stale"),
         one("counted_since_timestamp_seconds", "0x40 stale"), one("suspended", "0x40 1x60")],
        {"40m": [], "46m": [], "60m": []},
    ),
    "a resumed exporter starts again": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "1800x100"),
         one("last_success_timestamp_seconds", "0x100")],
        {"40m": [], "75m": [], "77m": [f"NotSent {EXPORTER}"]},
    ),
    "a deleted exporter resolves within five minutes": Scenario(
        [LEADING, one("expected_interval_seconds", "1200x50 stale"),
         one("counted_since_timestamp_seconds", "0x50 stale")],
        {"50m": [f"NotSent {EXPORTER}"], "57m": []},
    ),
    "an exporter that is deleted while its alert is pending has none five minutes later": Scenario(
        [LEADING, one("expected_interval_seconds", "1200x36 stale"),
         one("counted_since_timestamp_seconds", "0x36 stale")],
        {"40m": [], "46m": [], "60m": []},
        pending={"36m": [f"NotSent {EXPORTER}"], "42m": []},
    ),
    "an exporter that is suspended while its alert is pending has none at once": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100"), one("suspended", "0x43 1x60")],
        {"46m": [], "60m": []},
        pending={
            "43m": [f"NotSent {EXPORTER}"],
            **{key: [f"SuspensionForgotten {EXPORTER}"] for key in ("44m", "45m")},
        },
    ),
    "a success in the future, of a clock that was ahead, does not hide that nothing was sent since": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100"),
         one("last_success_timestamp_seconds", "900000000x100")],
        {"45m": [], "46m": [f"NotSent {EXPORTER}"]},
    ),
    "a success is not in the future if the clocks of operator and Prometheus differ a little": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x100"),
         one("last_success_timestamp_seconds", "0x19 5000x81")],
        {"50m": [], "60m": [], "80m": []},
        pending={"50m": [], "60m": [], "80m": []},
    ),
    "a recreated exporter starts again": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x50 stale _x2 3240x100"),
         one("last_success_timestamp_seconds", "0x50 stale")],
        {"50m": [f"NotSent {EXPORTER}"], "54m": [], "98m": [], "101m": [f"NotSent {EXPORTER}"]},
    ),
    "another leader does not interrupt a pending alert": Scenario(
        # Pod a leads until minute 35. Nobody leads for three minutes. Pod b leads from minute 39.
        [LEADING,
         one("expected_interval_seconds", "1200x35 stale"), one("counted_since_timestamp_seconds", "0x35 stale"),
         one("expected_interval_seconds", "_x39 1200x60", pod="b"),
         one("counted_since_timestamp_seconds", "_x39 0x60", pod="b")],
        {"45m": [], "46m": [f"NotSent {EXPORTER}"], "55m": [f"NotSent {EXPORTER}"]},
        pending={f"{minute}m": [f"NotSent {EXPORTER}"] for minute in range(31, 45)},
    ),
    "another leader does not interrupt a firing alert": Scenario(
        [LEADING,
         one("unresolved_runs", "1x30 stale"), one("unresolved_runs", "_x33 1x100", pod="b"),
         one("last_run_info", "1x30 stale", result="Failed", reason="CredentialsRefused"),
         one("last_run_info", "_x33 1x100", pod="b", result="Failed", reason="CredentialsRefused")],
        {f"{minute}m": [f"OutcomeUnknown {EXPORTER}", f"RunFailed {EXPORTER} result=Failed"]
         for minute in (20, 30, 31, 32, 33, 34, 36, 40)},
    ),
    "a success that only the new leader knows is not overdue": Scenario(
        # The series of both leaders are in the same five minutes.
        [LEADING, INTERVAL,
         one("counted_since_timestamp_seconds", "0x40 stale"), one("last_success_timestamp_seconds", "0x40 stale"),
         one("counted_since_timestamp_seconds", "_x40 0x60", pod="b"),
         one("last_success_timestamp_seconds", "_x40 2400x60", pod="b")],
        {"46m": [], "50m": []},
        pending={"39m": [f"NotSent {EXPORTER}"], "41m": [], "44m": [], "50m": []},
    ),
    "two exporters with the same name in two namespaces have one alert each": Scenario(
        [LEADING, INTERVAL, one("counted_since_timestamp_seconds", "0x60"),
         one("expected_interval_seconds", "1200x60", namespace="hr"),
         one("counted_since_timestamp_seconds", "0x60", namespace="hr"),
         one("last_success_timestamp_seconds", "0x60", namespace="hr")],
        {"50m": [f"NotSent {EXPORTER}", "NotSent namespace=hr name=teams-rollout"]},
    ),
    "without honorLabels, an alert has the namespace of its exporter too": Scenario(
        [LEADING,
         *(one(metric, values, honor_labels=False, namespace=namespace)
           for namespace in ("dex", "hr")
           for metric, values in {"expected_interval_seconds": "1200x60", "unresolved_runs": "1x60",
                                  "counted_since_timestamp_seconds": "0x60"}.items()),
         one("last_success_timestamp_seconds", "0x20 1800x60", honor_labels=False, namespace="hr")],
        {"50m": [f"NotSent {EXPORTER}", f"OutcomeUnknown {EXPORTER}",
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
        [LEADING, one("last_run_info", "1x60", result="Failed", reason="X"),
         one("previous_run_recipients", "500x60", stage="accepted"),
         one("last_run_recipients", "0x60", stage="accepted"),
         one("last_delivery_messages", "200x60", outcome="blocked"),
         one("credentials_expiry_timestamp_seconds", f"{DAY}x60", side="nexthink"),
         one("suspended", "0x10 1x60")],
        {"10m": [f"AudienceDropped {EXPORTER}", f"CredentialsExpire {EXPORTER} side=nexthink",
                 f"MailBlocked {EXPORTER}", f"RunFailed {EXPORTER} result=Failed"], "12m": []},
    ),
    "an audience that grew, of an exporter that was suspended for that reason, has no alert": Scenario(
        [LEADING, one("previous_run_recipients", "10x60", stage="accepted"),
         one("last_run_recipients", "5000x60", stage="accepted"), one("suspended", "0x10 1x20 0x30")],
        {"10m": [f"AudienceGrew {EXPORTER}"], "12m": [], "35m": [f"AudienceGrew {EXPORTER}"]},
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
        [LEADING, one("ready", "0x100"), one("suspended", "1x100")], {"35m": []},
    ),
    "a check that fails now and then does not fire": Scenario(
        [LEADING, one("ready", "0x20 1 0x20 1 0x20")], {"25m": [], "55m": []},
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
         one("previous_run_recipients", "500x20", stage="accepted"),
         one("last_run_recipients", "0x20", stage="accepted"),
         one("previous_run_recipients", "0x20", stage="accepted", name="grew"),
         one("last_run_recipients", "500x20", stage="accepted", name="grew")],
        {"10m": [f"AudienceDropped {EXPORTER}", "AudienceGrew namespace=dex name=grew"]},
    ),
    "the sample does not change the audience": Scenario(
        # A thousand people: a new sample surveys 50 of them instead of all.
        [LEADING, one("previous_run_recipients", "1000x20", stage="accepted"),
         one("last_run_recipients", "50x20", stage="accepted"),
         one("last_run_recipients", "950x20", stage="sampled_out"),
         one("last_run_recipients", "1000x20", stage="returned")],
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
    "a few mails fire if nobody got the survey": Scenario(
        [LEADING,
         *(one("last_delivery_messages", f"{number}x20", outcome=outcome, name=name)
           for name, figures in {
               "blocked": {"sent": 3, "failed": 0, "bounced": 0, "blocked": 3},
               "failed": {"sent": 0, "failed": 2, "bounced": 0, "blocked": 0},
               "bounced": {"sent": 1, "failed": 0, "bounced": 1, "blocked": 0},
               "half": {"sent": 2, "failed": 0, "bounced": 1, "blocked": 0},
               "nobody-asked": {"sent": 0, "failed": 0, "bounced": 0, "blocked": 0},
               "not-yet": {"sent": 0},
           }.items() for outcome, number in figures.items())],
        {"10m": [f"MailBlocked namespace=dex name={name}" for name in ("blocked", "bounced", "failed")]},
    ),
    "an all-blocked survey fires": Scenario(
        [LEADING, one("last_delivery_messages", "0x20", outcome="sent"),
         one("last_delivery_messages", "200x20", outcome="blocked")],
        {"10m": [f"MailBlocked {EXPORTER}"]},
    ),
    # SuspensionForgotten
    "a long suspension fires, also if the operator was away for half an hour": Scenario(
        [of_operator("leader", "1x800"), one("suspended", "1x2 stale 1x50"),
         one("suspended", "1x2 0 1x50", name="resumed")],
        {"9h30m": [], "10h": [f"SuspensionForgotten {EXPORTER}"], "12h": [f"SuspensionForgotten {EXPORTER}",
         "SuspensionForgotten namespace=dex name=resumed"]},
        interval="30m",
        durations={"for: 14d": "for: 10h"},
    ),
    "a resumed exporter resolves": Scenario(
        [of_operator("leader", "1x80"), one("suspended", "1x57 0x20")],
        {"14d6h": [f"SuspensionForgotten {EXPORTER}"], "14d18h": []},
        interval="6h",
    ),
    # CredentialsExpire
    "credentials fire two weeks before they expire, and after it": Scenario(
        [of_operator("leader", "1x2000"),
         one("credentials_expiry_timestamp_seconds", f"{30 * DAY}x32 {90 * DAY}x40", side="qualtrics"),
         one("credentials_expiry_timestamp_seconds", f"{90 * DAY}x80", side="nexthink")],
        {"15d": [], "17d": [f"CredentialsExpire {EXPORTER} side=qualtrics"],
         "31d": [f"CredentialsExpire {EXPORTER} side=qualtrics"], "34d": []},
        interval="1d",
    ),
    "a healthy installation has no alert": Scenario(
        [LEADING, of_operator("leader", "0x200", pod="b"), INTERVAL, one("ready", "1x200"), one("suspended", "0x200"),
         one("counted_since_timestamp_seconds", "0x200"), one("unresolved_runs", "0x200"),
         one("last_success_timestamp_seconds", "0x19 1200x19 2400x19"),
         one("last_run_info", "1x200", result="Succeeded", reason="Sent"),
         one("last_run_recipients", "120x200", stage="accepted"),
         one("previous_run_recipients", "100x200", stage="accepted"),
         one("last_delivery_messages", "100x200", outcome="sent"),
         one("last_delivery_messages", "2x200", outcome="bounced"),
         of_operator("schedule_lag_seconds", "3x200"),
         of_operator("rate_limit_wait_seconds_total", "0+1x200", side="qualtrics"),
         of_operator("remote_requests_total", "0+5x200", side="qualtrics", operation="send", outcome="ok")],
        {"10m": [], "50m": []},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says about the scenarios that failed."""
    return failures(tmp_path_factory.mktemp("scenarios"), SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_exactly_the_expected_alerts_fire(messages: dict[str, str], name: str) -> None:
    assert messages.get(name, "") == ""
