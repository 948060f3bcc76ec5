"""The same manifests for a real API server and for Python: both have to come to the same verdict, with our words."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

import kubernetes
import pytest
import yaml

from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.resource.exporter import GROUP, PLURAL, VERSION, Exporter
from tests.environment.controlplane import ControlPlane
from tests.resource.manifests import BAD, GOOD, Bad, changed

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def verdicts(cluster: ControlPlane) -> Iterator[dict[str, Any]]:
    """What the API server says of each manifest of the table: the causes of its refusal, or an empty list."""
    namespace = cluster.namespace("rules-of-the-object")
    api = kubernetes.client.CustomObjectsApi(cluster.api())

    def ask(item: tuple[str, Any]) -> tuple[str, Any]:
        name, changes = item
        manifest = changed(changes.changes if isinstance(changes, Bad) else changes, namespace=namespace)
        try:
            api.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, manifest, dry_run="All")
        except kubernetes.client.ApiException as refusal:
            body = json.loads(refusal.body or "{}")
            return name, (body.get("details") or {}).get("causes") or [{"field": "", "message": body["message"]}]
        return name, []

    with ThreadPoolExecutor(4) as workers:
        yield dict(workers.map(ask, [*BAD.items(), *GOOD.items()]))


@pytest.mark.parametrize("name", GOOD)
def test_the_api_server_takes_what_keeps_the_rules(verdicts: dict[str, Any], name: str) -> None:
    assert verdicts[name] == []


@pytest.mark.parametrize("name", BAD)
def test_the_api_server_refuses_what_breaks_a_rule_and_says_what_to_write(verdicts: dict[str, Any], name: str) -> None:
    bad = BAD[name]
    assert [
        cause for cause in verdicts[name] if cause["field"] == f"spec.{bad.path}" and bad.sentence in cause["message"]
    ], verdicts[name]


@pytest.mark.parametrize("name", [*BAD, *GOOD])
def test_python_and_the_api_server_never_disagree(verdicts: dict[str, Any], name: str) -> None:
    changes = BAD[name].changes if name in BAD else GOOD[name]
    exporter = Exporter.from_object(changed(changes))
    assert (exporter.spec is not None) == (verdicts[name] == []), (exporter.spec_error, verdicts[name])


@pytest.mark.parametrize("name", [*BAD, *GOOD])
def test_validate_and_the_api_server_never_disagree(verdicts: dict[str, Any], name: str) -> None:
    changes = BAD[name].changes if name in BAD else GOOD[name]
    _, found = findings(yaml.safe_dump(changed(changes)))
    # What NQL says of a query is no business of the API server.
    errors = [f for f in found if f.severity == "error" and not f.reason.startswith("Query")]
    assert bool(errors) == bool(verdicts[name]), ([error.message for error in errors], verdicts[name])
    if name in BAD:
        # A key of the user's own is a * in the path.
        assert any(fnmatchcase(f"spec.{BAD[name].path}", error.path) for error in errors)
