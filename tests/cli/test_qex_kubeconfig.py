"""`kubectl qex` accepts each kubeconfig that kubectl accepts. If kubectl fails, it says what the user can do."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.qex import Qex
from tests.support.stage import Stage

Content = dict[str, Any]
READ = [{"apiGroups": ["qualtrics-exporter.dev"], "resources": ["qualtricsexporters"], "verbs": ["get", "list"]}]


def read(qex: Qex) -> Content:
    content: Content = json.loads(qex.kubeconfig.read_text())
    return content


def with_user(qex: Qex, user: Content) -> Qex:
    """The command with other credentials."""
    return qex.with_kubeconfig({**read(qex), "users": [{"name": "test", "user": user}]})


def credential_program(token: str) -> Content:
    """An exec plugin, as clouds have it: here, `echo` prints the credential."""
    version = "client.authentication.k8s.io/v1"
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    plugin = {"apiVersion": version, "interactiveMode": "Never", "command": "echo", "args": [json.dumps(credential)]}
    return {"exec": plugin}


def token_of(qex: Qex) -> str:
    return str(read(qex)["users"][0]["user"]["token"])


def several_files(qex: Qex) -> Qex:
    content = read(qex)
    first = qex.with_kubeconfig({"clusters": content["clusters"]}, "first")
    rest = {key: content[key] for key in ("users", "contexts", "current-context")}
    second = qex.with_kubeconfig(rest, "second")
    return replace(qex, kubeconfig=Path(f"{first.kubeconfig}{os.pathsep}{second.kubeconfig}"))


def token_file(qex: Qex) -> Qex:
    path = qex.home / "token"
    path.write_text(token_of(qex))
    return with_user(qex, {"tokenFile": str(path)})


FORMS: dict[str, Callable[[Qex], Qex]] = {
    "token": lambda qex: qex,
    "token file": token_file,
    "exec plugin": lambda qex: with_user(qex, credential_program(token_of(qex))),
    "several files": several_files,
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_kubeconfig_works(stage: Stage, qex: Qex, form: str) -> None:
    stage.exporter()
    done = FORMS[form](qex).in_process("list", "-n", stage.namespace)
    assert "teams-rollout" in done.stdout
    assert done.stderr == ""


def test_client_certificate_works(stage: Stage, qex: Qex) -> None:
    if not stage.cluster.owned:
        pytest.skip("the tests did not start the cluster, and have no certificate for it")
    stage.exporter()
    path = str(stage.cluster.client_certificate())
    user = with_user(qex, {"client-certificate": path, "client-key": path})
    assert "teams-rollout" in user.in_process("list", "-n", stage.namespace).stdout


def test_flags_choose_file_context_and_user(stage: Stage, qex: Qex) -> None:
    stage.exporter()
    stage.cluster.service_account(stage.namespace, "reader", rules=READ)
    content = read(qex)
    context = {"cluster": "test", "user": "test", "namespace": stage.namespace}
    content["contexts"].append({"name": "other", "context": context})
    other = replace(qex.with_kubeconfig(content), kubeconfig=qex.home / "nothing")
    flags = ("--kubeconfig", str(qex.home / "config"), "--context", "other")
    assert "teams-rollout" in other.in_process("list", *flags).stdout

    user = f"system:serviceaccount:{stage.namespace}:reader"
    assert "teams-rollout" in other.in_process("list", *flags, "--as", user).stdout
    refused = other.in_process("list", "-A", *flags, "--as", user, code=1).stderr
    assert f'User "{user}" cannot list resource' in refused
    assert "To read only one namespace, use --namespace instead of -A." in refused


def no_context(qex: Qex) -> Qex:
    return qex.with_kubeconfig({**read(qex), "current-context": ""})


def unknown_context(qex: Qex) -> Qex:
    return qex.with_kubeconfig({**read(qex), "current-context": "old"})


def nothing_listens(qex: Qex) -> Qex:
    content = read(qex)
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    return qex.with_kubeconfig(content)


def missing_program(qex: Qex) -> Qex:
    plugin = {**credential_program("")["exec"], "command": "company-login"}
    return with_user(qex, {"exec": plugin})


def failing_program(qex: Qex) -> Qex:
    return with_user(qex, {"exec": {**credential_program("")["exec"], "command": "false"}})


PROBLEMS: dict[str, tuple[Callable[[Qex], Qex], tuple[str, ...]]] = {
    "no current context": (no_context, ("does not know which cluster to use", "choose one with --context")),
    "unknown context": (unknown_context, ("context: old.", "choose one with --context")),
    "expired login": (lambda qex: with_user(qex, {"token": "expired"}), ("Your login may have expired: log in again",)),
    "failing login program": (failing_program, ("executable false failed", "log in again")),
    "missing login program": (missing_program, ("company-login not found", "or install the program")),
    "cluster does not answer": (nothing_listens, ("127.0.0.1:1 was refused.", "Check your network connection")),
}


def test_missing_kubeconfig_ends_in_a_sentence(qex: Qex) -> None:
    done = qex.in_process("list", "--kubeconfig", "missing.yaml", code=1)
    assert "the kubeconfig missing.yaml does not exist." in done.stderr


def test_report_that_is_not_one_is_refused_without_a_cluster(qex: Qex) -> None:
    done = nothing_listens(qex).in_process("resolve", "teams-rollout", "sent", code=2)
    assert "write RUN=Sent, RUN=NotSent or RUN=EMD_" in done.stderr


LONG = ("failing login program", "cluster does not answer")


@pytest.mark.parametrize(
    "problem", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in PROBLEMS]
)
def test_problem_with_the_kubeconfig_ends_in_a_sentence(stage: Stage, qex: Qex, problem: str) -> None:
    change, texts = PROBLEMS[problem]
    done = change(qex).in_process("list", "-n", stage.namespace, code=1)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in texts:
        assert text in done.stderr


@pytest.mark.parametrize("command", ["status", "history", "events"])
def test_exporter_that_does_not_exist_ends_in_a_sentence(stage: Stage, qex: Qex, command: str) -> None:
    for namespace in (stage.namespace, "no-such-namespace"):
        done = qex.in_process(command, "nothing", "-n", namespace, code=1)
        assert done.stderr == (
            f"Error: there is no exporter nothing in the namespace {namespace}. "
            "`kubectl qex list -A` lists all exporters.\n"
        )


def test_list_of_an_empty_namespace_names_the_namespace(qex: Qex) -> None:
    done = qex.in_process("list", "-n", "no-such-namespace")
    assert done.stdout == ""
    assert done.stderr.startswith("There are no exporters in the namespace no-such-namespace. `kubectl qex list -A`")


def test_user_without_permission_gets_a_sentence(stage: Stage, qex: Qex) -> None:
    stage.exporter()
    nobody = replace(qex, kubeconfig=stage.cluster.service_account(stage.namespace, "nobody"))
    for command in ("status", "history", "events"):
        refused = nobody.in_process(command, "teams-rollout", code=1).stderr
        assert 'cannot get resource "qualtricsexporters"' in refused
        assert "Ask an administrator of the namespace for this permission." in refused
    reader = replace(qex, kubeconfig=stage.cluster.service_account(stage.namespace, "reader", rules=READ))
    refused = reader.in_process("events", "teams-rollout", code=1).stderr
    assert 'cannot list resource "events"' in refused
    assert "Ask an administrator of the namespace for this permission." in refused
