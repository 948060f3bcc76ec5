"""A real Kubernetes control plane for tests and the demo: only etcd and kube-apiserver, with RBAC.

A fake API server has the assumptions of its author. Tests of conflicts, CEL rules, watches and RBAC need a real one.
The first of these is used:

1. `QUALTRICS_EXPORTER_TEST_KUBECONFIG`: an existing cluster. The tests leave objects in it, so it must be named
   explicitly: `KUBECONFIG` is ignored, because its current context can be any cluster.
2. `KUBEBUILDER_ASSETS`: a folder with the binaries `etcd` and `kube-apiserver`.
3. A program built by `hack/programs.py`.

The last two use only a temporary folder and 127.0.0.1, and are removed when the run ends or is killed. They run no
controllers: a namespace gets no default service account, and a deleted namespace stays `Terminating`. So each test
creates its own namespace and does not delete it.

`python -m tests.support.controlplane` runs a control plane in the foreground and prints the path of its kubeconfig.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kubernetes

from hack.api_calls import ApiCalls
from hack.build import BuildError
from hack.files import ROOT
from hack.guard import Guard, temporary_folder
from hack.kubectl import KubectlError, run_kubectl, write_kubeconfig
from tests.support.controlplane_processes import ControlPlaneError, ControlPlaneProcesses
from tests.support.waiting import HANG, HANG_SECONDS, eventually

EXISTING_CLUSTER = "QUALTRICS_EXPORTER_TEST_KUBECONFIG"

Rule = Mapping[str, Sequence[str]]
"""A rule of a Role, as in its manifest: apiGroups, resources, verbs and optionally resourceNames."""


class ControlPlane(ApiCalls):
    """A control plane that runs from `start` to `stop`, or as long as a `with` block.

    Its methods are synchronous. Tests of asynchronous code can call them with `asyncio.to_thread`, or directly if the
    event loop may be blocked for a few hundred milliseconds.
    """

    def __init__(self) -> None:
        existing = os.environ.get(EXISTING_CLUSTER)
        self.owned = not existing
        """Whether the tests started the control plane. Only then they can freeze and restart it."""
        self._folder: Path | None = None
        self._kubeconfig: Path | None = Path(existing).expanduser().resolve() if existing else None
        self._processes: ControlPlaneProcesses | None = None
        self._guard: Guard | None = None
        self._clients: dict[Path, Any] = {}
        self.is_frozen = False
        self._created_objects: list[tuple[str, ...]] = []
        self._cluster: dict[str, Any] = {}  # the entry of the cluster in a kubeconfig, when it is known

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the control plane, and wait until it is ready. If this fails, everything is stopped."""
        if self._folder:
            raise ControlPlaneError("the control plane is already running")
        self._folder = temporary_folder()
        try:
            self._guard = Guard(self._folder)
            if self.owned:
                self._processes = ControlPlaneProcesses(self._folder, self._guard)
                self._kubeconfig = self._processes.kubeconfig
                self._processes.start()
            else:
                self._attach()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all processes and remove the folder. In an existing cluster, delete the objects of the tests."""
        self._close_clients()
        for arguments in self._created_objects:
            self.kubectl("delete", "--wait=false", "--ignore-not-found", *arguments, check=False)
        self._created_objects.clear()
        if self._processes:
            self._processes.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard:
            self._guard.stop()
        self._folder = self._guard = self._processes = None
        self._cluster = {}
        if self.owned:
            self._kubeconfig = None

    def restart(self) -> None:
        """Stop the processes and start them again, with the same address and objects."""
        processes = self._owned_processes()
        self._close_clients()
        processes.stop()
        processes.start()

    def freeze(self) -> None:
        """Suspend the processes: connections stay open and get no response, as if the node hangs."""
        processes = self._owned_processes()
        self.is_frozen = True
        processes.freeze()

    def thaw(self) -> None:
        """Resume the processes after `freeze`, and wait until the API server is ready."""
        self._owned_processes().thaw()
        self.is_frozen = False

    def wait(self) -> None:
        """Wait until a process exits unexpectedly. For an existing cluster, this never returns."""
        while not self._processes or self._processes.are_running():
            time.sleep(0.5)

    # Operations

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator (`system:masters`, unless the cluster is an existing one)."""
        if not self._kubeconfig:
            raise ControlPlaneError("the control plane is not running")
        return self._kubeconfig

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        check: bool = True,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, or as the user of another kubeconfig."""
        return run_kubectl(args, kubeconfig or self.kubeconfig, self._path("cache"), input=input, check=check)

    def api(self, kubeconfig: Path | None = None) -> Any:
        """Return a `kubernetes.client.ApiClient` of the administrator, or of the user of another kubeconfig.

        The control plane closes the client when it stops.
        """
        path = kubeconfig or self.kubeconfig
        if path not in self._clients:
            self._clients[path] = kubernetes.config.new_client_from_config(str(path))  # type: ignore[no-untyped-call]
        return self._clients[path]

    def send_as(
        self, kubeconfig: Path, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send one request as the user of a kubeconfig, and return the HTTP status and the body of the response."""
        client = self.api(kubeconfig)
        headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
        client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        # The client encodes a body as JSON only if the content type contains json.
        sent = body if body is None or "json" in content_type else json.dumps(body)
        url = client.configuration.host + path
        reply = client.call_api(method, url, headers, sent, _request_timeout=HANG_SECONDS)
        return reply.status, reply.read()

    def install_crds(self) -> None:
        """Apply the CRDs of the operator, and wait until they are established."""
        crds = f"--filename={ROOT / 'crds'}"
        self.kubectl("apply", "--server-side", "--force-conflicts", crds)
        # A CRD that was just applied has no conditions, and `kubectl wait` fails then.
        wait = ("wait", "--for=condition=Established", f"--timeout={HANG}", crds)
        eventually(lambda: self.kubectl(*wait, check=False).returncode == 0, "the CRDs are established")

    def namespace(self, name: str) -> str:
        """Create a namespace and return its name."""
        metadata = {"name": name}
        self.put(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._delete_when_stopped("namespace", name)
        return name

    def service_account(
        self, namespace: str, name: str, *, rules: Sequence[Rule] = (), cluster_rules: Sequence[Rule] = ()
    ) -> Path:
        """Create a service account with the permissions of the rules, and return the path of a kubeconfig for it.

        `rules` become a Role in its namespace, and `cluster_rules` a ClusterRole. Another call with the same name
        replaces the rules that it gives.
        """
        metadata = {"name": name, "namespace": namespace}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        self.put(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}", account)
        objects: list[dict[str, Any]] = []
        if rules:
            objects += role("", metadata, rules, (namespace, name))
        if cluster_rules:
            everywhere = f"{namespace}-{name}"
            self._delete_when_stopped("clusterrole,clusterrolebinding", everywhere)
            objects += role("Cluster", {"name": everywhere}, cluster_rules, (namespace, name))
        for item in objects:
            where = f"namespaces/{namespace}/" if "namespace" in item["metadata"] else ""
            place = f"/apis/{item['apiVersion']}/{where}{item['kind'].lower()}s/{item['metadata']['name']}"
            self.put(place, item)
        return self.credentials(namespace, name)

    def credentials(self, namespace: str, name: str) -> Path:
        """Return the path of a kubeconfig with a new token of an existing service account, which is valid for 12
        hours."""
        request = kubernetes.client.AuthenticationV1TokenRequest(
            spec=kubernetes.client.V1TokenRequestSpec(audiences=[], expiration_seconds=12 * 3600)
        )
        core = kubernetes.client.CoreV1Api(self.api())
        token = core.create_namespaced_service_account_token(name, namespace, request).status.token
        if not self._cluster:
            view = self.kubectl("config", "view", "--minify", "--raw", "--flatten", "--output", "json")
            self._cluster = json.loads(view.stdout)["clusters"][0]["cluster"]
        path = self._path("credentials", f"{namespace}.{name}.kubeconfig")
        return write_kubeconfig(path, self._cluster, token, namespace)

    def client_certificate(self) -> Path:
        """Return the path of the certificate of the administrator and its key, in one file."""
        return self._owned_processes().client_certificate

    # Implementation

    def _send(self, method: str, path: str, body: dict[str, Any] | None, content_type: str) -> tuple[int, bytes]:
        return self.send_as(self.kubeconfig, method, path, body, content_type)

    def _path(self, *parts: str) -> Path:
        if not self._folder:
            raise ControlPlaneError("the control plane is not running")
        return self._folder.joinpath(*parts)

    def _owned_processes(self) -> ControlPlaneProcesses:
        if not self.owned:
            raise ControlPlaneError(f"the tests did not start the cluster of {EXISTING_CLUSTER}, and cannot stop it")
        if not self._processes:
            raise ControlPlaneError("the control plane is not running")
        return self._processes

    def _address(self) -> tuple[str, int]:
        return self._owned_processes().address()

    def _delete_when_stopped(self, *arguments: str) -> None:
        if not self.owned:
            self._created_objects.insert(0, arguments)

    def _attach(self) -> None:
        """Check that the existing cluster is reachable. Otherwise, every test would fail."""
        if not self.kubeconfig.is_file():
            raise ControlPlaneError(f"{EXISTING_CLUSTER} is {self.kubeconfig}, which is not a file")
        self.kubectl("get", "--raw", "/readyz", "--request-timeout", HANG)

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
            client.rest_client.pool_manager.clear()
        self._clients.clear()


def role(scope: str, metadata: dict[str, str], rules: Sequence[Rule], account: tuple[str, str]) -> list[dict[str, Any]]:
    """Return a Role and its binding to a service account, or a ClusterRole if the scope is "Cluster"."""
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    return [
        {"apiVersion": f"{group}/v1", "kind": f"{scope}Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{scope}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": f"{scope}Role", "name": metadata["name"]},
            "subjects": [subject],
        },
    ]


def main() -> None:
    """Run a control plane until it is interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane() as control_plane:
            print(control_plane.kubeconfig, flush=True)
            print("Ready: set KUBECONFIG to this path. Press Ctrl-C to stop.", file=sys.stderr)
            control_plane.wait()
            sys.exit("The control plane exited unexpectedly.")
    except KeyboardInterrupt:
        pass
    except (BuildError, ControlPlaneError, KubectlError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
