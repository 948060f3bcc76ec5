"""Compiles the Go programs of a release, crane and cosign, and those that check it: actionlint and krew.

Each go.mod lists its programs as tools. They are not in `tests/programs`, so that an update of cosign does not compile
Kubernetes again.
"""

from pathlib import Path

from hack.files import ROOT
from hack.programs import Program, built

FOLDER = ROOT / "hack" / "release"
TOOLS = FOLDER / "tools"
LINT = FOLDER / "lint"
INSTALLER = FOLDER / "krew"

CRANE = Program("github.com/google/go-containerregistry/cmd/crane", "crane", "crane", TOOLS)
COSIGN = Program("github.com/sigstore/cosign/v3/cmd/cosign", "cosign", "cosign", TOOLS)
ACTIONLINT = Program("github.com/rhysd/actionlint/cmd/actionlint", "actionlint", "actionlint", LINT)
KREW = Program("sigs.k8s.io/krew/cmd/krew", "krew", "krew", INSTALLER)


def crane() -> Path:
    """Return the path of crane, which copies images to and from a registry."""
    return built(CRANE)


def cosign() -> Path:
    """Return the path of cosign, which signs and verifies."""
    return built(COSIGN)


def actionlint() -> Path:
    """Return the path of actionlint, which checks workflow files."""
    return built(ACTIONLINT)


def krew() -> Path:
    """Return the path of krew, which installs the plugin."""
    return built(KREW)
