"""A check copies the annotation expires-at of both Secrets into the status. Other values are ignored with a warning."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from qualtrics_exporter.controller.actions.check_inputs import expiry_of
from qualtrics_exporter.controller.credentials import NOT_READABLE, SecretState
from qualtrics_exporter.resource.names import EXPIRES_AT
from qualtrics_exporter.resource.status import CredentialsExpiry, Status, parse_expiry, timestamp
from tests.controller.virtual_operator import CHANGED, NAMESPACE, VirtualOperator
from tests.support.stage import Stage
from tests.support.waiting import eventually

WHAT = f"the annotation {EXPIRES_AT} of Secret {{}} is not a date or a date-time of RFC 3339"


@pytest.fixture
def operator() -> Iterator[VirtualOperator]:
    operator = VirtualOperator()
    yield operator
    operator.close()


def annotate_secret(operator: VirtualOperator, name: str, expires_at: str | None) -> None:
    secret = operator.brand.secret() if name == "qualtrics" else operator._nexthink.secret()
    annotations = {} if expires_at is None else {EXPIRES_AT: expires_at}
    operator.server.put_secret(NAMESPACE, name, secret, annotations)


def warnings(operator: VirtualOperator) -> list[str]:
    found = operator.status(CHANGED).get("warnings", [])
    return [one["message"] for one in found if one["reason"] == "SecretExpiryInvalid"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        (" 2027-01-31\n", "2027-01-31T00:00:00Z"),
        ("2028-02-29", "2028-02-29T00:00:00Z"),
        ("2027-01-31T12:34:56Z", "2027-01-31T12:34:56Z"),
        ("2027-01-31T12:34:56.789Z", "2027-01-31T12:34:56Z"),
        ("2027-01-31T00:30:00+02:00", "2027-01-30T22:30:00Z"),
        ("2027-01-31T23:30:00-02:00", "2027-02-01T01:30:00Z"),
    ],
)
def test_date_means_the_beginning_of_the_day_in_utc_and_a_date_time_means_that_moment(text: str, time: str) -> None:
    parsed = parse_expiry(text)
    assert parsed is not None
    assert timestamp(parsed) == time


@pytest.mark.parametrize(
    "text",
    [
        *("", "never", "2027", "2027-1-31", "31.01.2027", "01/31/2027", "20270131", "2027-02-29", "2027-W05-1"),
        *("2027-01-31T12:34:56", "2027-01-31 12:34:56Z", "2027-01-31T24:00:00Z", "2027-01-31T12:34Z", "1800000000"),
        *("1999-12-31", "9000-01-01", "2000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59", "２０２７-01-31"),
        *("jane.doe@example.com", "2027-01-31T12:34:56Z 2027-01-31", "2027-01-31T12:34:56+99:99"),
    ],
)
def test_any_other_text_is_not_a_time(text: str) -> None:
    assert parse_expiry(text) is None


def test_unreadable_secret_keeps_the_time_that_the_last_check_read() -> None:
    before = CredentialsExpiry(nexthink=parse_expiry("2027-01-31"), qualtrics=parse_expiry("2027-02-28"))
    exporter: Any = SimpleNamespace(namespace="dex", status=Status(credentials_expiry=before))
    found = expiry_of(exporter, (SecretState("one", NOT_READABLE), SecretState("two", None)))
    assert found.times == CredentialsExpiry(nexthink=before.nexthink)
    assert found.warnings == ()


def test_secret_of_both_sides_gives_both_times_and_one_warning(operator: VirtualOperator) -> None:
    spec = operator.spec(CHANGED)
    for side in ("nexthink", "qualtrics"):
        spec[side] = {**spec[side], "credentialsSecretRef": {"name": "shared"}}
    both = {**operator._nexthink.secret(), **operator.brand.secret()}
    operator.server.put_secret(NAMESPACE, "shared", both, {EXPIRES_AT: "2027-01-31"})
    operator.change(spec=spec)
    operator.run(0.2)
    assert operator.status(CHANGED)["credentialsExpiry"] == {
        "nexthink": "2027-01-31T00:00:00Z",
        "qualtrics": "2027-01-31T00:00:00Z",
    }
    assert warnings(operator) == []

    operator.server.put_secret(NAMESPACE, "shared", both, {EXPIRES_AT: "soon"})
    operator.run(8)
    assert "credentialsExpiry" not in operator.status(CHANGED)
    assert warnings(operator) == [WHAT.format(f"{NAMESPACE}/shared") + "."]


def test_next_check_follows_a_changed_and_a_removed_annotation(operator: VirtualOperator) -> None:
    annotate_secret(operator, "nexthink", "2027-01-31")
    operator.run(0.2)
    assert operator.status(CHANGED)["credentialsExpiry"] == {"nexthink": "2027-01-31T00:00:00Z"}
    annotate_secret(operator, "nexthink", "2028-01-31")
    annotate_secret(operator, "qualtrics", "2026-12-24T18:00:00Z")
    operator.run(8)
    assert operator.status(CHANGED)["credentialsExpiry"] == {
        "nexthink": "2028-01-31T00:00:00Z",
        "qualtrics": "2026-12-24T18:00:00Z",
    }
    annotate_secret(operator, "nexthink", None)
    annotate_secret(operator, "qualtrics", None)
    operator.run(8)
    assert "credentialsExpiry" not in operator.status(CHANGED)
    assert operator.internal_errors() == []


@pytest.mark.parametrize("damage", [7, "2027", {}, {"nexthink": "soon", "qualtrics": 7}, []])
def test_damaged_field_is_ignored_and_the_next_check_restores_it(operator: VirtualOperator, damage: Any) -> None:
    annotate_secret(operator, "nexthink", "2027-01-31")
    operator.run(0.2)
    before = operator.status(CHANGED)
    operator.change(status={**before, "credentialsExpiry": damage})
    operator.run(8)
    assert operator.status(CHANGED)["credentialsExpiry"] == before["credentialsExpiry"]
    assert operator.sent(CHANGED) == 8
    assert operator.internal_errors() == []


def test_crd_without_the_field_causes_no_more_writes(
    operator: VirtualOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hours with the field and the hours without it have the same number of writes."""
    writes = {"kept": 0, "pruned": 0}
    pruned = False
    replace = operator.server.replace_status

    def replace_and_count(*args: Any) -> Any:
        *call, status = args
        writes["pruned" if pruned else "kept"] += 1
        return replace(*call, {k: v for k, v in status.items() if not pruned or k != "credentialsExpiry"})

    monkeypatch.setattr(operator.server, "replace_status", replace_and_count)
    annotate_secret(operator, "nexthink", "2027-01-31")
    operator.run(0.2)
    writes.update(kept=0)
    operator.run(24)
    assert "credentialsExpiry" in operator.status(CHANGED)
    pruned = True
    operator.run(24)
    assert "credentialsExpiry" not in operator.status(CHANGED)
    assert abs(writes["pruned"] - writes["kept"]) <= 20, "checks happen every six to seven hours"
    assert operator.internal_errors() == []


def test_annotations_of_real_secrets_are_in_the_status_and_the_warning_hides_the_value(shared_stage: Stage) -> None:
    stage = shared_stage
    expires = {"nexthink": f"{EXPIRES_AT}=2027-01-31", "qualtrics": f"{EXPIRES_AT}=ask jane.doe@example.com"}
    for name, annotation in expires.items():
        stage.cluster.kubectl("annotate", "secret", name, annotation, "--namespace", stage.namespace)
    exporter = stage.exporter()
    exporter.checked()
    assert exporter.status()["credentialsExpiry"] == {"nexthink": "2027-01-31T00:00:00Z"}
    what = WHAT.format(f"{stage.namespace}/qualtrics")
    found = [one for one in exporter.status()["warnings"] if one["reason"] == "SecretExpiryInvalid"]
    assert found == [{"reason": "SecretExpiryInvalid", "message": f"{what}."}]
    assert f"SecretExpiryInvalid: {what}." in exporter.condition("Ready")["message"]

    def events() -> str:
        shown = stage.cluster.kubectl(
            "get", "events.events.k8s.io", "--namespace", stage.namespace, "-o", "json"
        ).stdout
        return shown if what in shown else ""

    everything = eventually(events, "an Event has the warning") + str(exporter.status())
    assert "jane" not in everything
