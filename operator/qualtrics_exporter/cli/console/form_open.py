"""Reads the manifests that a user opens in the form: pasted, from a file, or from the cluster.

The text can be anything. Every problem is a sentence, and a small text cannot become a large manifest.
"""

from collections.abc import Mapping
from typing import Any

from qualtrics_exporter.cli.console.sentences import sentence
from qualtrics_exporter.cli.located import NotYaml, decoded, documents
from qualtrics_exporter.cli.manifest_findings import mentions_exporter, not_yaml
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.manifest import is_ours
from qualtrics_exporter.resource.names import KIND, RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT

MAX_CHARACTERS = 262_144
"""Of a text that is opened. A manifest with the longest query has about 20,000."""
_MAX_DEPTH = 40
_MAX_VALUES = 20_000
_MAX_EXPORTERS = 100

REQUESTS = (RUN_REQUESTED_AT, TEST_REQUESTED_AT, TEST_MODE, SETTLE_RUN)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BY_THE_SERVER = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("selfLink", "managedFields"),
)


_TOO_MUCH = "This manifest has too many values, or repeats them too often with anchors."


class Unreadable(Exception):
    """The text cannot be opened. The exception is a sentence for the user."""


def text_of(content: bytes) -> str:
    """The text of a file. Raises `Unreadable`."""
    try:
        return decoded(content)
    except UnicodeDecodeError:
        raise Unreadable("This file is not UTF-8 text.") from None


def exporters(text: str) -> list[dict[str, Any]]:
    """The exporters in a text, without anything that the API server or a request added. Raises `Unreadable`."""
    if not text.strip():
        raise Unreadable("Paste a manifest, or choose a file.")
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"This text is too long: the limit is {MAX_CHARACTERS:,} characters.")
    if not mentions_exporter(text):
        raise Unreadable(f"This text has no {KIND}. Open the manifest of an exporter, in YAML or JSON.")
    try:
        found = [item.value for document in documents(text) for item in document.items() if is_ours(item.value)]
        if not found:
            raise Unreadable(f"This text has no {KIND}. Open the manifest of an exporter, in YAML or JSON.")
        if len(found) > _MAX_EXPORTERS:
            raise Unreadable(f"This text has {len(found)} exporters: open at most {_MAX_EXPORTERS} at once.")
        budget = _Budget()
        manifests: list[dict[str, Any]] = [budget.tree(cleaned(body)) for body in found]
    except NotYaml as error:
        position = Source(text).position(error.offset)
        raise Unreadable(sentence(f"{position}: {not_yaml(error, text)}")) from None
    except RecursionError:
        raise Unreadable("This text is nested too deeply.") from None
    if any(len(to_yaml(manifest)) > MAX_CHARACTERS for manifest in manifests):
        raise Unreadable(_TOO_MUCH)
    return manifests


def cleaned(body: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest to apply: without status, without what the API server added, and without requests.

    A request in a manifest would be acted on again wherever the manifest is applied.
    """
    kept = {key: value for key, value in body.items() if key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in _BY_THE_SERVER}
        annotations = metadata.get("annotations")
        if isinstance(annotations, Mapping):
            dropped = (*REQUESTS, _LAST_APPLIED)
            rest = {key: value for key, value in annotations.items() if key not in dropped}
            kept["metadata"]["annotations"] = rest
            if annotations and not rest:
                del kept["metadata"]["annotations"]
    return kept


def of_the_cluster(body: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of an exporter from the API server: of its metadata, only what users write."""
    kept = cleaned(body)
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        wanted = ("name", "namespace", "labels", "annotations")
        kept["metadata"] = {key: metadata[key] for key in wanted if key in metadata}
    return kept


class _Budget:
    """Copies values without aliases. Aliases of aliases could fill the memory, and some contain themselves."""

    def __init__(self) -> None:
        self._values = _MAX_VALUES
        self._characters = MAX_CHARACTERS

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The value as a tree. Raises `Unreadable` if it is too large."""
        self._values -= 1
        self._characters -= len(value) if isinstance(value, str) else 0
        if depth > _MAX_DEPTH:
            raise Unreadable("This manifest is nested too deeply.")
        if self._values < 0 or self._characters < 0:
            raise Unreadable(_TOO_MUCH)
        if isinstance(value, Mapping):
            return {self.tree(key, depth): self.tree(inner, depth + 1) for key, inner in value.items()}
        return [self.tree(inner, depth + 1) for inner in value] if isinstance(value, list) else value
