"""The pages of the reasons: each reason has one, with an example that the code could have written."""

import ast
import re
from functools import cache

import pytest

from hack.files import ROOT
from hack.pages import REASONS_FOLDER, REASONS_PATH
from hack.reason_examples import EXAMPLES
from qualtrics_exporter.resource.reasons import Reason

PACKAGE = ROOT / "operator" / "qualtrics_exporter"
HOLE = "\0"
"""Stands for a value in the text of an f-string."""
MIN_LETTERS = 8


def texts(tree: ast.AST) -> list[str]:
    """The strings in the code, with a hole for each value."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text, without their full stops."""
    found = re.split(rf"(?<=[.{HOLE}]) +(?=[A-Z])", text.strip())
    return [sentence.strip().rstrip(".") for sentence in found if sentence.strip(f"{HOLE} .")]


@cache
def patterns() -> list[re.Pattern[str]]:
    """The beginnings of sentences that the code can write."""
    found = {
        sentence
        for path in PACKAGE.rglob("*.py")
        for text in texts(ast.parse(path.read_text("utf-8")))
        for sentence in sentences(text)
        if len(re.findall(r"[A-Za-z]", sentence)) >= MIN_LETTERS
    }
    return [re.compile(".*".join(map(re.escape, [*sentence.split(HOLE), ""])), re.DOTALL) for sentence in found]


def is_in_the_code(sentence: str) -> bool:
    without_path = re.sub(r"^spec\.\S+ ", "", sentence)
    return any(pattern.fullmatch(text) for pattern in patterns() for text in {sentence, without_path})


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_example_of_a_reason_has_only_sentences_of_the_code(reason: Reason) -> None:
    own_text = re.sub(r"\{(?:meaning|next)\}", "", EXAMPLES[str(reason)].message)
    assert [sentence for sentence in sentences(own_text.strip()) if not is_in_the_code(sentence.strip())] == []


def test_every_example_belongs_to_a_reason() -> None:
    assert set(EXAMPLES) == set(Reason)


def test_the_index_links_the_page_of_every_reason() -> None:
    index = (ROOT / REASONS_PATH).read_text("utf-8")
    assert set(re.findall(r"^### \[(\w+)\]\(reasons/\1\.md\)$", index, re.MULTILINE)) == set(Reason)


def test_every_page_belongs_to_a_reason() -> None:
    assert {path.stem for path in (ROOT / REASONS_FOLDER).iterdir()} == set(Reason)


def test_a_sentence_that_the_code_does_not_write_is_found() -> None:
    assert not is_in_the_code("The moon is made of green cheese")
    assert is_in_the_code("Secret dex/nexthink does not exist")
