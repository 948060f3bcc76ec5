"""A refusal by the API server reaches the user with its cause, whatever refused the request."""

from typing import Any

import pytest

from qualtrics_exporter.controller.kube import refusals
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused, Unreachable
from qualtrics_exporter.controller.kube.resources import EVENTS, EXPORTERS_STATUS, LEASES, ApiRequest, ApiResource
from qualtrics_exporter.controller.kube.responses import raise_for_status

NAMED = 'qualtricsexporters.qualtrics-exporter.dev "teams" is forbidden: '
USER = 'User "system:serviceaccount:dex:operator"'
BY_POLICY = "ValidatingAdmissionPolicy 'cost-center' with binding 'all' denied request:"
NO_RIGHT = f'{USER} cannot update resource "qualtricsexporters/status" in API group "qualtrics-exporter.dev"'


def refused(
    status: int, message: str, reason: str = "Forbidden", resource: ApiResource = EXPORTERS_STATUS, **more: Any
) -> ClusterError:
    """What the operator makes of such a reply to a write."""
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message, **more}
    with pytest.raises(ClusterError) as raised:
        raise_for_status(status, body, ApiRequest("update", resource, "dex", "teams"))
    return raised.value


POLICIES = {
    "a policy of the API server": (
        403,
        f"{NAMED}{BY_POLICY} label cost-center is missing",
        "label cost-center is missing",
    ),
    "a policy that answers 422": (
        422,
        f"{NAMED}{BY_POLICY} label cost-center is missing",
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
    "a webhook that talks of permissions": (
        403,
        f'admission webhook "guard.example.com" denied the request: {NO_RIGHT}',
        "guard.example.com",
    ),
    "a quota": (
        403,
        f'{NAMED}exceeded quota: objects, requested: count/qualtricsexporters=1, used: 5, limited: 5',
        "exceeded quota: objects",
    ),
    "a quota that is not known yet": (
        403, f"{NAMED}status unknown for quota: objects, resources: count/events", "status unknown for quota: objects"
    ),
    "a namespace that is being deleted": (
        403,
        f"{NAMED}unable to create new content in namespace dex because it is being terminated",
        "it is being terminated",
    ),
    "something without a word": (403, "", "does not say why"),
    "a proxy with words of its own": (403, "Request blocked by the firewall", "Request blocked by the firewall"),
    "an object that is too large": (500, "etcdserver: request is too large", "too large"),
}  # fmt: skip


@pytest.mark.parametrize("case", POLICIES)
def test_a_refusal_that_is_not_a_missing_permission_says_its_cause(case: str) -> None:
    status, message, shown = POLICIES[case]
    error = refused(status, message, reason="Forbidden" if message else "")
    assert isinstance(error, Refused)
    assert shown in str(error)
    assert "lacks that rule" not in str(error)


@pytest.mark.parametrize("where", ['in the namespace "dex"', "at the cluster scope"])
def test_a_missing_permission_says_which(where: str) -> None:
    error = refused(403, f"{NAMED}{NO_RIGHT} {where}")
    assert isinstance(error, Forbidden)
    assert str(error).endswith("its role lacks that rule")


def test_what_an_authorizer_adds_is_shown() -> None:
    why = 'RBAC: clusterrole.rbac.authorization.k8s.io "operator" not found'
    error = refused(403, f'{NAMED}{NO_RIGHT} in the namespace "dex": {why}')
    assert isinstance(error, Forbidden)
    assert str(error).endswith(f"({why})")


def test_a_webhook_that_cannot_be_called_is_named() -> None:
    message = (
        'Internal error occurred: failed calling webhook "guard.example.com": Post "https://10.0.0.1/?token=abc": EOF'
    )
    error = refused(500, message, reason="InternalError")
    assert isinstance(error, Unreachable)
    assert str(error).endswith('failed calling webhook "guard.example.com"')


def test_no_address_and_no_secret_is_shown_and_no_more_than_a_few_lines() -> None:
    told = f"owner ana@example.com has token=s3cr3tvalue {'x ' * 5000}\nsecond line\x1b[31m"
    error = str(refused(403, f'admission webhook "guard.example.com" denied the request: {told}'))
    assert "ana@" not in error
    assert "s3cr3tvalue" not in error
    assert "\n" not in error
    assert "\x1b" not in error
    assert len(error) < refusals.MAX_CHARACTERS + 200


def test_a_schema_error_shows_no_value() -> None:
    causes = [{"field": "spec.qualtrics.subject", "message": 'Invalid value: "Dear Ana"'}]
    error = refused(
        422, 'spec.qualtrics.subject: Invalid value: "Dear Ana"', reason="Invalid", details={"causes": causes}
    )
    assert str(error).endswith("see spec.qualtrics.subject")


@pytest.mark.parametrize("resource", [EVENTS, LEASES])
def test_other_writes_say_it_too(resource: ApiResource) -> None:
    error = refused(403, f"{NAMED}exceeded quota: objects, requested: count/events=1", resource=resource)
    assert "exceeded quota" in str(error)
