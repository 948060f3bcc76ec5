"""`make demo`: a complete example on a real API server, in one terminal.

It starts a control plane, the sandbox as Nexthink and Qualtrics, and the operator as a process whose service account
has exactly the permissions of an installation. It applies the CRD and a sample with kubectl, requests a run with an
annotation, and prints what a user sees. Then it ends and leaves nothing running; with `--keep` it runs until Ctrl-C.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hack import plain_yaml
from hack.api_calls import ApiCallError
from hack.build import BuildError
from hack.files import ROOT
from hack.programs import installed
from qualtrics_exporter.clock import SystemClock
from tests.support.applied_exporter import AppliedExporter
from tests.support.controlplane import ControlPlane, ControlPlaneError, Rule
from tests.support.operator import Operator
from tests.support.sandbox import SandboxThread
from tests.support.waiting import HANG, HANG_SECONDS, eventually

NAMESPACE = "dex"
SAMPLE = ROOT / "samples" / "teams-rollout.yaml"
RBAC = ROOT / "config" / "base" / "rbac.yaml"
"""The permissions of the chart, rendered: the demo needs no Helm."""

RUN_NOW = "qualtrics-exporter.dev/run-requested-at"


def main() -> int:
    """Run the demo; the exit code is 0 if the survey went to exactly the people of the query."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--keep", action="store_true", help="keep everything running until Ctrl-C, and print commands to try"
    )
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave nothing running
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qualtrics-exporter-demo-")))
        step(
            "A control plane: etcd and kube-apiserver (the first time, they are compiled, which takes several minutes)"
        )
        cluster = stack.enter_context(ControlPlane())
        version = json.loads(cluster.kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
        show(f"Kubernetes {version} is running.")

        step("The CRD, the namespace and the sample's Secrets")
        cluster.install_crds()
        cluster.namespace(NAMESPACE)
        sandbox = stack.enter_context(SandboxThread(SystemClock(), tls=None))
        for name, keys in sandbox.secrets().items():
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
            cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(secret))
        show(f"The sandbox is Nexthink and Qualtrics. Its outbox: {sandbox.outbox_url}")

        step("The operator, as a process with its own service account")
        cluster.namespace("qualtrics-exporter-system")
        kubeconfig = cluster.service_account("qualtrics-exporter-system", "operator", **permissions())
        where = ("--allow-http", "--allowed-host", "localhost", "--lease-namespace", "qualtrics-exporter-system")
        operator = stack.enter_context(
            Operator(kubeconfig, folder / "operator", *where, "--log-format", "console", forked=False)
        )
        show(f"It is running. Its metrics: {operator.address}/metrics")

        step(f"kubectl apply -f {SAMPLE.relative_to(ROOT)}")
        show(cluster.kubectl("apply", "-f", str(SAMPLE)).stdout.strip())
        ready = "qualtricsexporter/teams-rollout"
        wait = ("wait", "-n", NAMESPACE, "--for=condition=Ready", ready, f"--timeout={HANG}")
        show(cluster.kubectl(*wait).stdout.strip())

        step(f"kubectl annotate {ready} {RUN_NOW}=demo")
        show(cluster.kubectl("annotate", "-n", NAMESPACE, ready, f"{RUN_NOW}=demo").stdout.strip())
        exporter = AppliedExporter(cluster, NAMESPACE, "teams-rollout")
        entry = exporter.ended()
        eventually(lambda: len(exporter.events()) >= 2, "the Events are there")

        step("kubectl get qex -o wide")
        show(exporter.kubectl("get", "qex", "-o", "wide"))
        step("Its status")
        show(exporter.kubectl("get", "qex", "teams-rollout", "-o", "jsonpath-as-json={.status}"))
        step("Its Events")
        for event in exporter.events():
            show(f"{event['type']:8} {event['reason']:10} {event['note']}")
        step("The outbox: the people who got a mail")
        for sent in sandbox.recorder.distributions:
            show(f"{sent.id}: {sent.subject!r} to {len(sent.recipients)} people")
            for address in sent.recipients:
                show(f"    {address}")
        wanted = {str(row[0]).lower() for row in sandbox.account.queries[sandbox.account.query_id].stream() if row[0]}
        mailed = sandbox.recorder.mails()
        good = entry["result"] == "Succeeded" and set(mailed) == wanted and set(mailed.values()) == {1}
        step("One distribution, to exactly the people of the query" if good else "The demo failed")
        if keep and good:
            keep_running(cluster, sandbox)
        return 0 if good else 1


def permissions() -> dict[str, list[Rule]]:
    """Return the rules of an operator for all namespaces, as arguments of `service_account`."""
    objects = list(plain_yaml.read_all(RBAC.read_text()))
    bound = {(object_["roleRef"]["kind"], object_["roleRef"]["name"]) for object_ in objects if "roleRef" in object_}
    rules: dict[str, list[Rule]] = {"Role": [], "ClusterRole": []}
    for object_ in objects:
        if (object_["kind"], object_["metadata"]["name"]) in bound:
            rules[object_["kind"]] += object_["rules"]
    return {"rules": rules["Role"], "cluster_rules": rules["ClusterRole"]}


def keep_running(cluster: ControlPlane, sandbox: SandboxThread) -> None:
    """Keep everything running until Ctrl-C."""
    show(f"export KUBECONFIG={cluster.kubeconfig}")
    show(f"kubectl -n {NAMESPACE} get qex -w")
    show(f"kubectl -n {NAMESPACE} annotate --overwrite qex/teams-rollout {RUN_NOW}=$(date +%s)")
    show(f"The outbox: {sandbox.outbox_url}")
    show("kubectl qex dashboard")
    with console(cluster):
        show("Ctrl-C ends everything.")
        threading.Event().wait()


@contextmanager
def console(cluster: ControlPlane) -> Iterator[None]:
    """Run `kubectl qex dashboard` in this terminal. It prints its address, and another one for each Enter."""
    programs = os.pathsep.join([str(installed("kubectl").parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": programs, "KUBECONFIG": str(cluster.kubeconfig)}
    process = subprocess.Popen(["kubectl", "qex", "dashboard", "--no-browser"], env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(HANG_SECONDS)


def step(title: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}▶ {title}{plain}", flush=True)


def show(text: str) -> None:
    """Print a text that belongs to the step."""
    print("\n".join(f"  {line}" for line in text.rstrip().splitlines()), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(error, error.stderr or "", sep="\n", file=sys.stderr)
        sys.exit(1)
    except (ApiCallError, BuildError, ControlPlaneError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
