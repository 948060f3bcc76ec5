"""The error for a refused request shows the cause: a policy, a webhook, a quota, a permission or a schema."""

from typing import Any

import pytest

from qualtrics_exporter.controller.kube import refusals
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused, Unreachable
from qualtrics_exporter.controller.kube.resources import EVENTS, EXPORTERS_STATUS, LEASES, ApiRequest, ApiResource
from qualtrics_exporter.controller.kube.responses import raise_for_status

OBJECT_FORBIDDEN = 'qualtricsexporters.qualtrics-exporter.dev "teams" is forbidden: '
USER = 'User "system:serviceaccount:dex:operator"'
DENIED_BY_POLICY = "ValidatingAdmissionPolicy 'cost-center' with binding 'all' denied request:"
MISSING_PERMISSION = f'{USER} cannot update resource "qualtricsexporters/status" in API group "qualtrics-exporter.dev"'


def refused(
    status: int, message: str, reason: str = "Forbidden", resource: ApiResource = EXPORTERS_STATUS, **more: Any
) -> ClusterError:
    """The error for such a reply to a write."""
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message, **more}
    with pytest.raises(ClusterError) as raised:
        raise_for_status(status, body, ApiRequest("update", resource, "dex", "teams"))
    return raised.value


REFUSALS = {
    "a policy of the API server": (
        403,
        f"{OBJECT_FORBIDDEN}{DENIED_BY_POLICY} label cost-center is missing",
        "label cost-center is missing",
    ),
    "a policy that answers 422": (
        422,
        f"{OBJECT_FORBIDDEN}{DENIED_BY_POLICY} label cost-center is missing",
        "label cost-center is missing",
    ),
    "a webhook": (
        403,
        'admission webhook "validate.kyverno.svc" denied the request: policy require-team/team failed',
        "policy require-team/team failed",
    ),
    "a webhook that answers 400": (
        400,
        'admission webhook "validation.gatekeeper.sh" denied the request: [freeze] no changes on Fridays',
        "no changes on Fridays",
    ),
    "a webhook without an explanation": (
        400,
        'admission webhook "validate.example.com" denied the request without explanation',
        "denied the request without explanation",
    ),
    "a webhook that quotes a missing permission": (
        403,
        f'admission webhook "guard.example.com" denied the request: {MISSING_PERMISSION}',
        "guard.example.com",
    ),
    "a quota": (
        403,
        f'{OBJECT_FORBIDDEN}exceeded quota: objects, requested: count/qualtricsexporters=1, used: 5, limited: 5',
        "exceeded quota: objects",
    ),
    "a quota without a status": (
        403,
        f"{OBJECT_FORBIDDEN}status unknown for quota: objects, resources: count/events",
        "status unknown for quota: objects",
    ),
    "a namespace that is being deleted": (
        403,
        f"{OBJECT_FORBIDDEN}unable to create new content in namespace dex because it is being terminated",
        "it is being terminated",
    ),
    "an empty message": (403, "", "does not say why"),
    "a proxy": (403, "Request blocked by the firewall", "Request blocked by the firewall"),
    "an object that is too large": (500, "etcdserver: request is too large", "too large"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_other_than_a_missing_permission_shows_its_cause(case: str) -> None:
    status, message, shown = REFUSALS[case]
    error = refused(status, message, reason="Forbidden" if message else "")
    assert isinstance(error, Refused)
    assert shown in str(error)
    assert "lacks that rule" not in str(error)


@pytest.mark.parametrize("where", ['in the namespace "dex"', "at the cluster scope"], ids=["namespace", "cluster"])
def test_missing_permission_is_reported_as_a_missing_rule_of_the_role(where: str) -> None:
    error = refused(403, f"{OBJECT_FORBIDDEN}{MISSING_PERMISSION} {where}")
    assert isinstance(error, Forbidden)
    assert str(error).endswith("its role lacks that rule")


def test_missing_permission_shows_the_explanation_of_the_authorizer() -> None:
    explanation = 'RBAC: clusterrole.rbac.authorization.k8s.io "operator" not found'
    error = refused(403, f'{OBJECT_FORBIDDEN}{MISSING_PERMISSION} in the namespace "dex": {explanation}')
    assert isinstance(error, Forbidden)
    assert str(error).endswith(f"({explanation})")


def test_unreachable_webhook_is_named() -> None:
    message = (
        'Internal error occurred: failed calling webhook "guard.example.com": Post "https://10.0.0.1/?token=abc": EOF'
    )
    error = refused(500, message, reason="InternalError")
    assert isinstance(error, Unreachable)
    assert str(error).endswith('failed calling webhook "guard.example.com"')


def test_refusal_message_is_redacted_and_truncated() -> None:
    message = f"owner ana@example.com has token=s3cr3tvalue {'x ' * 5000}\nsecond line\x1b[31m"
    error = str(refused(403, f'admission webhook "guard.example.com" denied the request: {message}'))
    assert "ana@" not in error
    assert "s3cr3tvalue" not in error
    assert "\n" not in error
    assert "\x1b" not in error
    assert len(error) < refusals.MAX_CHARACTERS + 200


def test_schema_error_names_the_field_and_hides_its_value() -> None:
    causes = [{"field": "spec.qualtrics.subject", "message": 'Invalid value: "Dear Ana"'}]
    error = refused(
        422, 'spec.qualtrics.subject: Invalid value: "Dear Ana"', reason="Invalid", details={"causes": causes}
    )
    assert str(error).endswith("see spec.qualtrics.subject")


@pytest.mark.parametrize("resource", [EVENTS, LEASES], ids=["Event", "Lease"])
def test_refusal_of_an_event_or_a_lease_shows_its_cause(resource: ApiResource) -> None:
    error = refused(403, f"{OBJECT_FORBIDDEN}exceeded quota: objects, requested: count/events=1", resource=resource)
    assert "exceeded quota" in str(error)
