"""The path of a request to the API server, and its description in messages."""

import pytest

from qualtrics_exporter.controller.kube.resources import (
    EVENTS,
    EXPORTERS,
    EXPORTERS_STATUS,
    LEASES,
    SECRETS,
    ApiRequest,
)

EXPORTERS_PATH = "/apis/qualtrics-exporter.dev/v1alpha1/namespaces/dex/qualtricsexporters"
EXPORTERS_NAME = "qualtricsexporters.qualtrics-exporter.dev"


@pytest.mark.parametrize(
    ("api_request", "path", "description"),
    [
        (
            ApiRequest("get", SECRETS, "dex", "nexthink"),
            "/api/v1/namespaces/dex/secrets/nexthink",
            "get secrets dex/nexthink",
        ),
        (
            ApiRequest("list", EXPORTERS),
            "/apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters",
            f"list {EXPORTERS_NAME}",
        ),
        (
            ApiRequest("list", EXPORTERS, "dex"),
            EXPORTERS_PATH,
            f"list {EXPORTERS_NAME} dex",
        ),
        (
            ApiRequest("update", EXPORTERS_STATUS, "dex", "teams"),
            f"{EXPORTERS_PATH}/teams/status",
            f"update {EXPORTERS_NAME}/status dex/teams",
        ),
        (
            ApiRequest("create", EVENTS, "dex"),
            "/apis/events.k8s.io/v1/namespaces/dex/events",
            "create events.events.k8s.io dex",
        ),
        (
            ApiRequest("get", LEASES, "a/b", "c?d"),
            "/apis/coordination.k8s.io/v1/namespaces/a%2Fb/leases/c%3Fd",
            "get leases.coordination.k8s.io a/b/c?d",
        ),
    ],
    ids=str,
)
def test_request_has_the_path_of_its_resource_and_a_readable_description(
    api_request: ApiRequest, path: str, description: str
) -> None:
    assert api_request.path == path
    assert str(api_request) == description
