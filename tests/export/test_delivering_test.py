"""A test that delivers: a run that mails a few people of the audience."""

from tests.export.conftest import Exporter
from tests.export.test_run import nothing_created


async def test_delivering_test_mails_twenty_people_and_is_not_in_the_history(exporter: Exporter) -> None:
    exporter.set_people_count(1500)
    exporter.change_spec("spec", max_recipients=100)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason, entry.trigger) == ("Succeeded", "TestDelivered", "Test")
    assert list(exporter.mailed()) == [f"user{n:06d}@example.com" for n in range(1, 21)]
    assert exporter.sandbox.recorder.count("nexthink.export") == 0
    with exporter.open_journal() as journal:
        assert journal.history == []


async def test_delivering_test_runs_all_checks_first(exporter: Exporter) -> None:
    exporter.change_spec("qualtrics", message_id=exporter.account.other_message_id)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "MessageNotInvitation")
    assert nothing_created(exporter)


async def test_delivering_test_mails_at_most_max_recipients(exporter: Exporter) -> None:
    exporter.change_spec("spec", max_recipients=2)
    await exporter.run(trigger="Test")

    assert list(exporter.mailed()) == ["ana@example.com", "ben@example.com"]
