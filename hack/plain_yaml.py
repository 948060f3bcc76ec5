"""Reads YAML as plain data, with libyaml if PyYAML was built with it: libyaml is eight times as fast."""

from collections.abc import Iterator
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str | bytes) -> Any:
    """Return the only document of a text."""
    return yaml.load(text, _LOADER)  # noqa: S506 - it is a safe loader


def read_all(text: str | bytes) -> Iterator[Any]:
    """Yield the documents of a text."""
    return yaml.load_all(text, _LOADER)
