"""`make demo` runs a complete example."""

import re
import subprocess
import sys

import pytest

from hack.files import ROOT
from tests.support import chart_rules, demo
from tests.support.waiting import HANG_SECONDS


@pytest.mark.usefixtures("control_plane")
def test_demo_mails_each_person_of_the_query_once() -> None:
    """The demo starts a control plane of its own. The fixture only builds the program for it."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.demo"], cwd=ROOT, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outbox = ended.stdout.partition("The outbox")[2]
    mailed = sorted(re.findall(r"^ +(\S+@example\.com)$", outbox, re.MULTILINE))
    assert mailed == [f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")]


@pytest.mark.usefixtures("control_plane")
def test_operator_of_the_demo_has_the_permissions_of_the_chart() -> None:
    assert demo.permissions() == {"rules": chart_rules.own_namespace(), "cluster_rules": chart_rules.everywhere()}
