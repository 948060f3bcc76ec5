"""A finding in a query points at its place in the file, however YAML wrote the text."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.cli.located import Document, documents

WRITTEN = {
    "a block": "query: |\n  users | where a\n  | list b\n",
    "a block with an indent": "query: |2-\n    users | where a\n    | list b\n",
    "a block with a comment": "query: |+ # as reviewed\n  users | where a\n\n  | list b\n\n",
    "a block after an empty line": "query: |\n\n  users | where a\n  | list b\n",
    "a folded block": "query: >-\n  users\n  | where a\n\n  | list b\n",
    "a folded block with more indented lines": "query: >\n  users | where a\n    | list b\n  | limit 1\n",
    "a plain text": "query: users | where a\n  | list b\n",
    "a plain text over several lines": "query:\n  users | where a\n\n\n  | list b\n",
    "single quotes": "query: 'users | where a == ''x''\n\n  | list b'\n",
    "double quotes": 'query: "users | where a == \\"x\\"\\n\\\n  \\x7c list \\u0062"\n',
    "a flow object": "{query: 'users | list b', other: 1}\n",
    "an alias": "other: &q users | list b\nquery: *q\n",
    "an alias of a block with a tag": "other: &q !!str |\n  users\n  | list b\nquery: *q\n",
    "Windows line breaks": "query: |\r\n  users | where a\r\n  | list b\r\n",
}


def document(text: str) -> Document:
    (found,) = documents(text)
    return found


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_every_word_is_found_where_it_stands(written: str) -> None:
    found = document(written)
    query = found.value["query"]
    for word in ("users", "list"):
        offset = found.offset_within(("query",), query.index(word))
        assert written[offset:].startswith(word)
    pipe = found.offset_within(("query",), query.rindex("| list"))
    assert written[pipe] in "|\\"


def test_the_end_of_a_query_is_behind_its_last_word() -> None:
    text = "a:\n  query: |\n    users | list\nb: 1\n"
    found = document(text)
    at = found.offset_within(("a", "query"), len("users | list"))
    assert found.source.position(at) == (3, 17)


STYLES: list[Any] = [None, "'", '"', "|", ">"]


@given(
    st.text(st.sampled_from("ab|'\"\\ \n\t#:-é😀\u2028"), max_size=60),
    st.sampled_from(STYLES),
    st.integers(8, 40),
    st.integers(2, 6),
)
def test_each_visible_character_is_found_in_every_style(text: str, style: Any, width: int, indent: int) -> None:
    written = yaml.safe_dump(
        {"spec": {"query": text}}, default_style=style, width=width, indent=indent, allow_unicode=True
    )
    found = document(written)
    assert found.value["spec"]["query"] == text
    for number, sign in enumerate(text):
        there = written[found.offset_within(("spec", "query"), number)]
        if not sign.isspace():
            assert there in (sign, "\\"), (written, number)


def test_what_is_not_there_is_told_at_the_nearest_thing_that_is() -> None:
    text = "spec:\n  nexthink: {query: x}\n"
    found = document(text)
    assert found.source.position(found.offset(("spec", "nexthink", "queryId"))) == (2, 3)
    assert found.source.position(found.offset(("spec", "qualtrics", "subject"))) == (1, 1)
    assert found.source.position(found.offset(("status",))) == (1, 1)
    assert found.source.position(found.offset(("spec", "nexthink", "query"), of_key=True)) == (2, 14)
