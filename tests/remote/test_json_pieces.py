"""A large document is parsed in small pieces, and means the same as if it had been parsed at once."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qualtrics_exporter.remote.json_pieces import DEEPEST, MOST_VALUES, LimitExceeded, parse
from qualtrics_exporter.remote.response import SMALL_BODY, NotUnderstood, Response, TooMuch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def parsed(text: str) -> tuple[Any, int]:
    """The document, and in how many pieces it was parsed."""
    pieces, count = parse(text), 1
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value, count
        count += 1


def both(text: str) -> None:
    try:
        expected = repr(json.loads(text))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            parsed(text)
        return
    assert repr(parsed(text)[0]) == expected


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_a_document_is_understood_as_the_library_does(value: Any, indent: int | None, ascii_only: bool) -> None:
    both(json.dumps(value, indent=indent, ensure_ascii=ascii_only))


@settings(deadline=None)
@given(VALUES.map(json.dumps), st.integers(0, 200), st.sampled_from(list('[]{},:"0-e.t \\\n')))
@example("[1,2]", 2, "]")
@example('{"a":1}', 1, ",")
def test_a_broken_document_is_refused_as_the_library_does(text: str, place: int, sign: str) -> None:
    place %= len(text) + 1
    both(text[:place] + sign + text[place + 1 :])


@pytest.mark.parametrize("text", ["", " ", "tru", "[1,]", "{,}", '{"a"}', "01", "1.", "-", "1 2", "[", '"', "\ufeff1"])
def test_what_is_no_json_is_refused(text: str) -> None:
    both(text)


def test_it_takes_many_pieces_and_the_same_key_is_kept_once() -> None:
    document, pieces = parsed(json.dumps([{"a key": number} for number in range(50_000)]))
    assert pieces > 300
    assert len({id(key) for row in document for key in row}) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" + "1," * MOST_VALUES + "1]", "more than 150,000 values"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "more than 100 levels"),
        ('{"a":' * 100_000, "more than 100 levels"),
    ],
)
def test_what_would_take_much_memory_is_not_parsed_to_its_end(text: str, why: str) -> None:
    with pytest.raises(LimitExceeded, match=why):
        parsed(text)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" * 100_000, TooMuch),
        (b"[" * 10 * SMALL_BODY, TooMuch),
        (b"[" + b"1," * MOST_VALUES + b"1]", TooMuch),
        (b"1" * 5000, NotUnderstood),
        (b"[" + b"1" * 5000 + b" " * SMALL_BODY + b"]", NotUnderstood),
        (b" " * SMALL_BODY + b"\xff1", NotUnderstood),
        (b" " * SMALL_BODY + b"}", NotUnderstood),
    ],
)
async def test_a_reply_says_what_is_wrong_with_it(body: bytes, error: type[NotUnderstood]) -> None:
    paused = 0

    async def pause() -> None:
        nonlocal paused
        paused += 1

    reply = Response(200, {}, body)
    await reply.parse(pause)
    with pytest.raises(NotUnderstood) as found:
        reply.document()
    assert type(found.value) is error
    with pytest.raises(NotUnderstood):
        Response(200, {}, body).document()  # also if nobody parsed it before
