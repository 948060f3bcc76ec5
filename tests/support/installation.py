"""The chart installed on a node as users install it, and the sandbox in a pod, with a Service and TLS.

Both use the same image, in namespaces that enforce the *restricted* Pod Security Standard. The operator reaches the
sandbox through its Service. It trusts the sandbox because a value of the chart names its certificate authority.
"""

import json
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme

from hack.helm import Helm
from hack.node.node import Node
from hack.programs import installed
from qualtrics_exporter.sandbox import Account
from tests.support import guarded
from tests.support.applied_exporter import AppliedExporter, changed
from tests.support.waiting import HANG, HANG_SECONDS

RELEASE = "qualtrics-exporter"
NAMESPACE = "dex"
REMOTE = "remote"
SANDBOX = "sandbox"
HOST = f"{SANDBOX}.{REMOTE}.svc"
PORTS = {"nexthink": 8471, "qualtrics": 8472, "store": 8473}
IMAGE_USER = 65532

POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class SandboxPod:
    """The sandbox in a pod. It accepts control requests only from localhost, so they go through a port-forward."""

    def __init__(self, node: Node, image: str) -> None:
        self._node = node
        self._image = image
        self._authority = trustme.CA()
        self._forward: subprocess.Popen[str] | None = None
        self._address = ""
        self._account = Account.default()

    def __enter__(self) -> Self:
        self._node.namespace(REMOTE)
        self._node.apply(*self._objects())
        self._node.kubectl("rollout", "status", f"deployment/{SANDBOX}", "--namespace", REMOTE, f"--timeout={HANG}")
        command = [str(installed("kubectl")), "port-forward", f"service/{SANDBOX}", ":qualtrics", "--namespace", REMOTE]
        self._forward = guarded.start(
            [*command, "--kubeconfig", str(self._node.kubeconfig)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._forward.stdout
        line = self._forward.stdout.readline()  # Forwarding from 127.0.0.1:40617 -> 8472
        self._address = f"https://localhost:{line.split()[2].rpartition(':')[2]}"
        self._request("PUT", "settings", {"import_seconds": 0.5})  # the default is 5
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._forward:
            self._forward.terminate()
            self._forward.communicate()
            guarded.ended(self._forward)

    @property
    def authority(self) -> str:
        """The certificate of its certificate authority, in PEM."""
        return self._authority.cert_pem.bytes().decode()

    @property
    def outbox(self) -> str:
        """The URL of the page that shows all mails."""
        return f"{self._address}/_sandbox/outbox"

    def secrets(self) -> dict[str, dict[str, str]]:
        """Return the keys of the two Secrets with credentials, by the name of the Secret."""
        found: dict[str, dict[str, str]] = self._request("GET", "secrets")
        return found

    def query(self, query_id: str, people: list[str]) -> None:
        """Create a saved query that returns these people."""
        executed = self._account.queries[self._account.query_id].executed
        self._request("PUT", "queries", {"id": query_id, "people": people, "executed": executed})

    def hold(self, operation: str, when: str = "before") -> None:
        """Hold the next call of the operation before or after its effect, until it is released."""
        self._request("POST", "faults", {"operation": operation, "hold": when})

    def reached(self, operation: str) -> None:
        """Wait until a call of the operation is held."""
        wanted = urllib.parse.urlencode({"operation": operation, "timeout": HANG_SECONDS})
        assert self._request("GET", f"faults/reached?{wanted}")["reached"], f"no call of {operation} was held"

    def release(self, *, drop: bool = False) -> None:
        """Continue the calls that are held, or drop their connections."""
        self._request("POST", "faults/release", {"operation": "*", "drop": drop})

    def clear_faults(self) -> None:
        """Remove all faults, and continue the calls that are held."""
        self._request("DELETE", "faults")

    def distributions(self, subject: str) -> list[dict[str, Any]]:
        """Return the distributions with this subject."""
        return [sent for sent in self.record()["distributions"] if sent["subject"] == subject]

    def record(self) -> dict[str, Any]:
        """Return the record of all requests and their effects."""
        found: dict[str, Any] = self._request("GET", "record.json")
        return found

    def exporter_spec(self) -> dict[str, Any]:
        """Return the spec of an exporter for this sandbox."""
        return self._account.exporter_spec()

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self._address}/_sandbox/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self.authority)
        with urllib.request.urlopen(request, timeout=HANG_SECONDS, context=context) as reply:
            return json.load(reply)

    def _objects(self) -> list[dict[str, Any]]:
        certificate = self._authority.issue_cert(HOST, "localhost")
        chain = "".join(part.bytes().decode() for part in certificate.cert_chain_pems)
        keys = {"tls.crt": chain, "tls.key": certificate.private_key_pem.bytes().decode()}
        labels = {"app.kubernetes.io/name": SANDBOX}
        ports = [flag for name, port in PORTS.items() for flag in (f"--{name}-port", str(port))]
        files = ("--certificate", "/tls/tls.crt", "--key", "/tls/tls.key")
        container = {
            "name": SANDBOX,
            "image": self._image,
            "imagePullPolicy": "Never",
            "args": ["sandbox", "--host", "0.0.0.0", "--advertise", HOST, *ports, *files],
            "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
            "readinessProbe": {"tcpSocket": {"port": "qualtrics"}, "periodSeconds": 1},
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        }
        # The user of the image reads the key as a member of the group of the volume.
        security = {**POD_SECURITY, "runAsUser": IMAGE_USER, "runAsGroup": IMAGE_USER, "fsGroup": IMAGE_USER}
        pod = {
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "tls", "secret": {"secretName": "tls", "defaultMode": 0o440}}],
            "terminationGracePeriodSeconds": 1,
        }
        metadata = {"name": SANDBOX, "namespace": REMOTE}
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "name": "tls"}, "stringData": keys},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {
                    "selector": labels,
                    "ports": [{"name": name, "port": port, "targetPort": name} for name, port in PORTS.items()],
                },
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
        ]


class Installation:
    """A context manager that installs the chart and the sandbox. They are removed with the node."""

    def __init__(self, node: Node, image: str, folder: Path) -> None:
        self.node = node
        self.helm = Helm(folder, node.kubeconfig)
        self._image = image
        self._stack = ExitStack()
        self.sandbox = SandboxPod(node, image)

    def __enter__(self) -> Self:
        with self._stack as starting:
            starting.enter_context(self.sandbox)
            self.node.namespace(NAMESPACE)
            self.node.apply(*self._prerequisites())
            self.helm.install(RELEASE, "--wait", f"--timeout={HANG}", namespace=NAMESPACE, values=self.values())
            self._stack = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def values(self, **more: Any) -> dict[str, Any]:
        """Return the values of the chart: the image, the allowed hosts, the certificate authority, and `more`."""
        repository, _, tag = self._image.rpartition(":")
        return {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "allowedHosts": [f"{HOST}:{PORTS['nexthink']}", f"{HOST}:{PORTS['qualtrics']}"],
            "allowedDownloadHosts": [f"{HOST}:{PORTS['store']}"],
            "privateCA": {"configMapName": "remote-authority"},
            # More frequent than the default, because tests wait for these probes.
            "startupProbe": {"periodSeconds": 1, "failureThreshold": 120},
            "readinessProbe": {"periodSeconds": 1},
            **more,
        }

    def upgrade(self, *arguments: str, **more: Any) -> None:
        """`helm upgrade` with changed values."""
        self.helm.upgrade(RELEASE, *arguments, namespace=NAMESPACE, values=self.values(**more))

    def kubectl(self, *arguments: str, **more: Any) -> str:
        """Run kubectl in the namespace of the release."""
        return self.node.kubectl("--namespace", NAMESPACE, *arguments, **more).stdout

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of the operator that are not being deleted."""
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=controller"
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?{urllib.parse.urlencode({'labelSelector': selector})}"
        return [pod for pod in self.node.read(path)["items"] if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """Return the name of the pod that leads, or an empty string if none does."""
        lease = self.node.read(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}") or {"spec": {}}
        holder = str(lease["spec"].get("holderIdentity") or "")
        names = [pod["metadata"]["name"] for pod in self.pods()]
        return next((name for name in names if holder.startswith(name)), "")

    def exporter(self, name: str, people: list[str], **changes: Any) -> AppliedExporter:
        """Apply an exporter whose query returns these people. Its name is also the subject of its mails."""
        self.sandbox.query(f"#{name.replace('-', '_')}", people)
        exporter = AppliedExporter(self.node, NAMESPACE, name)  # type: ignore[arg-type]  a node has the same calls
        exporter.manifest = changed(
            {
                "apiVersion": "qualtrics-exporter.dev/v1alpha1",
                "kind": "QualtricsExporter",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": self.sandbox.exporter_spec(),
            },
            {"nexthink.queryId": f"#{name.replace('-', '_')}", "qualtrics.subject": name, **changes},
        )
        self.node.apply(exporter.manifest)
        return exporter

    def _prerequisites(self) -> list[dict[str, Any]]:
        authority: Mapping[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "remote-authority", "namespace": NAMESPACE},
            "data": {"ca.crt": self.sandbox.authority},
        }
        credentials = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": keys,
            }
            for name, keys in self.sandbox.secrets().items()
        ]
        return [dict(authority), *credentials]
