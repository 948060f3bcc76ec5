"""The other sample policies: who activates an exporter, the largest audience, and the addresses of a namespace."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.policies.users import Response, User
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

pytestmark = pytest.mark.cluster

CHANGE = {"spec": {"description": "Another description."}}


class TestActivation:
    """samples/policies/send-by-schedule.yaml"""

    @pytest.fixture
    def policy(self) -> str:
        return "send-by-schedule"

    def test_only_users_with_the_verb_create_change_and_activate_an_exporter_that_sends(
        self, manifest: dict[str, Any], editor: User, sender: User
    ) -> None:
        name = manifest["metadata"]["name"]

        def refused(response: Response) -> bool:
            return response.status == 403 and "set spec.suspend or spec.dryRun to true" in response.message

        assert refused(editor.create(manifest))
        assert refused(editor.apply(manifest))
        manifest["spec"]["suspend"] = True
        assert editor.create(manifest).ok
        assert editor.merge(name, {"spec": {"schedule": {"dayOfWeek": "Friday"}}}).ok
        assert refused(editor.merge(name, {"spec": {"suspend": False}}))
        assert refused(editor.merge(name, {"spec": {"suspend": None}}))
        assert editor.merge(name, {"spec": {"suspend": False, "dryRun": True}}).ok
        assert refused(editor.merge(name, {"spec": {"dryRun": False}}))

        assert sender.merge(name, {"spec": {"dryRun": False}}).ok
        assert refused(editor.merge(name, {"spec": {"nexthink": {"queryId": "#everybody"}}}))
        assert refused(editor.merge(name, {"spec": {"schedule": {"frequency": "Daily", "dayOfWeek": None}}}))
        # Metadata, and everything that stops an exporter, needs no verb.
        assert editor.merge(name, {"metadata": {"labels": {"team": "dex"}}}).ok
        assert editor.annotate(name, test_mode="Dry", test_requested_at="1").ok
        assert editor.merge(name, {"spec": {"suspend": True}}).ok

    def test_only_users_with_the_verb_change_what_a_test_that_delivers_will_send(
        self, manifest: dict[str, Any], editor: User, sender: User
    ) -> None:
        """A suspended exporter can be changed by everybody, and its test starts again with the changed spec."""
        name = manifest["metadata"]["name"]
        manifest["spec"]["suspend"] = True
        assert editor.create(manifest).ok
        changes = ({"nexthink": {"queryId": "#everybody"}}, {"qualtrics": {"subject": "Another subject"}})

        def refused(change: dict[str, Any]) -> bool:
            response = editor.merge(name, {"spec": change}, dry_run=True)
            return (
                response.status == 403 and "a test that e-mails people is requested or in progress" in response.message
            )

        assert sender.annotate(name, test_mode="Deliver", test_requested_at="1").ok
        assert all(refused(change) for change in changes)
        assert refused({"suspend": True, **changes[0]})
        assert editor.merge(name, {"spec": {"description": "Another description."}}).ok
        assert sender.merge(name, {"spec": changes[1]}).ok
        # Without the test, the user can change the exporter again.
        assert editor.annotate(name, test_mode="Dry").ok
        assert not refused(changes[0])
        assert sender.annotate(name, test_mode="Deliver", test_requested_at="Dry-2").ok
        assert not refused(changes[0])

        run = {"id": "test-1", "trigger": "Test", "step": "Importing", "holder": "operator", "generation": 1}
        active = {"status": {"activeRun": {**run, "startTime": "2026-03-02T09:00:00Z"}}}
        assert editor.merge(name, active, "/status").ok
        assert editor.annotate(name, test_mode="Dry").ok
        assert refused(changes[0]), "the test has begun, and delivers"
        assert editor.merge(name, {"status": {"activeRun": None}}, "/status").ok
        assert editor.merge(name, {"spec": changes[0]}).ok


class TestMaxRecipients:
    """samples/policies/max-recipients.yaml"""

    @pytest.fixture
    def policy(self) -> str:
        return "max-recipients"

    def test_an_exporter_needs_a_limit_that_is_not_above_that_of_its_namespace(
        self, manifest: dict[str, Any], editor: User, namespaces: Mapping[str, str]
    ) -> None:
        name = manifest["metadata"]["name"]
        sentence = f"spec.maxRecipients must be set, to at most 100 in the namespace {namespaces['max-recipients']}"
        for limit in ({"maxRecipients": 101}, {}):
            spec = {field: value for field, value in manifest["spec"].items() if field != "maxRecipients"}
            refused = editor.create(manifest | {"spec": spec | limit})
            assert refused.status == 422
            assert sentence in refused.message
        assert editor.create(manifest).ok
        assert not editor.merge(name, {"spec": {"maxRecipients": None}}).ok
        assert not editor.merge(name, {"spec": {"maxRecipients": 101, "suspend": True}}).ok
        assert not editor.json_patch(name, {"op": "remove", "path": "/spec/maxRecipients"}).ok
        assert editor.merge(name, {"spec": {"maxRecipients": 1}}).ok

    def test_an_administrator_gives_a_namespace_another_limit(
        self, manifest: dict[str, Any], editor: User, cluster: ControlPlane, namespaces: Mapping[str, str]
    ) -> None:
        namespace = namespaces["max-recipients"]
        parameters = f"/api/v1/namespaces/{namespace}/configmaps/max-recipients"
        manifest["spec"]["maxRecipients"] = 200
        assert not editor.create(manifest).ok
        cluster.merge(parameters, {"data": {namespace: "200"}})
        eventually(lambda: editor.create(manifest, dry_run=True).ok, "the limit of the namespace is in force")
        assert editor.create(manifest).ok
        cluster.merge(parameters, {"data": {namespace: None}})
        name = manifest["metadata"]["name"]
        # Now the exporter has more than the policy allows, as one from before the policy.
        eventually(
            lambda: "at most 100" in editor.merge(name, CHANGE, dry_run=True).message,
            "the default is in force again",
        )
        assert editor.annotate(name, test_mode="Dry", test_requested_at="1").ok
        assert editor.merge(name, {"spec": {"suspend": True}}).ok
        assert not editor.merge(name, {"spec": {"suspend": False}}).ok


class TestFromAddresses:
    """samples/policies/from-addresses.yaml"""

    @pytest.fixture
    def policy(self) -> str:
        return "from-addresses"

    @pytest.mark.parametrize(
        ("addresses", "refused"),
        [
            ({"fromEmail": "Surveys@Example.com"}, ""),
            ({"fromEmail": "anybody@qemailserver.com", "replyToEmail": "surveys@example.com"}, ""),
            ({"fromEmail": "other@example.com"}, "other@example.com"),
            ({"fromEmail": "surveys@example.com.evil.example"}, "surveys@example.com.evil.example"),
            ({"fromEmail": "a@sub.qemailserver.com"}, "a@sub.qemailserver.com"),
            ({"fromEmail": "a@evilqemailserver.com"}, "a@evilqemailserver.com"),
            ({"fromEmail": "*@qemailserver.com"}, ""),  # a valid address, at the domain that is allowed
            ({"fromEmail": "*@example.com"}, "*@example.com"),
            ({"fromEmail": "surveys@example.com", "replyToEmail": "me@home.example"}, "me@home.example"),
            ({"fromEmail": "a@b.example", "replyToEmail": "c@d.example"}, "a@b.example or c@d.example"),
        ],
    )
    def test_an_exporter_uses_only_addresses_of_its_namespace(
        self,
        addresses: dict[str, str],
        refused: str,
        manifest: dict[str, Any],
        editor: User,
        namespaces: Mapping[str, str],
    ) -> None:
        manifest["spec"]["qualtrics"].pop("replyToEmail")
        manifest["spec"]["qualtrics"] |= {"allowCustomFromDomain": True, **addresses}
        response = editor.create(manifest, dry_run=True)
        assert response.ok is not bool(refused), response
        if refused:
            namespace = namespaces["from-addresses"]
            assert f"the namespace {namespace} must not use the address {refused} as" in response.message
            assert f"the ConfigMap {namespace}/from-addresses" in response.message

    def test_a_changed_address_is_checked_and_suspending_is_always_possible(
        self, manifest: dict[str, Any], editor: User, cluster: ControlPlane, namespaces: Mapping[str, str]
    ) -> None:
        name, namespace = manifest["metadata"]["name"], namespaces["from-addresses"]
        parameters = f"/api/v1/namespaces/{namespace}/configmaps/from-addresses"
        manifest["spec"]["qualtrics"].pop("replyToEmail", None)
        manifest["spec"]["qualtrics"] |= {"allowCustomFromDomain": True, "fromEmail": "surveys@example.com"}
        assert editor.create(manifest).ok
        assert not editor.merge(name, {"spec": {"qualtrics": {"fromEmail": "other@example.com"}}}).ok
        assert not editor.merge(
            name, {"spec": {"suspend": True, "qualtrics": {"replyToEmail": "other@example.com"}}}
        ).ok
        data = cluster.read(parameters)["data"]
        cluster.merge(parameters, {"data": {namespace: None}})
        eventually(lambda: not editor.merge(name, CHANGE, dry_run=True).ok, "the namespace has no addresses")
        assert editor.annotate(name, test_mode="Dry", test_requested_at="1").ok
        assert editor.merge(name, {"spec": {"suspend": True}}).ok
        assert not editor.merge(name, {"spec": {"suspend": False}}).ok
        cluster.merge(parameters, {"data": data})
        eventually(lambda: editor.merge(name, {"spec": {"suspend": False}}).ok, "the addresses are allowed again")
