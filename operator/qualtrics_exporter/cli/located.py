"""Reads YAML as kubectl does, and keeps the position of each value for findings.

kubectl differs from PyYAML: `y` and `on` are true, 2026-11-24 is text, 010 is eight, and later merges take precedence.
The documents are composed to nodes, which have positions, and the values are constructed from the nodes. A file can
contain secrets next to its exporters, so no message quotes its text.
"""

import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from qualtrics_exporter.cli.scalars import character_offsets
from qualtrics_exporter.cli.yaml_errors import describe
from qualtrics_exporter.nql.source import Source

Location = tuple[str | int, ...]
Pair = tuple[yaml.Node, yaml.Node]


class NotYaml(Exception):
    """kubectl cannot read the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True)
class Document:
    """One document of a text, or one item of a List. `value` is plain data with text as keys."""

    source: Source
    node: yaml.Node
    value: Any
    nodes: "_Nodes"

    @property
    def end(self) -> int:
        return int(self.node.end_mark.index)

    def offset(self, location: Location, *, of_key: bool = False) -> int:
        """The offset of a value, or of its key. For a missing value, that of the nearest object around it."""
        key, node = self._nearest(location)
        found = key if of_key and key is not None else node
        return int(found.start_mark.index)

    def offset_within(self, location: Location, index: int) -> int:
        """The offset of a character of a text, by its index in the value. After the last one, the end of the text."""
        _, node = self._nearest(location)
        offsets = self.nodes.offsets(self.source, node)
        return offsets[min(index, len(offsets) - 1)]

    def node_at(self, location: Location) -> yaml.Node | None:
        """The node of a value, if the value exists."""
        node: yaml.Node | None = self.node
        for step in location:
            node = self.nodes.inner(node, step)[1] if node is not None else None
        return node

    def _nearest(self, location: Location) -> tuple[yaml.Node | None, yaml.Node]:
        key: yaml.Node | None = None
        node = self.node
        for step in location:
            inner_key, inner = self.nodes.inner(node, step)
            if inner is None:
                return key, key or node
            key, node = inner_key, inner
        return key, node

    def repeated_keys(self) -> list[int]:
        """The offsets of duplicate keys."""
        return list(_repeated(self.node, set()))

    def items(self) -> "Iterator[Document]":
        """The object, or the items if it is a List (from `kubectl get -o yaml`)."""
        yield from self._items(set())

    def _items(self, seen: set[int]) -> "Iterator[Document]":
        if not isinstance(self.value, Mapping) or id(self.node) in seen:
            return
        seen.add(id(self.node))
        inner = self.value.get("items")
        if str(self.value.get("kind", "")).endswith("List") and isinstance(inner, list):
            for number, item in enumerate(inner):
                found = self._nearest(("items", number))[1]
                yield from Document(self.source, found, item, self.nodes)._items(seen)
        else:
            yield self


def decoded(content: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises UnicodeDecodeError."""
    return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")


def documents(text: str) -> list[Document]:
    """The documents of a text. Raises NotYaml. Replacements keep the length, so that all offsets stay valid."""
    source = Source(text)
    text = _without_marks(text)
    if text.lstrip().startswith("{"):
        # In JSON, tabs are white space.
        return _read(source, _JSON_TAB.sub(lambda found: found[1] or " ", text), json=True)
    if directive := _DIRECTIVE.match(text):
        raise NotYaml("kubectl does not accept directives such as %YAML", directive.end() - 1)
    try:
        return _read(source, text)
    except NotYaml:
        if "\t" not in text:
            raise
        # kubectl accepts a tab between words, PyYAML does not. Neither accepts tabs as indentation.
        return _read(source, _TAB_INSIDE.sub(" ", text))


def _without_marks(text: str) -> str:
    """The text without the byte order marks that kubectl accepts.

    kubectl first splits a file at lines of `---`. Each part can begin with a mark, as after `cat` of several files.
    """
    return _MARK_BEFORE_DOCUMENT.sub(lambda found: f"{found[1]}\n", text)


_MARK_BEFORE_DOCUMENT = re.compile(r"^(\A|---[ \t]*\r?\n)\ufeff", re.MULTILINE)
_JSON_TAB = re.compile(r"""("(?:[^"\\]|\\.)*")|\t""", re.DOTALL)
_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*%")
_TAB_INSIDE = re.compile(r"(?<=[^\s])\t|(?<=[^\s] )\t")


def _read(source: Source, text: str, *, json: bool = False) -> list[Document]:
    found = []
    try:
        loader = _AsKubectl(text)
        nodes = _Nodes(loader, json=json)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # noqa: S101  check_node returned true
            found.append(Document(source, node, nodes.value(node), nodes))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(describe(error), int(mark.index) if mark else 0) from None
    except yaml.reader.ReaderError as error:
        raise NotYaml("this is a character that YAML does not allow", int(error.position)) from None
    except RecursionError:
        raise NotYaml("this is nested too deeply", 0) from None
    except (ValueError, ArithmeticError, AttributeError, TypeError):
        raise NotYaml("this contains a value or a tag that cannot be read", 0) from None
    return found


class _Nodes:
    """The values and offsets of the nodes of one text, cached, because many findings need the same ones."""

    def __init__(self, loader: "_AsKubectl", *, json: bool) -> None:
        self._loader = loader
        self._json = json
        self._values: dict[int, Any] = {}
        self._pairs: dict[int, dict[str, Pair]] = {}
        self._offsets: dict[int, list[int]] = {}

    def value(self, node: yaml.Node) -> Any:
        """The value of a node, as plain data."""
        known = self._values
        if id(node) in known:
            return known[id(node)]
        if isinstance(node, yaml.MappingNode):
            body: dict[str, Any] = {}
            known[id(node)] = body
            body.update((key, self.value(value)) for key, (_, value) in self.pairs(node).items())
            return body
        if isinstance(node, yaml.SequenceNode):
            items: list[Any] = []
            known[id(node)] = items
            items.extend(map(self.value, node.value))
            return items
        known[id(node)] = self._text(node, self._loader.construct_object(node))
        return known[id(node)]

    def pairs(self, node: yaml.MappingNode) -> dict[str, Pair]:
        """The keys and values of an object, including merges (`<<: *other`). Later ones win, as in kubectl."""
        if id(node) in self._pairs:
            return self._pairs[id(node)]
        found: dict[str, Pair] = {}
        self._pairs[id(node)] = found  # an object that merges itself gets the pairs found so far
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                found[self._key(key)] = (key, value)
                continue
            for merged in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(merged, yaml.MappingNode):
                    raise NotYaml("<< needs an object, or a list of objects", int(value.start_mark.index))
                found.update(self.pairs(merged))
        return found

    def inner(self, node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
        """The key and the value of one step of a location."""
        if isinstance(node, yaml.MappingNode):
            return self.pairs(node).get(str(step), (None, None))
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            return None, node.value[step]
        return None, None

    def offsets(self, source: Source, node: yaml.Node) -> list[int]:
        """The offset of each character of a text and of its end, or only of its beginning if they are unknown."""
        if id(node) not in self._offsets:
            found = character_offsets(source, node) if isinstance(node, yaml.ScalarNode) else None
            if found and self._json:
                halves = zip(f"{node.value} ", found, strict=True)
                found = [offset for char, offset in halves if not "\udc00" <= char <= "\udfff"]  # as `_text` joins them
            self._offsets[id(node)] = found or [int(node.start_mark.index)]
        return self._offsets[id(node)]

    def _key(self, node: yaml.Node) -> str:
        """A key as text. kubectl converts YAML to JSON, so the key `n` becomes "false"."""
        value = self._loader.construct_object(node) if isinstance(node, yaml.ScalarNode) else None
        if value is None:
            raise NotYaml("a key must be text", int(node.start_mark.index))
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.17g}" if isinstance(value, int | float) else str(self._text(node, node.value))

    def _text(self, node: yaml.Node, value: Any) -> Any:
        if not isinstance(value, str) or not any("\ud800" <= char <= "\udfff" for char in value):
            return value
        if not self._json:
            raise NotYaml("this contains an unpaired surrogate", int(node.start_mark.index))
        return value.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        )  # JSON escapes an emoji in two halves


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
    """Resolves plain scalars as the YAML library of kubectl (Go, version 2). A test compares it with kubectl."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as in the base class

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Accept a repeated anchor, which replaces the earlier one."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent) and getattr(event, "anchor", None) in self.anchors:
            del self.anchors[event.anchor]
        return super().compose_node(parent, index)


def _resolve(tag: str, pattern: str, first: str) -> None:
    compiled = re.compile(rf"(?:{pattern})\Z")
    _AsKubectl.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", compiled, list(first) if first else [""])


_resolve("bool", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO")
_resolve("null", r"~|null|Null|NULL", "~nN")
_resolve("null", "", "")
_resolve("merge", "<<", "<")
_resolve("int", r"[-+]?(0b[01][01_]*|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789")
_resolve("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.")


def _integer(loader: _AsKubectl, node: yaml.ScalarNode) -> int | float | str:
    text = loader.construct_scalar(node).replace("_", "")
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-").lower()
    if digits.startswith("0") and len(digits) > 1 and digits[1].isdigit():
        digits = f"0o{digits[1:]}"
    try:
        number = sign * int(digits, 0)
    except ValueError:  # 09, or thousands of digits
        return _number(loader, node)
    return number if -(2**63) <= number < 2**64 else _number(loader, node)


def _number(loader: _AsKubectl, node: yaml.ScalarNode) -> float | str:
    text = str(loader.construct_scalar(node))
    word = text.lower().lstrip("+-")
    if word in (".inf", ".nan"):
        return math.inf
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _truth(loader: _AsKubectl, node: yaml.ScalarNode) -> bool:
    return loader.construct_scalar(node).lower() in ("y", "yes", "true", "on")


def _text(loader: _AsKubectl, node: yaml.Node) -> str:
    return str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""


_AsKubectl.add_constructor("tag:yaml.org,2002:int", _integer)
_AsKubectl.add_constructor("tag:yaml.org,2002:float", _number)
_AsKubectl.add_constructor("tag:yaml.org,2002:bool", _truth)
_AsKubectl.add_constructor("tag:yaml.org,2002:timestamp", _text)
_AsKubectl.add_constructor(None, _text)  # an unknown tag

PLAIN_SCALARS = _AsKubectl.yaml_implicit_resolvers
"""Patterns of the plain scalars that kubectl does not read as text, by their first character."""
