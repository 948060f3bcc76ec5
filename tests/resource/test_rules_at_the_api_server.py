"""A real API server, Python and `validate` accept and reject the same manifests, with the same messages."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

import kubernetes
import pytest
import yaml

from qualtrics_exporter.cli.manifest_findings import findings
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION
from tests.resource.manifests import INVALID, VALID, InvalidManifest, changed
from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def api_server_errors(cluster: ControlPlane) -> Iterator[dict[str, Any]]:
    """The errors of the API server for each manifest of the tables."""
    namespace = cluster.namespace("rules-of-the-object")
    api = kubernetes.client.CustomObjectsApi(cluster.api())

    def create(item: tuple[str, Any]) -> tuple[str, Any]:
        name, changes = item
        manifest = changed(changes.changes if isinstance(changes, InvalidManifest) else changes, namespace=namespace)
        try:
            api.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, manifest, dry_run="All")
        except kubernetes.client.ApiException as error:
            body = json.loads(error.body or "{}")
            return name, (body.get("details") or {}).get("causes") or [{"field": "", "message": body["message"]}]
        return name, []

    with ThreadPoolExecutor(4) as workers:
        yield dict(workers.map(create, [*INVALID.items(), *VALID.items()]))


@pytest.mark.parametrize("name", VALID)
def test_the_api_server_accepts_a_valid_manifest(api_server_errors: dict[str, Any], name: str) -> None:
    assert api_server_errors[name] == []


@pytest.mark.parametrize("name", INVALID)
def test_the_api_server_rejects_an_invalid_manifest_at_its_path_with_the_message(
    api_server_errors: dict[str, Any], name: str
) -> None:
    invalid = INVALID[name]
    assert [
        cause
        for cause in api_server_errors[name]
        if cause["field"] == f"spec.{invalid.path}" and invalid.message in cause["message"]
    ], api_server_errors[name]


@pytest.mark.parametrize("name", [*INVALID, *VALID])
def test_python_and_the_api_server_accept_the_same_manifests(api_server_errors: dict[str, Any], name: str) -> None:
    changes = INVALID[name].changes if name in INVALID else VALID[name]
    exporter = Exporter.from_object(changed(changes))
    assert (exporter.spec is not None) == (api_server_errors[name] == []), (
        exporter.spec_error,
        api_server_errors[name],
    )


@pytest.mark.parametrize("name", [*INVALID, *VALID])
def test_validate_and_the_api_server_accept_the_same_manifests(api_server_errors: dict[str, Any], name: str) -> None:
    changes = INVALID[name].changes if name in INVALID else VALID[name]
    _, found = findings(yaml.safe_dump(changed(changes)))
    # The API server does not check NQL.
    errors = [f for f in found if f.severity == "error" and not f.reason.startswith("Query")]
    assert bool(errors) == bool(api_server_errors[name]), ([error.message for error in errors], api_server_errors[name])
    if name in INVALID:
        # In the path, * replaces a key that the user chooses.
        assert any(fnmatchcase(f"spec.{INVALID[name].path}", error.path) for error in errors)
