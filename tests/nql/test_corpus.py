"""Every query of the corpus has exactly its expected findings, at the expected places."""

import pytest

from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.parse import parse
from qualtrics_exporter.nql.rules import RULES
from qualtrics_exporter.nql.source import Source
from tests.nql.corpus_files import Entry, Expected, entries
from tests.nql.printer import printed

CORPUS = list(entries())


def found(entry: Entry) -> list[Expected]:
    source = Source(entry.query)
    return sorted(
        Expected(
            *source.position(finding.span.start),
            "error" if finding.certain else "warning",
            str(finding.reason),
            finding.rule,
        )
        for finding in check(entry.query, entry.parameters, entry.interval)
    )


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: f"{entry.file}: {entry.title}")
def test_query_has_exactly_the_expected_findings(entry: Entry) -> None:
    assert found(entry) == entry.expected


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: f"{entry.file}: {entry.title}")
def test_printed_corpus_query_parses_to_the_same_tree(entry: Entry) -> None:
    parsed = parse(entry.query)
    if parsed.faults or parsed.scan.broken:
        return  # the tree contains text that was not parsed
    again = parse(printed(parsed.query))
    assert again.query == parsed.query
    assert printed(again.query) == printed(parsed.query)


def test_corpus_is_large_and_has_queries_with_and_without_findings() -> None:
    without_findings = [entry for entry in CORPUS if not entry.expected]
    assert len(CORPUS) >= 150
    assert 60 <= len(without_findings) <= len(CORPUS) - 60
    assert len({entry.title for entry in CORPUS}) == len(CORPUS)


def test_corpus_has_a_finding_of_every_rule() -> None:
    shown = {expected.rule for entry in CORPUS for expected in entry.expected}
    assert shown == {rule.name for rule in RULES}
