"""The findings of the form at their fields, which manifests it opens, and that the API server accepts its manifests."""

import json

import pytest

from qualtrics_exporter.cli.console.form import (
    PARAMETER_NAME,
    PARAMETER_VALUE,
    form_of,
    manifest_of,
    new_form,
    sent_form,
)
from qualtrics_exporter.cli.console.form_check import check
from qualtrics_exporter.cli.console.form_open import Unreadable, exporters, of_the_cluster
from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.resource.names import SETTLE_RUN, TEST_REQUESTED_AT
from tests.cli.conftest import SAMPLE
from tests.console.forms import NEW, filled, problems
from tests.resource.manifests import INVALID, VALID, changed, sample
from tests.support.controlplane import ControlPlane

# The findings.


@pytest.mark.parametrize("name", [name for name in INVALID if "line break" not in name][::15])
def test_the_form_has_exactly_the_findings_of_validate(name: str) -> None:
    manifest = changed(INVALID[name].changes)
    form, _ = form_of(manifest)
    checked = check(form, complete=True)
    by_validate = [finding.path for finding in findings(to_yaml(manifest_of(form)))[1]]
    assert sorted(by_validate) == sorted(each.field.name if each.field else "" for each in checked.problems)


def test_a_finding_is_shown_at_its_field_in_words() -> None:
    found = problems(filled(surveyId="teams", startingDeadlineSeconds="x"))
    assert found["spec.qualtrics.surveyId"].startswith("This field must be the id of a survey, SV_ and 11 to 15")
    assert found["spec.schedule.startingDeadlineSeconds"] == "This field must be a whole number."


def test_a_finding_about_the_query_has_its_line_and_column_and_is_marked() -> None:
    query = "users\n| with execution.events during past 7d\n| where name = 'é😀' and\n| list ad.email_address"
    checked = check(filled(query=query), complete=True)
    [problem] = [each for each in checked.problems if each.rule == "syntax-error"]
    assert problem.place
    assert problem.place.where.startswith("line 3, column 24")
    assert "".join(text for text, _ in checked.query).replace(" \n|", "\n|").strip() == query
    assert [severity for _, severity in checked.query].count("error") == 1
    # The script counts the emoji as two characters.
    in_python = query.index("and") + len("and")
    assert problem.place.start == in_python + 1


@pytest.mark.parametrize(
    "query", ["users\t| list ad.email_address \n| lst x", "users | lst x", " users\n\n| lst x\n\n", "users | lst \x07x"]
)
def test_the_place_in_the_query_does_not_depend_on_how_yaml_writes_it(query: str) -> None:
    found = [each for each in check(filled(query=query), complete=True).problems if each.rule == "unknown-clause"]
    assert found[0].place
    assert found[0].place.start == query.index("lst")


def test_a_form_that_is_being_filled_in_lists_empty_fields_and_reports_mistakes() -> None:
    form = new_form("Europe/Zurich")
    checked = check(form, complete=False)
    assert (checked.problems, checked.valid) == ((), False)
    assert {"metadata.name", "spec.nexthink.query", "spec.qualtrics.surveyId"} < {each.name for each in checked.empty}
    assert check(form, complete=True).errors == len(checked.empty)
    wrong = check(sent_form({"spec.maxRecipients": "many", **form.texts}.items(), {}), complete=False)
    assert [each.field.name for each in wrong.problems if each.field] == ["spec.maxRecipients"]


def test_the_query_is_compared_with_the_schedule_despite_a_mistake_in_the_time_zone() -> None:
    query = "users | with execution.events during past 1d | list ad.email_address"
    found = problems(filled(query=query, timeZone="Zurich"))
    assert found.keys() == {"spec.schedule.timeZone", "spec.nexthink.query"}
    assert found["spec.nexthink.query"].startswith("The query covers 1 day and runs every 7 days")


def test_two_parameters_with_the_same_name_are_a_mistake() -> None:
    pairs = [(PARAMETER_NAME, "days"), (PARAMETER_VALUE, "7d"), (PARAMETER_NAME, "days"), (PARAMETER_VALUE, "1d")]
    checked = check(sent_form([*NEW.items(), *pairs], {}), complete=True)
    assert "Two parameters have the name days: remove one of them." in [each.message for each in checked.problems]
    assert not checked.valid


# Opening a text.


def test_an_exporter_of_the_cluster_is_opened_without_what_is_not_part_of_its_manifest() -> None:
    annotations = {
        TEST_REQUESTED_AT: "x",
        SETTLE_RUN: "y=Sent",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    server = {"uid": "1", "resourceVersion": "2", "managedFields": [{}], "generation": 3, "ownerReferences": []}
    body = changed({}, **server, annotations={**annotations, "note": "kept"}, labels={"team": "dex"})
    manifest = of_the_cluster({**body, "status": {"history": []}})
    assert manifest == changed({}, annotations={"note": "kept"}, labels={"team": "dex"})
    assert exporters(json.dumps(body))[0]["metadata"]["annotations"] == {"note": "kept"}
    only_requests = of_the_cluster(changed({}, annotations=annotations))
    assert only_requests == sample()


def test_all_exporters_of_a_text_are_found() -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: nexthink}\n"
    a_list = json.dumps({"kind": "List", "items": [changed({}, name="b"), {"kind": "Secret"}, changed({}, name="c")]})
    text = f"{SAMPLE.read_text()}---\n{secret}---\n{a_list}\n"
    assert [each["metadata"]["name"] for each in exporters(text)] == ["teams-rollout", "b", "c"]


BOMB = "kind: QualtricsExporter\na: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello", "This text has no QualtricsExporter."),
        ("kind: Secret # not a QualtricsExporter", "This text has no QualtricsExporter."),
        ("kind: QualtricsExporter\nspec: [", "Line 2, column 8: this is not YAML"),
        ("kind: QualtricsExporter\nspec: {{ .Values.spec }}", "render a template before you check it"),
        ("kind: QualtricsExporter\nspec: " + "[" * 600, "nested too deeply"),
        ("kind: QualtricsExporter\nspec: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("kind: QualtricsExporter\nspec: &a\n  spec: *a", "nested too deeply"),
        (BOMB, "too many values"),
        (f"kind: QualtricsExporter\na: &a {'x' * 9_000}\nb: [{', '.join(['*a'] * 99)}]", "too many values"),
        ("kind: QualtricsExporter\n" + "#" * 300_000, "This text is too long"),
        ("kind: QualtricsExporter\n---\n" * 101, "This text has 101 exporters"),
        ("- kind: QualtricsExporter", "This text has no QualtricsExporter."),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_opened_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Unreadable) as refused:
        exporters(text)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")


# The API server.


@pytest.mark.cluster
def test_the_api_server_accepts_the_manifests_of_the_form(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("manifests-of-the-form")
    forms = [filled(frequency="Hourly", everyHours="4", suspend="true", fromName="y", percent="5")]
    forms += [form_of(changed(changes))[0] for changes in list(VALID.values())[::8]]
    texts = [check(form, complete=True) for form in forms]
    assert [each.valid for each in texts] == [True] * len(texts)
    documents = "---\n".join(
        each.manifest.replace("name: teams-rollout", f"name: form-{number}", 1).replace("  namespace: dex\n", "", 1)
        for number, each in enumerate(texts)
    )
    command = ("create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-", "-o", "name")
    created = cluster.kubectl(*command, input=documents).stdout.split()
    assert len(created) == len(forms)
