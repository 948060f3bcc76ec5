"""Many people: portions that Qualtrics takes, and memory that does not grow with the rows."""

from tests.environment.stage import Stage

ROWS = 25_300


def test_many_people_go_into_one_batch_in_portions_and_are_mailed_once(stage: Stage) -> None:
    stage.people("#many", ROWS)
    operator = stage.operator()
    exporter = stage.exporter(**{"nexthink.queryId": "#many"})
    exporter.checked()
    before = operator.peak_memory()
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert entry["result"] == "Succeeded"
    assert entry["recipients"]["imported"] == ROWS
    (sent,) = stage.sandbox.ledger.distributions
    assert len(sent.recipients) == len(set(sent.recipients)) == ROWS
    imports = stage.sandbox.ledger.of("qualtrics.import_contacts")
    assert len(imports) == 3
    assert all((call.contacts or 0) <= 10_000 and call.bytes <= 5_000_000 for call in imports)
    # The rows alone, as Python keeps them, would be 4 MB; a request of 10,000 contacts is 1 MB.
    assert operator.peak_memory() - before < 40_000_000
