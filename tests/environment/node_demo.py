"""A complete example on a node: Helm installs the chart, the sandbox is a Service, and a pod executes one run.

`python -m tests.environment.node` shows this and ends. With `--keep`, it keeps running for a developer until Ctrl-C.
With `--prepare`, it only builds what a node needs, if this machine can run one: during the tests, there is no time for
that.
"""

import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.environment.api_calls import ApiCallError
from tests.environment.build import BuildError, build
from tests.environment.controlplane import KubectlError
from tests.environment.demo import RUN_NOW, say, step
from tests.environment.helm import HelmError
from tests.environment.image import image
from tests.environment.node import Node, NodeError, obstacle, prepare
from tests.environment.node.installation import HOST, NAMESPACE, RELEASE, Installation

EXPORTER = "teams-rollout"
PEOPLE = ["ana@example.com", "ben@example.com", "chiara@example.com"]


def main(*, keep: bool) -> int:
    """Run the example; the exit code is 0 if the survey went to exactly the people of the query."""
    step("Building the image")
    built = image()
    say(f"{built.name} {built.digest}")
    step("Starting a node: control plane, scheduler, kubelet, containerd, kube-proxy, DNS")
    with tempfile.TemporaryDirectory(prefix="qex-helm-") as folder, Node(built) as node:
        say(node.kubectl("get", "nodes").stdout)
        step(f"helm install {RELEASE} charts/{RELEASE} --namespace {NAMESPACE} --wait, and the sandbox as {HOST}")
        with Installation(node, built.name, Path(folder)) as installation:
            say(installation.kubectl("get", "pods"))
            step(f"An exporter, and {RUN_NOW}=now")
            exporter = installation.exporter(EXPORTER, PEOPLE)
            exporter.checked()
            exporter.annotate(run_requested_at="now")
            entry = exporter.ended()
            say(installation.kubectl("get", "qex", "-o", "wide"))
            step(f"The log of {installation.leader()}")
            say(installation.kubectl("logs", installation.leader()))
            step("The outbox: the people who got a mail")
            for sent in installation.sandbox.distributions(EXPORTER):
                say(f"{sent['id']}: {sent['subject']!r} to {', '.join(sent['recipients'])}")
            mailed = [sorted(sent["recipients"]) for sent in installation.sandbox.distributions(EXPORTER)]
            good = entry["result"] == "Succeeded" and mailed == [PEOPLE]
            step("One distribution, to exactly the people of the query" if good else "The example failed")
            if keep:
                stay(node, installation)
            return 0 if good else 1


def stay(node: Node, installation: Installation) -> None:
    """Keep the node running until Ctrl-C, or until a component exits."""
    say(f"export KUBECONFIG={node.kubeconfig} PATH={Path(sysconfig.get_path('scripts'))}:$PATH")
    say(f"kubectl -n {NAMESPACE} get pods,qex")
    say(f"kubectl -n {NAMESPACE} annotate --overwrite qex/{EXPORTER} {RUN_NOW}=$(date +%s)")
    say("  (Qualtrics accepts the same survey to the same people, but sends no mail. So does the sandbox.)")
    say(f"{build()} helm list --all-namespaces")
    say(f"curl --insecure {installation.sandbox.outbox}")
    say("Ctrl-C ends everything.")
    node.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    only_prepare = "--prepare" in sys.argv[1:]
    if reason := obstacle():
        print(f"This machine cannot run a node: {reason}.", file=sys.stderr)
        sys.exit(0 if only_prepare else 1)
    try:
        if only_prepare:
            prepare()
            image()
        else:
            sys.exit(main(keep="--keep" in sys.argv[1:]))
    except (ApiCallError, BuildError, NodeError, KubectlError, HelmError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
