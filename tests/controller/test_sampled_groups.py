"""How the status records which groups of `spec.sample` were surveyed, and who is surveyed next."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.run_ids import request_run_id
from qualtrics_exporter.export.sample import surveyed_groups
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import SAMPLED_GROUPS, ActiveRun, Result, SampledGroup, Status, entry_of
from tests.controller.exporters import ZONE, at, exporter, initial_status, planned
from tests.support.stage import Stage

MONDAY = at("2026-11-23 12:00")
RUN = request_run_id("uid", "token")
GROUP = SampledGroup(run_id=RUN, groups=4, group=3, slot_time=MONDAY)
SENT_GROUP = GROUP.model_copy(update={"send_time": MONDAY})


def after_run(
    result: Result, reason: Reason, *, sent: bool = True, status: Status | None = None, run_id: str = RUN
) -> Status:
    """The status after a run that surveyed a group."""
    run = ActiveRun(
        id=run_id, trigger="Schedule", start_time=MONDAY, holder="me", step="Sending" if sent else "Importing",
        send_time=MONDAY if sent else None, sampled_group=GROUP.model_copy(update={"run_id": run_id}),
        survey_id="SV_teamsRollout01", batch_id="BT_1",
    )  # fmt: skip
    busy = exporter((status or initial_status(MONDAY)).model_copy(update={"active_run": run}))
    return finished(busy, Ended(entry_of(run, result, reason, "", MONDAY)), MONDAY, ZONE)


@pytest.mark.parametrize(
    ("result", "reason", "sent", "kept"),
    [
        ("Succeeded", Reason.SUCCEEDED, True, True),
        ("Unknown", Reason.DELIVERY_UNKNOWN, True, True),
        ("Failed", Reason.SEND_REFUSED, True, False),
        ("Failed", Reason.RATE_LIMITED, True, False),
        ("Skipped", Reason.SUSPENDED, True, False),
        ("DryRun", Reason.DRY_RUN, False, False),
        ("Succeeded", Reason.NO_RECIPIENTS, False, False),
    ],
)
def test_group_counts_as_surveyed_if_its_run_may_have_sent(
    result: Result, reason: Reason, sent: bool, kept: bool
) -> None:
    assert after_run(result, reason, sent=sent).sampled_groups == ([SENT_GROUP] if kept else None)


def test_group_of_a_run_reported_as_not_sent_does_not_count_as_surveyed() -> None:
    status = after_run("Unknown", Reason.DELIVERY_UNKNOWN)
    assert surveyed_groups(status.sampled_groups, status.history) == [SENT_GROUP]
    resolved = planned(
        exporter(status, annotations={"settle-run": f"{RUN}=NotSent"}), MONDAY + timedelta(minutes=5)
    ).status
    assert surveyed_groups(resolved.sampled_groups, resolved.history) == []


def test_list_of_sampled_groups_is_bounded_and_starts_with_the_newest() -> None:
    status = None
    for number in range(SAMPLED_GROUPS + 5):
        status = after_run("Unknown", Reason.DELIVERY_UNKNOWN, status=status, run_id=f"r{number}")
    assert status
    assert len(status.sampled_groups or []) == SAMPLED_GROUPS
    assert (status.sampled_groups or [])[0].run_id == f"r{SAMPLED_GROUPS + 4}"


def test_confirmed_send_replaces_unknown_sends_to_the_same_people() -> None:
    unknown = after_run("Unknown", Reason.DELIVERY_UNKNOWN, run_id="r1")
    both = after_run("Unknown", Reason.DELIVERY_UNKNOWN, status=unknown, run_id="r2")
    assert [group.run_id for group in both.sampled_groups or []] == ["r2", "r1"]
    confirmed = after_run("Succeeded", Reason.SUCCEEDED, status=both, run_id="r3")
    assert [group.run_id for group in confirmed.sampled_groups or []] == ["r3"]


@pytest.mark.parametrize(
    "invalid",
    [{"groups": 0}, {"slotTime": "0001-01-01T00:00:00Z"}, {"group": "x"}],
    ids=["no groups", "time out of range", "not a number"],
)
def test_invalid_sampled_group_counts_as_lost_memory(invalid: dict[str, Any]) -> None:
    group = GROUP.model_dump(by_alias=True, mode="json") | invalid
    body = {"metadata": {"uid": "u"}, "spec": {}, "status": {"observedGeneration": 1, "sampledGroups": [group]}}
    assert Exporter.from_object(body).lost_memory


def test_group_of_an_unreadable_run_that_may_have_sent_counts_as_surveyed() -> None:
    run = {
        "id": RUN, "trigger": "Schedule", "startTime": "2026-11-23T12:00:00Z", "step": "Resting",
        "sampledGroup": GROUP.model_dump(by_alias=True, mode="json"),
    }  # fmt: skip
    found = replace(exporter(initial_status(MONDAY)), unreadable_run=run)
    assert planned(found, MONDAY).status.sampled_groups == [SENT_GROUP]


def test_unreadable_run_without_a_group_counts_as_a_send_to_everybody() -> None:
    run = {"id": RUN, "trigger": "Schedule", "startTime": "2026-11-20T12:00:00Z", "step": "Resting"}
    (group,) = (
        planned(replace(exporter(initial_status(MONDAY)), unreadable_run=run), MONDAY).status.sampled_groups or []
    )
    assert (group.groups, group.group, group.send_time) == (1, 1, MONDAY)


@pytest.mark.parametrize(("result", "number"), [("Succeeded", 1), ("Unknown", 2)])
def test_only_a_confirmed_send_to_everybody_replaces_older_groups(result: Result, number: int) -> None:
    """A user can report an Unknown run as not sent, and then the older groups count again."""
    later = MONDAY + timedelta(days=1)
    run = ActiveRun(
        id="later", trigger="Request", start_time=later, holder="me", step="Sending", send_time=later,
        survey_id="SV_teamsRollout01", batch_id="BT_1",
    )  # fmt: skip
    status = after_run("Succeeded", Reason.SUCCEEDED).model_copy(update={"active_run": run})
    entry = entry_of(run, result, Reason.SUCCEEDED, "", later)
    groups = finished(exporter(status), Ended(entry), later, ZONE).sampled_groups or []
    assert len(groups) == number
    assert (groups[0].groups, groups[0].send_time) == (1, later)


def test_requested_runs_survey_each_person_once_in_a_cycle(shared_stage: Stage) -> None:
    everybody = [f"sampled{n}@example.com" for n in range(40)]
    shared_stage.people("#sampled", everybody)
    applied = shared_stage.exporter(
        "sampled", **{"nexthink.queryId": "#sampled", "qualtrics.subject": "sampled", "sample": {"groups": 4}}
    )
    applied.checked()

    def mailed() -> list[str]:
        distributions = [sent for sent in shared_stage.sandbox.recorder.distributions if sent.subject == "sampled"]
        return sorted(recipient for sent in distributions for recipient in sent.recipients)

    applied.annotate(run_requested_at="first")
    entry = applied.ended()
    first = mailed()
    counts = entry["recipients"]
    assert (entry["result"], entry["reason"]) == ("Succeeded", "Succeeded")
    assert 0 < len(first) < 40
    assert (counts["accepted"], counts["sampledOut"], counts["imported"]) == (len(first), 40 - len(first), len(first))
    applied.annotate(run_requested_at="second")
    entry = applied.ended(2)
    assert (entry["result"], entry["reason"]) == ("Succeeded", "NoRecipients")
    assert "except people who were surveyed in this cycle" in entry["message"]
    assert mailed() == first
    (group,) = applied.status()["sampledGroups"]
    assert group["groups"] == 4
    assert "@" not in str(applied.status())
    applied.delete()
