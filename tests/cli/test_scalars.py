"""The position of a finding in a query, for each style in which YAML writes a text."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.cli.located import Document, documents

QUERY_BY_STYLE = {
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
    (parsed,) = documents(text)
    return parsed


@pytest.mark.parametrize("yaml_text", QUERY_BY_STYLE.values(), ids=QUERY_BY_STYLE)
def test_a_word_of_a_query_is_located_in_each_yaml_style(yaml_text: str) -> None:
    parsed = document(yaml_text)
    query = parsed.value["query"]
    for word in ("users", "list"):
        offset = parsed.offset_within(("query",), query.index(word))
        assert yaml_text[offset:].startswith(word)
    pipe = parsed.offset_within(("query",), query.rindex("| list"))
    assert yaml_text[pipe] in "|\\"


def test_the_end_of_a_query_is_located_after_its_last_word() -> None:
    text = "a:\n  query: |\n    users | list\nb: 1\n"
    parsed = document(text)
    offset = parsed.offset_within(("a", "query"), len("users | list"))
    assert parsed.source.position(offset) == (3, 17)


STYLES: list[Any] = [None, "'", '"', "|", ">"]


@given(
    st.text(st.sampled_from("ab|'\"\\ \n\t#:-é😀\u2028"), max_size=60),
    st.sampled_from(STYLES),
    st.integers(8, 40),
    st.integers(2, 6),
)
def test_each_visible_character_of_any_text_is_located_in_each_yaml_style(
    text: str, style: Any, width: int, indent: int
) -> None:
    yaml_text = yaml.safe_dump(
        {"spec": {"query": text}}, default_style=style, width=width, indent=indent, allow_unicode=True
    )
    parsed = document(yaml_text)
    assert parsed.value["spec"]["query"] == text
    for number, character in enumerate(text):
        character_in_file = yaml_text[parsed.offset_within(("spec", "query"), number)]
        if not character.isspace():
            assert character_in_file in (character, "\\"), (yaml_text, number)


def test_a_missing_field_is_located_at_the_nearest_existing_parent() -> None:
    text = "spec:\n  nexthink: {query: x}\n"
    parsed = document(text)
    assert parsed.source.position(parsed.offset(("spec", "nexthink", "queryId"))) == (2, 3)
    assert parsed.source.position(parsed.offset(("spec", "qualtrics", "subject"))) == (1, 1)
    assert parsed.source.position(parsed.offset(("status",))) == (1, 1)
    assert parsed.source.position(parsed.offset(("spec", "nexthink", "query"), of_key=True)) == (2, 14)
