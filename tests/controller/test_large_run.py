"""A run with many people: the size of its requests, and its memory."""

from tests.support.stage import Stage

ROWS = 25_300


def test_many_people_are_imported_in_chunks_and_mailed_once_with_limited_memory(stage: Stage) -> None:
    stage.people("#many", ROWS)
    operator = stage.operator()
    exporter = stage.exporter(**{"nexthink.queryId": "#many"})
    exporter.checked()
    before = operator.peak_memory()
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert entry["result"] == "Succeeded"
    assert entry["recipients"]["imported"] == ROWS
    (sent,) = stage.sandbox.recorder.distributions
    assert len(sent.recipients) == len(set(sent.recipients)) == ROWS
    imports = stage.sandbox.recorder.of("qualtrics.import_contacts")
    assert len(imports) == 3
    assert all((call.contacts or 0) <= 10_000 and call.bytes <= 5_000_000 for call in imports)
    # In Python, the rows alone take 4 MB. A request with 10,000 contacts takes 1 MB.
    assert operator.peak_memory() - before < 40_000_000
