"""YAML as plain data, read with libyaml if PyYAML was built with it: that takes an eighth of the time."""

from collections.abc import Iterator
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str | bytes) -> Any:
    """The only document of a text."""
    return yaml.load(text, _LOADER)


def read_all(text: str | bytes) -> Iterator[Any]:
    """The documents of a text, one after the other."""
    return yaml.load_all(text, _LOADER)
