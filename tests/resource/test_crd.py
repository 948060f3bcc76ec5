"""The files generated from the models are complete, deterministic and accepted by the API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model

from hack import generate, pages, plain_yaml
from hack.files import ROOT, write
from qualtrics_exporter.resource.crd import crd, crd_yaml, schema
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.rules import CEL_RULES
from qualtrics_exporter.sandbox import Account
from tests.resource.manifests import sample

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """This schema and all schemas in it, with their paths."""
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}" if path else name)
    for keyword, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if keyword in node:
            yield from nodes(node[keyword], path + suffix)


ROOT_SCHEMA: Node = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
NODES = dict(nodes(ROOT_SCHEMA))
RULES = {path: node[CEL_RULES] for path, node in NODES.items() if CEL_RULES in node}


@pytest.mark.parametrize("path", [path for path in NODES if path != "metadata" and not path.endswith((".*", "[]"))])
def test_every_field_has_a_description_of_one_line_that_ends_with_a_period(path: str) -> None:
    description = NODES[path].get("description", "")
    assert len(description) > 10
    assert description.endswith(".")
    assert "\n" not in description


@pytest.mark.parametrize("path", RULES)
def test_every_rule_has_a_message_that_says_what_to_write(path: str) -> None:
    for rule in RULES[path]:
        assert rule["message"].startswith("must "), rule
        assert "\n" not in rule["message"] + rule["rule"]
        assert rule["rule"].isascii()
        assert rule["rule"].isprintable()
        assert rule.get("fieldPath", ".").removeprefix(".") in {"", *NODES[path].get("properties", {})}


def test_every_string_and_list_in_the_spec_has_a_maximum_length() -> None:
    unlimited = [
        path
        for path, node in NODES.items()
        if path.startswith("spec")
        and ((node["type"] == "string" and not {"maxLength", "enum"} & node.keys()) or node["type"] == "array")
    ]
    assert unlimited == []


def test_only_observed_generation_has_a_default() -> None:
    assert {path: node["default"] for path, node in NODES.items() if "default" in node} == {
        "status": {"observedGeneration": -1},
        "status.observedGeneration": -1,
    }


@pytest.mark.parametrize("path", ["spec", "status", "", "status.conditions[]"])
def test_the_schema_leaves_unknown_fields_to_the_api_server(path: str) -> None:
    assert "additionalProperties" not in NODES[path]


@pytest.mark.parametrize(
    ("field", "keyword"),
    [
        ((int | str, ...), "anyOf"),
        ((int, Field(gt=0)), "exclusiveMinimum"),
        ((str, Field(pattern="^a$")), "pattern"),
        ((str, Field(min_length=1)), "minLength"),
        ((set[str], ...), "uniqueItems"),
        ((dict[str, str], Field(json_schema_extra={"propertyNames": {}})), "propertyNames"),
    ],
)
def test_a_schema_keyword_that_the_api_server_does_not_support_raises_an_error(field: Any, keyword: str) -> None:
    model: type[BaseModel] = create_model("Model", field=field)
    with pytest.raises(TypeError, match=rf"Model\.field: \['{keyword}'\] has no place"):
        schema(model)


def test_the_printer_columns_are_in_order_and_the_next_time_is_a_string() -> None:
    columns = {column["name"]: column for column in crd()["spec"]["versions"][0]["additionalPrinterColumns"]}
    assert [name for name, column in columns.items() if "priority" not in column] == [
        *("Frequency", "Suspended", "Ready", "Last Result", "Recipients", "Last Success", "Next", "Age")
    ]
    assert [name for name, column in columns.items() if column.get("priority")] == ["Survey", "Query", "Message"]
    assert columns["Next"]["type"] == "string"


def test_the_crd_manifest_is_deterministic_and_has_no_anchors() -> None:
    assert crd_yaml() == crd_yaml()
    assert plain_yaml.read(crd_yaml()) == crd()
    assert "&id" not in crd_yaml()


def test_changing_a_returned_crd_does_not_change_the_next_one() -> None:
    crd()["spec"]["names"].clear()
    assert crd()["spec"]["names"]["shortNames"] == ["qex"]


def test_the_committed_generated_files_are_up_to_date() -> None:
    files = generate.from_models()
    stale = [name for name, text in files.items() if (ROOT / name).read_text("utf-8") != text]
    assert stale == [], "run `make generate`"


def test_generate_writes_stale_files_and_check_only_reports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = generate.from_models()
    assert not write(files, tmp_path, check=True)
    assert f"{generate.CRD_PATH} is stale: run `make generate`" in capsys.readouterr().err
    assert not (tmp_path / "crds").exists()

    assert write(files, tmp_path, check=False)
    assert (tmp_path / generate.CRD_PATH).read_text("utf-8") == crd_yaml()
    assert write(files, tmp_path, check=True)
    capsys.readouterr()

    page = tmp_path / pages.REASONS_PATH
    page.write_text(page.read_text("utf-8").replace("# Reasons", "# Excuses"), "utf-8")
    assert not write(files, tmp_path, check=True)
    output = capsys.readouterr().err
    assert f"{pages.REASONS_PATH} is stale" in output
    assert "-# Excuses\n+# Reasons\n" in output


def test_the_reference_contains_every_field_and_every_rule() -> None:
    page = pages.reference().replace("\\", "")
    paths = [path for path in NODES if path.startswith(("spec", "status")) and not path.endswith((".*", "[]"))]
    assert [path for path in paths if f"\n### `{path}`\n" not in page] == []
    assert [rule for rules in RULES.values() for rule in rules if rule["message"] not in page] == []
    assert [path for path in paths if NODES[path]["description"] not in page] == []


@pytest.mark.parametrize("reason", Reason)
def test_reason_has_a_section_in_the_list_and_a_page(reason: Reason) -> None:
    heading = f"\n### [{reason}](reasons/{reason}.md)\n"
    section = pages.reasons().replace("\\", "").partition(heading)[2].partition("\n#")[0]
    page = pages.reason_page(reason).replace("\\", "")
    assert reason.meaning in section
    assert reason.meaning in page
    assert reason.next_step in page
    assert "**Appears in:** " in page


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_except_notes_has_a_next_step(reason: Reason) -> None:
    assert reason.next_step or reason.kind is Kind.NOTE
    assert reason.places
    assert reason.meaning.endswith(".")


def test_the_sample_has_the_ids_of_the_sandbox() -> None:
    account, spec = Account.default(), sample()["spec"]
    assert spec["nexthink"]["queryId"] == account.query_id
    assert spec["nexthink"]["query"] == account.queries[account.query_id].executed
    assert {name: value for name, value in spec["qualtrics"].items() if name.endswith("Id")} == {
        "surveyId": account.survey_id,
        "directoryId": account.directory_id,
        "messageId": account.message_id,
        "libraryId": account.library_id,
        "mailingListId": account.mailing_list_id,
    }


def test_the_sample_has_every_field_of_the_spec_except_conflicting_ones() -> None:
    set_in_sample = {".".join(path) for path in leaves(sample()["spec"])}
    # These fields need another frequency or sender.
    not_in_sample = {"schedule.everyHours", "qualtrics.allowCustomFromDomain"}
    # These fields would hold the runs of the sample, or reduce their recipients.
    not_in_sample |= {"minRecipients", "sample.groups", "sample.percent"}
    assert not_in_sample | set_in_sample == {
        path.removeprefix("spec.")
        for path, node in NODES.items()
        if path.startswith("spec.") and "properties" not in node and not path.endswith(".*")
    }


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, (*path, name))
    else:
        yield path
