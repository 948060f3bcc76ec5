"""`qualtrics-exporter validate`, as people and programs meet it."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.cli.findings_report import FORMATS, Checked
from qualtrics_exporter.cli.manifest_findings import findings
from tests.cli.conftest import SAMPLE, Called, Program
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.work import work
from tests.resource.manifests import changed

GOOD_QUERY = "users | with execution.events during past 7d\n| list ad.email_address\n"


def manifest(**nexthink: Any) -> str:
    """The sample with other fields in `nexthink`."""
    return yaml.safe_dump(changed({f"nexthink.{name}": value for name, value in nexthink.items()}), sort_keys=False)


@pytest.fixture
def broken(home: Path) -> Path:
    """A manifest whose query is wrong in two places, and warned of in a third."""
    text = SAMPLE.read_text().replace("      | list ad.email_address", "      | list ad.email_address, name")
    text = text.replace("focus < 1min", "focus <").replace("past 7d", "past 1d")
    path = home / "broken.yaml"
    path.write_text(text)
    return path


def place(path: Path, word: str, after: int = 0) -> tuple[int, int]:
    """Line and column of a word in a file."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if word in line and not line.lstrip().startswith("#"):
            return number, line.index(word) + 1 + after
    raise AssertionError(word)


def test_the_samples_pass_also_strictly(program: Program) -> None:
    ended = program("validate", "--strict", ROOT / "samples")
    assert ended.stdout == ""
    assert re.fullmatch(r"\d+ exporters checked: no findings\.\n", ended.stderr)


@pytest.mark.parametrize(
    ("sample", "code", "said"),
    [
        ("{groups: 4}", 0, "the cycle of spec.sample has 4 days"),
        ("{groups: 7}", 0, ""),
        ("{percent: 10}", 0, "runs every day"),
        ("{groups: many}", 1, "must be a whole number"),
        ("{groups: 4, percent: 10}", 1, "must not be set together with groups"),
        ("{}", 1, "must be set, or percent"),
    ],
)
def test_a_cycle_that_is_shorter_than_the_window_of_the_query_is_told(
    program: Program, tmp_path: Path, sample: str, code: int, said: str
) -> None:
    manifest = tmp_path / "sampled.yaml"
    body = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text())
    body["spec"]["schedule"] = {"frequency": "Daily"}
    body["spec"]["nexthink"]["query"] = "users | with execution.crashes during past 7d | list ad.email_address"
    body["spec"]["sample"] = plain_yaml.read(sample)
    manifest.write_text(yaml.safe_dump(body))
    out = program("validate", manifest, code=code).stdout
    assert said in out
    assert bool(out) == bool(said)


def test_a_broken_sample_is_told_with_file_line_column_and_a_sentence(program: Program, broken: Path) -> None:
    ended = program("validate", broken, code=1)
    lines = ended.stdout.splitlines()
    told = [line for line in lines if line.startswith(str(broken))]
    window, syntax, fields = place(broken, "during past 1d"), place(broken, "focus <", 7), place(broken, ", name", 2)
    assert told == [
        f"{broken}:{window[0]}:{window[1]}: warning QueryWindowMismatch: the query covers 1 day and runs every 7 "
        "days: it misses what happens in the rest of the time; use `past 7d`",
        f"{broken}:{syntax[0]}:{syntax[1]}: error QueryInvalid: a field or a value is missing at the end of `where`",
        f"{broken}:{fields[0]}:{fields[1]}: error QueryReturnsSeveralFields: the query returns 2 fields, but must "
        "return only the e-mail address: end the query with `| list ad.email_address`",
    ]
    excerpt = lines.index(told[2]) + 1
    assert lines[excerpt].endswith("| list ad.email_address, name")
    assert lines[excerpt + 1].index("^") == lines[excerpt].index("name")
    assert lines[excerpt + 1].endswith(" ^^^^ several-fields"), "its page is docs/nql/several-fields.md"
    assert ended.stderr == "1 exporter checked: 2 errors, 1 warning.\n"


def test_json_tells_the_same_to_programs(program: Program, broken: Path) -> None:
    ended = program("validate", "--output", "json", broken, code=1)
    found = json.loads(ended.stdout)["findings"]
    assert [finding["reason"] for finding in found] == [
        "QueryWindowMismatch", "QueryInvalid", "QueryReturnsSeveralFields",
    ]  # fmt: skip
    line, column = place(broken, ", name", 2)
    assert found[-1] == {
        "file": str(broken),
        "namespace": "dex",
        "name": "teams-rollout",
        "path": "spec.nexthink.query",
        "severity": "error",
        "reason": "QueryReturnsSeveralFields",
        "rule": "several-fields",
        "message": "the query returns 2 fields, but must return only the e-mail address: end the query with "
        "`| list ad.email_address`",
        "line": line,
        "column": column,
    }


def test_json_is_there_also_when_all_is_well(called: Called) -> None:
    assert json.loads(called("validate", "-o", "json", SAMPLE).stdout) == {"findings": []}


def test_github_reads_annotations(called: Called, broken: Path) -> None:
    ended = called("validate", "-o", "github", broken, code=1)
    line, column = place(broken, "focus <", 7)
    wanted = f"::error file={broken},line={line},col={column},title=QueryInvalid::a field or a value is missing"
    assert [told for told in ended.stdout.splitlines() if told.startswith(wanted)]
    assert all(told.startswith(("::error ", "::warning ")) for told in ended.stdout.splitlines())


def test_a_file_name_cannot_break_an_annotation(called: Called) -> None:
    path = called.home / "a,b::c%.yaml"
    path.write_text(manifest(query="users"))
    told = called("validate", "-o", "github", path, code=1).stdout
    assert "a%2Cb%3A%3Ac%25.yaml,line=" in told


def test_warnings_alone_pass_unless_strict(called: Called) -> None:
    path = called.home / "warned.yaml"
    path.write_text(manifest(query="users | list user.upn"))
    assert "warning QueryFieldNotEmail" in called("validate", path).stdout
    assert "warning QueryFieldNotEmail" in called("validate", "--strict", path, code=1).stdout


def test_settings_that_hold_every_run_are_warned_of(called: Called) -> None:
    path = called.home / "held.yaml"
    path.write_text(manifest(resultSource="Export", driftPolicy="Hold"))
    told = called("validate", path).stdout
    assert "warning QueryNotCompared" in told
    assert f"held.yaml:{place(path, 'resultSource', after=14)[0]}:" in told
    for source, policy in (("Auto", "Hold"), ("Export", "Warn")):
        path.write_text(manifest(resultSource=source, driftPolicy=policy))
        assert "QueryNotCompared" not in called("validate", path).stdout


def test_query_check_warn_turns_errors_of_the_query_into_warnings(called: Called) -> None:
    path = called.home / "warned.yaml"
    path.write_text(manifest(query="users", queryCheck="Warn"))
    assert "warning QueryReturnsSeveralFields" in called("validate", path).stdout
    path.write_text(manifest(query="users", queryCheck="Enforce"))
    assert "error QueryReturnsSeveralFields" in called("validate", path, code=1).stdout


def test_standard_input_and_several_documents(program: Program) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: nexthink}\nstringData: {clientSecret: hush}\n"
    text = "---\n".join([secret, manifest(), "# nothing\n", manifest(query="users"), secret])
    ended = program("validate", "-", input=text, code=1)
    assert ended.stdout.startswith("<stdin>:")
    assert ended.stdout.count("error") == 1
    assert ended.stderr == "2 exporters checked: 1 error.\n"
    assert "hush" not in ended.stdout


def test_directories_are_searched_and_others_are_passed_over(called: Called) -> None:
    folder = called.home / "repository"
    for name, text in {
        "apps/one/exporter.yaml": manifest(),
        "apps/two/exporter.yml": manifest(query="users"),
        "apps/three.json": json.dumps(changed({"nexthink.query": "users"})),
        "apps/.hidden/exporter.yaml": manifest(query="users"),
        "apps/notes.txt": manifest(query="users"),
        "chart/templates/deployment.yaml": "metadata: {{ include metadata }}\n",
        "other/deployment.yaml": "kind: Deployment\napiVersion: apps/v1\nspec: {replicas: y}\n",
        "other/binary.yaml": "\x00\xff\xfe",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    ended = called("validate", folder, code=1)
    told = {line.split(":")[0] for line in ended.stdout.splitlines() if line.startswith(str(folder))}
    assert told == {str(folder / "apps/two/exporter.yml"), str(folder / "apps/three.json")}
    assert ended.stderr.startswith("3 exporters checked")


def test_nothing_to_check_is_said(called: Called) -> None:
    path = called.home / "other.yaml"
    path.write_text("kind: Deployment\n")
    assert "Nothing was checked" in called("validate", path).stderr


UNREADABLE: Mapping[str, tuple[bytes, str]] = {
    "no YAML": (b"kind: QualtricsExporter\nspec: [a\nb: c\n", ":3:2: error ManifestInvalid: this is not YAML"),
    "a template": (
        b"kind: QualtricsExporter\nspec: {{ .Values.spec }}\n",
        "render a template before you check it",
    ),
    "no UTF-8": ("kind: QualtricsExporter\ndescription: Büro\n".encode("latin-1"), "this is not UTF-8 text"),
    "a control character": (b"kind: QualtricsExporter\nspec: \x01\n", ":2:7: error ManifestInvalid"),
    "a million brackets": (b"kind: QualtricsExporter\nspec: " + b"[" * 1_000_000, "nested too deeply"),
    "an object that holds itself": (b"kind: QualtricsExporter\nspec: &a\n  <<: *a\n", "ManifestInvalid"),
    "a list that holds itself": (b"kind: QualtricsExporter\nspec: &a [*a]\n", "must be an object"),
    "laughs by the billion": (
        b"kind: QualtricsExporter\na: &a [x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 120))
        + b"spec: *w\n",
        "must be an object",
    ),
    "a scalar": (b"QualtricsExporter\n", ""),
    "a List that holds itself": (
        b"kind: List\nitems: &a\n- {kind: List, items: *a}\n- kind: QualtricsExporter\n",
        "is required",
    ),
    "a number of many digits": (b"kind: QualtricsExporter\nspec: " + b"9" * 400, "must be an object"),
    "a number of very many digits": (b"kind: QualtricsExporter\nspec: " + b"9" * 5000, "must be an object"),
    "a time that is none": (b"kind: QualtricsExporter\nspec: !!timestamp foo\n", "must be an object"),
    "half of a character": (b'kind: QualtricsExporter\nmetadata: {name: "\\ud800"}\n', "half of a character"),
    "a list": (b"- kind: QualtricsExporter\n", "this is a list of manifests"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_whatever_is_in_a_file_is_a_finding_and_never_a_traceback(called: Called, name: str) -> None:
    content, said = UNREADABLE[name]
    path = called.home / "bad.yaml"
    path.write_bytes(content)
    ended = called("validate", path, code=1 if said else 0)
    assert said in ended.stdout


HOSTILE = {
    "only a comment": "/* nothing */",
    "an open quote": 'users | where name == "a',
    "an open bracket": "users | where (name == 'a'",
    "16,001 characters": "u" * 16_001,
    "a NUL": "users \x00| list ad.email_address",
    "a mark from right to left": "users | list \u202ead.email_address",
    "10,000 brackets": "users | where " + "(" * 7_500 + ")" * 7_500,
    "a megabyte of pipes": "|" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_query_is_a_finding(called: Called, name: str) -> None:
    path = called.home / "hostile.yaml"
    path.write_text(manifest(query=HOSTILE[name]))
    assert re.search(rf"^{re.escape(str(path))}:\d+:\d+: (error|warning) ", called("validate", path, code=None).stdout)


SLOW = {
    "merges of merges": "".join(
        f"{chr(n)}: &{chr(n)}\n  <<: [{', '.join([f'*{chr(n - 1)}'] * 9)}]\n" if n > 97 else "a: &a {x: 1}\n"
        for n in range(97, 115)
    ),
    "lists of lists": "a: &a [{kind: QualtricsExporter}]\n"
    + "".join(
        f"{chr(n)}: &{chr(n)} [{', '.join([f'{{kind: List, items: *{chr(n - 1)}}}'] * 9)}]\n" for n in range(98, 107)
    )
    + "kind: List\nitems: *j\n",
    "many unknown fields": "kind: QualtricsExporter\nspec:\n" + "".join(f"  field{n}: x\n" for n in range(5000)),
    "many bad labels": "kind: QualtricsExporter\nmetadata:\n  labels:\n"
    + "".join(f"    l{n}: 1\n" for n in range(5000)),
    "a spec that is shared by alias": "kind: List\nitems:\n"
    + f"- {{kind: QualtricsExporter, spec: &s {{nexthink: {{query: 'users | where a == {'1 + ' * 3900}1'}}}}}}\n"
    + "- {kind: QualtricsExporter, spec: *s}\n" * 300,
    "a long line": json.dumps(changed({"spec_": 1}, annotations={"a": "x" * 1_000_000})),
}


@pytest.mark.parametrize("name", SLOW)
def test_no_file_takes_long(name: str) -> None:
    _, calls = work(findings, "# QualtricsExporter\n" + SLOW[name] if name.endswith("s") else SLOW[name])
    assert calls < 5_000_000


@given(st.text(st.sampled_from("abk: -[]{},&*!|>'\"\\#%@`\n\t  0123.~<\ud800é😀"), max_size=120))
def test_any_text_is_told_in_words(text: str) -> None:
    _, found = findings(f"kind: QualtricsExporter\n{text}")
    for printed in (form([Checked("f", text, 0, found)]) for form in FORMATS.values()):
        printed.encode()
    assert not [finding for finding in found if "please report" in finding.message]


def test_nothing_of_a_secret_beside_an_exporter_is_shown(called: Called) -> None:
    path = called.home / "both.yaml"
    for broken in ('clientSecret: "hunter2" hunter3', "clientSecret: *hunter4", "clientSecret: [hunter5"):
        path.write_text(f"{manifest()}---\nkind: Secret\nstringData:\n  {broken}\n")
        ended = called("validate", path, code=1)
        assert "ManifestInvalid: this is not YAML" in ended.stdout
        assert "hunter" not in ended.stdout + ended.stderr
    path.write_text(f"stringData: {{clientSecret: hunter7}}\n{manifest(clientSecret='hunter8')}")
    assert "stringData is not a field" in called("validate", path, code=1).stdout
    assert "hunter" not in called("validate", path, code=1).stdout
    one_line = {"kind": "List", "items": [{"kind": "Secret", "data": "hunter6"}, changed({"nexthink.query": "users"})]}
    path.write_text(json.dumps(one_line))
    assert "hunter" not in called("validate", path, code=1).stdout


def test_one_bad_file_hides_no_other(called: Called) -> None:
    folder = called.home / "mix"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: QualtricsExporter\nspec: [")
    (folder / "b.YAML").write_text(manifest(query="users"))
    (folder / "c.yml").write_bytes(manifest(query="users").encode("utf-16"))
    (folder / "d.yaml").symlink_to(folder / "nowhere")
    ended = called("validate", folder, code=1)
    assert [line.split(":")[0].rpartition("/")[2] for line in ended.stdout.splitlines() if "error" in line] == [
        "a.yaml", "b.YAML", "c.yml",
    ]  # fmt: skip


def test_a_byte_order_mark_moves_no_column(called: Called) -> None:
    path = called.home / "bom.yaml"
    text = json.dumps(changed({"nexthink.query": "users"}))
    path.write_text("\ufeff" + text)
    assert f"{path}:1:{text.index('users') + 6}: error" in called("validate", path, code=1).stdout


def test_standard_input_is_read_once(called: Called) -> None:
    assert "only once" in called("validate", "-", "-", input="", code=2).stderr


def test_an_address_in_a_query_is_not_repeated(called: Called) -> None:
    path = called.home / "addresses.yaml"
    addresses = (
        *("ana.eva@example.com", "'ana@example.com' x", "'ana eva'@example.com", '"ana%40example.com" x'),
        *("$ana@example.com", '"ana @example.com" x', '"\\"ana eva\\"@example.com" x', "ana\uff20example.com"),
        "o'ana,b@example.com",
    )
    queries = [f"users | where ad.email_address == {address} | list ad.email_address" for address in addresses]
    path.write_text("---\n".join(manifest(query=query) for query in queries))
    for output in ("text", "json", "github"):
        told = called("validate", "-o", output, path, code=None).stdout
        assert told.count("Query") >= len(addresses)
        assert not re.search(r"ana|eva|example", told.replace(str(path), ""))


def test_an_address_for_a_name_is_not_repeated(called: Called) -> None:
    path = called.home / "names.yaml"
    body = changed({"nexthink.parameters": {"ana@example.com": "x"}}, name="ana@example.com")
    path.write_text(yaml.safe_dump(body))
    for output in ("text", "json", "github"):
        told = called("validate", "-o", output, path, code=1).stdout
        assert "QueryParameterUnused" in told
        assert "ana" not in told.replace(str(path), "")


def test_places_in_json_behind_an_emoji(called: Called) -> None:
    path = called.home / "emoji.json"
    text = json.dumps(changed({"nexthink.query": "users | where a == '😀😀' | lst ad.email_address"}))
    path.write_text(text)
    assert f"{path}:1:{text.index('lst') + 1}: warning" in called("validate", path).stdout


def test_a_long_line_is_cut_around_its_place(called: Called) -> None:
    path = called.home / "long.yaml"
    text = manifest(query=f"users | where {' and '.join(['a == 1'] * 300)} | lst ad.email_address")
    path.write_text(yaml.safe_dump(plain_yaml.read(text), width=100_000))
    told, line, mark = called("validate", path).stdout.splitlines()[:3]
    assert "did you mean `list`?" in told
    assert len(line) < 200
    assert line[mark.index("^") :].startswith("lst")


def test_what_does_not_exist_is_wrong_usage(called: Called) -> None:
    assert "does not exist" in called("validate", "nowhere.yaml", code=2).stderr


def test_flags_can_be_variables(program: Program) -> None:
    path = program.home / "warned.yaml"
    path.write_text(manifest(query="users | list user.upn"))
    variables = {"QUALTRICS_EXPORTER_STRICT": "true", "QUALTRICS_EXPORTER_OUTPUT": "json"}
    ended = program("validate", path, code=1, env=variables)
    assert json.loads(ended.stdout)["findings"][0]["severity"] == "warning"


# YAML as kubectl reads it, and where it misleads.


MARK = "\ufeff"


@pytest.mark.parametrize(
    "before",
    [
        "---\n",
        "--- \n",
        "---\r\n",
        "---\n---\n",
    ],
)
def test_a_byte_order_mark_before_any_document_is_read_as_kubectl_reads_it(called: Called, before: str) -> None:
    path = called.home / "joined.yaml"
    text = f"{MARK}{manifest()}{before}{MARK}{manifest(query='users | where')}"
    path.write_bytes(text.encode())
    ended = called("validate", path, code=1)
    assert ended.stderr.startswith("2 exporters checked: ")
    assert "ManifestInvalid" not in ended.stdout
    line = next(
        number
        for number, line in enumerate(text.split("\n"), 1)
        if "query: users | where" in line and "with" not in line
    )
    assert f"{path}:{line}:" in ended.stdout, "every place is counted as an editor shows it"


def test_a_byte_order_mark_elsewhere_is_a_part_of_the_text(called: Called) -> None:
    path = called.home / "inside.yaml"
    path.write_text(manifest().replace("metadata:", f"{MARK}metadata:"), "utf-8")
    assert "begins with a byte order mark" in called("validate", path, code=1).stdout


def of(text: str, field: str, value: str) -> str:
    """The sample with another value of a field, written as in the file."""
    new, count = re.subn(
        rf"^( *){field}: .*$", lambda found: f"{found[1]}{field}: {value}", text, count=1, flags=re.MULTILINE
    )
    assert count == 1, field
    return new


CUT = {
    "a query without quotes": (
        "query",
        'users during past 7d | where #vip = "yes" | list ad.email_address',
        '#vip = "yes"',
        "ends here",
    ),
    "an id without quotes": ("queryId", "#teams_rollout", "#teams_rollout", "is empty"),
    "a number in a subject": ("subject", "Survey #5 of this year", "#5 of", "ends here"),
    "a number in the sender's name": ("fromName", "Team #1", "#1", "ends here"),
    "a description": ("description", "For #everyone", "#everyone", "ends here"),
    "a parameter": ("parameters", "{}\n      tag: #vip", "#vip", "is empty"),
    "a second line": ("fromName", "Digital\n      #Workplace", "#Workplace", "ends here"),
    "only a second line": ("queryId", "\n      #everyone", "#everyone", "is empty"),
    "a clause after a space": ("query", "users | list ad.email_address # | where a == 1", "# | where", "ends here"),
    "a tag": ("subject", "!Important How is Teams", "!Important", "begins after this"),
    "an anchor": ("fromName", "&Co", "&Co", "begins after this"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_value_that_loses_a_part_to_yaml_is_reported(called: Called, name: str) -> None:
    field, value, place, what = CUT[name]
    text = SAMPLE.read_text("utf-8")
    text = re.sub(r"query: \|\n(?: {6}.*\n)+", "query: users during past 7d | list ad.email_address\n", text)
    path = called.home / "cut.yaml"
    text = (
        text.replace("parameters: {}", "parameters:\n      tag: #vip")
        if field == "parameters"
        else of(text, field, value)
    )
    path.write_text(text, "utf-8")
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if re.match(rf" *({field}|tag): ", line))
    line = next(number for number, line in enumerate(lines[first:], first + 1) if place in line)
    column = lines[line - 1].index(place) + 1
    (message,) = [line for line in called("validate", path, code=None).stdout.splitlines() if "ValueCut" in line]
    assert message.startswith(f"{path}:{line}:{column}: warning ValueCut: spec.")
    assert what in message
    assert "put the value in quotes" in message
    called("validate", "--strict", path, code=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "How is Teams? # ask again"),
        ("subject", "How is Teams? ## asked"),
        ("subject", '"Survey #5"'),
        ("subject", "'Survey #5'"),
        ("subject", "Survey#5"),
        ("subject", ">-\n      Survey #5"),
        ("subject", "!!str 2026"),
        ("fromName", "&team Digital Workplace\n    description: *team"),
        ("frequency", "Weekly #hourly"),
        ("subject", "How is Teams?\n    #fromName: Another"),
        ("subject", "How is Teams?\n\n  #other: of the level above"),
        ("subject", "How is Teams?\n      # a remark"),
    ],
)
def test_a_comment_or_an_anchor_that_is_meant_is_no_finding(called: Called, field: str, value: str) -> None:
    path = called.home / "meant.yaml"
    path.write_text(of(SAMPLE.read_text("utf-8"), field, value), "utf-8")
    assert "ValueCut" not in called("validate", path, code=None).stdout


def test_a_comment_in_braces_is_named_as_the_cause(called: Called) -> None:
    path = called.home / "flow.yaml"
    nexthink = '  nexthink: {credentialsSecretRef: {name: nexthink}, queryId: #everyone,\n    query: "users"}\n'
    path.write_text(f"kind: QualtricsExporter\nspec:\n{nexthink}  qualtrics: {{}}\n")
    message = called("validate", path, code=1).stdout
    assert "the unquoted # in line 3 starts a comment: put the value in quotes" in message


HINTS = {
    'users | where name == "a: b" | list x': "if the value has a colon before a space, put it in quotes",
    "| users | list ad.email_address": "write the text of | or > on the next lines",
    "> users": "write the text of | or > on the next lines",
    "@everyone": "put a value that begins with this character in quotes",
    "%everyone": "put a value that begins with this character in quotes",
    "- everyone": "put a value that begins with - or ? and a space in quotes",
    "*everyone": "an unquoted * refers to an anchor: put the value in quotes",
    '"users" | list x': "for another value, put all of it in quotes",
    '"users" of today': "the value ends before its line does: put all of it in quotes",
    "'users | where name == 'x''": "the value ends before its line does: put all of it in quotes",
    "[users] of today": "the value ends before its line does: put all of it in quotes",
    '"a\\qb"': "this escape sequence does not exist: put the value in single quotes",
}


@pytest.mark.parametrize("value", HINTS)
def test_a_value_that_is_not_yaml_gets_a_hint_without_the_value(called: Called, value: str) -> None:
    path = called.home / "odd.yaml"
    path.write_text(of(SAMPLE.read_text("utf-8"), "queryId", value), "utf-8")
    (message,) = [line for line in called("validate", path, code=1).stdout.splitlines() if "ManifestInvalid" in line]
    assert HINTS[value] in message
    assert "unquoted #" not in message, "a comment in the lines above is not the cause"
    assert "everyone" not in message


def test_a_comment_in_a_query_of_several_lines_is_named_as_the_cause(called: Called) -> None:
    path = called.home / "lines.yaml"
    query = '    query: users during past 7d\n      | where #vip = "yes"\n      | list ad.email_address\n'
    path.write_text(f"kind: QualtricsExporter\nspec:\n  nexthink:\n{query}")
    assert "the unquoted # in line 5 starts a comment" in called("validate", path, code=1).stdout


def test_the_example_with_xargs_takes_any_file_name(program: Program) -> None:
    """Exactly as in the help, with spaces, umlauts and a line break in the names."""
    example = re.search(r"git diff .*? \| xargs .*", program("validate", "--help").stdout)
    assert example
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["commit", "-q", "--allow-empty", "-m", "x"],
        ["checkout", "-q", "-b", "new"],
    ):
        subprocess.run([*git, *command], cwd=program.home, check=True, env=program.environment({}))
    names = ["with space.yaml", "Büro.yaml", "line\nbreak.yaml", "it's.yaml"]
    for name in names:
        (program.home / name).write_text(manifest(), "utf-8")
    subprocess.run(["git", "add", "."], cwd=program.home, check=True, env=program.environment({}))
    path = f"{Path(program.command[0]).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["sh", "-c", example[0]],
        cwd=program.home,
        env=program.environment({"PATH": path}),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "4 exporters checked: no findings.\n"), ended.stdout
