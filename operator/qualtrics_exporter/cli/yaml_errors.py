"""What to say about a text that is not YAML. A file can hold secrets, so no message quotes it."""

import re

import yaml

_HINTS = (
    (r"mapping values are not allowed", "if the value has a colon before a space, put it in quotes"),
    (r"(sequence entries|mapping keys) are not", "a value that begins with - or ? and a space needs quotes"),
    (r"found character .* that cannot start any token", "a value that begins with this character needs quotes"),
    (r"found undefined alias", "an unquoted * refers to an anchor: put the value in quotes"),
    (
        r"expected (a comment or a line|chomping or indentation)",
        "a text after | or > begins in the next line; otherwise put all of the value in quotes",
    ),
    (r"expected <block end>, but found '<scalar>'", "the value ends before its line does: put all of it in quotes"),
    (r"found unknown escape character", "this escape sequence does not exist: put the value in single quotes"),
)
"""Problems of PyYAML that come from an unquoted value, and what to do."""


def describe(error: yaml.MarkedYAMLError) -> str:
    """The problem, in PyYAML's words if they quote nothing, and a hint."""
    problem = error.problem or ""
    plain = re.fullmatch(r"[a-z ,:-]{1,80}", problem)
    message = f"this is no YAML: {problem}" if plain else "this is no YAML"
    return "; ".join([message, *(hint for pattern, hint in _HINTS if re.match(pattern, problem))])
