"""Finds all mistakes in the manifest of an exporter, without an API server.

The models validate the spec, so the rules are those of the CRD. This module validates the rest like the API server:
`kubectl apply` rejects unknown fields, and invalid names, labels and annotations.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from qualtrics_exporter.resource.exporter import read_spec
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION
from qualtrics_exporter.resource.rules import Violation
from qualtrics_exporter.resource.spec import Spec

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(_LABEL)
_QUALIFIED = re.compile(
    r"((?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_ANNOTATIONS_BYTES = 256 * 1024
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid"),
    *("resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("selfLink", "managedFields"),
)
_HINTS = 20  # an object with more unknown fields is of another kind
_PLAIN_KEY = re.compile(r"[A-Za-z][\w./-]{0,62}")


def is_ours(body: Mapping[str, Any]) -> bool:
    """Whether the object is an exporter, or is meant to be one: its kind or its group is that of exporters."""
    return body.get("kind") == KIND or str(body.get("apiVersion", "")).partition("/")[0] == GROUP


def manifest_violations(body: Mapping[str, Any]) -> list[Violation]:
    """All mistakes in a manifest, except in the text of its query. Never raises."""
    spec = body.get("spec")
    _, wrong = read_spec(spec)
    around = [*_identity(body), *_unknown(body, _TOP, ()), *_metadata(body)]
    return [*around, *wrong, *_unknown_in(spec, Spec, ("spec",))]


def _identity(body: Mapping[str, Any]) -> Iterator[Violation]:
    for field, wanted in ("apiVersion", f"{GROUP}/{VERSION}"), ("kind", KIND):
        if body.get(field) != wanted:
            yield Violation((field,), field, f"must be {wanted}")


def _metadata(body: Mapping[str, Any]) -> Iterator[Violation]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        yield Violation(("metadata",), "metadata", "is required" if metadata is None else "must be an object")
        return
    yield from _unknown(metadata, _METADATA, ("metadata",))
    yield from _word(
        metadata, "name", _SUBDOMAIN, "lower case letters, digits, - and ., at most 253 of them", needed=True
    )
    yield from _word(metadata, "namespace", _NAMESPACE, "lower case letters, digits and -, at most 63 of them")
    for field in "labels", "annotations":
        yield from _pairs(metadata, field)
    finalizers = metadata.get("finalizers")
    names = finalizers if isinstance(finalizers, list) else [] if finalizers is None else [None]
    if not all(isinstance(name, str) and _QUALIFIED.fullmatch(name) for name in names):
        yield Violation(
            ("metadata", "finalizers"), "metadata.finalizers", "must be a list of names, such as example.com/x"
        )


def _word(
    metadata: Mapping[str, Any], field: str, form: re.Pattern[str], words: str, *, needed: bool = False
) -> Iterator[Violation]:
    value, location, path = metadata.get(field), ("metadata", field), f"metadata.{field}"
    if value is None or value == "":
        if needed:
            yield Violation(location, path, "is required")
    elif not isinstance(value, str):
        yield Violation(location, path, "must be text: quote values that YAML reads as another type")
    elif not form.fullmatch(value):
        yield Violation(location, path, f"must be {words}, with a letter or digit at both ends")


def _pairs(metadata: Mapping[str, Any], field: str) -> Iterator[Violation]:
    pairs, path = metadata.get(field), f"metadata.{field}"
    if pairs is None:
        return
    if not isinstance(pairs, Mapping):
        yield Violation(("metadata", field), path, "must be an object")
        return
    size = 0
    for key, value in pairs.items():
        location, shown = ("metadata", field, key), f"{path}.{_shown(key)}"
        if value is None:
            continue
        if not isinstance(value, str):
            yield Violation(location, shown, "must be text: quote values that YAML reads as another type")
            continue
        if not _QUALIFIED.fullmatch(key.lower() if field == "annotations" else key):  # as the API server does
            yield Violation(
                location, shown, "its key must be a name of letters, digits, -, _ and ., optionally after a domain/"
            )
        if field == "labels" and not _LABEL_VALUE.fullmatch(value):
            yield Violation(location, shown, "must be letters, digits, -, _ and ., at most 63 of them")
        size += len(key.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
    if field == "annotations" and size > _ANNOTATIONS_BYTES:
        yield Violation(("metadata", field), path, f"must be at most {_ANNOTATIONS_BYTES} bytes, keys included")


def _unknown_in(raw: Any, model: type[BaseModel], location: tuple[str, ...]) -> Iterator[Violation]:
    if not isinstance(raw, Mapping):
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    yield from _unknown(raw, tuple(known), location)
    for name, annotation in known.items():
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _unknown_in(raw.get(name), inner, (*location, name))


def _unknown(raw: Mapping[str, Any], known: tuple[str, ...], location: tuple[str, ...]) -> Iterator[Violation]:
    for number, key in enumerate(key for key in raw if key not in known):
        meant = get_close_matches(key[:64], known, n=1) if number < _HINTS else []
        path = ".".join((*location, _shown(key)))
        message = f"is not a field; did you mean {meant[0]}?" if meant else "is not a field"
        if key.startswith("\ufeff"):
            message = "begins with a byte order mark, which is valid only at the start of a document: remove it"
        yield Violation((*location, key), path, message, of_key=True)


def _shown(key: str) -> str:
    """A key of the manifest, if it looks like a name. Others may be an address, and are not shown."""
    return key if _PLAIN_KEY.fullmatch(key) else "*"
