"""The processes of a control plane: etcd and kube-apiserver, in one folder. `controlplane.py` uses them."""

import http.client
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import trustme

from hack.guard import Guard
from hack.kubectl import write_kubeconfig
from hack.programs import control_plane_command
from tests.support.waiting import HANG_SECONDS

BINARIES = "KUBEBUILDER_ASSETS"

STOP_TIMEOUT = 15.0
"""Seconds between SIGTERM and SIGKILL. Both have the same result for the tests."""

GOGC = "400"
"""GOGC of the processes. It is higher than the default of 100: they use more memory and less processor time."""

NOT_AN_ERROR = re.compile(r"[IW]\d{4} ")
"""The prefix of log lines that are not errors. A healthy API server writes hundreds of them."""


class ControlPlaneError(Exception):
    """The control plane cannot start, or an operation is not possible. The message contains the end of its log."""


class ControlPlaneProcesses:
    """The processes, with an address, certificates and tokens that stay the same when they are started again."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder = folder
        self._guard = guard
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = reserve_port()
        self._token = secrets.token_urlsafe()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        server = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        client = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
        client.private_key_and_cert_chain_pem.write_to_path(self.client_certificate)
        authority.issue_cert(common_name="tokens").private_key_pem.write_to_path(folder / "tokens.pem")
        (folder / "users.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        (folder / "etcd").mkdir(mode=0o700)
        self._tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        host, port = self.address()
        cluster = {"server": f"https://{host}:{port}", "certificate-authority": str(folder / "ca.pem")}
        self.kubeconfig = write_kubeconfig(folder / "kubeconfig", cluster, self._token, "default")
        """The kubeconfig of the administrator."""

    @property
    def client_certificate(self) -> Path:
        """The certificate of the administrator and its key, in one file."""
        return self._folder / "client.pem"

    def start(self) -> None:
        """Start the processes, and wait until the API server is ready."""
        binaries = os.environ.get(BINARIES)
        if binaries:
            etcd_url, peer_url = (f"unix://{self._folder / 'etcd' / name}" for name in ("client.sock", "peer.sock"))
            self._spawn(
                str(Path(binaries) / "etcd"),
                f"--data-dir={self._folder / 'etcd'}",
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
            self._spawn(*control_plane_command(), str(self._folder / "etcd"), *self._flags())
        self.wait_until_ready()

    def stop(self) -> None:
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
            self._guard.watch()

    def close(self) -> None:
        """Stop the processes, and release the port."""
        self.stop()
        self._port.close()

    def freeze(self) -> None:
        """Suspend the processes, and wait until all their threads are suspended."""
        self._signal(signal.SIGSTOP)
        for process in self._processes:
            os.waitpid(process.pid, os.WUNTRACED)  # until then, a thread can still respond

    def thaw(self) -> None:
        """Resume the processes, and wait until the API server is ready."""
        self._signal(signal.SIGCONT)
        self.wait_until_ready()

    def are_running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def wait_until_ready(self) -> None:
        """Wait until the API server is ready. Raise ControlPlaneError if a process exits, or after the time limit."""
        headers = {"Authorization": f"Bearer {self._token}"}
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            connection = http.client.HTTPSConnection(*self.address(), context=self._tls, timeout=HANG_SECONDS)
            try:
                connection.request("GET", "/readyz", headers=headers)
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it does not accept connections yet
            finally:
                connection.close()
            if not self.are_running():
                raise ControlPlaneError(f"the control plane exited unexpectedly:\n{self._log()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"the control plane is not ready after {HANG_SECONDS:.0f} s:\n{self._log()}")
            time.sleep(0.05)

    def address(self) -> tuple[str, int]:
        """Return the host and port of the API server."""
        host, port = self._port.getsockname()
        return host, port

    def _flags(self) -> list[str]:
        host, port = self.address()
        return [
            f"--advertise-address={host}",
            f"--bind-address={host}",
            "--endpoint-reconciler-type=none",  # the other types reject a loopback address
            f"--secure-port={port}",
            "--permit-port-sharing",  # with the socket that reserves the port
            f"--cert-dir={self._folder}",
            f"--tls-cert-file={self._folder / 'server.pem'}",
            f"--tls-private-key-file={self._folder / 'server.pem'}",
            "--authorization-mode=RBAC",
            f"--client-ca-file={self._folder / 'ca.pem'}",
            f"--token-auth-file={self._folder / 'users.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'tokens.pem'}",
            f"--service-account-signing-key-file={self._folder / 'tokens.pem'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # This plugin rejects pods in a namespace without a default service account. No controller creates one here.
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _spawn(self, *command: str) -> None:
        """Start a process in its own session, so that Ctrl-C on the terminal interrupts only the test run."""
        with (self._folder / "log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env={"GOGC": GOGC, **os.environ},
                    start_new_session=True,
                )
            except OSError as error:
                raise ControlPlaneError(f"{command[0]}: {error.strerror}") from error
        self._processes.append(process)
        self._guard.watch(*(process.pid for process in self._processes))

    def _log(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        errors = [line for line in lines if not NOT_AN_ERROR.match(line)]
        return "\n".join(errors[-15:])

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, number)


def reserve_port() -> socket.socket:
    """Return a socket that reserves a free port on 127.0.0.1 while it is open.

    The socket is bound and does not listen, so the API server, which shares the port, gets all connections. No other
    process gets the port before the API server starts or during a restart.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    return reservation
