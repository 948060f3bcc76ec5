"""Writes manifests as YAML that kubectl, PyYAML and people read as the same values.

Text of several lines is a block, as in the samples. Text that any of the readers could take for something else is in
quotes: `"#teams_rollout"`, but also `y`, which is true for kubectl and text for PyYAML.
"""

from typing import Any

import yaml

from qualtrics_exporter.cli.located import PLAIN_SCALARS

_WIDTH = 100
_OTHER_LINE_BREAKS = ("\x85", "\u2028", "\u2029")


def to_yaml(document: Any) -> str:
    """The document, with its keys in their order. It must be a tree: an object that occurs twice is written twice."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = {  # noqa: RUF012  as in the base class
        first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *PLAIN_SCALARS.get(first, [])]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *PLAIN_SCALARS}
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def analyze_scalar(self, scalar: str) -> Any:
        """PyYAML writes no block if a line has a tab or ends with a space, although YAML allows both."""
        analysis = super().analyze_scalar(scalar)
        if _is_block(scalar):
            analysis.allow_block = True
        return analysis


def _is_block(text: str) -> bool:
    """Whether the text has several lines, and nothing that a block cannot contain."""
    return "\n" in text and text.strip() != "" and all(char.isprintable() or char in "\n\t\xa0" for char in text)


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = "|" if _is_block(text) else '"' if any(char in text for char in _OTHER_LINE_BREAKS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
