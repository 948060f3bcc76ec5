"""A real one-node cluster: control plane, scheduler, kubelet, containerd, kube-proxy and DNS on this machine.

It runs pods from images that the tests import, or that it pulls from a registry in the network of the node. The node
has its own namespaces, root file system (`debian.py`), network and cgroups. It is removed when the test run ends or is
killed. The components of Kubernetes are in the program that `programs.py` builds, and the container runtime is a Debian
package.

Scheduling, probes, Secrets in volumes, Services, DNS, logs, exec, port-forward, graceful termination, evictions and the
Pod Security Standards work. NetworkPolicies have no effect. Pods reach nothing outside the network of the node, and
images cannot be pulled from there.
"""

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hack import debian
from hack.api_calls import ApiCalls
from hack.guard import Guard, remove_cgroups, temporary_folder
from hack.image.archive import Image
from hack.image.builder import pause
from hack.kubectl import run_kubectl
from hack.limits import HANG_SECONDS
from hack.node import boot, cgroups, settings
from hack.node.keys import Keys
from hack.programs import build


class NodeError(Exception):
    """The node cannot start, or one of its components exited. The message contains the end of its log."""


def unsupported_reason() -> str | None:
    """Return why this machine cannot run a node, or None if it can."""
    if reason := debian.unsupported_reason():
        return reason
    result = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return f"creating namespaces is not allowed: {result.stderr.strip()}"
    name = f"qex-try-{secrets.token_hex(4)}"
    try:
        remove_cgroups(cgroups.create(name))
    except OSError as error:
        return f"creating cgroups is not allowed: {error}"
    return None


NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation=private")


def prepare() -> None:
    """Build everything that a node needs, if it is missing."""
    build()
    pause()


class Node(ApiCalls):
    """A cluster of one node that runs from `start` to `stop`, or as long as a `with` block.

    The images are imported into its container runtime during the start.
    """

    def __init__(self, *images: Image) -> None:
        self._images = images
        self._folder: Path | None = None
        self._groups: list[Path] = []
        self._guard: Guard | None = None
        self._boot: subprocess.Popen[str] | None = None
        self._port: socket.socket | None = None
        self._watcher: threading.Thread | None = None
        self._exited: list[str] = []
        self._tls: ssl.SSLContext | None = None
        self._keys: Keys | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the node, and wait until it can run pods. If this fails, everything is stopped."""
        program, root, pause_container = build(), debian.programs(), pause()
        self._folder = temporary_folder()
        try:
            name = self._folder.name
            self._guard = Guard(self._folder, [hierarchy / name for hierarchy in cgroups.hierarchies()])
            self._groups = cgroups.create(name)
            self._write(pause_container.name)
            self._start_boot(program, root)
            self._start_component("containerd", settings.containerd_command())
            commands = settings.commands()
            self._start_component("controlplane", commands.pop("controlplane"))
            for image in (pause_container, *self._images):
                self.load(image)
            self._wait_for("/readyz", bool, "the API server is ready")
            for component, command in commands.items():
                self._start_component(component, command)
            self._wait_for(f"/api/v1/nodes/{settings.NAME}", is_ready, "the node is ready")
            # A controller creates the default service account. Pods are rejected until then.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait_for(account, bool, "the default service account exists")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the node, and remove its processes, mounts, interfaces, cgroups and folder."""
        if self._boot:
            assert self._boot.stdin
            self._boot.stdin.close()
            try:
                self._boot.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._boot.pid, signal.SIGKILL)
                self._boot.wait()
            if self._watcher:
                self._watcher.join()
            assert self._boot.stdout
            self._boot.stdout.close()
        remove_cgroups(self._groups)
        if self._port:
            self._port.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard:
            self._guard.stop()
        self._groups = []
        self._folder = self._guard = self._boot = self._port = self._watcher = None
        self._exited.clear()

    def wait(self) -> None:
        """Wait until a component exits unexpectedly."""
        assert self._watcher
        self._watcher.join()

    # Operations

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator. It uses a port on 127.0.0.1 that is forwarded into the node."""
        return self._path("kubeconfig")

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        check: bool = True,
        timeout: float = HANG_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run the pinned kubectl as the administrator. Raise KubectlError if it fails, unless `check` is false."""
        cache = self._path("kubectl-cache")
        return run_kubectl(arguments, self.kubeconfig, cache, input=input, check=check, timeout=timeout)

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply`."""
        self.kubectl(
            "apply", "--filename", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        )

    def namespace(self, name: str, **labels: str) -> str:
        """Create a namespace and return its name. It enforces the restricted Pod Security Standard."""
        enforced = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforced}})
        return name

    def load(self, image: Image) -> str:
        """Import an image into the container runtime, and return the name that pods use."""
        self._wait(lambda: self.inside("ctr", "version").returncode == 0, "containerd responds")
        with image.archive.open("rb") as archive:
            done = self.inside("ctr", "--namespace", "k8s.io", "images", "import", "-", stdin=archive)
        if done.returncode != 0:
            raise NodeError(f"{image.archive}: {done.stderr}")
        return image.name

    def inside(self, *command: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        """Run a program of the node, such as ctr, nft or ip, in its namespaces."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--root", "--wd"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        command = (*enter, *command)
        return subprocess.run(command, stdin=stdin, env=environment, capture_output=True, text=True, check=False)

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine in the network of the node, where pods and Services are reachable."""
        return subprocess.run([*self.network_command, *command], capture_output=True, text=True, check=False, **more)

    @property
    def network_command(self) -> list[str]:
        """The beginning of a command that runs a program of this machine in the network of the node."""
        return ["nsenter", "--target", str(self.pid), "--net"]

    @property
    def pid(self) -> int:
        """The process id of the first process of the node, outside the node."""
        assert self._boot
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text().split()
        return int(children[0])

    def log(self, component: str, lines: int = 15) -> str:
        """Return the end of the log of a component."""
        path = self._path("log", component)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    # Implementation

    def _path(self, *parts: str) -> Path:
        if not self._folder:
            raise NodeError("the node is not running")
        return self._folder.joinpath(*parts)

    def _write(self, pause_image: str) -> None:
        """Write the keys, kubeconfigs and settings of the node."""
        for folder in ("conf/cni", "log"):
            self._path(folder).mkdir(parents=True)
        self._path("k8s").touch()  # the mount point of the program
        for name, text in {
            "containerd.toml": settings.containerd(pause_image),
            "cni/10-bridge.conflist": settings.cni(),
            "kubelet.json": settings.kubelet(self._path().name),
            "kube-proxy.json": settings.proxy(),
            "Corefile": settings.COREFILE,
            "hosts": settings.HOSTS,
            "resolv.conf": settings.RESOLV_CONF,
        }.items():
            self._path("conf", name).write_text(text)
        self._keys = Keys(self._path("keys"))
        self._keys.write()
        self._tls = self._keys.trust()
        self._port = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._keys.kubeconfig(self.kubeconfig, self._port.getsockname())

    def _start_boot(self, program: Path, root: Path) -> None:
        assert self._port
        plan = {
            "root": str(root),
            "folder": str(self._path()),
            "program": str(program),
            "name": settings.NAME,
            "kernel": settings.KERNEL,
            "network": settings.NETWORK,
            "listener": self._port.fileno(),
            "forward_to": [settings.ADDRESS, settings.PORT],
        }
        command = ["unshare", *NAMESPACES, sys.executable, "-I", "-S", boot.__file__, json.dumps(plan)]
        with self._path("log", "boot").open("ab") as log:
            self._boot = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=[self._port.fileno()],
                start_new_session=True,
            )
        assert self._guard
        self._guard.watch(self._boot.pid)
        assert self._boot.stdout
        if self._boot.stdout.readline() != "ready\n":
            raise NodeError(f"the node did not start:\n{self.log('boot')}")
        self._watcher = threading.Thread(target=self._watch_components, args=(self._boot.stdout,), daemon=True)
        self._watcher.start()

    def _watch_components(self, reports: IO[str]) -> None:
        """Wait for the first component that exits unexpectedly, or for the end of the node."""
        line = reports.readline()
        self._exited.append(line.split()[1] if line else "boot")

    def _start_component(self, name: str, command: Sequence[str]) -> None:
        assert self._boot
        assert self._boot.stdin
        with suppress(BrokenPipeError):  # the node has ended, which `_check` reports
            self._boot.stdin.write(json.dumps({"name": name, "command": command}) + "\n")
            self._boot.stdin.flush()

    def _wait_for(self, path: str, wanted: Callable[[bytes], bool], what: str) -> None:
        """Poll the API server for the wanted response."""

        def responds() -> bool:
            try:
                status, body = self._send("GET", path)
            except (OSError, http.client.HTTPException):
                return False  # it does not accept connections yet
            return status == 200 and wanted(body)

        self._wait(responds, what)

    def _wait(self, poll: Callable[[], bool], what: str) -> None:
        """Poll until the result is true. Raise NodeError if a component exits, or after the time limit."""
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            self._check()
            if poll():
                return
            if time.monotonic() > deadline:
                logs = "\n".join(f"{path.name}:\n{self.log(path.name)}" for path in self._path("log").iterdir())
                raise NodeError(f"timed out after {HANG_SECONDS:.0f} s: {what}\n{logs}")
            time.sleep(0.05)

    def _check(self) -> None:
        """Raise NodeError if a component has exited unexpectedly."""
        if self._exited:
            raise NodeError(f"{self._exited[0]} exited unexpectedly:\n{self.log(self._exited[0])}")

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        assert self._port
        assert self._keys
        headers = {**self._keys.headers(), **({"Content-Type": content_type} if body is not None else {})}
        host, port = self._port.getsockname()
        connection = http.client.HTTPSConnection(host, port, context=self._tls, timeout=HANG_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


def is_ready(body: bytes) -> bool:
    """Return whether the condition Ready of an object is True."""
    conditions = json.loads(body).get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
