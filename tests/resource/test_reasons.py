"""The code uses every reason that is defined."""

import re

import pytest

from hack.files import ROOT
from qualtrics_exporter.resource.reasons import Reason

PACKAGE = ROOT / "operator" / "qualtrics_exporter"
CODE = "\n".join(
    path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if PACKAGE / "resource" / "reasons" not in path.parents
)
REASONS_IN_CODE = frozenset(re.findall(r"\bReason\.([A-Z_]+)\b", CODE))


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_reason_is_used_in_the_code(reason: Reason) -> None:
    assert reason.name in REASONS_IN_CODE
