"""YAML documents that know where each of their values stands.

Read as kubectl reads them, which is not quite as PyYAML does: `y` and `on` are true, 2026-11-24 is text, 010 is eight.
The documents are composed to nodes, which have places, and the values are made from those.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from qualtrics_exporter.nql.source import Source

from .scalars import places

Location = tuple[str | int, ...]


class NotYaml(Exception):
    """The text is no YAML. The message quotes nothing of it: it may hold secrets."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True)
class Document:
    """One document of a text, or one item of a List in it: `value` is plain data with text as keys."""

    source: Source
    node: yaml.Node
    value: Any

    def offset(self, location: Location, *, of_key: bool = False) -> int:
        """Where a value begins, or its key; of what is not there, the nearest thing around it that is."""
        key, node = self._nearest(location)
        found = key if of_key and key is not None else node
        return int(found.start_mark.index)

    def offset_within(self, location: Location, at: int) -> int:
        """Where the character number `at` of a text stands; one after the last, where the text ends."""
        _, node = self._nearest(location)
        if not isinstance(node, yaml.ScalarNode):
            return int(node.start_mark.index)
        known = places(self.source, node)
        return known[min(at, len(known) - 1)] if known else int(node.start_mark.index)

    def _nearest(self, location: Location) -> tuple[yaml.Node | None, yaml.Node]:
        key: yaml.Node | None = None
        node = self.node
        for step in location:
            inner_key, inner = _inner(node, step)
            if inner is None:
                return key, key or node
            key, node = inner_key, inner
        return key, node

    @cached_property
    def repeated_keys(self) -> list[int]:
        """Where a key stands that its object had already."""
        return list(_repeated(self.node, set()))

    def items(self) -> "Iterator[Document]":
        """The objects in it: those of a List one by one (`kubectl get -o yaml` writes such)."""
        if not isinstance(self.value, Mapping):
            return
        inner = self.value.get("items")
        if str(self.value.get("kind", "")).endswith("List") and isinstance(inner, list):
            for number, item in enumerate(inner):
                found = self._nearest(("items", number))[1]
                yield from Document(self.source, found, item).items()
        else:
            yield self


def documents(text: str) -> list[Document]:
    """The documents of a text. Raises NotYaml."""
    source = Source(text)
    found = []
    try:
        loader = _AsKubectl(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # noqa: S101  it was asked for
            found.append(Document(source, node, _plain(loader, node, {})))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(_told(error), int(mark.index) if mark else 0) from None
    except yaml.reader.ReaderError as error:
        raise NotYaml("a character stands here that YAML does not allow", int(error.position)) from None
    except RecursionError:
        raise NotYaml("this is nested too deep to be read", 0) from None
    except ValueError:
        raise NotYaml("this holds a number or a tag that cannot be read", 0) from None
    return found


def _told(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's own words where they are its own; some of them quote the text."""
    problem = error.problem or ""
    return f"this is no YAML: {problem}" if re.fullmatch(r"[a-z ,<>'\"{}\[\]:-]{1,80}", problem) else "this is no YAML"


def _plain(loader: "_AsKubectl", node: yaml.Node, known: dict[int, Any]) -> Any:
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.MappingNode):
        body: dict[str, Any] = {}
        known[id(node)] = body
        for key, value in _pairs(node):
            body[_key(loader, key)] = _plain(loader, value, known)
        return body
    if isinstance(node, yaml.SequenceNode):
        items: list[Any] = []
        known[id(node)] = items
        items.extend(_plain(loader, item, known) for item in node.value)
        return items
    known[id(node)] = loader.construct_object(node)
    return known[id(node)]


def _pairs(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """What an object has, what it merges in (`<<: *other`) first."""
    own = []
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for merged in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _pairs(merged) if isinstance(merged, yaml.MappingNode) else ()
        else:
            own.append((key, value))
    yield from own


def _key(loader: "_AsKubectl", node: yaml.Node) -> str:
    """JSON has text as keys, so kubectl makes text of them: an `n` is "false" then."""
    value = loader.construct_object(node) if isinstance(node, yaml.ScalarNode) else None
    if value is None:
        raise NotYaml("a key has to be text", int(node.start_mark.index))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.17g}" if isinstance(value, int | float) else str(node.value)


def _inner(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        # As kubectl, the last one counts where a key is there twice.
        return next(((key, value) for key, value in reversed(list(_pairs(node))) if key.value == step), (None, None))
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def _repeated(node: yaml.Node, seen: set[int]) -> Iterator[int]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if key.value in keys and key.value != "<<":
                yield int(key.start_mark.index)
            keys.add(str(key.value))
            yield from _repeated(value, seen)


class _AsKubectl(yaml.SafeLoader):
    """Plain words become what Go's YAML (version 2, as in kubectl) makes of them (docs/facts/kubernetes.md, S)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as its base has it


_INT = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def _resolve(tag: str, pattern: str | re.Pattern[str], first: str) -> None:
    compiled = re.compile(rf"(?:{pattern.pattern if isinstance(pattern, re.Pattern) else pattern})\Z")
    _AsKubectl.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", compiled, list(first) if first else [""])


_resolve("bool", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO")
_resolve("null", r"~|null|Null|NULL|", "~nN")
_resolve("null", "", "")
_resolve("merge", "<<", "<")
_resolve("int", _INT, "-+0123456789")
_resolve("float", _FLOAT, "-+.0123456789")
_resolve("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.")


def _integer(loader: _AsKubectl, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node).replace("_", "")
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-").lower()
    if digits.startswith("0") and len(digits) > 1 and digits[1].isdigit():
        digits = f"0o{digits[1:]}"
    try:
        number = sign * int(digits, 0)
    except ValueError:  # 09
        return float(text)
    return number if -(2**63) <= number < 2**64 else float(number)


def _number(loader: _AsKubectl, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


def _truth(loader: _AsKubectl, node: yaml.ScalarNode) -> bool:
    return loader.construct_scalar(node).lower() in ("y", "yes", "true", "on")


def _text(loader: _AsKubectl, node: yaml.Node) -> str:
    return str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""


_AsKubectl.add_constructor("tag:yaml.org,2002:int", _integer)
_AsKubectl.add_constructor("tag:yaml.org,2002:float", _number)
_AsKubectl.add_constructor("tag:yaml.org,2002:bool", _truth)
_AsKubectl.add_constructor(None, _text)  # a tag that nobody knows
