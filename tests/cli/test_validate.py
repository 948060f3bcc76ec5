"""The command `validate`: its findings, output formats and exit codes."""

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

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.cli.findings_report import FORMATS, Checked
from qualtrics_exporter.cli.manifest_findings import findings
from tests.cli.conftest import SAMPLE, InProcessProgram, Program
from tests.resource.manifests import changed
from tests.support.work import work

GOOD_QUERY = "users | with execution.events during past 7d\n| list ad.email_address\n"


def manifest(**nexthink: Any) -> str:
    """The sample with other fields in `nexthink`."""
    return yaml.safe_dump(changed({f"nexthink.{name}": value for name, value in nexthink.items()}), sort_keys=False)


@pytest.fixture
def broken(home: Path) -> Path:
    """A manifest whose query has two errors and a warning."""
    text = SAMPLE.read_text().replace("      | list ad.email_address", "      | list ad.email_address, name")
    text = text.replace("focus < 1min", "focus <").replace("past 7d", "past 1d")
    path = home / "broken.yaml"
    path.write_text(text)
    return path


def position_of(path: Path, word: str, after: int = 0) -> tuple[int, int]:
    """Line and column of a word in a file."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if word in line and not line.lstrip().startswith("#"):
            return number, line.index(word) + 1 + after
    raise AssertionError(word)


def test_validate_strict_accepts_the_samples(program: Program) -> None:
    result = program("validate", "--strict", ROOT / "samples")
    assert result.stdout == ""
    assert re.fullmatch(r"\d+ exporters checked: no findings\.\n", result.stderr)


@pytest.mark.parametrize(
    ("sample", "code", "message"),
    [
        ("{groups: 4}", 0, "the cycle of spec.sample has 4 days"),
        ("{groups: 7}", 0, ""),
        ("{percent: 10}", 0, "runs every day"),
        ("{groups: many}", 1, "must be a whole number"),
        ("{groups: 4, percent: 10}", 1, "must not be set together with groups"),
        ("{}", 1, "must be set unless percent is set"),
    ],
)
def test_validate_checks_the_sample_and_compares_its_cycle_with_the_window_of_the_query(
    program: Program, tmp_path: Path, sample: str, code: int, message: str
) -> None:
    manifest = tmp_path / "sampled.yaml"
    body = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text())
    body["spec"]["schedule"] = {"frequency": "Daily"}
    body["spec"]["nexthink"]["query"] = "users | with execution.crashes during past 7d | list ad.email_address"
    body["spec"]["sample"] = plain_yaml.read(sample)
    manifest.write_text(yaml.safe_dump(body))
    out = program("validate", manifest, code=code).stdout
    assert message in out
    assert bool(out) == bool(message)


def test_validate_prints_each_finding_with_file_line_column_reason_and_message(program: Program, broken: Path) -> None:
    result = program("validate", broken, code=1)
    lines = result.stdout.splitlines()
    findings_of_file = [line for line in lines if line.startswith(str(broken))]
    window, syntax, fields = (
        position_of(broken, "during past 1d"),
        position_of(broken, "focus <", 7),
        position_of(broken, ", name", 2),
    )
    assert findings_of_file == [
        f"{broken}:{window[0]}:{window[1]}: warning QueryWindowMismatch: the query covers 1 day and runs every 7 "
        "days: it misses what happens in the rest of the time; use `past 7d`",
        f"{broken}:{syntax[0]}:{syntax[1]}: error QueryInvalid: a field or a value is missing at the end of `where`",
        f"{broken}:{fields[0]}:{fields[1]}: error QueryReturnsSeveralFields: the query returns 2 fields, but must "
        "return only the e-mail address: end the query with `| list ad.email_address`",
    ]
    excerpt = lines.index(findings_of_file[2]) + 1
    assert lines[excerpt].endswith("| list ad.email_address, name")
    assert lines[excerpt + 1].index("^") == lines[excerpt].index("name")
    assert lines[excerpt + 1].endswith(" ^^^^ several-fields"), (
        "the name of the rule, which is also the name of its page in docs/nql"
    )
    assert result.stderr == "1 exporter checked: 2 errors, 1 warning.\n"


def test_json_output_has_the_same_findings_as_the_text(program: Program, broken: Path) -> None:
    result = program("validate", "--output", "json", broken, code=1)
    found = json.loads(result.stdout)["findings"]
    assert [finding["reason"] for finding in found] == [
        "QueryWindowMismatch", "QueryInvalid", "QueryReturnsSeveralFields",
    ]  # fmt: skip
    line, column = position_of(broken, ", name", 2)
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


def test_json_output_without_findings_is_an_empty_list(in_process: InProcessProgram) -> None:
    assert json.loads(in_process("validate", "-o", "json", SAMPLE).stdout) == {"findings": []}


def test_github_output_has_one_annotation_for_each_finding(in_process: InProcessProgram, broken: Path) -> None:
    result = in_process("validate", "-o", "github", broken, code=1)
    line, column = position_of(broken, "focus <", 7)
    annotation = f"::error file={broken},line={line},col={column},title=QueryInvalid::a field or a value is missing"
    assert [line for line in result.stdout.splitlines() if line.startswith(annotation)]
    assert all(line.startswith(("::error ", "::warning ")) for line in result.stdout.splitlines())


def test_github_output_escapes_special_characters_in_a_file_name(in_process: InProcessProgram) -> None:
    path = in_process.home / "a,b::c%.yaml"
    path.write_text(manifest(query="users"))
    output = in_process("validate", "-o", "github", path, code=1).stdout
    assert "a%2Cb%3A%3Ac%25.yaml,line=" in output


def test_warnings_fail_the_check_only_with_strict(in_process: InProcessProgram) -> None:
    path = in_process.home / "warned.yaml"
    path.write_text(manifest(query="users | list user.upn"))
    assert "warning QueryFieldNotEmail" in in_process("validate", path).stdout
    assert "warning QueryFieldNotEmail" in in_process("validate", "--strict", path, code=1).stdout


def test_validate_warns_about_settings_that_hold_every_run(in_process: InProcessProgram) -> None:
    path = in_process.home / "held.yaml"
    path.write_text(manifest(resultSource="Export", driftPolicy="Hold"))
    output = in_process("validate", path).stdout
    assert "warning QueryNotCompared" in output
    assert f"held.yaml:{position_of(path, 'resultSource', after=14)[0]}:" in output
    for source, policy in (("Auto", "Hold"), ("Export", "Warn")):
        path.write_text(manifest(resultSource=source, driftPolicy=policy))
        assert "QueryNotCompared" not in in_process("validate", path).stdout


def test_query_check_warn_turns_errors_in_the_query_into_warnings(in_process: InProcessProgram) -> None:
    path = in_process.home / "warned.yaml"
    path.write_text(manifest(query="users", queryCheck="Warn"))
    assert "warning QueryReturnsSeveralFields" in in_process("validate", path).stdout
    path.write_text(manifest(query="users", queryCheck="Enforce"))
    assert "error QueryReturnsSeveralFields" in in_process("validate", path, code=1).stdout


def test_validate_checks_all_exporters_on_standard_input_and_ignores_secrets(program: Program) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: nexthink}\nstringData: {clientSecret: hush}\n"
    text = "---\n".join([secret, manifest(), "# nothing\n", manifest(query="users"), secret])
    result = program("validate", "-", input=text, code=1)
    assert result.stdout.startswith("<stdin>:")
    assert result.stdout.count("error") == 1
    assert result.stderr == "2 exporters checked: 1 error.\n"
    assert "hush" not in result.stdout


def test_validate_searches_directories_for_exporters_and_skips_other_files(in_process: InProcessProgram) -> None:
    folder = in_process.home / "repository"
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
    result = in_process("validate", folder, code=1)
    files = {line.split(":")[0] for line in result.stdout.splitlines() if line.startswith(str(folder))}
    assert files == {str(folder / "apps/two/exporter.yml"), str(folder / "apps/three.json")}
    assert result.stderr.startswith("3 exporters checked")


def test_validate_reports_that_a_file_has_no_exporter(in_process: InProcessProgram) -> None:
    path = in_process.home / "other.yaml"
    path.write_text("kind: Deployment\n")
    assert "Nothing was checked" in in_process("validate", path).stderr


UNUSUAL_FILES: Mapping[str, tuple[bytes, str]] = {
    "invalid YAML": (b"kind: QualtricsExporter\nspec: [a\nb: c\n", ":3:2: error ManifestInvalid: this is not YAML"),
    "a template": (
        b"kind: QualtricsExporter\nspec: {{ .Values.spec }}\n",
        "render a template before you check it",
    ),
    "invalid UTF-8": ("kind: QualtricsExporter\ndescription: Büro\n".encode("latin-1"), "this is not UTF-8 text"),
    "a control character": (b"kind: QualtricsExporter\nspec: \x01\n", ":2:7: error ManifestInvalid"),
    "a million brackets": (b"kind: QualtricsExporter\nspec: " + b"[" * 1_000_000, "nested too deeply"),
    "an object that contains itself": (b"kind: QualtricsExporter\nspec: &a\n  <<: *a\n", "ManifestInvalid"),
    "a list that contains itself": (b"kind: QualtricsExporter\nspec: &a [*a]\n", "must be an object"),
    "a billion laughs": (
        b"kind: QualtricsExporter\na: &a [x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 120))
        + b"spec: *w\n",
        "must be an object",
    ),
    "a scalar": (b"QualtricsExporter\n", ""),
    "a List that contains itself": (
        b"kind: List\nitems: &a\n- {kind: List, items: *a}\n- kind: QualtricsExporter\n",
        "is required",
    ),
    "a number of many digits": (b"kind: QualtricsExporter\nspec: " + b"9" * 400, "must be an object"),
    "a number of very many digits": (b"kind: QualtricsExporter\nspec: " + b"9" * 5000, "must be an object"),
    "an invalid time": (b"kind: QualtricsExporter\nspec: !!timestamp foo\n", "must be an object"),
    "an unpaired surrogate": (b'kind: QualtricsExporter\nmetadata: {name: "\\ud800"}\n', "an unpaired surrogate"),
    "a list": (b"- kind: QualtricsExporter\n", "this is a list of manifests"),
}


@pytest.mark.parametrize("name", UNUSUAL_FILES)
def test_a_file_with_unusual_content_causes_a_finding_and_no_traceback(in_process: InProcessProgram, name: str) -> None:
    content, message = UNUSUAL_FILES[name]
    path = in_process.home / "bad.yaml"
    path.write_bytes(content)
    result = in_process("validate", path, code=1 if message else 0)
    assert message in result.stdout


HOSTILE_QUERIES = {
    "only a comment": "/* nothing */",
    "an open quote": 'users | where name == "a',
    "an open bracket": "users | where (name == 'a'",
    "16,001 characters": "u" * 16_001,
    "a NUL": "users \x00| list ad.email_address",
    "a right-to-left mark": "users | list \u202ead.email_address",
    "10,000 brackets": "users | where " + "(" * 7_500 + ")" * 7_500,
    "a megabyte of pipes": "|" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE_QUERIES)
def test_a_hostile_query_causes_a_finding(in_process: InProcessProgram, name: str) -> None:
    path = in_process.home / "hostile.yaml"
    path.write_text(manifest(query=HOSTILE_QUERIES[name]))
    assert re.search(
        rf"^{re.escape(str(path))}:\d+:\d+: (error|warning) ", in_process("validate", path, code=None).stdout
    )


SLOW_FILES = {
    "merges of merges": "# QualtricsExporter\n"
    + "".join(
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
    "a spec that many exporters share by alias": "kind: List\nitems:\n"
    + f"- {{kind: QualtricsExporter, spec: &s {{nexthink: {{query: 'users | where a == {'1 + ' * 3900}1'}}}}}}\n"
    + "- {kind: QualtricsExporter, spec: *s}\n" * 300,
    "a long line": json.dumps(changed({"spec_": 1}, annotations={"a": "x" * 1_000_000})),
}


@pytest.mark.parametrize("name", SLOW_FILES)
def test_the_work_for_a_file_that_is_slow_to_check_is_limited(name: str) -> None:
    _, calls = work(findings, SLOW_FILES[name])
    assert calls < 5_000_000


@given(st.text(st.sampled_from("abk: -[]{},&*!|>'\"\\#%@`\n\t  0123.~<\ud800é😀"), max_size=120))
def test_any_text_after_the_kind_is_reported_without_an_internal_error(text: str) -> None:
    _, found = findings(f"kind: QualtricsExporter\n{text}")
    for report in (write([Checked("f", text, 0, found)]) for write in FORMATS.values()):
        report.encode()
    assert not [finding for finding in found if "please report" in finding.message]


def test_validate_prints_no_value_of_a_secret_in_the_same_file(in_process: InProcessProgram) -> None:
    path = in_process.home / "both.yaml"
    for broken in ('clientSecret: "hunter2" hunter3', "clientSecret: *hunter4", "clientSecret: [hunter5"):
        path.write_text(f"{manifest()}---\nkind: Secret\nstringData:\n  {broken}\n")
        result = in_process("validate", path, code=1)
        assert "ManifestInvalid: this is not YAML" in result.stdout
        assert "hunter" not in result.stdout + result.stderr
    path.write_text(f"stringData: {{clientSecret: hunter7}}\n{manifest(clientSecret='hunter8')}")
    assert "stringData is not a field" in in_process("validate", path, code=1).stdout
    assert "hunter" not in in_process("validate", path, code=1).stdout
    one_line = {"kind": "List", "items": [{"kind": "Secret", "data": "hunter6"}, changed({"nexthink.query": "users"})]}
    path.write_text(json.dumps(one_line))
    assert "hunter" not in in_process("validate", path, code=1).stdout


def test_validate_reports_the_findings_of_all_files_after_an_unreadable_one(in_process: InProcessProgram) -> None:
    folder = in_process.home / "mix"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: QualtricsExporter\nspec: [")
    (folder / "b.YAML").write_text(manifest(query="users"))
    (folder / "c.yml").write_bytes(manifest(query="users").encode("utf-16"))
    (folder / "d.yaml").symlink_to(folder / "nowhere")
    result = in_process("validate", folder, code=1)
    assert [line.split(":")[0].rpartition("/")[2] for line in result.stdout.splitlines() if "error" in line] == [
        "a.yaml", "b.YAML", "c.yml",
    ]  # fmt: skip


def test_a_byte_order_mark_does_not_change_the_reported_column(in_process: InProcessProgram) -> None:
    path = in_process.home / "bom.yaml"
    text = json.dumps(changed({"nexthink.query": "users"}))
    path.write_text("\ufeff" + text)
    assert f"{path}:1:{text.index('users') + 6}: error" in in_process("validate", path, code=1).stdout


def test_validate_rejects_standard_input_given_twice(in_process: InProcessProgram) -> None:
    assert "only once" in in_process("validate", "-", "-", input="", code=2).stderr


def test_validate_does_not_print_an_address_in_a_query(in_process: InProcessProgram) -> None:
    path = in_process.home / "addresses.yaml"
    addresses = (
        *("ana.eva@example.com", "'ana@example.com' x", "'ana eva'@example.com", '"ana%40example.com" x'),
        *("$ana@example.com", '"ana @example.com" x', '"\\"ana eva\\"@example.com" x', "ana\uff20example.com"),
        "o'ana,b@example.com",
    )
    queries = [f"users | where ad.email_address == {address} | list ad.email_address" for address in addresses]
    path.write_text("---\n".join(manifest(query=query) for query in queries))
    for output_format in ("text", "json", "github"):
        output = in_process("validate", "-o", output_format, path, code=None).stdout
        assert output.count("Query") >= len(addresses)
        assert not re.search(r"ana|eva|example", output.replace(str(path), ""))


def test_validate_does_not_print_an_address_that_is_used_as_a_name(in_process: InProcessProgram) -> None:
    path = in_process.home / "names.yaml"
    body = changed({"nexthink.parameters": {"ana@example.com": "x"}}, name="ana@example.com")
    path.write_text(yaml.safe_dump(body))
    for output_format in ("text", "json", "github"):
        output = in_process("validate", "-o", output_format, path, code=1).stdout
        assert "QueryParameterUnused" in output
        assert "ana" not in output.replace(str(path), "")


def test_the_reported_column_in_json_after_an_emoji_is_correct(in_process: InProcessProgram) -> None:
    path = in_process.home / "emoji.json"
    text = json.dumps(changed({"nexthink.query": "users | where a == '😀😀' | lst ad.email_address"}))
    path.write_text(text)
    assert f"{path}:1:{text.index('lst') + 1}: warning" in in_process("validate", path).stdout


def test_validate_shortens_a_long_line_around_the_finding(in_process: InProcessProgram) -> None:
    path = in_process.home / "long.yaml"
    text = manifest(query=f"users | where {' and '.join(['a == 1'] * 300)} | lst ad.email_address")
    path.write_text(yaml.safe_dump(plain_yaml.read(text), width=100_000))
    finding, line, mark = in_process("validate", path).stdout.splitlines()[:3]
    assert "did you mean `list`?" in finding
    assert len(line) < 200
    assert line[mark.index("^") :].startswith("lst")


def test_validate_exits_with_2_for_a_file_that_does_not_exist(in_process: InProcessProgram) -> None:
    assert "does not exist" in in_process("validate", "nowhere.yaml", code=2).stderr


def test_environment_variables_set_the_flags_of_validate(program: Program) -> None:
    path = program.home / "warned.yaml"
    path.write_text(manifest(query="users | list user.upn"))
    variables = {"QUALTRICS_EXPORTER_STRICT": "true", "QUALTRICS_EXPORTER_OUTPUT": "json"}
    result = program("validate", path, code=1, env=variables)
    assert json.loads(result.stdout)["findings"][0]["severity"] == "warning"


# YAML as kubectl reads it, and its traps.


BYTE_ORDER_MARK = "\ufeff"


@pytest.mark.parametrize(
    "separator",
    [
        "---\n",
        "--- \n",
        "---\r\n",
        "---\n---\n",
    ],
)
def test_validate_ignores_a_byte_order_mark_before_a_document_as_kubectl_does(
    in_process: InProcessProgram, separator: str
) -> None:
    path = in_process.home / "joined.yaml"
    text = f"{BYTE_ORDER_MARK}{manifest()}{separator}{BYTE_ORDER_MARK}{manifest(query='users | where')}"
    path.write_bytes(text.encode())
    result = in_process("validate", path, code=1)
    assert result.stderr.startswith("2 exporters checked: ")
    assert "ManifestInvalid" not in result.stdout
    line = next(
        number
        for number, line in enumerate(text.split("\n"), 1)
        if "query: users | where" in line and "with" not in line
    )
    assert f"{path}:{line}:" in result.stdout, "lines are counted as in an editor"


def test_validate_reports_a_byte_order_mark_inside_a_document(in_process: InProcessProgram) -> None:
    path = in_process.home / "inside.yaml"
    path.write_text(manifest().replace("metadata:", f"{BYTE_ORDER_MARK}metadata:"), "utf-8")
    assert "begins with a byte order mark" in in_process("validate", path, code=1).stdout


def with_field(text: str, field: str, value: str) -> str:
    """The text with another value of a field, which is written to the file as it is."""
    new, count = re.subn(
        rf"^( *){field}: .*$", lambda found: f"{found[1]}{field}: {value}", text, count=1, flags=re.MULTILINE
    )
    assert count == 1, field
    return new


TRUNCATED_VALUES = {
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


@pytest.mark.parametrize("name", TRUNCATED_VALUES)
def test_validate_reports_a_value_that_yaml_truncates(in_process: InProcessProgram, name: str) -> None:
    field, value, place, problem = TRUNCATED_VALUES[name]
    text = SAMPLE.read_text("utf-8")
    text = re.sub(r"query: \|\n(?: {6}.*\n)+", "query: users during past 7d | list ad.email_address\n", text)
    path = in_process.home / "cut.yaml"
    text = (
        text.replace("parameters: {}", "parameters:\n      tag: #vip")
        if field == "parameters"
        else with_field(text, field, value)
    )
    path.write_text(text, "utf-8")
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if re.match(rf" *({field}|tag): ", line))
    line = next(number for number, line in enumerate(lines[first:], first + 1) if place in line)
    column = lines[line - 1].index(place) + 1
    (message,) = [line for line in in_process("validate", path, code=None).stdout.splitlines() if "ValueCut" in line]
    assert message.startswith(f"{path}:{line}:{column}: warning ValueCut: spec.")
    assert problem in message
    assert "put the value in quotes" in message
    in_process("validate", "--strict", path, code=1)


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
def test_validate_accepts_intended_comments_anchors_and_tags(
    in_process: InProcessProgram, field: str, value: str
) -> None:
    path = in_process.home / "meant.yaml"
    path.write_text(with_field(SAMPLE.read_text("utf-8"), field, value), "utf-8")
    assert "ValueCut" not in in_process("validate", path, code=None).stdout


def test_an_accidental_comment_in_braces_is_named_as_the_cause(in_process: InProcessProgram) -> None:
    path = in_process.home / "flow.yaml"
    nexthink = '  nexthink: {credentialsSecretRef: {name: nexthink}, queryId: #everyone,\n    query: "users"}\n'
    path.write_text(f"kind: QualtricsExporter\nspec:\n{nexthink}  qualtrics: {{}}\n")
    message = in_process("validate", path, code=1).stdout
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
def test_a_value_that_is_invalid_yaml_gets_a_hint_that_does_not_contain_the_value(
    in_process: InProcessProgram, value: str
) -> None:
    path = in_process.home / "invalid.yaml"
    path.write_text(with_field(SAMPLE.read_text("utf-8"), "queryId", value), "utf-8")
    (message,) = [
        line for line in in_process("validate", path, code=1).stdout.splitlines() if "ManifestInvalid" in line
    ]
    assert HINTS[value] in message
    assert "unquoted #" not in message, "the hint does not blame a comment in the lines above"
    assert "everyone" not in message


def test_an_accidental_comment_in_a_query_of_several_lines_is_named_as_the_cause(in_process: InProcessProgram) -> None:
    path = in_process.home / "lines.yaml"
    query = '    query: users during past 7d\n      | where #vip = "yes"\n      | list ad.email_address\n'
    path.write_text(f"kind: QualtricsExporter\nspec:\n  nexthink:\n{query}")
    assert "the unquoted # in line 5 starts a comment" in in_process("validate", path, code=1).stdout


def test_the_xargs_example_in_the_help_works_with_any_file_name(program: Program) -> None:
    """The example of the help, with spaces, umlauts and a line break in file names."""
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
    result = subprocess.run(
        ["sh", "-c", example[0]],
        cwd=program.home,
        env=program.environment({"PATH": path}),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "4 exporters checked: no findings.\n"), result.stdout
