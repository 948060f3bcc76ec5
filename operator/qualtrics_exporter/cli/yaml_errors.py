"""Messages about text that is not YAML. A file can contain secrets, so no message quotes it."""

import re

import yaml

_HINTS = (
    (r"mapping values are not allowed", "if the value has a colon before a space, put it in quotes"),
    (r"(sequence entries|mapping keys) are not", "put a value that begins with - or ? and a space in quotes"),
    (r"found character .* that cannot start any token", "put a value that begins with this character in quotes"),
    (r"found undefined alias", "an unquoted * refers to an anchor: put the value in quotes"),
    (
        r"expected (a comment or a line|chomping or indentation)",
        "write the text of | or > on the next lines; for another value, put all of it in quotes",
    ),
    (r"expected <block end>, but found '<scalar>'", "the value ends before its line does: put all of it in quotes"),
    (r"found unknown escape character", "this escape sequence does not exist: put the value in single quotes"),
)
"""Problems that PyYAML reports for an unquoted value, and how to fix them."""


def describe(error: yaml.MarkedYAMLError) -> str:
    """The problem, in PyYAML's words if they quote nothing, and a hint."""
    problem = error.problem or ""
    plain = re.fullmatch(r"[a-z ,:-]{1,80}", problem)
    message = f"this is not YAML: {problem}" if plain else "this is not YAML"
    return "; ".join([message, *(hint for pattern, hint in _HINTS if re.match(pattern, problem))])
