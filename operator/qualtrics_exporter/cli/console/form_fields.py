"""The fields of the form: where each one is, and its label.

Everything else about a field comes from the schema of the CRD: its description, choices, limits and type, and whether
it is required. A test compares this table with the schema, so each field has a place here or a reason in `NOT_SHOWN`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from qualtrics_exporter.cli.console import form_wording
from qualtrics_exporter.resource.crd import schema
from qualtrics_exporter.resource.rules import CEL_RULES
from qualtrics_exporter.schedule import zone_names

Path = tuple[str, ...]
Kind = Literal["text", "query", "zone", "number", "choice", "flag", "pairs"]

_HELP_LENGTH = 220
_SENTENCE = re.compile(r"(?<=[.:)])\s+(?=[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `name` is its path as the API server writes it, and the name and id of its input."""

    path: Path
    label: str
    kind: Kind
    help: str
    more: str
    """The rest of the description, if it is long."""
    required: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""
    """The choice that applies if none is made."""
    preset: str = ""
    """The text of a new form."""
    only_with: str = ""
    """The frequency with which the field exists; empty for all."""
    prefix: str = ""
    """Of the ids that the field accepts, without the underscore."""
    rare: bool = False
    """Whether the field is among those that most exporters do not need."""

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def key(self) -> str:
        """The name in the manifest, as messages and the documentation use it."""
        return self.path[-2] if self.path[-1] == "name" and len(self.path) > 2 else self.path[-1]


@dataclass(frozen=True, slots=True)
class Section:
    """Fields with a heading."""

    title: str
    fields: tuple[Field, ...]

    @property
    def usual(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if not each.rare)

    @property
    def rare(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if each.rare)


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the two parts of the form."""

    title: str
    sections: tuple[Section, ...]


class _At:
    """Where a field is in the manifest, its label, and what the schema does not say about it."""

    def __init__(self, path: str, label: str, kind: Kind | None = None, **more: Any) -> None:
        self.path = tuple(path.split("."))
        self.label = label
        self.kind = kind
        self.more = more


_NAME_HELP = (
    "Lower case letters, digits, `-` and `.`, for example `teams-rollout`. It identifies the exporter, and nobody who "
    "gets the survey sees it."
)
_NAMESPACE_HELP = (
    "The part of the cluster that belongs to your team: lower case letters, digits and `-`. Without it, the person who "
    "applies the manifest chooses the namespace."
)

_TABS: Mapping[str, Mapping[str, tuple[_At, ...]]] = {
    "General": {
        "Exporter": (
            _At("metadata.name", "Name", "text", help=_NAME_HELP, required=True),
            _At("metadata.namespace", "Namespace", "text", help=_NAMESPACE_HELP),
            _At("spec.description", "Description"),
            _At("spec.suspend", "Suspended"),
            _At("spec.dryRun", "Dry run"),
        ),
        "Schedule": (
            _At("spec.schedule.frequency", "How often", preset="Weekly"),
            _At("spec.schedule.everyHours", "Hours between two slots", only_with="Hourly"),
            _At("spec.schedule.dayOfWeek", "Day of the week", only_with="Weekly", preset="Monday"),
            _At("spec.schedule.timeZone", "Time zone", "zone"),
            _At("spec.schedule.startingDeadlineSeconds", "Latest start after the slot, in seconds", rare=True),
        ),
        "Limits": (
            _At("spec.maxRecipients", "Most recipients of a run"),
            _At("spec.minRecipients", "Fewest recipients of a run"),
            _At("spec.sample.groups", "Sample: groups in turn", rare=True),
            _At("spec.sample.percent", "Sample: random percentage", rare=True),
        ),
        "Credentials": (
            _At("spec.nexthink.credentialsSecretRef.name", "Nexthink Secret", preset="nexthink"),
            _At("spec.qualtrics.credentialsSecretRef.name", "Qualtrics Secret", preset="qualtrics"),
        ),
    },
    "Data": {
        "Recipients, from Nexthink": (
            _At("spec.nexthink.query", "Query (NQL)", "query"),
            _At("spec.nexthink.queryId", "Id of the saved query"),
            _At("spec.nexthink.parameters", "Parameters of the query"),
            _At("spec.nexthink.driftPolicy", "If Nexthink runs another query", rare=True),
            _At("spec.nexthink.resultSource", "Source of the result", rare=True),
            _At("spec.nexthink.queryCheck", "If the check of the query finds an error", rare=True),
        ),
        "Survey, in Qualtrics": (
            _At("spec.qualtrics.surveyId", "Survey"),
            _At("spec.qualtrics.directoryId", "Directory"),
            _At("spec.qualtrics.mailingListId", "Mailing list"),
            _At("spec.qualtrics.libraryId", "Library of the message"),
            _At("spec.qualtrics.messageId", "Message"),
        ),
        "E-mail": (
            _At("spec.qualtrics.subject", "Subject"),
            _At("spec.qualtrics.fromName", "Sender's name"),
            _At("spec.qualtrics.fromEmail", "Sender's address"),
            _At("spec.qualtrics.allowCustomFromDomain", "Sender at your own domain"),
            _At("spec.qualtrics.replyToEmail", "Address for replies"),
            _At("spec.qualtrics.linkExpirationDays", "Days for which the survey link works"),
        ),
    },
}  # fmt: skip

NOT_SHOWN: Mapping[str, str] = {
    "status": "Only the operator writes it.",
}
"""Fields of the CRD that the form does not have, with the reason."""


@cache
def tabs() -> tuple[Tab, ...]:
    """The form."""
    root = schema()
    return tuple(
        Tab(
            title,
            tuple(Section(name, tuple(_field(entry, root) for entry in entries)) for name, entries in parts.items()),
        )
        for title, parts in _TABS.items()
    )


@cache
def fields() -> tuple[Field, ...]:
    """All fields, in the order of the CRD, which is that of a manifest."""
    found = [each for tab in tabs() for section in tab.sections for each in section.fields]
    order = ["metadata.name", "metadata.namespace", *leaves(schema())]
    return tuple(sorted(found, key=lambda each: order.index(each.name)))


def leaves(node: Mapping[str, Any], path: Path = ()) -> Iterator[str]:
    """The paths of all fields of a schema that have no fields of their own. A part in `NOT_SHOWN` counts as one."""
    name = ".".join(path)
    if "properties" not in node or name in NOT_SHOWN:
        yield name
        return
    for key, inner in node["properties"].items():
        yield from leaves(inner, (*path, key))


def in_the_form(text: str) -> str:
    """A text about fields of the manifest, for somebody who sees only the form."""
    return form_wording.in_the_form(text, _labels())


@cache
def _labels() -> Mapping[str, str]:
    entries = [entry for parts in _TABS.values() for section in parts.values() for entry in section]
    return {".".join(entry.path): entry.label for entry in entries}


@cache
def time_zones() -> tuple[str, ...]:
    """The time zones to choose from: those of places, and UTC. Other names can be typed."""
    return ("UTC", *sorted(name for name in zone_names() if "/" in name and not name.startswith("Etc/")))


def _field(entry: _At, root: Mapping[str, Any]) -> Field:
    path = entry.path
    known, required = _schema_of(path, root)
    # All Secrets share the description of the name. That of the reference says which Secret it is.
    described = _schema_of(path[:-1], root)[0] if path[-2:] == ("credentialsSecretRef", "name") else known
    full = " ".join(str(described.get("description", "")).split())
    help_, more = _split(in_the_form(full))
    if "minimum" in known:
        help_ += f" From {known['minimum']:,} to {known['maximum']:,}."
    rules = " ".join(rule["rule"] for rule in known.get(CEL_RULES, ()))
    values: dict[str, Any] = {
        "help": help_,
        "more": more,
        "required": required,
        "choices": tuple(map(str, known.get("enum", ()))),
        "default": next(iter(re.findall(r"(\w+) \(the default\)", full)), ""),
        "prefix": next(iter(re.findall(r"\^([A-Z]+)_", rules)), ""),
    }
    return Field(path, entry.label, entry.kind or _kind(known), **{**values, **entry.more})


def _schema_of(path: Path, root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema of a field, and whether each exporter has it."""
    node, required = root, True
    if path[0] == "metadata":  # the schema of the CRD does not describe it
        return {"type": "string"}, False
    for key in path:
        required = required and key in node.get("required", ())
        node = node["properties"][key]
    return node, required


def _kind(known: Mapping[str, Any]) -> Kind:
    if "enum" in known:
        return "choice"
    kinds: Mapping[str, Kind] = {"string": "text", "integer": "number", "boolean": "flag", "object": "pairs"}
    return kinds[known["type"]]


def _split(description: str) -> tuple[str, str]:
    """The first sentences, as many as are easy to read below a field, and the rest."""
    sentences = _SENTENCE.split(description)
    shown = sentences.pop(0)
    while sentences and len(shown) + len(sentences[0]) < _HELP_LENGTH:
        shown += f" {sentences.pop(0)}"
    return shown, " ".join(sentences)
