"""The command `run`: one export without a cluster, against the sandbox over HTTPS."""

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

from hack import plain_yaml
from qualtrics_exporter.cli.run import default_journal
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status
from tests.cli.conftest import PEOPLE, SAMPLE, LocalRun, RunningProcess
from tests.support.waiting import HANG_SECONDS


def read_journal(run: LocalRun) -> Status:
    return Status.model_validate_json(run.journal.read_text())


def end_with(
    process: subprocess.Popen[str] | RunningProcess, number: signal.Signals = signal.SIGKILL
) -> tuple[int, str, str]:
    """Send a signal to a process. Returns its exit code and output when it has ended."""
    process.send_signal(number)
    out, err = process.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in err
    assert process.returncode is not None
    return process.returncode, out, err


def test_run_without_send_counts_the_people_and_creates_nothing(run: LocalRun) -> None:
    result = run()
    assert "DryRun" in result.stdout
    assert "This was a dry run" in result.stdout
    assert "8 rows, 1 empty, 1 duplicate, 6 accepted" in result.stdout
    assert "run the same command with --send" in result.stderr
    assert run.mailed() == set()
    assert not run.sandbox.recorder.batches


def test_run_with_send_mails_exactly_the_people_of_the_query(installed_run: LocalRun) -> None:
    run = installed_run
    result = run("--send")
    assert "Succeeded" in result.stdout
    assert run.mailed() == PEOPLE
    (sent,) = run.sandbox.recorder.distributions
    assert sent.id in result.stdout
    history = read_journal(run).history
    assert history
    assert [(entry.result, entry.distribution_id) for entry in history] == [("Succeeded", sent.id)]


def test_a_dry_test_mails_nobody_and_imports_nobody(run: LocalRun) -> None:
    result = run("--test")
    assert "TestPassed" in result.stdout
    assert run.sandbox.recorder.count("qualtrics.import_contacts") == 0
    assert not run.journal.exists()


def test_a_test_with_send_mails_at_most_20_people(run: LocalRun) -> None:
    people = [[f"user{number}@example.com"] for number in range(50)]
    run.sandbox.call(lambda: setattr(run.sandbox.account.queries["#teams_rollout"], "rows", people))
    assert "TestDelivered" in run("--test", "--send").stdout
    assert len(run.mailed()) == 20
    last_test = read_journal(run).last_test
    assert last_test
    assert last_test.reason == "TestDelivered"


def test_environment_variables_set_the_flags_of_run(run: LocalRun) -> None:
    variables = {
        "QUALTRICS_EXPORTER_SECRETS": str(run.secrets),
        "QUALTRICS_EXPORTER_ALLOWED_HOST": "localhost,example.com",
        "QUALTRICS_EXPORTER_SEND": "true",
        "QUALTRICS_EXPORTER_JOURNAL": str(run.program.home / "journal.json"),
    }
    run.program("run", run.exporter, env=variables)
    assert run.mailed() == PEOPLE
    assert (run.program.home / "journal.json").exists()


def test_run_prints_and_writes_no_address_and_no_secret(run: LocalRun) -> None:
    result = run("--send")
    written = result.stdout + result.stderr + run.journal.read_text()
    for private in (*PEOPLE, "sandbox-secret", *run.sandbox.tokens()):
        assert private not in written
    assert run.journal.stat().st_mode & 0o077 == 0
    assert run.journal.parent.stat().st_mode & 0o077 == 0


# Interrupted runs.


@pytest.mark.parametrize(
    ("operation", "hold"),
    [
        ("qualtrics.import_contacts", "after"),
        ("qualtrics.create_distribution", "after"),
    ],
)
def test_the_next_command_resumes_a_killed_run_and_mails_once(run: LocalRun, operation: str, hold: str) -> None:
    run.sandbox.fault(operation, hold=hold)
    process = run.start("--send")
    run.sandbox.reached(operation)
    end_with(process)
    run.sandbox.clear_faults()
    active_run = read_journal(run).active_run
    assert active_run

    result = run("--send")
    assert "an earlier process" in result.stderr
    assert active_run.id in result.stdout
    assert "Succeeded" in result.stdout
    assert run.mailed() == PEOPLE
    assert len(run.sandbox.recorder.distributions) == 1
    assert read_journal(run).active_run is None


def test_run_without_send_looks_up_a_send_that_a_killed_process_started(installed_run: LocalRun) -> None:
    run = installed_run
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    process = run.start("--send")
    run.sandbox.reached("qualtrics.create_distribution")
    end_with(process)
    run.sandbox.clear_faults()
    assert "Succeeded" in run().stdout
    assert run.mailed() == PEOPLE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_next_command_finishes_a_run_that_a_signal_interrupted_before_the_send(
    run: LocalRun, number: signal.Signals
) -> None:
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    process = run.start("--send")
    run.sandbox.reached("qualtrics.import_contacts")
    code, out, err = end_with(process, number)
    assert (code, out) == (1, "")
    assert f"Interrupted. The journal {run.journal} records what was done." in err
    run.sandbox.clear_faults()
    run("--send")
    assert run.mailed() == PEOPLE


def test_a_signal_during_the_send_does_not_interrupt_the_send(run: LocalRun) -> None:
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    process = run.start("--send")
    run.sandbox.reached("qualtrics.create_distribution")
    process.send_signal(signal.SIGTERM)
    run.sandbox.release()
    process.communicate(timeout=HANG_SECONDS)
    active_run = read_journal(run).active_run
    assert active_run is None or active_run.step == "Sent"
    assert run.mailed() == PEOPLE


def test_a_second_run_with_the_same_journal_fails_while_the_first_one_works(run: LocalRun) -> None:
    run.sandbox.fault("nexthink.execute", hold="before")
    process = run.start("--send")
    run.sandbox.reached("nexthink.execute")
    assert "another process has the journal" in run("--send", code=1).stderr
    run.sandbox.release()
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert run.mailed() == PEOPLE


def leave_interrupted_run(run: LocalRun, *arguments: str) -> None:
    """Kill a run during its import, before it sends anything."""
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    process = run.start(*arguments)
    run.sandbox.reached("qualtrics.import_contacts")
    end_with(process)
    run.sandbox.clear_faults()


def test_a_test_with_send_does_not_resume_an_interrupted_run_to_all_people(run: LocalRun) -> None:
    leave_interrupted_run(run, "--send")
    assert "finish it first" in run("--test", "--send", code=1).stderr
    assert run.mailed() == set()


def test_a_run_abandons_an_interrupted_test_and_mails_the_people(run: LocalRun) -> None:
    leave_interrupted_run(run, "--test", "--send")
    assert "The earlier run ended" in run("--send").stderr
    assert run.mailed() == PEOPLE


def test_an_interrupted_test_with_send_starts_again_with_the_same_command(run: LocalRun) -> None:
    leave_interrupted_run(run, "--test", "--send")
    assert "TestDelivered" in run("--test", "--send").stdout
    assert run.mailed() == PEOPLE


def test_run_does_not_change_a_journal_of_another_exporter(run: LocalRun) -> None:
    leave_interrupted_run(run, "--send")
    body = plain_yaml.read(SAMPLE.read_text())
    body["metadata"]["name"] = "another"
    run.write(body)
    content = run.journal.read_text()
    assert "another exporter" in run("--send", "--journal", run.journal, code=1).stderr
    assert run.journal.read_text() == content
    assert run.mailed() == set()


def test_a_run_with_an_unreadable_journal_mails_nobody(run: LocalRun) -> None:
    run("--test", "--send")
    run.journal.write_text("{}garbage")
    assert "is not a journal of this program" in run("--send", code=1).stderr
    assert len(run.sandbox.recorder.distributions) == 1


def leave_refused_run(run: LocalRun) -> None:
    """Kill a run after Qualtrics refused its send, in the wait before the retry."""
    run.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "1"})
    run.sandbox.fault("qualtrics.list_distributions", hold="before")
    process = run.start("--send")
    run.sandbox.reached("qualtrics.list_distributions")
    end_with(process)
    run.sandbox.clear_faults()
    active_run = read_journal(run).active_run
    assert active_run
    assert active_run.refused_until


def test_the_same_command_repeats_a_send_that_qualtrics_refused(run: LocalRun) -> None:
    leave_refused_run(run)
    result = run("--send")
    assert "before a retry" in result.stderr
    assert run.mailed() == PEOPLE
    assert len(run.sandbox.recorder.batches) == 1


def test_run_without_send_does_not_repeat_a_send_that_qualtrics_refused(run: LocalRun) -> None:
    leave_refused_run(run)
    assert "DryRun" in run().stdout
    assert run.mailed() == set()


def test_a_changed_manifest_after_a_refused_send_mails_the_people_of_its_new_query(run: LocalRun) -> None:
    leave_refused_run(run)
    run.sandbox.call(lambda: setattr(run.sandbox.account.queries["#teams_rollout"], "rows", [["ana@example.com"]]))
    run.change(description="Only one person is left")
    result = run("--send")
    assert "starting again" in result.stderr
    assert run.mailed() == {"ana@example.com"}


# Runs that fail or mail fewer people.


def test_a_run_with_a_wrong_survey_id_exits_with_1_and_names_the_field_to_correct(run: LocalRun) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    body["spec"]["qualtrics"]["surveyId"] = "SV_nowhere00001"
    run.write(body)
    result = run("--send", code=1)
    assert "SurveyNotFound" in result.stdout
    assert "Correct spec.qualtrics.surveyId" in result.stdout
    assert run.mailed() == set()


def test_a_run_with_more_people_than_max_recipients_mails_nobody(run: LocalRun) -> None:
    run.change(maxRecipients=5)
    assert "RecipientLimitExceeded" in run("--send", code=1).stdout
    assert run.mailed() == set()


def test_a_run_with_fewer_people_than_min_recipients_mails_nobody(run: LocalRun) -> None:
    run.change(minRecipients=100)
    assert "TooFewRecipients" in run("--send", code=1).stdout
    assert run.mailed() == set()


def test_the_same_command_mails_a_sampled_group_only_once(run: LocalRun) -> None:
    """The schedule selects the group, and the journal records it: the same command again mails nobody."""
    run.change(sample={"groups": 2})
    first = run("--send").stdout
    mailed = run.mailed()
    assert "left out by spec.sample" in first
    assert "spec.sample left out" in run("--send").stdout
    assert run.mailed() == mailed


def test_run_with_send_of_a_dry_run_exporter_mails_nobody(run: LocalRun) -> None:
    run.change(dryRun=True)
    result = run("--send")
    assert "This was a dry run" in result.stdout
    assert "despite --send, nothing will be sent" in result.stderr
    assert run.mailed() == set()


def test_run_requests_no_token_from_a_host_that_is_not_allowed(run: LocalRun) -> None:
    result = run.program("run", run.exporter, "--secrets", run.secrets, code=1)
    assert "HostNotAllowed" in result.stdout
    assert run.sandbox.recorder.calls == []


def test_a_run_with_an_untrusted_certificate_names_ssl_cert_file(run: LocalRun) -> None:
    del run.program.variables["SSL_CERT_FILE"]
    assert "SSL_CERT_FILE" in run("--test", code=1).stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body["spec"]["qualtrics"].update(surveyId="MS_x"), "spec.qualtrics.surveyId: must be the id of"),
        (lambda body: body["spec"].pop("schedule"), "spec.schedule"),
        (lambda body: body["metadata"].update(name="../../etc"), "metadata.name: must be lower case letters"),
        (lambda body: body["metadata"].update(namespace="a/b"), "metadata.namespace: must be lower case letters"),
    ],
)
def test_a_run_with_an_invalid_manifest_exits_with_1_and_names_the_field(
    run: LocalRun, change: Callable[[dict[str, dict[str, dict[str, str]]]], object], message: str
) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    change(body)
    run.write(body)
    result = run(code=1)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_secrets_file_with_invalid_yaml_is_reported_by_its_position_only(run: LocalRun) -> None:
    run.secrets.write_text("stringData:\n  clientSecret: *hunter2\n")
    result = run(code=1)
    assert f"{run.secrets}:2:17: this is not YAML" in result.stderr
    assert "hunter2" not in result.stderr


# Manifests, Secrets and journals.


def test_name_flag_selects_one_of_several_exporters(run: LocalRun) -> None:
    body = plain_yaml.read(SAMPLE.read_text())
    other = {**body, "metadata": {"name": "other", "namespace": "dex"}}
    run.write({"kind": "ConfigMap"}, None, body, other)
    assert "several exporters (teams-rollout, other): choose one with --name" in run(code=2).stderr
    assert "no QualtricsExporter third" in run("--name", "third", code=2).stderr
    assert run("--name", "other").stdout.startswith("other:")
    run.write({"kind": "ConfigMap"})
    assert "has no QualtricsExporter" in run(code=2).stderr


def test_run_finds_secrets_by_namespace_and_name_in_the_output_of_kubectl(run: LocalRun) -> None:
    def secret(name: str, namespace: str, keys: dict[str, str]) -> dict[str, object]:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}

    keys = run.sandbox.secrets()
    right = [secret(name, "dex", keys[name]) for name in keys]
    wrong = [secret(name, "hr", {"url": "https://example.com"}) for name in keys]
    manifest = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [*wrong, *right]})
    result = run.program("run", run.exporter, "--secrets", "-", "--allowed-host", "localhost", "--test", input=manifest)
    assert "TestPassed" in result.stdout


def test_a_run_without_a_secret_names_it(run: LocalRun) -> None:
    run.secrets.write_text("kind: Secret\nmetadata: {name: nexthink, namespace: hr}\n")
    assert f"{run.secrets} has no Secret dex/nexthink." in run(code=1).stderr


def test_a_run_without_a_key_of_a_secret_names_it(run: LocalRun) -> None:
    secrets = list(plain_yaml.read_all(run.secrets.read_text()))
    del secrets[0]["stringData"]["tokenUrl"]
    run.secrets.write_text(yaml.safe_dump_all(secrets))
    assert "Secret dex/nexthink has no key tokenUrl" in run(code=1).stderr


def test_the_default_journal_is_in_the_state_directory_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exporter = Exporter.from_object({"metadata": {"name": "teams-rollout"}})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative, so to be ignored")
    assert default_journal(exporter) == tmp_path / "home/.local/state/qualtrics-exporter/default/teams-rollout.json"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_journal(exporter) == tmp_path / "state/qualtrics-exporter/default/teams-rollout.json"


def test_a_run_with_an_unwritable_journal_explains_it_and_mails_nobody(run: LocalRun) -> None:
    path = run.program.home / "nowhere/journal.json"
    result = run("--send", "--journal", path, code=2)
    assert f"The journal {path} cannot be written: No such file or directory." in result.stderr
    assert "--journal (or QUALTRICS_EXPORTER_JOURNAL)" in result.stderr
    assert run.mailed() == set()


@pytest.mark.parametrize("by_variable", [True, False], ids=["variable", "flag"])
def test_a_run_with_a_relative_journal_path_sends_no_request(run: LocalRun, by_variable: bool) -> None:
    flags, env = ([], {"QUALTRICS_EXPORTER_JOURNAL": "j.json"}) if by_variable else (["--journal", "j.json"], {})
    result = run("--send", *flags, env=env, code=2)
    assert "The journal j.json is not an absolute path" in result.stderr
    assert run.sandbox.recorder.calls == []


def test_a_killed_run_resumes_through_another_link_to_its_journal_and_mails_once(run: LocalRun) -> None:
    home = run.program.home
    for name in ("one.json", "two.json"):
        (home / name).symlink_to(home / "real.json")
    run.sandbox.fault("qualtrics.create_distribution", hold="after")
    process = run.start("--send", "--journal", home / "one.json")
    run.sandbox.reached("qualtrics.create_distribution")
    end_with(process)
    run.sandbox.clear_faults()
    assert "Succeeded" in run("--send", "--journal", home / "two.json").stdout
    assert len(run.sandbox.recorder.distributions) == 1
    assert run.mailed() == PEOPLE


def test_the_run_after_an_unknown_outcome_reports_it_and_mails_the_people(run: LocalRun) -> None:
    run.sandbox.fault("qualtrics.create_distribution", drop="before")
    assert "Unknown" in run("--send", code=1).stdout
    assert run.mailed() == set()
    assert "The last run ended as Unknown" in run("--send").stderr
    assert run.mailed() == PEOPLE


# Progress.


def test_progress_in_a_pipe_is_one_plain_line_for_each_step(run: LocalRun) -> None:
    lines = run("--send").stderr.splitlines()
    assert "In a cluster, this exporter has a slot every Monday at 00:00, Europe/Zurich." in lines
    assert "Sending the survey to 6 people" in lines
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_progress_on_a_terminal_overwrites_one_line(run: LocalRun) -> None:
    master, terminal = pty.openpty()
    process = run.start("--send", stderr=terminal)
    os.close(terminal)
    out, _ = process.communicate(timeout=HANG_SECONDS)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    assert "Succeeded" in out
    assert b"\r\x1b[KSending the survey to 6 people" in output


def test_a_run_with_a_misspelled_field_suggests_the_right_one_and_mails_nobody(run: LocalRun) -> None:
    run.change(dryrun=True)
    result = run("--send", code=1)
    assert "spec.dryrun: is not a field; did you mean dryRun?" in result.stderr
    assert run.mailed() == set()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_run_reads_files_in_the_encodings_that_kubectl_writes(run: LocalRun, encoding: str) -> None:
    for path in (run.exporter, run.secrets):
        path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert "TestPassed" in run("--test").stdout


def test_run_reads_a_second_secret_that_begins_with_a_byte_order_mark(run: LocalRun) -> None:
    first, second = run.secrets.read_text("utf-8").replace("apiVersion: v1\n", "").split("---\n")
    assert second.startswith("kind: Secret\n")
    run.secrets.write_text(f"\ufeff{first}---\n\ufeff{second}", "utf-8")
    assert "TestPassed" in run("--test").stdout


@pytest.mark.parametrize("value", ["hunter #2", "#hunter", "!hunter", "&hunter"])
def test_a_secret_that_yaml_truncates_is_reported_without_its_value(run: LocalRun, value: str) -> None:
    text = run.secrets.read_text("utf-8")
    run.secrets.write_text(re.sub(r"clientSecret: .*", f"clientSecret: {value}", text, count=1), "utf-8")
    result = run("--test", code=None)
    assert re.search(r"secrets\.yaml:\d+:\d+: ValueCut: stringData\.\* .*; put the value in quotes\.", result.stderr)
    assert "hunter" not in result.stderr + result.stdout


def test_a_secret_with_invalid_yaml_is_reported_without_its_value(run: LocalRun) -> None:
    run.secrets.write_text("kind: Secret\nstringData: {clientSecret: *hunter}\n")
    result = run(code=1)
    assert "this is not YAML" in result.stderr
    assert "hunter" not in result.stderr
