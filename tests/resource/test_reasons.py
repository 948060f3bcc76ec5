"""A reason is added together with the code that produces it, and goes with it."""

import re

import pytest

from qualtrics_exporter.resource.reasons import Reason
from tests.environment.build import ROOT

PACKAGE = ROOT / "operator" / "qualtrics_exporter"
CODE = "\n".join(
    path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if PACKAGE / "resource" / "reasons" not in path.parents
)
NAMED = frozenset(re.findall(r"\bReason\.([A-Z_]+)\b", CODE))


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_reason_can_be_produced(reason: Reason) -> None:
    assert reason.name in NAMED
