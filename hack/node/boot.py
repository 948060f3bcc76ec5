"""The first process of a node, in its own namespaces: sets up the root file system and the network, starts components.

Run as `unshare … python boot.py PLAN`, with a plan in JSON. Each line on standard input is a component to start, also
in JSON: its name and its command. This process ends when its standard input closes, also because the test run was
killed. Then the kernel kills all other processes in the namespaces and removes the mounts, so nothing of the node
remains. Standard output reports when the node is ready for components, and which components exited.

After pivot_root, Python does not find its own files, so all imports happen before.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

MOUNTS = """\
set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs sysfs "$ROOT/sys"
mount --rbind /sys/fs/cgroup "$ROOT/sys/fs/cgroup"
mount --rbind /dev "$ROOT/dev"
# In memory: this is fast, is removed with the node, and can always be the lower file system of an overlay.
for folder in run tmp var; do mount -t tmpfs -o mode=755 tmpfs "$ROOT/$folder"; done
chmod 1777 "$ROOT/tmp"
mkdir -p "$ROOT"/var/lib/containerd "$ROOT"/var/lib/kubelet "$ROOT"/var/log
mkdir -m 700 "$ROOT/var/lib/etcd"
mount --bind "$FOLDER" "$ROOT/node"
mount --bind "$PROGRAM" "$ROOT/node/k8s"
for file in hosts resolv.conf; do mount --bind "$FOLDER/conf/$file" "$ROOT/etc/$file"; done
mount -o remount,bind,ro "$ROOT"
cd "$ROOT"
pivot_root . given
"""
# The container runtime must see the mounts of the kubelet.
DETACH_OLD_ROOT = "umount -l /given; mount --make-rshared /"


def main(plan: dict[str, object]) -> None:
    """Set up the node, then start the requested components until standard input closes."""
    environment = {name: str(plan[name.lower()]) for name in ("ROOT", "FOLDER", "PROGRAM")}
    subprocess.run(["sh", "-c", MOUNTS], check=True, env={**os.environ, **environment})
    os.chdir("/")
    os.environ.clear()
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LC_ALL="C.UTF-8")
    subprocess.run(["sh", "-c", DETACH_OLD_ROOT], check=True)
    for number, (name, value) in enumerate(plan["kernel"].items()):  # type: ignore[attr-defined]
        shown = Path(f"/run/kernel-{number}")
        shown.write_text(f"{value}\n")
        subprocess.run(["mount", "--bind", str(shown), f"/proc/sys/{name}"], check=True)
    socket.sethostname(str(plan["name"]))
    for command in plan["network"]:  # type: ignore[attr-defined]
        subprocess.run(command, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    listener = socket.socket(fileno=int(str(plan["listener"])))
    threading.Thread(target=forward, args=(listener, tuple(plan["forward_to"])), daemon=True).start()  # type: ignore[arg-type]
    components: dict[int, str] = {}
    signal.signal(signal.SIGCHLD, lambda *_: reap(components))
    report("ready")
    for line in sys.stdin:
        request = json.loads(line)
        components[start(request["command"], request["name"])] = request["name"]


def start(command: list[str], name: str) -> int:
    """Start a component with its own log, and return its process id."""
    with open(f"/node/log/{name}", "ab") as log:
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            return os.posix_spawn(
                command[0],
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
            )
        finally:
            os.close(null)


def reap(components: dict[int, str]) -> None:
    """Reap processes that have ended: components, and orphans, whose parent is the first process."""
    while True:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        if process in components:
            report(f"ended {components.pop(process)}")


def report(line: str) -> None:
    """Write a line without buffering, which is safe in a signal handler."""
    os.write(1, f"{line}\n".encode())


def forward(listener: socket.socket, address: tuple[str, int]) -> None:
    """Forward connections from the machine to an address in the node.

    The listening socket was created outside the node, so it belongs to the network of the machine.
    """
    while True:
        outside, _ = listener.accept()
        inside = socket.socket()
        try:
            inside.connect(address)
        except OSError:
            inside.close()
            outside.close()
            continue
        for pair in ((outside, inside), (inside, outside)):
            threading.Thread(target=copy, args=pair, daemon=True).start()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes in one direction until the end."""
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
