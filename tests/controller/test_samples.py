"""The manifests in `samples/` work without changes, and mail exactly the people of their queries."""

from pathlib import Path

import pytest

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.sandbox.samples import SAMPLES
from tests.support.stage import Stage

MANIFESTS = {
    path: body
    for path in sorted((ROOT / "samples").glob("*.yaml"))
    for body in plain_yaml.read_all(path.read_text("utf-8"))
    if body["kind"] == "QualtricsExporter"
}


def test_samples_match_the_queries_and_surveys_of_the_sandbox() -> None:
    in_manifests = {
        (body["spec"]["nexthink"]["queryId"], body["spec"]["nexthink"]["query"], body["spec"]["qualtrics"]["surveyId"])
        for body in MANIFESTS.values()
    }
    assert in_manifests == {(sample.query_id, sample.nql, sample.survey_id) for sample in SAMPLES}


def test_sample_has_the_name_of_its_file() -> None:
    assert all(body["metadata"]["name"] == path.stem for path, body in MANIFESTS.items())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_sample_becomes_ready_and_mails_exactly_the_people_of_its_query(shared_stage: Stage, path: Path) -> None:
    body = MANIFESTS[path]
    body["metadata"]["namespace"] = shared_stage.namespace
    (sample,) = (s for s in SAMPLES if s.query_id == body["spec"]["nexthink"]["queryId"])
    shared_stage.apply(body)
    exporter = shared_stage.existing(body["metadata"]["name"])
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("True", "Checked")
    assert "Query" not in ready["message"], "the query has no warnings"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Succeeded", "Succeeded")
    assert exporter.condition("QueryInSync")["status"] == "True"
    (sent,) = (d for d in shared_stage.sandbox.recorder.distributions if d.id == entry["distributionId"])
    assert set(map(str.lower, sent.recipients)) == {f"{name.lower()}@example.com" for name in sample.names if name}
    assert len(sent.recipients) == len(set(map(str.lower, sent.recipients)))
