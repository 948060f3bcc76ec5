"""What is generated from the models: complete, deterministic, and nothing that the API server would refuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model

from hack import generate, pages
from hack.files import write
from qualtrics_exporter.resource.crd import crd, crd_yaml, schema
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.rules import CEL_RULES
from qualtrics_exporter.sandbox import Account
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.resource.manifests import sample

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every schema in a schema, with its path."""
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
def test_every_field_is_described_in_a_sentence(path: str) -> None:
    description = NODES[path].get("description", "")
    assert len(description) > 10
    assert description.endswith(".")
    assert "\n" not in description


@pytest.mark.parametrize("path", RULES)
def test_every_rule_has_a_sentence_that_says_what_to_write(path: str) -> None:
    for rule in RULES[path]:
        assert rule["message"].startswith("must "), rule
        assert "\n" not in rule["message"] + rule["rule"]
        assert rule["rule"].isascii()
        assert rule["rule"].isprintable()
        assert rule.get("fieldPath", ".").removeprefix(".") in {"", *NODES[path].get("properties", {})}


def test_every_text_and_list_of_spec_has_a_limit_so_that_rules_have_a_cost() -> None:
    unlimited = [
        path
        for path, node in NODES.items()
        if path.startswith("spec")
        and ((node["type"] == "string" and not {"maxLength", "enum"} & node.keys()) or node["type"] == "array")
    ]
    assert unlimited == []


def test_only_what_kstatus_needs_has_a_default() -> None:
    assert {path: node["default"] for path, node in NODES.items() if "default" in node} == {
        "status": {"observedGeneration": -1},
        "status.observedGeneration": -1,
    }


@pytest.mark.parametrize("path", ["spec", "status", "", "status.conditions[]"])
def test_unknown_fields_are_left_to_the_api_server(path: str) -> None:
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
def test_what_an_api_server_refuses_or_explains_badly_is_noticed_here(field: Any, keyword: str) -> None:
    model: type[BaseModel] = create_model("Model", field=field)
    with pytest.raises(TypeError, match=rf"Model\.field: \['{keyword}'\] has no place"):
        schema(model)


def test_a_time_to_come_is_no_date_column() -> None:
    columns = {column["name"]: column for column in crd()["spec"]["versions"][0]["additionalPrinterColumns"]}
    assert [name for name, column in columns.items() if "priority" not in column] == [
        *("Frequency", "Suspended", "Ready", "Last Result", "Recipients", "Last Success", "Next", "Age")
    ]
    assert [name for name, column in columns.items() if column.get("priority")] == ["Survey", "Query", "Message"]
    assert columns["Next"]["type"] == "string"


def test_the_manifest_is_the_same_each_time_and_without_anchors() -> None:
    assert crd_yaml() == crd_yaml()
    assert plain_yaml.read(crd_yaml()) == crd()
    assert "&id" not in crd_yaml()


def test_nobody_can_change_the_crd_of_others() -> None:
    crd()["spec"]["names"].clear()
    assert crd()["spec"]["names"]["shortNames"] == ["qex"]


def test_what_is_committed_is_what_would_be_generated() -> None:
    files = generate.from_models()
    stale = [name for name, text in files.items() if (ROOT / name).read_text("utf-8") != text]
    assert stale == [], "run `make generate`"


def test_generate_writes_what_is_stale_and_check_only_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    told = capsys.readouterr().err
    assert f"{pages.REASONS_PATH} is stale" in told
    assert "-# Excuses\n+# Reasons\n" in told


def test_the_reference_has_every_field_and_every_rule() -> None:
    page = pages.reference().replace("\\", "")
    shown = [path for path in NODES if path.startswith(("spec", "status")) and not path.endswith((".*", "[]"))]
    assert [path for path in shown if f"\n### `{path}`\n" not in page] == []
    assert [rule for rules in RULES.values() for rule in rules if rule["message"] not in page] == []
    assert [path for path in shown if NODES[path]["description"] not in page] == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_part_of_the_page(reason: Reason) -> None:
    part = pages.reasons().replace("\\", "").partition(f"\n### {reason}\n")[2].partition("\n#")[0]
    assert reason.meaning in part
    assert reason.next_step in part
    assert "**Appears in:** " in part


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_but_a_note_says_what_to_do_next(reason: Reason) -> None:
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


def test_the_sample_is_used_with_all_fields_of_the_spec() -> None:
    written = {".".join(path) for path in leaves(sample()["spec"])}
    left_out = {"schedule.everyHours", "qualtrics.allowCustomFromDomain"}  # they go with other values
    left_out |= {"minRecipients", "sample.groups", "sample.percent"}  # they would hold its runs, or shorten them
    assert left_out | written == {
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
