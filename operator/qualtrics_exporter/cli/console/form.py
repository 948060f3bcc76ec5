"""The form and the manifest: each is made from the other, as pure functions.

The form is what a browser sends: text for each field. It also has the manifest that was opened, so that fields that the
form does not show stay as they are. A value that the user did not change stays as it is, too, even if the form would
write it in another way: `suspend: false` does not disappear.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.cli.console.form_fields import Field, Path, fields
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION

PARAMETER_NAME = "parameter-name"
PARAMETER_VALUE = "parameter-value"
_PARAMETERS = "spec.nexthink.parameters"
_FREQUENCY = "spec.schedule.frequency"
_REQUIRED_OBJECTS: tuple[Path, ...] = (
    ("metadata",),
    *(("spec", *path) for path in ((), ("schedule",), ("nexthink",), ("qualtrics",))),
    *(("spec", service, "credentialsSecretRef") for service in ("nexthink", "qualtrics")),
)
"""They are in the manifest even if they are empty, so that findings are about their fields."""

_ABSENT = object()

IDENTITY: Mapping[str, str] = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
"""What the form writes in every manifest."""


@dataclass(frozen=True)
class Form:
    """The content of the form. `texts` has a text for each field, by name; a flag that is set has the text "true"."""

    texts: Mapping[str, str]
    parameters: tuple[tuple[str, str], ...] = ()
    opened: Mapping[str, Any] = field(default_factory=dict)
    """The manifest that was opened, as plain data without shared objects; empty for a new exporter."""

    def text(self, name: str) -> str:
        """The text of a field. A field that does not exist with the chosen frequency is empty."""
        return self.texts.get(name, "") if self.has(name) else ""

    def has(self, name: str) -> bool:
        """Whether the field exists with the chosen frequency."""
        return _BY_NAME[name].only_with in ("", self.texts.get(_FREQUENCY))

    @property
    def repeated_parameters(self) -> list[str]:
        """The names that several parameters have. The manifest has only the last of these."""
        names = [name for name, _ in self.parameters]
        return sorted({name for name in names if names.count(name) > 1})


_BY_NAME = {each.name: each for each in fields()}


def new_form(zone: str) -> Form:
    """The form of a new exporter, for a user in this time zone."""
    texts = {each.name: each.preset for each in fields() if each.preset}
    return Form({**texts, "spec.schedule.timeZone": zone} if zone else texts)


def sent_form(sent: Iterable[tuple[str, Any]], opened: Mapping[str, Any]) -> Form:
    """The form that a browser sent, as pairs of name and value."""
    texts: dict[str, str] = {}
    names, values = [], []
    for name, value in sent:
        if not isinstance(value, str):
            continue  # a file
        if name == PARAMETER_NAME:
            names.append(_one_line(value).strip())
        elif name == PARAMETER_VALUE:
            values.append(_one_line(value))
        elif (known := _BY_NAME.get(name)) and (text := _normal(known, value)):
            texts[name] = text
    pairs = zip(names, values, strict=False)
    return Form(texts, tuple(pair for pair in pairs if any(pair)), opened)


def form_of(manifest: Mapping[str, Any]) -> tuple[Form, list[str]]:
    """The form with the values of a manifest, and the fields that the form writes in another way, or leaves out."""
    texts = {}
    for each in fields():
        if each.kind != "pairs" and (text := _normal(each, _shown(each, _get(manifest, each.path)))):
            texts[each.name] = text
    parameters = _get(manifest, tuple(_PARAMETERS.split(".")))
    pairs = parameters.items() if isinstance(parameters, Mapping) else ()
    shown = tuple((_one_line(name).strip(), _one_line(_scalar(value))) for name, value in pairs if value is not None)
    form = Form(texts, shown, manifest)
    return form, list(differences(manifest, manifest_of(form)))


def manifest_of(form: Form) -> dict[str, Any]:
    """The manifest that the form describes, with the keys in the order of the CRD."""
    made: dict[str, Any] = _copy(form.opened)
    made |= IDENTITY
    for path in _REQUIRED_OBJECTS:
        _object(made, path)
    for each in fields():
        _write(made, each, _value(each, form))
    sample = made["spec"].get("sample")
    if not isinstance(sample, dict) or not sample:
        made["spec"].pop("sample", None)
    ordered: dict[str, Any] = _ordered(made)
    return ordered


def _value(each: Field, form: Form) -> Any:
    """The value of a field, or `_ABSENT`. A number that is not one stays text, which a rule of the field reports."""
    if each.kind == "pairs":
        return dict(form.parameters) or _ABSENT
    text = form.text(each.name)
    if not text:
        return _ABSENT
    if each.kind == "flag":
        return True
    return int(text) if _is_number(each) and _WHOLE.fullmatch(text) else text


def _write(made: dict[str, Any], each: Field, value: Any) -> None:
    old = _get(made, each.path)
    if value is _ABSENT:
        explicit = isinstance(old, _EXPLICIT.get(each.kind, str)) and not old
        parent = _get(made, each.path[:-1])
        if isinstance(parent, dict) and not explicit:
            parent.pop(each.path[-1], None)
    elif value != old or isinstance(value, bool) != isinstance(old, bool):
        _object(made, each.path[:-1])[each.path[-1]] = value


_EXPLICIT: Mapping[str, type] = {"flag": bool, "pairs": dict, "number": bool, "choice": bool}
"""For each kind, the type of the value that is as good as absent, such as `false`, and that stays as it is."""


def differences(one: Any, other: Any, path: Path = ()) -> Iterator[str]:
    """The fields in which two manifests differ. A field without a value counts as absent, as in the API server."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), (*path, key))
    elif one is None and path in _REQUIRED_OBJECTS:
        return  # the form always writes these
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield ".".join(path)


def _shown(each: Field, value: Any) -> str:
    """A value as the text of its field. Empty if a text cannot show it."""
    if each.kind == "flag":
        return "true" if value is True or value == "true" else ""
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else ""


_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def _is_number(each: Field) -> bool:
    return each.kind == "number" or (bool(each.choices) and all(choice.isdecimal() for choice in each.choices))


def _normal(each: Field, text: str) -> str:
    """The text as an input has it: without line breaks, and without blanks around it, which nobody would see."""
    if each.kind == "query":
        return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    if each.kind == "flag":
        return "true" if text else ""
    text = _one_line(text).strip()
    return str(int(text)) if _is_number(each) and _WHOLE.fullmatch(text) else text


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n\0]", "", text)


def _get(body: Any, path: Path) -> Any:
    for key in path:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body


def _object(made: dict[str, Any], path: Path) -> dict[str, Any]:
    """The object at this path. It replaces anything else that is there."""
    for key in path:
        if not isinstance(made.get(key), dict):
            made[key] = {}
        made = made[key]
    return made


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


_FIRST = ("apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.labels", "spec")
_PATHS = (".".join(each.path[:end]) for each in fields() for end in range(1, len(each.path) + 1))
_ORDER = {name: number for number, name in enumerate(dict.fromkeys([*_FIRST, *_PATHS]))}


def _ordered(made: Any, path: Path = ()) -> Any:
    """The manifest with the fields of the form in the order of the CRD, and the others after them as they were."""
    if not isinstance(made, dict):
        return made
    keys = sorted(made, key=lambda key: _ORDER.get(".".join((*path, key)), len(_ORDER)))
    return {key: _ordered(made[key], (*path, key)) for key in keys}
