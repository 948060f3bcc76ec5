"""One export without a cluster, as users do it: by the installed program, against the sandbox over HTTPS."""

import base64
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from qualtrics_exporter.cli.run import default_journal
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status
from tests.cli.conftest import PEOPLE, SAMPLE, Local, Started
from tests.environment import plain_yaml
from tests.environment.waiting import HANG_SECONDS


def journal(run: Local) -> Status:
    return Status.model_validate_json(run.journal.read_text())


def killed(started: subprocess.Popen[str] | Started, number: signal.Signals = signal.SIGKILL) -> tuple[int, str, str]:
    """End a process, and what it had said."""
    started.send_signal(number)
    out, err = started.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in err
    assert started.returncode is not None
    return started.returncode, out, err


def test_without_send_the_people_are_counted_and_nothing_is_created(run: Local) -> None:
    ended = run()
    assert "DryRun" in ended.stdout
    assert "This was a dry run" in ended.stdout
    assert "8 rows, 1 empty, 1 duplicate, 6 accepted" in ended.stdout
    assert "run the same command with --send" in ended.stderr
    assert run.mailed() == set()
    assert not run.sandbox.ledger.batches


def test_with_send_exactly_the_people_of_the_query_are_mailed(as_installed: Local) -> None:
    run = as_installed
    ended = run("--send")
    assert "Succeeded" in ended.stdout
    assert run.mailed() == PEOPLE
    (sent,) = run.sandbox.ledger.distributions
    assert sent.id in ended.stdout
    history = journal(run).history
    assert history
    assert [(entry.result, entry.distribution_id) for entry in history] == [("Succeeded", sent.id)]


def test_a_test_mails_nobody_and_imports_nobody(run: Local) -> None:
    ended = run("--test")
    assert "TestPassed" in ended.stdout
    assert run.sandbox.ledger.count("qualtrics.import_contacts") == 0
    assert not run.journal.exists()


def test_a_test_that_is_to_send_mails_20_people_at_most(run: Local) -> None:
    many = [[f"user{number}@example.com"] for number in range(50)]
    run.sandbox.call(lambda: setattr(run.sandbox.account.queries["#teams_rollout"], "rows", many))
    assert "TestDelivered" in run("--test", "--send").stdout
    assert len(run.mailed()) == 20
    last_test = journal(run).last_test
    assert last_test
    assert last_test.reason == "TestDelivered"


def test_every_flag_can_be_a_variable(run: Local) -> None:
    variables = {
        "QUALTRICS_EXPORTER_SECRETS": str(run.secrets),
        "QUALTRICS_EXPORTER_ALLOWED_HOST": "localhost,example.com",
        "QUALTRICS_EXPORTER_SEND": "true",
        "QUALTRICS_EXPORTER_JOURNAL": str(run.program.home / "journal.json"),
    }
    run.program("run", run.exporter, env=variables)
    assert run.mailed() == PEOPLE
    assert (run.program.home / "journal.json").exists()


def test_no_address_and_no_secret_is_printed_or_written(run: Local) -> None:
    ended = run("--send")
    kept = ended.stdout + ended.stderr + run.journal.read_text()
    for word in (*PEOPLE, "sandbox-secret", *run.sandbox.tokens()):
        assert word not in kept
    assert run.journal.stat().st_mode & 0o077 == 0
    assert run.journal.parent.stat().st_mode & 0o077 == 0


# Interrupted.


@pytest.mark.parametrize(
    ("operation", "hold"),
    [
        ("qualtrics.import_contacts", "after"),
        ("qualtrics.create_distribution", "after"),
    ],
)
def test_a_run_that_was_killed_goes_on_and_mails_once(run: Local, operation: str, hold: str) -> None:
    run.sandbox.fault(operation, hold=hold)
    started = run.start("--send")
    run.sandbox.reached(operation)
    killed(started)
    run.sandbox.clear_faults()
    left = journal(run).active_run
    assert left

    ended = run("--send")
    assert "an earlier process" in ended.stderr
    assert left.id in ended.stdout
    assert "Succeeded" in ended.stdout
    assert run.mailed() == PEOPLE
    assert len(run.sandbox.ledger.distributions) == 1
    assert journal(run).active_run is None


def test_what_may_be_out_is_looked_up_also_without_send(as_installed: Local) -> None:
    run = as_installed
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    started = run.start("--send")
    run.sandbox.reached("qualtrics.create_distribution")
    killed(started)
    run.sandbox.clear_faults()
    assert "Succeeded" in run().stdout
    assert run.mailed() == PEOPLE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_send_leaves_the_rest_to_the_next_time(run: Local, number: signal.Signals) -> None:
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    started = run.start("--send")
    run.sandbox.reached("qualtrics.import_contacts")
    code, out, err = killed(started, number)
    assert (code, out) == (1, "")
    assert f"Interrupted. The journal {run.journal} records what was done." in err
    run.sandbox.clear_faults()
    run("--send")
    assert run.mailed() == PEOPLE


def test_a_signal_during_the_send_waits_for_its_answer(run: Local) -> None:
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    started = run.start("--send")
    run.sandbox.reached("qualtrics.create_distribution")
    started.send_signal(signal.SIGTERM)
    run.sandbox.release()
    started.communicate(timeout=HANG_SECONDS)
    left = journal(run).active_run
    assert left is None or left.step == "Sent"
    assert run.mailed() == PEOPLE


def test_two_at_once_are_refused(run: Local) -> None:
    run.sandbox.fault("nexthink.execute", hold="before")
    started = run.start("--send")
    run.sandbox.reached("nexthink.execute")
    assert "another process has the journal" in run("--send", code=1).stderr
    run.sandbox.release()
    started.communicate(timeout=HANG_SECONDS)
    assert started.returncode == 0
    assert run.mailed() == PEOPLE


def interrupted(run: Local, *arguments: str) -> None:
    """Leave a run behind that has not sent anything."""
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    started = run.start(*arguments)
    run.sandbox.reached("qualtrics.import_contacts")
    killed(started)
    run.sandbox.clear_faults()


def test_a_delivering_test_never_goes_on_with_a_run_to_everybody(run: Local) -> None:
    interrupted(run, "--send")
    assert "finish it first" in run("--test", "--send", code=1).stderr
    assert run.mailed() == set()


def test_an_interrupted_test_is_dropped_and_the_run_is_done(run: Local) -> None:
    interrupted(run, "--test", "--send")
    assert "The earlier run ended" in run("--send").stderr
    assert run.mailed() == PEOPLE


def test_an_interrupted_test_is_done_anew_when_it_is_asked_for_again(run: Local) -> None:
    interrupted(run, "--test", "--send")
    assert "TestDelivered" in run("--test", "--send").stdout
    assert run.mailed() == PEOPLE


def test_a_journal_of_another_exporter_is_not_touched(run: Local) -> None:
    interrupted(run, "--send")
    body = plain_yaml.read(SAMPLE.read_text())
    body["metadata"]["name"] = "another"
    run.write(body)
    before = run.journal.read_text()
    assert "another exporter" in run("--send", "--journal", run.journal, code=1).stderr
    assert run.journal.read_text() == before
    assert run.mailed() == set()


def test_a_journal_that_cannot_be_read_mails_nobody(run: Local) -> None:
    run("--test", "--send")
    run.journal.write_text("{}garbage")
    assert "is not a journal of this program" in run("--send", code=1).stderr
    assert len(run.sandbox.ledger.distributions) == 1


def refused(run: Local) -> None:
    """Leave a run behind whose send was refused, in the wait before it is asked for again."""
    run.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "1"})
    run.sandbox.fault("qualtrics.list_distributions", hold="before")
    started = run.start("--send")
    run.sandbox.reached("qualtrics.list_distributions")
    killed(started)
    run.sandbox.clear_faults()
    left = journal(run).active_run
    assert left
    assert left.refused_until


def test_a_send_that_was_refused_is_asked_for_again_by_the_same_command(run: Local) -> None:
    refused(run)
    ended = run("--send")
    assert "before a retry" in ended.stderr
    assert run.mailed() == PEOPLE
    assert len(run.sandbox.ledger.batches) == 1


def test_a_send_that_was_refused_is_not_asked_for_again_without_send(run: Local) -> None:
    refused(run)
    assert "DryRun" in run().stdout
    assert run.mailed() == set()


def test_after_a_refusal_another_manifest_mails_the_people_of_its_own_query(run: Local) -> None:
    refused(run)
    run.sandbox.call(lambda: setattr(run.sandbox.account.queries["#teams_rollout"], "rows", [["ana@example.com"]]))
    run.change(description="Only one is left")
    ended = run("--send")
    assert "starting again" in ended.stderr
    assert run.mailed() == {"ana@example.com"}


# The answer is no.


def test_a_wrong_id_is_exit_code_1_with_what_to_do(run: Local) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    body["spec"]["qualtrics"]["surveyId"] = "SV_nowhere00001"
    run.write(body)
    ended = run("--send", code=1)
    assert "SurveyNotFound" in ended.stdout
    assert "Correct spec.qualtrics.surveyId" in ended.stdout
    assert run.mailed() == set()


def test_more_people_than_allowed_are_held(run: Local) -> None:
    run.change(maxRecipients=5)
    assert "RecipientLimitExceeded" in run("--send", code=1).stdout
    assert run.mailed() == set()


def test_fewer_people_than_expected_are_held(run: Local) -> None:
    run.change(minRecipients=100)
    assert "TooFewRecipients" in run("--send", code=1).stdout
    assert run.mailed() == set()


def test_a_sample_is_surveyed_once_in_its_turn(run: Local) -> None:
    """The schedule says whose turn it is, and the journal who had it: the same command again mails nobody."""
    run.change(sample={"groups": 2})
    first = run("--send").stdout
    mailed = run.mailed()
    assert "left out by spec.sample" in first
    assert "spec.sample left out" in run("--send").stdout
    assert run.mailed() == mailed


def test_a_dry_exporter_stays_dry_whatever_the_command_says(run: Local) -> None:
    run.change(dryRun=True)
    ended = run("--send")
    assert "This was a dry run" in ended.stdout
    assert "despite --send, nothing will be sent" in ended.stderr
    assert run.mailed() == set()


def test_a_host_that_is_not_allowed_gets_no_token(run: Local) -> None:
    ended = run.program("run", run.exporter, "--secrets", run.secrets, code=1)
    assert "HostNotAllowed" in ended.stdout
    assert run.sandbox.ledger.calls == []


def test_an_authority_that_is_not_trusted_is_told(run: Local) -> None:
    del run.program.variables["SSL_CERT_FILE"]
    assert "SSL_CERT_FILE" in run("--test", code=1).stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body["spec"]["qualtrics"].update(surveyId="MS_x"), "spec.qualtrics.surveyId: must be the id of"),
        (lambda body: body["spec"].pop("schedule"), "spec.schedule"),
        (lambda body: body["metadata"].update(name="../../etc"), "metadata.name: must be lower case letters"),
        (lambda body: body["metadata"].update(namespace="a/b"), "metadata.namespace: must be lower case letters"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_exit_code_1(
    run: Local, change: Callable[[dict[str, dict[str, dict[str, str]]]], object], said: str
) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    change(body)
    run.write(body)
    ended = run(code=1)
    assert said in ended.stderr
    assert ended.stdout == ""


def test_a_file_that_is_no_yaml_is_told_by_its_place_only(run: Local) -> None:
    run.secrets.write_text("stringData:\n  clientSecret: *hunter2\n")
    ended = run(code=1)
    assert f"{run.secrets}:2:17: this is not YAML" in ended.stderr
    assert "hunter2" not in ended.stderr


# The files.


def test_of_several_exporters_one_is_chosen_by_name(run: Local) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    other = {**body, "metadata": {"name": "other", "namespace": "dex"}}
    run.write({"kind": "ConfigMap"}, None, body, other)
    assert "several exporters (teams-rollout, other): choose one with --name" in run(code=2).stderr
    assert "no QualtricsExporter third" in run("--name", "third", code=2).stderr
    assert run("--name", "other").stdout.startswith("other:")
    run.write({"kind": "ConfigMap"})
    assert "has no QualtricsExporter" in run(code=2).stderr


def test_secrets_are_found_by_namespace_and_name_as_kubectl_prints_them(run: Local) -> None:
    def secret(name: str, namespace: str, keys: dict[str, str]) -> dict[str, object]:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}

    keys = run.sandbox.secrets()
    right = [secret(name, "dex", keys[name]) for name in keys]
    wrong = [secret(name, "hr", {"url": "https://example.com"}) for name in keys]
    printed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [*wrong, *right]})
    ended = run.program("run", run.exporter, "--secrets", "-", "--allowed-host", "localhost", "--test", input=printed)
    assert "TestPassed" in ended.stdout


def test_a_missing_secret_is_named(run: Local) -> None:
    run.secrets.write_text("kind: Secret\nmetadata: {name: nexthink, namespace: hr}\n")
    assert f"{run.secrets} has no Secret dex/nexthink." in run(code=1).stderr


def test_a_missing_key_is_named(run: Local) -> None:
    secrets = list(plain_yaml.read_all(run.secrets.read_text()))
    del secrets[0]["stringData"]["tokenUrl"]
    run.secrets.write_text(yaml.safe_dump_all(secrets))
    assert "Secret dex/nexthink has no key tokenUrl" in run(code=1).stderr


def test_the_journal_is_in_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exporter = Exporter.from_object({"metadata": {"name": "teams-rollout"}})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative, so to be ignored")
    assert default_journal(exporter) == tmp_path / "home/.local/state/qualtrics-exporter/default/teams-rollout.json"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_journal(exporter) == tmp_path / "state/qualtrics-exporter/default/teams-rollout.json"


def test_a_journal_that_cannot_be_written_is_a_sentence(run: Local) -> None:
    path = run.program.home / "nowhere/journal.json"
    ended = run("--send", "--journal", path, code=2)
    assert f"The journal {path} cannot be written: No such file or directory." in ended.stderr
    assert "--journal (or QUALTRICS_EXPORTER_JOURNAL)" in ended.stderr
    assert run.mailed() == set()


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_relative_journal_sends_nothing(run: Local, by_variable: bool) -> None:
    flags, env = ([], {"QUALTRICS_EXPORTER_JOURNAL": "j.json"}) if by_variable else (["--journal", "j.json"], {})
    ended = run("--send", *flags, env=env, code=2)
    assert "The journal j.json is not an absolute path" in ended.stderr
    assert run.sandbox.ledger.calls == []


def test_a_run_that_was_killed_goes_on_through_another_link_and_mails_once(run: Local) -> None:
    home = run.program.home
    for name in ("one.json", "two.json"):
        (home / name).symlink_to(home / "real.json")
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    started = run.start("--send", "--journal", home / "one.json")
    run.sandbox.reached("qualtrics.create_distribution")
    killed(started)
    run.sandbox.clear_faults()
    assert "Succeeded" in run("--send", "--journal", home / "two.json").stdout
    assert len(run.sandbox.ledger.distributions) == 1
    assert run.mailed() == PEOPLE


def test_after_an_unknown_outcome_the_next_run_says_so_and_runs(run: Local) -> None:
    run.sandbox.fault("qualtrics.create_distribution", drop="before")
    assert "Unknown" in run("--send", code=1).stdout
    assert run.mailed() == set()
    assert "The last run ended as Unknown" in run("--send").stderr
    assert run.mailed() == PEOPLE


# Progress.


def test_in_a_pipe_every_step_is_a_plain_line(run: Local) -> None:
    lines = run("--send").stderr.splitlines()
    assert "In a cluster, this exporter has a slot every Monday at 00:00, Europe/Zurich." in lines
    assert "Sending the survey to 6 people" in lines
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_on_a_terminal_one_line_is_written_over(run: Local) -> None:
    ours, theirs = pty.openpty()
    started = run.start("--send", stderr=theirs)
    os.close(theirs)
    out, _ = started.communicate(timeout=HANG_SECONDS)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux ends a terminal that nobody holds any more
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert "Succeeded" in out
    assert b"\r\x1b[KSending the survey to 6 people" in shown


def test_a_field_that_is_misspelled_is_refused_and_nobody_is_mailed(run: Local) -> None:
    run.change(dryrun=True)
    ended = run("--send", code=1)
    assert "spec.dryrun: is not a field; did you mean dryRun?" in ended.stderr
    assert run.mailed() == set()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_are_read_in_the_encodings_of_kubectl(run: Local, encoding: str) -> None:
    for path in (run.exporter, run.secrets):
        path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert "TestPassed" in run("--test").stdout


def test_a_secret_in_a_second_file_with_a_byte_order_mark_is_read(run: Local) -> None:
    first, second = run.secrets.read_text("utf-8").replace("apiVersion: v1\n", "").split("---\n")
    assert second.startswith("kind: Secret\n")
    run.secrets.write_text(f"\ufeff{first}---\n\ufeff{second}", "utf-8")
    assert "TestPassed" in run("--test").stdout


@pytest.mark.parametrize("value", ["hunter #2", "#hunter", "!hunter", "&hunter"])
def test_a_secret_that_loses_a_part_to_yaml_is_reported_without_its_value(run: Local, value: str) -> None:
    text = run.secrets.read_text("utf-8")
    run.secrets.write_text(re.sub(r"clientSecret: .*", f"clientSecret: {value}", text, count=1), "utf-8")
    ended = run("--test", code=None)
    assert re.search(r"secrets\.yaml:\d+:\d+: ValueCut: stringData\.\* .*; put the value in quotes\.", ended.stderr)
    assert "hunter" not in ended.stderr + ended.stdout


def test_a_secret_that_is_no_yaml_is_not_quoted(run: Local) -> None:
    run.secrets.write_text("kind: Secret\nstringData: {clientSecret: *hunter}\n")
    ended = run(code=1)
    assert "this is not YAML" in ended.stderr
    assert "hunter" not in ended.stderr
