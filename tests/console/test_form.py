"""The form of the console: its fields, and the way from a manifest to the form and back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hack import plain_yaml
from qualtrics_exporter.cli.console.form import (
    PARAMETER_NAME,
    PARAMETER_VALUE,
    Form,
    form_of,
    manifest_of,
    sent_form,
)
from qualtrics_exporter.cli.console.form_check import check
from qualtrics_exporter.cli.console.form_fields import NOT_SHOWN, Field, fields, in_the_form, leaves, tabs, time_zones
from qualtrics_exporter.cli.console.form_open import exporters
from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.resource.crd import schema
from qualtrics_exporter.resource.manifest import manifest_violations
from tests.console.forms import filled
from tests.resource.manifests import INVALID, changed, sample

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
    assert f"{policy.help} {policy.more}" == in_the_form(described)
    assert "Nexthink API credentials" in by_name["spec.nexthink.credentialsSecretRef.name"].help
    for each in fields():
        assert each.help, each.name
        if each.kind == "choice" and not each.required and not each.only_with:
            assert each.default in each.choices, f"the description of {each.name} does not name its default"


def test_each_time_zone_to_choose_is_valid() -> None:
    zones = time_zones()
    assert {"UTC", "Europe/Zurich", "Asia/Kolkata"} < set(zones)
    one_manifest_each = "".join(
        f"---\n{to_yaml(changed({'schedule.timeZone': zone}))}" for zone in zones[:: len(zones) // 5]
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


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


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


@settings(max_examples=25)
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
        if not left_out and not manifest_violations(manifest_of(form)):
            silent.append(name)
    assert silent == []
