"""The demo for those who only installed the package."""

import re

from tests.cli.conftest import PEOPLE, Program


def test_it_shows_that_exactly_the_people_of_the_query_got_one_mail_and_leaves_nothing_behind(program: Program) -> None:
    shown = program("demo", env={"TMPDIR": str(program.home)}).stdout
    to = re.findall(r"^ +To: +(\S+)$", shown, re.MULTILINE)
    assert sorted(to) == sorted(PEOPLE)
    assert "kind: QualtricsExporter" in shown
    assert "Succeeded" in shown
    assert list(program.home.iterdir()) == []
