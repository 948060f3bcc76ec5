"""Reads the exporter and the Secrets for `run` from files with manifests."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from qualtrics_exporter.cli import located
from qualtrics_exporter.cli.cut_values import CutValue, cut_in_secret, cut_values
from qualtrics_exporter.cli.manifest_findings import not_yaml
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.manifest import is_ours, manifest_violations
from qualtrics_exporter.resource.names import KIND
from qualtrics_exporter.resource.reasons import Reason

_SHOWN = 3


class InvalidManifest(click.ClickException):
    """A file has a manifest that cannot be used: exit code 1."""


def read_exporter(path: Path, name: str | None) -> Exporter:
    """The exporter of that name in the file, or its only one."""
    exporters = [(Exporter.from_object(item.value), item) for item in _items(path) if is_ours(item.value)]
    names = ", ".join(exporter.name for exporter, _ in exporters)
    if not exporters:
        raise click.UsageError(f"{path} has no {KIND}.")
    if name is None and len(exporters) > 1:
        raise click.UsageError(f"{path} has several exporters ({names}): choose one with --name.")
    found = [(exporter, item) for exporter, item in exporters if name is None or exporter.name == name]
    if not found:
        raise click.UsageError(f"{path} has no {KIND} {name}, only {names}.")
    if len(found) > 1:
        raise InvalidManifest(f"{path} has {len(found)} exporters named {name}.")
    exporter, item = found[0]
    _warn(path, item, cut_values(item))
    # Reject the same manifests as kubectl and the API server: a misspelled field could be dryRun.
    if wrong := manifest_violations(item.value):
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InvalidManifest(f"{path}: {KIND} {exporter.name}: {'; '.join(map(str, wrong[:_SHOWN]))}{more}")
    return exporter


class Secrets:
    """The Secrets of a file, by namespace and name. A Secret without a namespace matches all namespaces."""

    def __init__(self, where: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        self._where = where
        self._bodies = [body for body in bodies if body.get("kind") == "Secret"]

    @classmethod
    def read(cls, path: Path) -> "Secrets":
        items = list(_items(path))
        for item in items:
            if item.value.get("kind") == "Secret":
                _warn(path, item, cut_in_secret(item))
        return cls(str(path), [item.value for item in items])

    def get(self, namespace: str, name: str) -> tuple[dict[str, str | bytes], str]:
        """The keys of a Secret, and its name for messages. Raises Permanent(SecretNotFound)."""
        source = f"Secret {namespace or 'default'}/{name}"
        for wanted in (namespace or "default", ""):
            found = [b for b in self._bodies if (_metadata(b, "namespace"), _metadata(b, "name")) == (wanted, name)]
            if len(found) > 1:
                raise InvalidManifest(f"{self._where} has {source} {len(found)} times.")
            if found:
                return _keys(found[0], source), source
        raise Permanent(
            Reason.SECRET_NOT_FOUND,
            f"{self._where} has no {source}",
            next_step="Add its manifest to the file, or correct credentialsSecretRef.name.",
        )


def _warn(path: Path, item: located.Document, cuts: Iterable[CutValue]) -> None:
    for cut in cuts:
        line, column = item.source.position(cut.start)
        say(f"{path}:{line}:{column}: {Reason.VALUE_CUT}: {cut.message}.")


def _items(path: Path) -> Iterator[located.Document]:
    """Every object in a YAML file, including the items of a List (from `kubectl get -o yaml`)."""
    try:
        with click.open_file(str(path), "rb") as file:
            text = located.decoded(file.read())
        found = located.documents(text)
    except located.NotYaml as error:
        line, column = Source(text).position(error.offset)
        raise InvalidManifest(f"{path}:{line}:{column}: {not_yaml(error, text)}.") from None
    except UnicodeDecodeError:
        raise InvalidManifest(f"{path} is not UTF-8 text.") from None
    for document in found:
        yield from document.items()


def _keys(body: Mapping[str, Any], source: str) -> dict[str, str | bytes]:
    keys: dict[str, str | bytes] = {}
    for field in ("data", "stringData"):  # stringData takes precedence, as in the API server
        values = body.get(field) or {}
        if not isinstance(values, Mapping):
            raise InvalidManifest(f"{source}: {field} is not a mapping.")
        for key, value in values.items():
            if not isinstance(value, str):
                raise InvalidManifest(f"{source}: {field}.{key} is not text: put it in quotes.")
            keys[str(key)] = _decoded(value, f"{source}: {field}.{key}") if field == "data" else value
    return keys


def _decoded(value: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise InvalidManifest(f"{where} is not base64: use stringData for plain text.") from None


def _metadata(body: Mapping[str, Any], key: str) -> str:
    metadata = body.get("metadata")
    return str(metadata.get(key) or "") if isinstance(metadata, Mapping) else ""
