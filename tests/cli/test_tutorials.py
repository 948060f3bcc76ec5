"""The commands of the tutorials work as they are written."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.programs import installed
from tests.cli.conftest import PEOPLE, PROGRAM, Program
from tests.cli.test_sandbox import start_sandbox
from tests.support.waiting import HANG_SECONDS

TUTORIALS = ROOT / "docs" / "tutorials"
SANDBOX_URL = "http://127.0.0.1:8472"
"""The address in the tutorial. The sandbox of the test has any free port."""


def steps(page: str) -> dict[str, list[str]]:
    """The shell commands of a tutorial, by the number of the step: one text for each block."""
    sections = re.split(r"^## (\d+)\. ", (TUTORIALS / page).read_text("utf-8"), flags=re.MULTILINE)
    blocks = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {number: blocks.findall(text) for number, text in zip(sections[1::2], sections[2::2], strict=True)}


def run(program: Program, commands: str) -> str:
    """Run commands in a shell, with the installed program and kubectl. Each of them must succeed."""
    programs = os.pathsep.join([str(PROGRAM.parent), str(Path(installed("kubectl")).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=program.home,
        env=program.environment({"PATH": programs}),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def checkout(program: Program) -> Program:
    """The program, in a folder with the samples of the repository."""
    shutil.copytree(ROOT / "samples", program.home / "samples")
    return program


def test_first_survey_in_a_sandbox_finds_the_mistake_counts_sends_and_survives_a_lost_reply(checkout: Program) -> None:
    check, start, count, send, lose = (steps("first-survey.md")[number] for number in "12345")
    assert run(checkout, check[0]) == ""
    finding = re.search(r"^```text\n(.*?)^```$", (TUTORIALS / "first-survey.md").read_text(), re.MULTILINE | re.DOTALL)
    assert finding
    assert run(checkout, check[1]).startswith(finding[1].rstrip("\n"))

    assert start == ["qualtrics-exporter sandbox > secrets.yaml\n"]
    with (checkout.home / "secrets.yaml").open("w") as secrets:
        server, banner = start_sandbox(checkout, stdout=secrets)
    (outbox,) = re.findall(r"(http://127\.0\.0\.1:\d+)/_sandbox/outbox", "".join(banner))

    def outbox_after(commands: str) -> list[list[str]]:
        *_, shown = run(checkout, commands.replace(SANDBOX_URL, outbox)).partition("\n[")
        return [sorted(distribution["recipients"]) for distribution in json.loads(f"[{shown}")]

    assert "6 people" in run(checkout, count[0])
    assert outbox_after(send[0]) == [sorted(PEOPLE)]
    assert outbox_after(lose[0]) == [sorted(PEOPLE), []]  # within twelve hours, nobody gets the same message again
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=HANG_SECONDS)


def test_gitops_tutorial_makes_a_repository_whose_exporters_are_valid(checkout: Program) -> None:
    copy, check, _, add, *_ = (steps("gitops.md")[number] for number in "1234")
    run(checkout, "\n".join([*copy, *check, *add]))
    added = checkout.home / "surveys" / "exporters" / "hr"
    rendered = run(checkout, f"kubectl kustomize {added}")
    assert "namespace: hr" in rendered
    assert "namespace: dex" not in rendered


def test_exporter_with_the_safeguards_of_the_tutorial_about_a_real_tenant_is_valid(checkout: Program) -> None:
    text = (TUTORIALS / "real-tenant.md").read_text("utf-8")
    sample = Path(checkout.home / "samples" / "teams-rollout.yaml").read_text("utf-8")
    for name, value in re.findall(r"^ +(dryRun|maxRecipients|driftPolicy): (\S+)", text, re.MULTILINE):
        sample, replaced = re.subn(rf"^( +)(?:# )?{name}: \S+", rf"\g<1>{name}: {value}", sample, flags=re.MULTILINE)
        assert replaced == 1, f"the sample has {replaced} times {name}"
    (checkout.home / "exporter.yaml").write_text(sample)
    assert run(checkout, "qualtrics-exporter validate --strict exporter.yaml") == ""
