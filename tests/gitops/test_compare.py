"""That a difference which Argo CD would show is noticed."""

from typing import Any

import pytest

from tests.gitops.compare import missing


@pytest.mark.parametrize(
    ("written", "kept", "told"),
    [
        ({"cpu": "1000m"}, {"cpu": "1"}, [".cpu: '1000m' became '1'"]),
        ({"labels": None, "rules": [{"verbs": []}]}, {"rules": [{}]}, [".labels is gone", ".rules[0].verbs is gone"]),
        ({"port": "80"}, {"port": 80}, [".port: '80' became 80"]),
        ({"list": [1]}, {"list": [1, 2]}, [".list: [1] became [1, 2]"]),
        ({"a": 1}, {"a": 1, "default": 2}, []),
    ],
)
def test_what_argo_cd_would_take_for_a_change_is_noticed(written: Any, kept: Any, told: list[str]) -> None:
    assert missing(written, kept) == told
