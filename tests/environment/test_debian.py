"""Debian's programs for tests: which sources they come from, and what is said where they cannot be had."""

from pathlib import Path

import pytest

from tests.conftest import cannot
from tests.environment import debian
from tests.environment.build import BuildError

OWN = """\
Types: deb
# A comment of the one who made it.
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
SECURITY = OWN.replace("bookworm bookworm-updates", "bookworm-security")
VENDOR = OWN.replace("debian-archive-keyring", "vendor")
NODES = OWN.replace("bookworm bookworm-updates", "nodistro").replace("debian-archive-keyring", "nodesource")


@pytest.fixture(autouse=True)
def bookworm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "release", lambda: ("debian", "bookworm"))


def test_only_the_distributions_own_sources_are_asked(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(f"{OWN}\n{SECURITY}")
    (tmp_path / "sources.list.d" / "vendor.sources").write_text(VENDOR)
    (tmp_path / "sources.list.d" / "mixed.sources").write_text(f"{NODES}\n{OWN}")
    (tmp_path / "sources.list.d" / "cloud.list").write_text("deb https://cloud.example.com/apt cloud-bookworm main\n")
    (tmp_path / "sources.list").write_text(
        "# deb http://mirror.example.com/debian bookworm main\n"
        "deb http://mirror.example.com/debian bookworm main\n"
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example.com bookworm main\n"
    )
    assert debian.sources(tmp_path) == {
        "debian.sources": f"{OWN}\n{SECURITY}\n",
        "mixed.sources": f"{OWN}\n",
        "sources.list": "deb http://mirror.example.com/debian bookworm main\n",
    }


def test_a_machine_without_sources_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="names no source of packages for bookworm"):
        debian.sources(tmp_path)


def test_where_it_cannot_be_done_the_reason_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.platform, "system", lambda: "Darwin")
    with pytest.raises(BuildError, match=r"^This cannot be done here: it needs Linux, this is Darwin\.$"):
        debian.require()
    monkeypatch.setattr(debian.platform, "system", lambda: "Linux")
    monkeypatch.setattr(debian.shutil, "which", lambda name: None if name == "apt-get" else f"/bin/{name}")
    with pytest.raises(BuildError, match="it needs apt-get: a Debian or one of its relatives"):
        debian.require()


def test_a_test_that_cannot_run_is_skipped_with_the_reason_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no root"):
        cannot("no root")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="may not be skipped in CI: no root"):
        cannot("no root")
