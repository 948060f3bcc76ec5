"""The check never drops an error, and an exception in a rule becomes a warning."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from qualtrics_exporter.nql import check as module
from qualtrics_exporter.nql.check import MAX_FINDINGS, check
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.resource.reasons import Reason


def test_many_warnings_do_not_hide_an_error() -> None:
    warnings = "\n".join("| where\u00a0a == 1 " for _ in range(2 * MAX_FINDINGS))
    found = check(f"users\n{warnings}\n| list ad.email_address, name", {"unused": "x"}, timedelta(days=7))
    assert len(found) == MAX_FINDINGS
    assert [finding.rule for finding in found if finding.certain] == ["several-fields"]


def test_findings_are_in_the_order_of_the_text() -> None:
    found = check("usrs | lst a | where a == | list device.name", {}, None)
    assert [finding.rule for finding in found] == [
        "unknown-table",
        "unknown-clause",
        "syntax-error",
        "not-a-user-field",
    ]


def test_exception_in_a_rule_becomes_a_warning_without_the_text_of_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    @rule(Reason.QUERY_INVALID)
    def broken(subject: Subject) -> Iterator[Found]:
        raise ArithmeticError(subject.source)

    monkeypatch.setattr(module, "RULES", (broken,))
    (finding,) = check('users | where ad.email_address == "ana@example.com"')
    assert (finding.reason, finding.certain) == (Reason.QUERY_NOT_VERIFIED, False)
    assert "ArithmeticError" in finding.message
    assert "ana" not in finding.message


@pytest.mark.parametrize("before", ["$", "users | list $", "users | compute x = 1 | with ", "execution."])
def test_messages_are_short_even_for_long_names(before: str) -> None:
    found = check(before + "a" * 15_900, {"b" * 255: ""}, timedelta(days=1))
    assert found
    assert max(len(finding.message) for finding in found) < 300


@pytest.mark.parametrize(
    "query",
    [
        'where v == 10.0.22"Jane" x',
        "where v == 24'Jane'",
        "where n in ['O'Jane', 'x']",
        'where n == "a\\"Jane" x',
        "past 7'Jane'",
    ],
)
def test_messages_contain_no_string_of_the_query(query: str) -> None:
    found = check(f"users | {query} | list ad.email_address")
    assert found
    assert not [finding.message for finding in found if "Jane" in finding.message]


@pytest.mark.parametrize(
    ("window", "groups", "fits"),
    [
        ("past 1d", 4, True),
        ("past 2d", 4, True),
        ("past 4d", 4, True),
        ("past 7d", 4, False),
        ("past 7d", 7, True),
        ("past 12h", 4, False),
        ("past 7d", 1, False),
    ],
)
def test_query_with_sample_groups_can_cover_up_to_one_cycle(window: str, groups: int, fits: bool) -> None:
    day = timedelta(days=1)
    found = check(f"users | with execution.crashes during {window} | list ad.email_address", {}, day, day * groups)
    assert [finding.reason for finding in found] == ([] if fits else [Reason.QUERY_WINDOW_MISMATCH])
    if window == "past 7d" and groups == 4:
        assert found[0].message == (
            "the query covers 7 days, but the cycle of spec.sample has 4 days: it can return the same people 2 times; "
            "use `past 4d` or 7 groups"
        )
