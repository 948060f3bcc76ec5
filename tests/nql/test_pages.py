"""Every rule has a page with wrong queries, their messages, and correct queries."""

import re
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from hack.files import ROOT
from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.rules import RULES
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.spec import LONGEST_QUERY
from tests.nql.corpus_files import with_options

FOLDER = ROOT / "docs" / "nql"
REASONS = {rule.name: rule.reason for rule in RULES} | {"too-long": Reason.QUERY_INVALID}
HEADINGS = ["Wrong", "Right", "How to fix it"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A query on a page, with the options of its first line."""

    query: str
    parameters: dict[str, str] = field(default_factory=dict)
    interval: timedelta | None = None

    @classmethod
    def of(cls, text: str) -> "Example":
        """Read a block of a page. corpus/README.md describes the options."""
        query, options = text.rstrip("\n"), None
        if query.startswith("-- "):
            options, query = query.split("\n", 1)
        return cls(*with_options(options, query))

    def findings(self) -> list[Finding]:
        return check(self.query, self.parameters, self.interval)

    def messages(self) -> str:
        """The messages of the check, with their positions."""
        source = Source(self.query)
        return "".join(f"{source.position(each.span.start)}: {each.message}\n" for each in self.findings())


def page(rule: str) -> str:
    return (FOLDER / f"{rule}.md").read_text("utf-8")


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"the heading {heading} is missing"
    return found[1]


def severity(reason: Reason) -> str:
    return "Error" if reason.kind is Kind.PERMANENT else "Warning"


def wrong(rule: str) -> list[tuple[Example, str]]:
    """The wrong queries of a page, each with the messages that the page shows."""
    blocks: list[tuple[str, str]] = BLOCK.findall(section(page(rule), "Wrong"))
    kinds = [kind for kind, _ in blocks]
    if rule == "too-long":
        # The query is too long for the page, so the page has a command that prints it.
        assert kinds == ["sh", "text"]
        assert f"'%-{LONGEST_QUERY + 1}s' 'users | list ad.email_address'" in blocks[0][1]
        return [(Example("users | list ad.email_address".ljust(LONGEST_QUERY + 1)), blocks[1][1])]
    assert kinds == ["nql", "text"] * (len(kinds) // 2)
    assert kinds
    return [(Example.of(query), messages) for (_, query), (_, messages) in zip(blocks[::2], blocks[1::2], strict=True)]


def right(rule: str) -> list[Example]:
    return [Example.of(text) for kind, text in BLOCK.findall(section(page(rule), "Right")) if kind == "nql"]


def test_every_rule_has_a_page_and_every_page_has_a_rule() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {*REASONS, "README"}


@pytest.mark.parametrize("rule", REASONS)
def test_page_has_the_common_headings(rule: str) -> None:
    text = page(rule)

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert re.findall(r"^# (.+)$", BLOCK.sub("", text), re.MULTILINE) == [rule]


@pytest.mark.parametrize(("rule", "reason"), REASONS.items())
def test_page_begins_with_severity_and_reason(rule: str, reason: Reason) -> None:
    assert page(rule).startswith(f"# {rule}\n\n{severity(reason)} `{reason}`\n\n")


@pytest.mark.parametrize(("rule", "reason"), REASONS.items())
def test_only_the_page_of_an_error_explains_how_to_disable_the_check(rule: str, reason: Reason) -> None:
    explained = "`spec.nexthink.queryCheck: Warn`" in section(page(rule), "How to fix it")

    assert explained == (severity(reason) == "Error")


@pytest.mark.parametrize(("rule", "reason"), REASONS.items())
def test_wrong_examples_have_only_the_finding_of_their_page(rule: str, reason: Reason) -> None:
    for example, _ in wrong(rule):
        found = example.findings()
        assert {each.rule for each in found} == {rule}, example.query[:200]
        assert {each.reason for each in found} == {reason}
        assert {each.certain for each in found} == {severity(reason) == "Error"}


@pytest.mark.parametrize("rule", REASONS)
def test_page_shows_the_messages_of_the_check(rule: str) -> None:
    for example, messages in wrong(rule):
        assert messages == example.messages()


@pytest.mark.parametrize("rule", REASONS)
def test_right_examples_have_no_finding(rule: str) -> None:
    assert right(rule)
    for example in right(rule):
        assert example.messages() == "", example.query


@pytest.mark.parametrize("rule", REASONS)
def test_page_explains_the_options_line_of_its_examples(rule: str) -> None:
    text = page(rule)

    assert ("```nql\n-- " in text) == ("The first line" in text)


def test_index_lists_every_rule_in_the_table_of_its_severity() -> None:
    index = page("README")
    for heading in ("Error", "Warning"):
        rows = re.findall(
            r"^\| \[([a-z-]+)\]\(\1\.md\) \| \[`(\w+)`\]\(\.\./reasons\.md#\w+\) \| [A-Z`].*\. \|$",
            section(index, f"{heading}s"),
            re.MULTILINE,
        )
        assert len(rows) == len(dict(rows)) == section(index, f"{heading}s").count("\n| [")
        assert dict(rows) == {rule: reason for rule, reason in REASONS.items() if severity(reason) == heading}


@pytest.mark.parametrize("name", [*REASONS, "README"])
def test_links_of_a_page_have_targets(name: str) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", page(name)):
        target = FOLDER / link
        assert target.exists(), link
        text = re.sub(r"\]\([^)]+\)", "]", target.read_text("utf-8"))  # a heading can be a link
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in names, f"{link}#{anchor}"


@pytest.mark.parametrize("name", [*REASONS, "README"])
def test_prose_of_a_page_is_wrapped(name: str) -> None:
    prose = BLOCK.sub("", page(name))

    assert [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")] == []
