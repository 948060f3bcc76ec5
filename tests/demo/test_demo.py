"""`make demo` runs a complete example."""

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

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


@pytest.mark.long
@pytest.mark.usefixtures("control_plane")
def test_demo_that_is_kept_has_a_console_that_ends_with_it() -> None:
    command = [sys.executable, "-m", "tests.support.demo", "--keep"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout
    try:
        address = next(line.strip() for line in running.stdout if "?token=" in line)
        with urllib.request.urlopen(address) as reply:
            assert reply.status == 200
    finally:
        running.send_signal(signal.SIGTERM)
        output, errors = running.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in errors
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)
    assert running.returncode == 143, output + errors


@pytest.mark.usefixtures("control_plane")
def test_operator_of_the_demo_has_the_permissions_of_the_chart() -> None:
    assert demo.permissions() == {"rules": chart_rules.own_namespace(), "cluster_rules": chart_rules.everywhere()}
