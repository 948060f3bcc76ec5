"""The command `demo` of the installed program."""

import re

from tests.cli.conftest import PEOPLE, Program


def test_demo_mails_each_person_of_the_query_once_and_leaves_no_files(program: Program) -> None:
    output = program("demo", env={"TMPDIR": str(program.home)}).stdout
    recipients = re.findall(r"^ +To: +(\S+)$", output, re.MULTILINE)
    assert sorted(recipients) == sorted(PEOPLE)
    assert "kind: QualtricsExporter" in output
    assert "Succeeded" in output
    assert list(program.home.iterdir()) == []
