"""The form of the console: its fields, and the way from a manifest to the form and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack import plain_yaml
from qualtrics_exporter.cli.console.form import (
    PARAMETER_NAME,
    PARAMETER_VALUE,
    Form,
    form_of,
    manifest_of,
    new_form,
    sent_form,
)
from qualtrics_exporter.cli.console.form_check import check
from qualtrics_exporter.cli.console.form_fields import NOT_SHOWN, Field, fields, leaves, tabs, time_zones
from qualtrics_exporter.cli.console.form_open import Unreadable, exporters, of_the_cluster
from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.resource.crd import schema
from qualtrics_exporter.resource.names import SETTLE_RUN, TEST_REQUESTED_AT
from tests.cli.conftest import SAMPLE
from tests.resource.manifests import INVALID, VALID, changed, sample
from tests.support.controlplane import ControlPlane

NEW = {
    "metadata.name": "teams-rollout",
    "spec.schedule.frequency": "Weekly",
    "spec.schedule.dayOfWeek": "Monday",
    "spec.nexthink.credentialsSecretRef.name": "nexthink",
    "spec.nexthink.query": "users | with execution.events during past 7d\n| list ad.email_address",
    "spec.nexthink.queryId": "#teams_rollout",
    "spec.qualtrics.credentialsSecretRef.name": "qualtrics",
    "spec.qualtrics.surveyId": "SV_teamsRollout01",
    "spec.qualtrics.directoryId": "POOL_employees00001",
    "spec.qualtrics.mailingListId": "CG_everybody0001",
    "spec.qualtrics.libraryId": "UR_library000001",
    "spec.qualtrics.messageId": "MS_invitation0001",
    "spec.qualtrics.subject": "How is Teams working for you?",
    "spec.qualtrics.fromName": "Digital Workplace",
    "spec.qualtrics.fromEmail": "noreply@qemailserver.com",
}


def filled(**texts: str) -> Form:
    """A new form with everything that is required, and these texts by the last part of the name."""
    named = {each.name: texts[each.path[-1]] for each in fields() if each.path[-1] in texts}
    return sent_form({**NEW, **named}.items(), {})


def problems(form: Form) -> dict[str, str]:
    """The messages of a complete form by the name of their field, or an empty name."""
    return {each.field.name if each.field else "": each.message for each in check(form, complete=True).problems}


# The fields.


def missing(root: dict[str, Any]) -> set[str]:
    """The fields of a schema that the form neither shows nor has a reason for."""
    return set(leaves(root)) - {each.name for each in fields()} - NOT_SHOWN.keys()


def test_each_field_of_the_crd_has_a_place_in_the_form_or_a_reason() -> None:
    assert missing(schema()) == set()
    assert NOT_SHOWN.keys() <= set(leaves(schema()))
    root = schema()
    root["properties"]["spec"]["properties"]["schedule"]["properties"]["cron"] = {"type": "string"}
    assert missing(root) == {"spec.schedule.cron"}


def test_a_field_gets_its_choices_limits_and_help_from_the_crd() -> None:
    by_name = {each.name: each for each in fields()}
    assert len(by_name) == sum(len(section.fields) for tab in tabs() for section in tab.sections)
    hours = by_name["spec.schedule.everyHours"]
    assert (hours.kind, hours.choices, hours.only_with) == ("choice", ("1", "2", "3", "4", "6", "12"), "Hourly")
    days = by_name["spec.qualtrics.linkExpirationDays"]
    assert (days.kind, days.required, days.help.endswith("From 1 to 365.")) == ("number", False, True)
    policy = by_name["spec.nexthink.driftPolicy"]
    assert (policy.choices, policy.default) == (("Warn", "Hold"), "Warn")
    described = schema()["properties"]["spec"]["properties"]["nexthink"]["properties"]["driftPolicy"]["description"]
    assert f"{policy.help} {policy.more}" == described
    assert "Nexthink API credentials" in by_name["spec.nexthink.credentialsSecretRef.name"].help
    for each in fields():
        assert each.help, each.name
        if each.kind == "choice" and not each.required and not each.only_with:
            assert each.default in each.choices, f"the description of {each.name} does not name its default"


def test_each_time_zone_to_choose_is_valid() -> None:
    zones = time_zones()
    assert {"UTC", "Europe/Zurich", "Asia/Kolkata"} < set(zones)
    one_manifest_each = "".join(
        f"---\n{to_yaml(changed({'schedule.timeZone': zone}))}" for zone in zones[:: len(zones) // 20]
    )
    assert findings(one_manifest_each)[1] == []


# From the form to the manifest.


def test_the_manifest_of_a_filled_form_is_valid_and_has_nothing_else() -> None:
    checked = check(filled(timeZone="Europe/Zurich"), complete=True)
    assert (checked.valid, checked.problems, checked.empty) == (True, (), ())
    assert (
        checked.manifest
        == """\
apiVersion: qualtrics-exporter.dev/v1alpha1
kind: QualtricsExporter
metadata:
  name: teams-rollout
spec:
  schedule:
    frequency: Weekly
    dayOfWeek: Monday
    timeZone: Europe/Zurich
  nexthink:
    credentialsSecretRef:
      name: nexthink
    query: |-
      users | with execution.events during past 7d
      | list ad.email_address
    queryId: '#teams_rollout'
  qualtrics:
    credentialsSecretRef:
      name: qualtrics
    surveyId: SV_teamsRollout01
    directoryId: POOL_employees00001
    messageId: MS_invitation0001
    libraryId: UR_library000001
    mailingListId: CG_everybody0001
    fromEmail: noreply@qemailserver.com
    fromName: Digital Workplace
    subject: How is Teams working for you?
"""
    )


def test_a_field_of_another_frequency_is_not_in_the_manifest() -> None:
    both = {"everyHours": "4", "dayOfWeek": "Monday"}
    for frequency, expected in {
        "Hourly": {"frequency": "Hourly", "everyHours": 4},
        "Daily": {"frequency": "Daily"},
        "Weekly": {"frequency": "Weekly", "dayOfWeek": "Monday"},
    }.items():
        form = filled(frequency=frequency, **both)
        assert manifest_of(form)["spec"]["schedule"] == expected
        assert check(form, complete=True).valid


NOT_PLAIN = ("y", "on", "2026", "1_000", "0o17", "1e3", "12:30", "~", "#5", "a: b", "- x", "'", "*x", "{x}", "a\u2028b")
"""Texts that kubectl or PyYAML reads as something else unless they are in quotes."""


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_a_text_that_yaml_reads_as_something_else_stays_text(text: str) -> None:
    checked = check(filled(subject=text), complete=True)
    assert plain_yaml.read(checked.manifest)["spec"]["qualtrics"]["subject"] == text
    assert exporters(checked.manifest)[0]["spec"]["qualtrics"]["subject"] == text


LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


def texts_of(field: Field) -> st.SearchStrategy[str]:
    """Any text that a browser can send for a field."""
    if field.choices:
        return st.sampled_from([*field.choices, "other"])
    if field.kind == "query":
        return st.lists(LINE, min_size=1, max_size=3).map("\r\n".join)
    return {"flag": st.just("true"), "number": st.sampled_from(["7", "07", "-1", "1e3", "many"])}.get(field.kind, LINE)


def sent_pairs(parameters: dict[str, str]) -> list[tuple[str, str]]:
    """Parameters as a browser sends them."""
    return [sent for pair in parameters.items() for sent in zip((PARAMETER_NAME, PARAMETER_VALUE), pair, strict=True)]


ANY_FORM = st.builds(
    lambda texts, parameters: sent_form([*texts.items(), *sent_pairs(parameters)], {}),
    st.fixed_dictionaries({}, optional={each.name: texts_of(each) for each in fields() if each.kind != "pairs"}),
    st.dictionaries(st.from_regex(r"[a-z_$ ]{0,5}[a-z]\Z"), LINE, max_size=3),
).filter(lambda form: not form.repeated_parameters)


@given(ANY_FORM)
def test_a_manifest_opened_in_the_form_gives_the_same_form(form: Form) -> None:
    shown = {each.name: form.text(each.name) for each in fields() if form.text(each.name)}
    manifest = manifest_of(form)
    [read] = exporters(to_yaml(manifest))
    assert read == manifest
    again, left_out = form_of(read)
    assert (again.texts, again.parameters) == (shown, form.parameters)
    assert left_out == []
    assert manifest_of(again) == manifest


# From a manifest to the form.


def test_a_manifest_that_was_opened_stays_as_it_is_except_for_the_changed_field() -> None:
    opened = sample()
    opened["metadata"] |= {"labels": {"team": "dex"}, "annotations": {"note": "a\nb"}, "finalizers": ["example.com/x"]}
    opened["spec"]["nexthink"] |= {"parameters": {"days": "7d"}, "future": {"a": [1, None, True]}}
    form, left_out = form_of(opened)
    assert left_out == []
    assert manifest_of(form) == opened
    sent = [(name, text) for name, text in form.texts.items() if name != "spec.qualtrics.subject"]
    pairs = [(PARAMETER_NAME, "days"), (PARAMETER_VALUE, "7d"), ("spec.qualtrics.subject", "Teams?")]
    changed_one = manifest_of(sent_form([*sent, *pairs], opened))
    opened["spec"]["qualtrics"]["subject"] = "Teams?"
    assert changed_one == opened


def test_a_field_that_was_emptied_disappears_and_a_flag_that_was_cleared() -> None:
    opened = changed({"sample": {"groups": 4}, "dryRun": True, "description": "x"})
    texts = {
        name: text for name, text in form_of(opened)[0].texts.items() if name.split(".")[1] in ("schedule", "nexthink")
    }
    spec = manifest_of(sent_form(texts.items(), opened))["spec"]
    assert not {"sample", "dryRun", "description", "maxRecipients"} & spec.keys()
    assert spec["suspend"] is False  # it was explicit, and it is still not set
    assert spec["nexthink"] == opened["spec"]["nexthink"]
    assert spec["qualtrics"] == {"credentialsSecretRef": {}}


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        ({"qualtrics.subject": ["a"]}, ["spec.qualtrics.subject"]),
        ({"qualtrics.subject": 5}, ["spec.qualtrics.subject"]),
        ({"maxRecipients": "5000"}, ["spec.maxRecipients"]),
        ({"suspend": "yes"}, ["spec.suspend"]),
        ({"schedule": "Weekly"}, ["spec.schedule"]),
        ({"sample": {}}, ["spec.sample"]),
        ({"schedule.everyHours": 4}, ["spec.schedule.everyHours"]),
        ({"nexthink.parameters": {"days": 7, "none": None}}, ["spec.nexthink.parameters.days"]),
        ({"nexthink.parameters": {"days": {"x": 1}}}, ["spec.nexthink.parameters.days"]),
        ({"qualtrics.subject": "two\nlines"}, ["spec.qualtrics.subject"]),
        ({"description": None, "maxRecipients": 5000.0}, []),
    ],
)  # fmt: skip
def test_a_value_that_the_form_cannot_keep_is_named(change: dict[str, Any], left_out: list[str]) -> None:
    form, named = form_of(changed(change))
    assert named == left_out
    assert form_of(manifest_of(form))[1] == []


def test_no_mistake_of_a_manifest_disappears_silently() -> None:
    silent = []
    for name, invalid in INVALID.items():
        form, left_out = form_of(changed(invalid.changes))
        if not left_out and not check(form, complete=True).errors:
            silent.append(name)
    assert silent == []


# The findings.


@pytest.mark.parametrize("name", [name for name in INVALID if "line break" not in name][::9])
def test_the_form_has_exactly_the_findings_of_validate(name: str) -> None:
    manifest = changed(INVALID[name].changes)
    form, _ = form_of(manifest)
    checked = check(form, complete=True)
    by_validate = [finding.path for finding in findings(to_yaml(manifest_of(form)))[1]]
    assert sorted(by_validate) == sorted(each.field.name if each.field else "" for each in checked.problems)


def test_a_finding_is_shown_at_its_field_in_words() -> None:
    found = problems(filled(surveyId="teams", startingDeadlineSeconds="x"))
    assert found["spec.qualtrics.surveyId"].startswith("This field must be the id of a survey, SV_ and 11 to 15")
    assert found["spec.schedule.startingDeadlineSeconds"] == "This field must be a whole number, without quotes."
    [message] = problems(filled(fromEmail="dex@example.com")).values()
    assert message.startswith("This field must be at qemailserver.com")


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
        ("kind: QualtricsExporter\nspec: " + "[" * 5000, "nested too deeply"),
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
