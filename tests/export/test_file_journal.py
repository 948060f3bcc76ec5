"""The journal in a file is durable, locked by one process, and readable only by its owner."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qualtrics_exporter.export.file_journal import FileJournal, JournalUnreadable
from qualtrics_exporter.export.journal import Abandoned, Ended
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, entry_of

NOW = datetime(2026, 1, 5, 0, 20, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.json"


def run(name: str = "run1", **fields: object) -> ActiveRun:
    return ActiveRun.model_validate(
        {"id": name, "trigger": "Request", "startTime": NOW, "holder": "me", "step": "Claimed", **fields}
    )


def contents(path: Path) -> str:
    return path.read_text()


def ended(of: ActiveRun) -> Ended:
    return Ended(entry_of(of, "Succeeded", Reason.SUCCEEDED, "Sent.", NOW))


async def test_journal_records_a_run_from_claim_to_finish(path: Path) -> None:
    with FileJournal(path) as journal:
        assert journal.current() is None
        await journal.claim(run())
        await journal.write(run(step="Importing", batch_id="BT_1"))
        await journal.write_sending(run(step="Sending", batch_id="BT_1"))
        assert journal.current() == run(step="Sending", batch_id="BT_1")
        await journal.finish(run(), ended(run()))
        assert journal.current() is None
        assert [entry.id for entry in journal.history] == ["run1"]


async def test_journal_keeps_the_active_run_for_the_next_process(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run(step="Sending", batch_id="BT_1", send_time=NOW))

    with FileJournal(path) as journal:
        assert journal.current() == run(step="Sending", batch_id="BT_1", send_time=NOW)


async def test_symbolic_links_share_the_content_and_the_lock_of_the_journal(path: Path, tmp_path: Path) -> None:
    """Each write replaces the file. If it replaced a link instead, other links would keep the old journal."""
    links = [tmp_path / "one" / "link.json", tmp_path / "two" / "other.json"]
    for link in links:
        link.parent.mkdir()
        link.symlink_to(path)
    with FileJournal(links[0]) as journal:
        await journal.claim(run(step="Sending", batch_id="BT_1", send_time=NOW))
        with pytest.raises(Abandoned):
            FileJournal(links[1])

    for name in (*links, path):
        with FileJournal(name) as journal:
            assert journal.current() == run(step="Sending", batch_id="BT_1", send_time=NOW)
    assert all(link.is_symlink() for link in links)


async def test_journal_with_a_hard_link_is_rejected(path: Path, tmp_path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run(step="Sending", batch_id="BT_1", send_time=NOW))
    other = tmp_path / "other.json"
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(JournalUnreadable, match="hard link"):
            FileJournal(name)
    other.unlink()
    with FileJournal(path) as journal:
        assert journal.current()


def test_path_that_is_not_a_regular_file_is_rejected(path: Path) -> None:
    os.mkfifo(path)
    for name in (path, Path("/dev/null")):
        with pytest.raises(JournalUnreadable, match="not a regular file"):
            FileJournal(name)


def test_second_process_cannot_open_the_journal(path: Path) -> None:
    with FileJournal(path):
        other = "import sys; from pathlib import Path; from qualtrics_exporter.export.file_journal import FileJournal;"
        done = subprocess.run(
            [sys.executable, "-c", other + "FileJournal(Path(sys.argv[1]))", path], capture_output=True, text=True
        )
        assert "Abandoned: another process has the journal journal.json open" in done.stderr
        with pytest.raises(Abandoned):
            FileJournal(path)
    FileJournal(path).close()


def test_lock_of_a_killed_process_is_released(path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from qualtrics_exporter.export.file_journal import FileJournal;"
        "journal = FileJournal(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Abandoned):
            FileJournal(path)
        holder.kill()
    FileJournal(path).close()


async def test_process_cannot_write_a_run_that_another_process_took_over(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.claim(run(holder="other", attempt=2))
        for lost in (journal.write(run(step="Importing")), journal.finish(run(), ended(run()))):
            with pytest.raises(Abandoned):
                await lost
        assert journal.current() == run(holder="other", attempt=2)


async def test_active_run_cannot_be_replaced_or_set_back_by_a_claim(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run(step="Sending"))
        with pytest.raises(Abandoned):
            await journal.claim(run("run2"))
        with pytest.raises(Abandoned):  # back to a step from which the run can send
            await journal.claim(run(step="Claimed"))


async def test_closed_journal_rejects_writes(path: Path) -> None:
    journal = FileJournal(path)
    await journal.claim(run())
    journal.close()
    with pytest.raises(Abandoned):
        await journal.write(run(step="Importing"))
    with pytest.raises(Abandoned):
        await journal.claim(run())


async def test_journal_keeps_the_last_ten_runs_and_separately_the_last_test(path: Path) -> None:
    with FileJournal(path) as journal:
        for number in range(12):
            await journal.claim(run(f"run{number}"))
            await journal.finish(run(f"run{number}"), ended(run(f"run{number}")))
        test = run("test", trigger="Test")
        await journal.claim(test)
        await journal.finish(test, ended(test))

    with FileJournal(path) as journal:
        assert [entry.id for entry in journal.history] == [f"run{number}" for number in range(11, 1, -1)]
        assert journal._status.last_test
        assert journal._status.last_test.id == "test"


@pytest.mark.parametrize("trigger", ["Request", "Test"])
async def test_result_of_a_run_that_may_have_sent_is_pending_until_it_was_reported(path: Path, trigger: str) -> None:
    sent = run(trigger=trigger, step="Sent", send_time=NOW)
    with FileJournal(path) as journal:
        await journal.claim(sent)
        await journal.finish(sent, ended(sent))

    with FileJournal(path) as journal:
        assert journal.unreported == ended(sent).entry
        journal.mark_reported(ended(sent).entry)

    with FileJournal(path) as journal:
        assert journal.unreported is None


async def test_result_of_a_run_that_did_not_send_is_not_pending(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), ended(run()))
        assert journal.unreported is None


async def test_run_that_did_not_send_does_not_hide_the_pending_result_of_one_that_did(path: Path) -> None:
    sent = run(step="Sent", send_time=NOW)
    with FileJournal(path) as journal:
        await journal.claim(sent)
        await journal.finish(sent, ended(sent))
        await journal.claim(run("dry"))
        await journal.finish(run("dry"), ended(run("dry")))
        assert journal.unreported == ended(sent).entry


@pytest.fixture
def open_to_all(path: Path) -> Path:
    path.write_text("{}")
    path.chmod(0o644)
    return path


async def test_only_the_owner_can_read_the_journal(open_to_all: Path) -> None:
    path, before = open_to_all, os.umask(0)
    try:
        with FileJournal(path) as journal:
            await journal.claim(run())
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


async def test_journal_uses_the_field_names_of_the_status(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), ended(run()))
        await journal.claim(run("run2"))

    written = json.loads(contents(path))
    assert written.keys() == {"activeRun", "history"}
    assert written["history"][0]["completionTime"] == "2026-01-05T00:20:00Z"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"activeRun": {"id": 1}}', '{"history": "none"}'])
def test_damaged_journal_is_rejected_and_stays_unchanged(path: Path, text: str) -> None:
    path.write_text(text)
    for _ in range(2):  # the second time shows that the lock was released
        with pytest.raises(JournalUnreadable):
            FileJournal(path)
    assert path.read_text() == text


async def test_interrupted_write_leaves_the_previous_journal(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
    path.with_name(".journal.json.new").write_text('{"activeRun": {"i' + "d" * 9999)  # a crash before the replace

    with FileJournal(path) as journal:
        assert journal.current() == run()
        await journal.write(run(step="Importing"))
    with FileJournal(path) as journal:
        assert journal.current() == run(step="Importing")
