"""Output for programs: the option `--output`, and objects and entries in its formats."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from qualtrics_exporter.resource.names import GROUP, KIND

OBJECT_FORMATS = ("json", "yaml", "name")
ENTRY_FORMATS = ("json", "yaml")
"""Entries of the history have no names."""


def output_option(formats: Sequence[str], text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `-o`, as kubectl has it."""
    return click.option("-o", "--output", type=click.Choice(formats), help=text)


def format_object(exporter: Mapping[str, Any], output: str) -> str:
    """An exporter in a format, as kubectl prints it."""
    if output == "name":
        return f"{KIND.lower()}.{GROUP}/{exporter['metadata']['name']}"
    return format_data(exporter, output)


def format_data(data: Mapping[str, Any], output: str) -> str:
    """Data as JSON or YAML."""
    if output == "json":
        return json.dumps(data, indent=4, ensure_ascii=False)
    import yaml  # importing it takes long

    return str(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)).rstrip("\n")
