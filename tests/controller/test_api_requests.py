"""The path of a request, and its name in messages."""

import pytest

from qualtrics_exporter.controller.kube.resources import (
    EVENTS,
    EXPORTERS,
    EXPORTERS_STATUS,
    LEASES,
    SECRETS,
    ApiRequest,
)

IN_NAMESPACE = "/apis/qualtrics-exporter.dev/v1alpha1/namespaces/dex/qualtricsexporters"
NAME = "qualtricsexporters.qualtrics-exporter.dev"


@pytest.mark.parametrize(
    ("request_", "path", "text"),
    [
        (
            ApiRequest("get", SECRETS, "dex", "nexthink"),
            "/api/v1/namespaces/dex/secrets/nexthink",
            "get secrets dex/nexthink",
        ),
        (ApiRequest("list", EXPORTERS), "/apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters", f"list {NAME}"),
        (
            ApiRequest("list", EXPORTERS, "dex"),
            IN_NAMESPACE,
            f"list {NAME} dex",
        ),
        (
            ApiRequest("update", EXPORTERS_STATUS, "dex", "teams"),
            f"{IN_NAMESPACE}/teams/status",
            f"update {NAME}/status dex/teams",
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
def test_a_request_has_a_path_and_a_name(request_: ApiRequest, path: str, text: str) -> None:
    assert request_.path == path
    assert str(request_) == text
