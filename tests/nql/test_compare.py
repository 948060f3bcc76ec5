"""When two NQL texts have the same meaning, and how their first difference is reported."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.nql.compare import difference

QUERY = """\
users | with execution.events during past 7d
| where binary.name == "teams.exe"   /* the new one */
| compute focus = focus_time.sum()
| where focus < 1min and user.ad.department in [$departments] and name != $name
| list ad.email_address
"""
PARAMETERS = {"departments": '"Sales", "R&D"', "name": "Eva M"}


@pytest.mark.parametrize(
    "executed",
    [
        QUERY,
        QUERY.replace("\n", " "),
        QUERY.replace("/* the new one */", ""),
        QUERY.replace("users |", "/* who */ USERS\n\n|"),
        QUERY.replace("focus_time.sum()", "focus_time . sum ( )"),
        QUERY.replace('"teams.exe"', "'teams.exe'"),
        QUERY.replace("1min", "1 min"),
        QUERY.replace("$departments", '"Sales", "R&D"').replace("$name", '"Eva M"'),
        QUERY.replace("$departments", "'Sales','R&D'").replace("$name", "'Eva M'"),
        QUERY.replace("$departments", '"Sales", "R&D"').replace("$name", "Eva M"),
        QUERY.replace("$departments", '\'"Sales", "R&D"\''),
        QUERY.replace("$name", "$NAME"),
    ],
)
def test_texts_with_the_same_meaning_do_not_differ(executed: str) -> None:
    assert difference(QUERY, executed, PARAMETERS) is None


@pytest.mark.parametrize(
    ("executed", "message"),
    [
        (QUERY.replace("7d", "30d"), "line 1, column 43: the spec has '7d', Nexthink runs '30d'"),
        (
            QUERY.replace("teams.exe", "Teams.exe"),
            "line 2, column 24: the spec has 'teams.exe', Nexthink runs 'Teams.exe'",
        ),
        (
            QUERY.replace("focus < 1", "focus > 1"),
            "line 4, column 9: the spec has 'focus < 1min', Nexthink runs 'focus > 1min'",
        ),
        (QUERY + "| limit 5", "line 5, column 24: the spec has nothing more, Nexthink runs 'limit 5'"),
        (QUERY.replace(".email_address", ""), "line 5, column 8: the spec has 'ad.email_address', Nexthink runs 'ad'"),
        (QUERY.replace("$name", '"eva m"'), "line 4, column 75: the spec has '$name', Nexthink runs 'eva m'"),
        (
            QUERY.replace("/* the new one */", "| limit 1"),
            "line 3, column 3: the spec has 'compute focus = focus_time.sum()', Nexthink runs 'limit 1'",
        ),
        ("", "line 1, column 1: the spec has 'users', Nexthink runs nothing more"),
    ],
)
def test_first_difference_is_reported(executed: str, message: str) -> None:
    assert difference(QUERY, executed, PARAMETERS) == message


def test_parameter_inside_quotes_is_filled_in() -> None:
    query = 'users | where name == "*$part*"'

    assert difference(query, 'users | where name == "*eva*"', {"part": "eva"}) is None
    assert difference(query, query, {"part": "eva"}) is None
    assert difference(query, 'users | where name == "*ana*"', {"part": "eva"})


def test_parameter_without_a_value_is_not_filled_in() -> None:
    assert difference("users | where name == $name", "users | where name == 'eva'", {})


def test_comments_are_ignored_but_not_inside_quotes() -> None:
    assert difference("users /* a */ | list name", "users | list name /* open", {}) is None
    assert difference("users | where name == '/* a */'", "users | where name == ''", {})


@pytest.mark.parametrize(
    ("query", "executed", "parameters"),
    [
        ("where mail == 'ana@example.com'", "where mail == 'eva@example.com'", {}),
        ("where mail == ana@example.com", "where mail == eva@example.com", {}),
        ("where mail == ana.smith@example.com", "where mail == eva.smith@example.com", {}),
        ("where mail == ana.smith@example.com", "where mail == ana.smith@example.org", {}),
        ("where mail == $who", "where mail == 'eva@example.com'", {"who": "ana@example.com"}),
        ("where mail == 'one", "where mail == 'Eva <eva@example.com>", {}),
    ],
)
def test_difference_shows_no_address(query: str, executed: str, parameters: dict[str, str]) -> None:
    message = difference(query, executed, parameters)

    assert message
    assert not re.search(r"ana|eva|example", message.lower())


def test_difference_is_short_and_printable() -> None:
    message = difference("list a", "list '" + "\n\x1b[31m" * 5000 + "'", {})

    assert message
    assert message.isprintable()
    assert len(message) < 200


@given(st.text(max_size=80))
def test_text_does_not_differ_from_itself(text: str) -> None:
    assert difference(text, text, {}) is None


@given(
    st.text(max_size=40), st.text(max_size=40), st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2)
)
def test_any_two_texts_can_be_compared(one: str, other: str, parameters: dict[str, str]) -> None:
    message = difference(one, other, parameters)

    assert message is None or (message.isprintable() and "@" not in message.replace("something with an @", ""))
