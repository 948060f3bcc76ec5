"""Checks the manifest of a form as `qualtrics-exporter validate` does, and finds the field of each finding."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qualtrics_exporter.cli.console.form import Form, manifest_of
from qualtrics_exporter.cli.console.form_fields import Field, fields, in_the_form
from qualtrics_exporter.cli.console.sentences import sentence
from qualtrics_exporter.cli.located import documents
from qualtrics_exporter.cli.manifest_findings import ManifestFinding, Severity, findings
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.exporter import read_spec
from qualtrics_exporter.resource.spec import Spec

_QUERY = ("spec", "nexthink", "query")
_ADDRESS = re.compile(r"https?://|[\w-]+(\.[\w-]+)+/")


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the query. `start` and `end` count as JavaScript does; `where` is for people."""

    where: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, as the form shows it. `field` is None if the form has no field for it."""

    severity: Severity
    message: str
    field: Field | None = None
    place: Place | None = None
    rule: str = ""


@dataclass(frozen=True)
class Checked:
    """The manifest that a form describes, and everything that is wrong with it."""

    manifest: str
    name: str
    namespace: str
    spec: Spec | None
    """None if the spec is invalid."""
    problems: tuple[Problem, ...]
    empty: tuple[Field, ...]
    """Fields that must be filled in, and that the user was not told about yet."""
    query: tuple[tuple[str, str], ...]
    """The query in pieces, each with the severity of its findings; empty if it has none."""

    @property
    def title(self) -> str:
        """Namespace and name, as far as the manifest has them."""
        return "/".join(part for part in (self.namespace, self.name) if part) or "without a name"

    def of(self, field: Field) -> list[Problem]:
        """The problems of a field."""
        return [problem for problem in self.problems if problem.field is field]

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors

    @property
    def valid(self) -> bool:
        return not self.errors and not self.empty


def check(form: Form, *, complete: bool) -> Checked:
    """Check the form. Takes up to a second, because of the query.

    Unless the form is `complete`, it is being filled in: empty fields are listed, and are not errors yet.
    """
    manifest = manifest_of(form)
    text = to_yaml(manifest)
    problems: list[Problem] = []
    empty: list[Field] = []
    marks: list[tuple[int, int, Severity]] = []
    query = _Query(text, form.text(".".join(_QUERY)))
    for finding in findings(text)[1]:
        field = _field_of(finding.path)
        if field and finding.severity == "error" and not complete and _is_empty(form, field):
            empty.append(field)
            continue
        span = query.span(finding) if finding.rule and finding.path == ".".join(_QUERY) else None
        if span:
            marks.append((*span, finding.severity))
        place = query.place(*span) if span else None
        message = _about_an_address(form, field) or _sentence(finding, field)
        problems.append(Problem(finding.severity, message, field, place, finding.rule))
    for name in form.repeated_parameters:
        message = f"Two parameters have the name {name}: remove one of them."
        problems.append(Problem("error", message, _field_of("spec.nexthink.parameters")))
    metadata: Mapping[str, Any] = manifest["metadata"]
    return Checked(
        manifest=text,
        name=_text(metadata.get("name")),
        namespace=_text(metadata.get("namespace")),
        spec=read_spec(manifest["spec"])[0],
        problems=tuple(problems),
        empty=tuple(empty),
        query=tuple(_pieces(query.text, marks)) if marks else (),
    )


class _Query:
    """The query of a manifest, and where its characters are in the text of the manifest."""

    def __init__(self, manifest: str, text: str) -> None:
        self.text = text
        self._source = Source(text)
        document = documents(manifest)[0]
        self._offsets = [document.offset_within(_QUERY, index) for index in range(len(text) + 1)]

    def span(self, finding: ManifestFinding) -> tuple[int, int] | None:
        """The part of the query that a finding is about. None if it is unknown."""
        if len(self.text) > 1 and self._offsets[0] == self._offsets[-1]:
            return None
        inside = [index for index, offset in enumerate(self._offsets) if finding.start <= offset < finding.end]
        return (inside[0], inside[-1] + 1) if inside else (len(self.text), len(self.text))

    def place(self, start: int, end: int) -> Place:
        where = str(self._source.position(start))
        return Place(where, _units(self.text[:start]), _units(self.text[:end]))


def _units(text: str) -> int:
    """The length of a text in JavaScript, where an emoji has two characters."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _pieces(text: str, marks: Iterable[tuple[int, int, Severity]]) -> Iterator[tuple[str, str]]:
    severities = [""] * (len(text) + 1)
    for start, end, severity in marks:
        for index in range(start, max(end, start + 1)):
            if index < len(severities) and severities[index] != "error":
                severities[index] = severity
    begin = 0
    padded = f"{text} "  # the mark of something that is missing at the end
    for index in range(1, len(padded) + 1):
        if index == len(padded) or severities[index] != severities[begin]:
            piece = padded[begin:index]
            # The mark of a line break alone would be invisible.
            yield f" {piece}" if severities[begin] and piece.startswith("\n") else piece, severities[begin]
            begin = index


def _field_of(path: str) -> Field | None:
    """The field that has this path, or that contains it. A finding about a missing object is about its first field."""
    for field in fields():
        if path == field.name or path.startswith(f"{field.name}."):
            return field
    return None


def _is_empty(form: Form, field: Field) -> bool:
    return not form.parameters if field.kind == "pairs" else not form.text(field.name)


def _sentence(finding: ManifestFinding, field: Field | None) -> str:
    rest = finding.message.removeprefix(f"{finding.path} ")
    if rest == finding.message:
        return sentence(in_the_form(rest))
    if field is None:
        hint = "The form does not show it: change it in the file, and open it again."
        return f"{sentence(f'`{finding.path}` {rest}')} {hint}"
    inner = field.kind == "pairs" and finding.path != field.name
    return sentence(in_the_form(f"{'A value' if inner else 'This field'} {rest}"))


def _about_an_address(form: Form, field: Field | None) -> str:
    """What to enter instead of the address of a page of Qualtrics. Empty unless an id field has such an address."""
    text = form.text(field.name) if field and field.prefix else ""
    if field is None or not _ADDRESS.match(text):
        return ""
    found = set(re.findall(rf"(?<![0-9A-Za-z]){field.prefix}_[0-9A-Za-z]{{11,15}}(?![0-9A-Za-z])", text))
    hint = f"Its id is `{found.pop()}`" if len(found) == 1 else f"Enter the id, which begins with `{field.prefix}_`"
    return f"This is the address of a page. {hint}."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
