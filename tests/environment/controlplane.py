"""A real Kubernetes control plane for tests and the demo: only etcd and kube-apiserver, with RBAC.

A fake API server has the assumptions of its author. Tests of conflicts, CEL rules, watches and RBAC need a real one.
The first of these is used:

1. `QUALTRICS_EXPORTER_TEST_KUBECONFIG`: an existing cluster. The tests leave objects in it, so it must be named
   explicitly: `KUBECONFIG` is ignored, because its current context can be any cluster.
2. `KUBEBUILDER_ASSETS`: a folder with the binaries `etcd` and `kube-apiserver`.
3. A program built by `build.py`.

The last two use only a temporary folder and 127.0.0.1, and are removed when the run ends or is killed. They run no
controllers: a namespace gets no default service account, and a deleted namespace stays `Terminating`. So each test
creates its own namespace and does not delete it.

`python -m tests.environment.controlplane` runs a control plane in the foreground and prints the path of its kubeconfig.
"""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kubernetes
import trustme

from tests.environment import guard
from tests.environment.api_calls import ApiCalls
from tests.environment.build import ROOT, BuildError, build, control_plane_command, installed, without_collection
from tests.environment.waiting import HANG, HANG_SECONDS, eventually

EXISTING_CLUSTER = "QUALTRICS_EXPORTER_TEST_KUBECONFIG"
BINARIES = "KUBEBUILDER_ASSETS"

STOP_TIMEOUT = 15.0
"""Seconds between SIGTERM and SIGKILL. Both have the same result for the tests."""

GOGC = "400"
"""GOGC of the processes. It is higher than the default of 100: they use more memory and less processor time."""

NOT_AN_ERROR = re.compile(r"[IW]\d{4} ")
"""The prefix of log lines that are not errors. A healthy API server writes hundreds of them."""

Rule = Mapping[str, Sequence[str]]
"""A rule of a Role, as in its manifest: apiGroups, resources, verbs and optionally resourceNames."""


class ControlPlaneError(Exception):
    """The control plane cannot start, or an operation is not possible. The message contains the end of its log."""


class KubectlError(subprocess.CalledProcessError):
    """kubectl failed. The message contains its output, so that a failed test shows it."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout}{self.stderr}"


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
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[str] | None = None
        self._port: socket.socket | None = None
        self._token = secrets.token_urlsafe()
        self._tls: ssl.SSLContext | None = None
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
            self._guard = start_guard(self._folder)
            if self.owned:
                self._prepare()
                self._launch()
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
        self._terminate()
        if self._port:
            self._port.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard:
            self._guard.communicate()  # closes its standard input, which ends it
        self._folder = self._guard = self._port = None
        self._cluster = {}
        if self.owned:
            self._kubeconfig = None

    def restart(self) -> None:
        """Stop the processes and start them again, with the same address and objects."""
        self._require_owned()
        self._close_clients()
        self._terminate()
        self._launch()

    def freeze(self) -> None:
        """Suspend the processes: connections stay open and get no response, as if the node hangs."""
        self._require_owned()
        self.is_frozen = True
        self._signal(signal.SIGSTOP)
        for process in self._processes:
            os.waitpid(process.pid, os.WUNTRACED)  # until then, a thread can still respond

    def thaw(self) -> None:
        """Resume the processes after `freeze`, and wait until the API server is ready."""
        self._require_owned()
        self._signal(signal.SIGCONT)
        self._wait_until_ready()
        self.is_frozen = False

    def wait(self) -> None:
        """Wait until a process exits unexpectedly. For an existing cluster, this never returns."""
        while all(process.poll() is None for process in self._processes):
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

    # Implementation

    def _send(self, method: str, path: str, body: dict[str, Any] | None, content_type: str) -> tuple[int, bytes]:
        client = self.api()
        headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
        client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        # The client encodes a body as JSON only if the content type contains json.
        sent = body if body is None or "json" in content_type else json.dumps(body)
        url = client.configuration.host + path
        reply = client.call_api(method, url, headers, sent, _request_timeout=HANG_SECONDS)
        return reply.status, reply.read()

    def _path(self, *parts: str) -> Path:
        if not self._folder:
            raise ControlPlaneError("the control plane is not running")
        return self._folder.joinpath(*parts)

    def _require_owned(self) -> None:
        if not self.owned:
            raise ControlPlaneError(f"the tests did not start the cluster of {EXISTING_CLUSTER}, and cannot stop it")

    def _delete_when_stopped(self, *arguments: str) -> None:
        if not self.owned:
            self._created_objects.insert(0, arguments)

    def _attach(self) -> None:
        """Check that the existing cluster is reachable. Otherwise, every test would fail."""
        if not self.kubeconfig.is_file():
            raise ControlPlaneError(f"{EXISTING_CLUSTER} is {self.kubeconfig}, which is not a file")
        self.kubectl("get", "--raw", "/readyz", "--request-timeout", HANG)

    def _prepare(self) -> None:
        """Create everything that a restart keeps: the address, certificates and the kubeconfig of the administrator."""
        self._port = reserve_port()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._path("ca.pem"))
        server = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        server.private_key_and_cert_chain_pem.write_to_path(self._path("server.pem"))
        authority.issue_cert(common_name="tokens").private_key_pem.write_to_path(self._path("tokens.pem"))
        self._path("users.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        self._path("etcd").mkdir(mode=0o700)
        self._tls = ssl.create_default_context(cafile=str(self._path("ca.pem")))
        host, port = self._address()
        cluster = {"server": f"https://{host}:{port}", "certificate-authority": str(self._path("ca.pem"))}
        self._kubeconfig = write_kubeconfig(self._path("kubeconfig"), cluster, self._token, "default")

    def _address(self) -> tuple[str, int]:
        assert self._port
        host, port = self._port.getsockname()
        return host, port

    def _launch(self) -> None:
        binaries = os.environ.get(BINARIES)
        if binaries:
            etcd_url, peer_url = (
                f"unix://{self._path('etcd', 'client.sock')}",
                f"unix://{self._path('etcd', 'peer.sock')}",
            )
            self._spawn(
                str(Path(binaries) / "etcd"),
                f"--data-dir={self._path('etcd')}",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--log-level=error",
                "--unsafe-no-fsync",
            )
            self._spawn(str(Path(binaries) / "kube-apiserver"), f"--etcd-servers={etcd_url}", *self._flags())
        else:
            self._spawn(*control_plane_command(), str(self._path("etcd")), *self._flags())
        self._wait_until_ready()

    def _flags(self) -> list[str]:
        host, port = self._address()
        return [
            f"--advertise-address={host}",
            f"--bind-address={host}",
            "--endpoint-reconciler-type=none",  # the other types reject a loopback address
            f"--secure-port={port}",
            "--permit-port-sharing",  # with the socket that reserves the port
            f"--cert-dir={self._path()}",
            f"--tls-cert-file={self._path('server.pem')}",
            f"--tls-private-key-file={self._path('server.pem')}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._path('users.csv')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._path('tokens.pem')}",
            f"--service-account-signing-key-file={self._path('tokens.pem')}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # This plugin rejects pods in a namespace without a default service account. No controller creates one here.
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _spawn(self, *command: str) -> None:
        """Start a process in its own session, so that Ctrl-C on the terminal interrupts only the test run."""
        with self._path("log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._path(),
                    env={"GOGC": GOGC, **os.environ},
                    start_new_session=True,
                )
            except OSError as error:
                raise ControlPlaneError(f"{command[0]}: {error.strerror}") from error
        self._processes.append(process)
        self._update_guard()

    def _update_guard(self) -> None:
        assert self._guard
        assert self._guard.stdin
        with suppress(BrokenPipeError):  # the guard was killed: this is not an error
            self._guard.stdin.write(" ".join(str(process.pid) for process in self._processes) + "\n")
            self._guard.stdin.flush()

    def _wait_until_ready(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            connection = http.client.HTTPSConnection(*self._address(), context=self._tls, timeout=HANG_SECONDS)
            try:
                connection.request("GET", "/readyz", headers=headers)
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it does not accept connections yet
            finally:
                connection.close()
            if any(process.poll() is not None for process in self._processes):
                raise ControlPlaneError(f"the control plane exited unexpectedly:\n{self._log()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"the control plane is not ready after {HANG_SECONDS:.0f} s:\n{self._log()}")
            time.sleep(0.05)

    def _log(self) -> str:
        lines = self._path("log").read_text(errors="replace").splitlines()
        errors = [line for line in lines if not NOT_AN_ERROR.match(line)]
        return "\n".join(errors[-15:])

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, number)

    def _terminate(self) -> None:
        """Stop the processes, the API server before etcd. Kill those that do not exit in time."""
        self._signal(signal.SIGCONT)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._processes:
            self._processes.clear()
            self._update_guard()

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
            client.rest_client.pool_manager.clear()
        self._clients.clear()


def run_kubectl(
    arguments: Sequence[str],
    kubeconfig: Path,
    cache: Path,
    *,
    input: str | None = None,  # noqa: A002 - as subprocess.run calls it
    check: bool = True,
    timeout: float = HANG_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run kubectl. Raise KubectlError if it fails, unless `check` is false.

    This is the pinned kubectl of the Python environment. It does not read or write files in the home of the user.
    """
    variables = {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache), "KUBERC": "off"}
    environment = {**without_collection(os.environ), **variables}
    command = [str(installed("kubectl")), *arguments]
    done = subprocess.run(command, input=input, env=environment, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise KubectlError(done.returncode, command, done.stdout, done.stderr)
    return done


def prepare() -> None:
    """Build the program that tests need. Call this before the tests, because their time is limited.

    Tests need it also with another control plane: it contains Helm, which renders the permissions of all operators.
    """
    build()


def temporary_folder() -> Path:
    """Create a folder with a short path: the path of a socket has at most 107 bytes, and TMPDIR can be long."""
    parent = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="qex-", dir=parent if len(parent) < 64 else "/tmp"))


def reserve_port() -> socket.socket:
    """Return a socket that reserves a free port on 127.0.0.1 while it is open.

    The socket is bound and does not listen, so the API server, which shares the port, gets all connections. No other
    process gets the port before the API server starts or during a restart.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    return reservation


def start_guard(folder: Path, cgroups: Sequence[Path] = ()) -> "subprocess.Popen[str]":
    """Start the process that cleans up if this process is killed."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(folder), *map(str, cgroups)],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


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


def write_kubeconfig(path: Path, cluster: Mapping[str, Any], token: str, namespace: str) -> Path:
    """Write a kubeconfig with one user and one context, as JSON, which is YAML. Only its owner can read it."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": dict(cluster)}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    }
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


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
