"""Debian packages for tests: the sources that are used, and the errors where packages are not available."""

from pathlib import Path

import pytest

from hack import debian
from hack.build import BuildError
from tests.conftest import skip_outside_ci

DEBIAN = """\
Types: deb
# A comment.
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
SECURITY = DEBIAN.replace("bookworm bookworm-updates", "bookworm-security")
VENDOR = DEBIAN.replace("debian-archive-keyring", "vendor")
NODESOURCE = DEBIAN.replace("bookworm bookworm-updates", "nodistro").replace("debian-archive-keyring", "nodesource")


@pytest.fixture(autouse=True)
def bookworm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "release", lambda: ("debian", "bookworm"))


def test_only_package_sources_of_the_distribution_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(f"{DEBIAN}\n{SECURITY}")
    (tmp_path / "sources.list.d" / "vendor.sources").write_text(VENDOR)
    (tmp_path / "sources.list.d" / "mixed.sources").write_text(f"{NODESOURCE}\n{DEBIAN}")
    (tmp_path / "sources.list.d" / "cloud.list").write_text("deb https://cloud.example.com/apt cloud-bookworm main\n")
    (tmp_path / "sources.list").write_text(
        "# deb http://mirror.example.com/debian bookworm main\n"
        "deb http://mirror.example.com/debian bookworm main\n"
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example.com bookworm main\n"
    )
    assert debian.sources(tmp_path) == {
        "debian.sources": f"{DEBIAN}\n{SECURITY}\n",
        "mixed.sources": f"{DEBIAN}\n",
        "sources.list": "deb http://mirror.example.com/debian bookworm main\n",
    }


def test_a_machine_without_package_sources_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no package source for bookworm"):
        debian.sources(tmp_path)


def test_a_machine_without_linux_or_apt_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.platform, "system", lambda: "Darwin")
    with pytest.raises(BuildError, match=r"Debian packages: Linux is required, this is Darwin\.$"):
        debian.require()
    monkeypatch.setattr(debian.platform, "system", lambda: "Linux")
    monkeypatch.setattr(debian.shutil, "which", lambda name: None if name == "apt-get" else f"/bin/{name}")
    with pytest.raises(BuildError, match="apt-get is missing: Debian or a derivative is required"):
        debian.require()


def test_a_test_that_cannot_run_is_skipped_with_the_reason_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no root"):
        skip_outside_ci("no root")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="cannot be skipped in CI: no root"):
        skip_outside_ci("no root")
