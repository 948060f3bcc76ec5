"""The comparison with the cluster finds each difference that Argo CD would show."""

from typing import Any

import pytest

from tests.gitops.compare import differences


@pytest.mark.parametrize(
    ("manifest", "live", "expected"),
    [
        ({"cpu": "1000m"}, {"cpu": "1"}, [".cpu: '1000m' became '1'"]),
        ({"labels": None, "rules": [{"verbs": []}]}, {"rules": [{}]}, [".labels is gone", ".rules[0].verbs is gone"]),
        ({"port": "80"}, {"port": 80}, [".port: '80' became 80"]),
        ({"list": [1]}, {"list": [1, 2]}, [".list: [1] became [1, 2]"]),
        ({"a": 1}, {"a": 1, "default": 2}, []),
    ],
    ids=["changed value", "missing fields", "changed type", "longer list", "added field"],
)
def test_comparison_finds_changed_and_missing_fields_but_ignores_added_ones(
    manifest: Any, live: Any, expected: list[str]
) -> None:
    assert differences(manifest, live) == expected
