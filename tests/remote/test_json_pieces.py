"""JSON that is parsed in small pieces: the results are the same as with `json.loads`, and the memory is limited."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qualtrics_exporter.remote.json_pieces import MAX_DEPTH, MAX_VALUES, LimitExceeded, parse
from qualtrics_exporter.remote.response import SMALL_BODY, NotUnderstood, Response, TooMuch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def parse_in_pieces(text: str) -> tuple[Any, int]:
    """The document, and the number of pieces in which it was parsed."""
    pieces, count = parse(text), 1
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value, count
        count += 1


def assert_same_as_json_loads(text: str) -> None:
    try:
        expected = repr(json.loads(text))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            parse_in_pieces(text)
        return
    assert repr(parse_in_pieces(text)[0]) == expected


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_a_document_is_parsed_to_the_same_value_as_with_json_loads(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    assert_same_as_json_loads(json.dumps(value, indent=indent, ensure_ascii=ascii_only))


@settings(deadline=None)
@given(VALUES.map(json.dumps), st.integers(0, 200), st.sampled_from(list('[]{},:"0-e.t \\\n')))
@example("[1,2]", 2, "]")
@example('{"a":1}', 1, ",")
@example(f"[1{'0' * 28}393216]", 3, "e")
@example(f"[1.{'0' * 28}393216]", 4, "e")
def test_an_altered_document_is_parsed_or_rejected_as_with_json_loads(text: str, position: int, character: str) -> None:
    position %= len(text) + 1
    assert_same_as_json_loads(text[:position] + character + text[position + 1 :])


@pytest.mark.parametrize("text", ["", " ", "tru", "[1,]", "{,}", '{"a"}', "01", "1.", "-", "1 2", "[", '"', "\ufeff1"])
def test_invalid_json_is_rejected(text: str) -> None:
    assert_same_as_json_loads(text)


def test_a_large_document_is_parsed_in_many_pieces_and_stores_equal_keys_once() -> None:
    document, pieces = parse_in_pieces(json.dumps([{"a key": number} for number in range(50_000)]))
    assert pieces > 300
    assert len({id(key) for row in document for key in row}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "1," * MAX_VALUES + "1]", "more than 150,000 values"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "more than 100 levels"),
        ('{"a":' * 100_000, "more than 100 levels"),
    ],
    ids=["too many values", "too many nested lists", "too many nested objects"],
)
def test_a_document_with_too_many_values_or_levels_is_rejected(text: str, message: str) -> None:
    with pytest.raises(LimitExceeded, match=message):
        parse_in_pieces(text)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" * 100_000, TooMuch),
        (b"[" * 10 * SMALL_BODY, TooMuch),
        (b"[" + b"1," * MAX_VALUES + b"1]", TooMuch),
        (b"1" * 5000, NotUnderstood),
        (b"[" + b"1" * 5000 + b" " * SMALL_BODY + b"]", NotUnderstood),
        (b" " * SMALL_BODY + b"\xff1", NotUnderstood),
        (b" " * SMALL_BODY + b"}", NotUnderstood),
    ],
    ids=[
        "too many levels",
        "too many levels in a large body",
        "too many values",
        "a number of 5000 digits",
        "a number of 5000 digits in a large body",
        "invalid UTF-8",
        "an unexpected brace",
    ],
)
async def test_a_response_that_cannot_be_parsed_raises_the_error_for_its_cause(
    body: bytes, error: type[NotUnderstood]
) -> None:
    paused = 0

    async def pause() -> None:
        nonlocal paused
        paused += 1

    reply = Response(200, {}, body)
    await reply.parse(pause)
    with pytest.raises(NotUnderstood) as error_info:
        reply.document()
    assert type(error_info.value) is error
    with pytest.raises(NotUnderstood):
        Response(200, {}, body).document()  # also without an earlier call of parse
