"""A complete example on a node: Helm installs the chart, the sandbox is a Service, and a pod executes one run.

`make test-node` runs this before the tests on a node. `make node` keeps the node running until Ctrl-C (`--keep`).
"""

import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from hack.api_calls import ApiCallError
from hack.build import BuildError
from hack.helm import HelmError
from hack.image.builder import image
from hack.kubectl import KubectlError
from hack.node.node import Node, NodeError, unsupported_reason
from hack.programs import build
from tests.support.demo import RUN_NOW, show, step
from tests.support.installation import HOST, NAMESPACE, RELEASE, Installation

EXPORTER = "teams-rollout"
PEOPLE = ["ana@example.com", "ben@example.com", "chiara@example.com"]


def main(*, keep: bool) -> int:
    """Run the example; the exit code is 0 if the survey went to exactly the people of the query."""
    step("Building the image")
    built = image()
    show(f"{built.name} {built.digest}")
    step("Starting a node: control plane, scheduler, kubelet, containerd, kube-proxy, DNS")
    with tempfile.TemporaryDirectory(prefix="qex-helm-") as folder, Node(built) as node:
        show(node.kubectl("get", "nodes").stdout)
        step(f"helm install {RELEASE} charts/{RELEASE} --namespace {NAMESPACE} --wait, and the sandbox as {HOST}")
        with Installation(node, built.name, Path(folder)) as installation:
            show(installation.kubectl("get", "pods"))
            step(f"An exporter, and {RUN_NOW}=now")
            exporter = installation.exporter(EXPORTER, PEOPLE)
            exporter.checked()
            exporter.annotate(run_requested_at="now")
            entry = exporter.ended()
            show(installation.kubectl("get", "qex", "-o", "wide"))
            step(f"The log of {installation.leader()}")
            show(installation.kubectl("logs", installation.leader()))
            step("The outbox: the people who got a mail")
            for sent in installation.sandbox.distributions(EXPORTER):
                show(f"{sent['id']}: {sent['subject']!r} to {', '.join(sent['recipients'])}")
            mailed = [sorted(sent["recipients"]) for sent in installation.sandbox.distributions(EXPORTER)]
            good = entry["result"] == "Succeeded" and mailed == [PEOPLE]
            step("One distribution, to exactly the people of the query" if good else "The example failed")
            if keep:
                keep_running(node, installation)
            return 0 if good else 1


def keep_running(node: Node, installation: Installation) -> None:
    """Keep the node running until Ctrl-C, or until a component exits."""
    show(f"export KUBECONFIG={node.kubeconfig} PATH={Path(sysconfig.get_path('scripts'))}:$PATH")
    show(f"kubectl -n {NAMESPACE} get pods,qex")
    show(f"kubectl -n {NAMESPACE} annotate --overwrite qex/{EXPORTER} {RUN_NOW}=$(date +%s)")
    show("  (Qualtrics accepts the same survey to the same people, but sends no mail. So does the sandbox.)")
    show(f"{build()} helm list --all-namespaces")
    show(f"curl --insecure {installation.sandbox.outbox}.json")
    show("Ctrl-C ends everything.")
    node.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if reason := unsupported_reason():
        sys.exit(f"This machine cannot run a node: {reason}.")
    try:
        sys.exit(main(keep="--keep" in sys.argv[1:]))
    except (ApiCallError, BuildError, NodeError, KubectlError, HelmError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
