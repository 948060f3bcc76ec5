"""The journal in a file: it survives, it is ours alone, and it tells nobody's address."""

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


async def test_a_run_is_claimed_moved_on_and_finished(path: Path) -> None:
    with FileJournal(path) as journal:
        assert journal.current() is None
        await journal.claim(run())
        await journal.write(run(step="Importing", batch_id="BT_1"))
        await journal.write_sending(run(step="Sending", batch_id="BT_1"))
        assert journal.current() == run(step="Sending", batch_id="BT_1")
        await journal.finish(run(), ended(run()))
        assert journal.current() is None
        assert [entry.id for entry in journal.history] == ["run1"]


async def test_what_was_written_is_there_for_the_next_process(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run(step="Sending", batch_id="BT_1", send_time=NOW))

    with FileJournal(path) as journal:
        assert journal.current() == run(step="Sending", batch_id="BT_1", send_time=NOW)


async def test_all_links_to_it_show_the_same_journal(path: Path, tmp_path: Path) -> None:
    """The file is replaced by each write: a link that is replaced instead would leave the other link an old journal."""
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


async def test_a_journal_with_two_names_is_refused(path: Path, tmp_path: Path) -> None:
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


def test_what_is_not_a_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    for name in (path, Path("/dev/null")):
        with pytest.raises(JournalUnreadable, match="not a regular file"):
            FileJournal(name)


def test_a_second_process_cannot_open_it(path: Path) -> None:
    with FileJournal(path):
        other = "import sys; from pathlib import Path; from qualtrics_exporter.export.file_journal import FileJournal;"
        done = subprocess.run(
            [sys.executable, "-c", other + "FileJournal(Path(sys.argv[1]))", path], capture_output=True, text=True
        )
        assert "Abandoned: another process has the journal journal.json open" in done.stderr
        with pytest.raises(Abandoned):
            FileJournal(path)
    FileJournal(path).close()


def test_the_lock_ends_with_a_process_that_is_killed(path: Path) -> None:
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


async def test_a_run_that_somebody_else_took_over_is_lost(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.claim(run(holder="other", attempt=2))
        for lost in (journal.write(run(step="Importing")), journal.finish(run(), ended(run()))):
            with pytest.raises(Abandoned):
                await lost
        assert journal.current() == run(holder="other", attempt=2)


async def test_another_run_cannot_be_claimed_over_one_in_progress(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run(step="Sending"))
        with pytest.raises(Abandoned):
            await journal.claim(run("run2"))
        with pytest.raises(Abandoned):  # nor may a run be taken back to where it may send
            await journal.claim(run(step="Claimed"))


async def test_a_closed_journal_is_not_written(path: Path) -> None:
    journal = FileJournal(path)
    await journal.claim(run())
    journal.close()
    with pytest.raises(Abandoned):
        await journal.write(run(step="Importing"))
    with pytest.raises(Abandoned):
        await journal.claim(run())


async def test_history_is_the_last_ten_and_a_test_stands_beside_it(path: Path) -> None:
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
async def test_the_end_of_a_run_that_may_have_mailed_waits_for_its_user(path: Path, trigger: str) -> None:
    sent = run(trigger=trigger, step="Sent", send_time=NOW)
    with FileJournal(path) as journal:
        await journal.claim(sent)
        await journal.finish(sent, ended(sent))

    with FileJournal(path) as journal:
        assert journal.untold == ended(sent).entry
        journal.told(ended(sent).entry)

    with FileJournal(path) as journal:
        assert journal.untold is None


async def test_the_end_of_a_run_that_asked_for_no_send_does_not(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), ended(run()))
        assert journal.untold is None


async def test_the_end_of_a_run_that_asked_for_no_send_does_not_hide_one_that_did(path: Path) -> None:
    sent = run(step="Sent", send_time=NOW)
    with FileJournal(path) as journal:
        await journal.claim(sent)
        await journal.finish(sent, ended(sent))
        await journal.claim(run("dry"))
        await journal.finish(run("dry"), ended(run("dry")))
        assert journal.untold == ended(sent).entry


@pytest.fixture
def open_to_all(path: Path) -> Path:
    path.write_text("{}")
    path.chmod(0o644)
    return path


async def test_only_its_owner_can_read_it(open_to_all: Path) -> None:
    path, before = open_to_all, os.umask(0)
    try:
        with FileJournal(path) as journal:
            await journal.claim(run())
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


async def test_it_speaks_the_words_of_status(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
        await journal.finish(run(), ended(run()))
        await journal.claim(run("run2"))

    written = json.loads(contents(path))
    assert written.keys() == {"activeRun", "history"}
    assert written["history"][0]["completionTime"] == "2026-01-05T00:20:00Z"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"activeRun": {"id": 1}}', '{"history": "none"}'])
def test_a_damaged_journal_is_never_taken_as_empty(path: Path, text: str) -> None:
    path.write_text(text)
    for _ in range(2):  # and the lock is not left behind
        with pytest.raises(JournalUnreadable):
            FileJournal(path)
    assert path.read_text() == text


async def test_a_write_that_was_cut_short_leaves_the_old_journal(path: Path) -> None:
    with FileJournal(path) as journal:
        await journal.claim(run())
    path.with_name(".journal.json.new").write_text('{"activeRun": {"i' + "d" * 9999)  # a crash before the replace

    with FileJournal(path) as journal:
        assert journal.current() == run()
        await journal.write(run(step="Importing"))
    with FileJournal(path) as journal:
        assert journal.current() == run(step="Importing")
