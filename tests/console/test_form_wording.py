"""The form speaks of its labels, and neither of YAML nor of the names of fields in a manifest."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from qualtrics_exporter.cli.console.form import form_of
from qualtrics_exporter.cli.console.form_check import check
from qualtrics_exporter.cli.console.form_fields import fields, in_the_form
from qualtrics_exporter.cli.console.form_wording import PHRASES
from qualtrics_exporter.cli.console.sentences import sentence
from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.resource.crd import schema
from qualtrics_exporter.resource.manifest import manifest_violations
from tests.console.forms import filled, problems
from tests.resource.manifests import DAILY, INVALID, changed

OF_A_MANIFEST = re.compile(
    r"YAML|quote |(in|without) quotes|kubeconfig|--\w|\b[a-z]+[A-Z]\w*|\bspec\.|: (true|false)\b|\": [A-Z]|groups: \d"
)
OF_A_SECRET = {"clientId", "clientSecret", "tokenUrl"}
USERS = "users | with execution.events during past"
ABOUT_THE_QUERY: tuple[dict[str, Any], ...] = (
    {"nexthink.query": f"{USERS} 7d | limit 5 | list ad.email_address"},
    {"nexthink.query": f"{USERS} 7d | where name == $name | list ad.email_address", "nexthink.parameters": {"a": "b"}},
    {**DAILY, "nexthink.query": f"{USERS} 7d | list ad.email_address", "sample": {"groups": 4}},
    {"nexthink.resultSource": "Export", "nexthink.driftPolicy": "Hold"},
)


@cache
def wrong_manifests() -> list[dict[str, Any]]:
    """A manifest for each message."""
    by_message = {manifest_violations(changed(each.changes))[0].message: each.changes for each in INVALID.values()}
    return [changed(changes) for changes in (*by_message.values(), *ABOUT_THE_QUERY)]


def descriptions(node: dict[str, Any]) -> Iterator[str]:
    yield node.get("description", "")
    for inner in node.get("properties", {}).values():
        yield from descriptions(inner)


def test_no_text_of_the_form_is_about_the_manifest() -> None:
    texts = [text for each in fields() for text in (each.help, each.more)]
    for manifest in wrong_manifests():
        texts += [problem.message for problem in check(form_of(manifest)[0], complete=True).problems]
    assert len(set(texts)) > len(fields()) + 30
    found = {text: {match[0] for match in OF_A_MANIFEST.finditer(text)} - OF_A_SECRET for text in texts}
    assert {text: words for text, words in found.items() if words} == {}


def test_every_phrase_that_the_form_words_differently_is_in_a_text() -> None:
    texts = [*descriptions(schema())]
    for manifest in wrong_manifests():
        found = findings(to_yaml(manifest))[1]
        texts += [each.message.replace(f"{each.path} ", "This field ", 1) for each in found]
    assert [phrase for phrase in PHRASES if not any(phrase in text for text in texts)] == []


def test_a_label_replaces_the_name_of_its_field() -> None:
    for text, expected in {
        "driftPolicy and spec.maxRecipients": '"If Nexthink runs another query" and "Most recipients of a run"',
        "$days has no value in spec.nexthink.parameters": '$days has no value in "Parameters of the query"',
        "the query has parameters and a name": "the query has parameters and a name",
    }.items():
        assert in_the_form(text) == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"fromEmail": "dex@example.com"},
            "The address must be at qemailserver.com, qualtrics-survey.com or qualtrics-research.com (one of these, "
            "depending on your brand); for a domain registered in your Qualtrics brand, turn on "
            '"Sender at your own domain".',
        ),
        (
            {"maxRecipients": "5", "minRecipients": "6"},
            'This field must not be more than "Most recipients of a run".',
        ),
        (
            {"groups": "5", "percent": "6"},
            'This field must not be set together with "Sample: groups in turn": clear one of the two.',
        ),
        (
            {"queryId": "teams"},
            "This field must be # and 2 to 255 of a-z, 0-9 and _, as shown in the Nexthink web console, for example "
            "#teams_rollout.",
        ),
        (
            {"dayOfWeek": ""},
            'This field must be set if "How often" is Weekly: for example Monday.',
        ),
    ],
)
def test_a_finding_says_what_to_do_in_the_form(texts: dict[str, str], message: str) -> None:
    assert list(problems(filled(**texts)).values()) == [message]


def test_a_finding_about_a_field_that_the_form_does_not_show_names_it() -> None:
    [problem] = check(form_of(changed({"future": 1}))[0], complete=True).problems
    assert problem.message.startswith("`spec.future` is not a field. The form does not show it: change it in the file")


def test_a_sentence_ends_with_one_sign() -> None:
    for text, expected in {"a": "A.", "did you mean b?": "Did you mean b?", "it ended.": "It ended."}.items():
        assert sentence(text) == expected
    query = "users | with execution.evnts during past 7d | list ad.email_adress"
    found = [problem.message for problem in check(filled(query=query), complete=True).problems]
    assert any(message.endswith("?") for message in found)
    assert [message for message in found if re.search(r"[?!.]{2}$", message)] == []


# The address of a page instead of an id.


PAGE = "https://example.qualtrics.com"
LISTS = f"{PAGE}/iq-directory/#/POOL_abcdefghijk1/lists/CG_abcdefghijk1"


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("surveyId", f"{PAGE}/survey-builder/SV_abcdefghijk1234/edit", "Its id is `SV_abcdefghijk1234`."),
        ("surveyId", "iad1.qualtrics.com/jfe/form/SV_abcdefghijk1?Q_CHL=preview", "Its id is `SV_abcdefghijk1`."),
        ("mailingListId", LISTS, "Its id is `CG_abcdefghijk1`."),
        ("directoryId", LISTS, "Its id is `POOL_abcdefghijk1`."),
        ("messageId", f"{PAGE}/UR_abcdefghijk1/MS_abcdefghijk1?{'x' * 99}", "Its id is `MS_abcdefghijk1`."),
        ("libraryId", f"{PAGE}/library/", "Enter the id, which begins with `UR_`."),
        ("surveyId", f"{PAGE}/SV_abcdefghijk1/SV_abcdefghijk2", "Enter the id, which begins with `SV_`."),
    ],
)
def test_the_id_in_the_address_of_a_page_is_found(name: str, text: str, hint: str) -> None:
    assert list(problems(filled(**{name: text})).values()) == [f"This is the address of a page. {hint}"]


# The name.


@pytest.mark.parametrize(("name", "valid"), [("teams.rollout-1", True), ("Teams", False), ("a_b", False)])
def test_the_help_and_the_finding_of_the_name_agree(name: str, valid: bool) -> None:
    found = problems(filled(name=name))
    assert ("metadata.name" not in found) == valid
    [field] = [each for each in fields() if each.name == "metadata.name"]
    assert field.help.startswith("Lower case letters, digits, `-` and `.`")
    if not valid:
        assert "must be lower case letters, digits, - and ., at most 253 of them" in found["metadata.name"]
