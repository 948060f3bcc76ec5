"""Runs kubectl: so every kubeconfig works that works for kubectl, with all its kinds of credentials.

kubectl calls plugins as programs and does not pass its connection on to them. The official client library for Python
does not read all that kubectl reads: several files, all authentication plugins, impersonation.
"""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from qualtrics_exporter.resource.names import GROUP, PLURAL

RESOURCE = f"{PLURAL}.{GROUP}"
MANAGER = "kubectl-qex"
"""The field manager, as `managedFields` shows it."""
_FROM_SERVER = re.compile(r"Error from server \((\w+)\): ")
_ERROR_LINE = re.compile(r"[Ee]rror[: ]|Unable to connect to the server: |The connection to the server ")
"""How kubectl begins the line with its error. Log lines may come before it, and advice of several lines after it."""
_CONTEXTS = "`kubectl config get-contexts` shows the contexts of your kubeconfig: choose one with --context."
_PLAINER = (
    (r"current-context must exist in order to minify", "the kubeconfig has no current context"),
    (r"stat (.+): no such file or directory", r"the kubeconfig \1 does not exist"),
)
"""Errors of kubectl that speak of its code, and what they mean."""
_NEXT_STEPS = {
    # Without a context, kubectl tries this address.
    "connection to the server localhost:8080 was refused": f"kubectl does not know which cluster to use. {_CONTEXTS}",
    "context was not found": _CONTEXTS,
    "no current context": _CONTEXTS,
    "cannot locate context": _CONTEXTS,
    "exec: executable": "The program that logs you in failed: log in again, or install the program.",
    "connect to the server": "Check your network connection and VPN.",
    "connection to the server": "Check your network connection and VPN.",
    "at the cluster scope": "To read only one namespace, use --namespace instead of -A.",
}
"""What the user can do about an error of kubectl, by a part of its text. The first part that matches counts."""


class Failed(Exception):
    """kubectl failed. The text is a sentence for the user."""

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        """The reason of the API server, such as NotFound, Forbidden or Conflict; empty if it did not answer."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the connection that the user chose."""

    flags: tuple[str, ...] = ()
    namespace: str | None = None
    """The namespace of the flag; by default, that of the current context."""

    def call(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl and return its output. Raises `Failed`."""
        program = shutil.which("kubectl")
        if program is None:
            raise Failed("kubectl is not on the PATH. Install it: https://kubernetes.io/docs/tasks/tools/")
        namespace = ("--namespace", self.namespace) if self.namespace else ()
        command = [program, *arguments, *self.flags, *namespace]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise failure(done.stderr)
        return done.stdout

    def get(self, name: str) -> dict[str, Any]:
        """An exporter. Raises `Failed`, with the cause NotFound if it does not exist."""
        try:
            return _object(self.call("get", RESOURCE, name, "--output", "json"))
        except Failed as failed:
            if failed.cause != "NotFound":
                raise
            where = f"the namespace {self.namespace}" if self.namespace else "the namespace of your current context"
            text = f"there is no exporter {name} in {where}. `kubectl qex list -A` lists all exporters."
            raise Failed(text, failed.cause) from None

    def list(self, *, everywhere: bool = False, selector: str | None = None) -> Sequence[dict[str, Any]]:
        """The exporters of the namespace, or of all namespaces."""
        arguments = ["get", RESOURCE, "--output", "json"]
        arguments += ["--all-namespaces"] if everywhere else []
        arguments += ["--selector", selector] if selector else []
        items = _object(self.call(*arguments)).get("items")
        return items if isinstance(items, list) else []

    def patch(self, exporter: Mapping[str, Any], change: Mapping[str, Any]) -> None:
        """Change an exporter as it was read. Raises `Failed` with the cause Conflict if it has changed since.

        So what the user confirmed is what happens: not with another object of that name, and not after the request of
        somebody else.
        """
        arguments = ("--type", "merge", "--field-manager", MANAGER, "--patch-file", "/dev/stdin")
        self.call("patch", RESOURCE, exporter["metadata"]["name"], *arguments, input=patch_of(exporter, change))

    def cluster(self) -> str:
        """How the user knows the cluster: the context and the name of its cluster in the kubeconfig."""
        context = self._context()
        cluster = (context.get("context") or {}).get("cluster")
        return f"{cluster} (context {context.get('name')})" if cluster else "this cluster"

    def context_namespace(self) -> str:
        """The namespace of the current context."""
        return str((self._context().get("context") or {}).get("namespace") or "default")

    def _context(self) -> Mapping[str, Any]:
        config = _object(self.call("config", "view", "--minify", "--output", "json"))
        contexts: list[Mapping[str, Any]] = config.get("contexts") or [{}]
        return contexts[0]


def patch_of(exporter: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """The merge patch with this change, which the API server applies only to the exporter as it was read."""
    version = {name: exporter["metadata"][name] for name in ("uid", "resourceVersion")}
    return json.dumps({**change, "metadata": {**change.get("metadata", {}), **version}})


def failure(errors: str) -> Failed:
    """The error of kubectl as a sentence that says what to do."""
    lines = [line for line in errors.strip().splitlines() if line and not line.startswith(("E0", "E1", "W0", "W1"))]
    lines = [line for line in lines if _ERROR_LINE.match(line)] or lines
    text = (lines or errors.strip().splitlines() or ["kubectl failed without a message"])[-1]
    text = text.removeprefix("error: ").removeprefix("Error in configuration: ").rstrip(".")
    text = text.partition(" - did you specify the right host or port?")[0]
    for pattern, meaning in _PLAINER:
        text = re.sub(f"^{pattern}$", meaning, text)
    if "doesn't have a resource type" in text:
        return Failed(f"{text}: the CRD of qualtrics-exporter is not installed in this cluster, or you may not see it.")
    if match := _FROM_SERVER.match(text):
        return refusal(match[1], text[match.end() :])
    if "must be logged in to the server" in text or "Unauthorized" in text:
        return Failed(f"{text}. Your login may have expired: log in again.", "Unauthorized")
    return Failed(" ".join(filter(None, (f"{text}.", _next_step(text)))))


def _next_step(text: str) -> str | None:
    return next((step for part, step in _NEXT_STEPS.items() if part in text), None)


def refusal(cause: str, said: str) -> Failed:
    """What the API server refused, with the next step. `cause` is the reason of its answer, such as NotFound."""
    step = {
        "Forbidden": _next_step(said) or "Ask an administrator of the namespace for this permission.",
        "NotFound": "`kubectl qex list -A` shows what exists.",
        "Unauthorized": "Your login may have expired: log in again.",
    }.get(cause)
    return Failed(" ".join(filter(None, (f"{said.rstrip('.')}.", step))), cause)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failed("kubectl did not return a JSON object.")
    return found


def names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[str]":
    """The names of exporters that begin with this text, for completion."""
    kubectl = from_flags(**{name: ctx.params.get(name) for name in ("namespace", "context", "kubeconfig", "user")})
    try:
        found = kubectl.call("get", RESOURCE, "--output", "jsonpath={.items[*].metadata.name}").split()
    except Failed:
        return []
    return [name for name in found if name.startswith(incomplete)]


def from_flags(
    *, namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None, user: str | None = None
) -> Kubectl:
    """kubectl with these flags; those that are None are left to kubectl."""
    chosen = {"--context": context, "--kubeconfig": kubeconfig, "--as": user}
    flags = [part for flag, value in chosen.items() if value is not None for part in (flag, value)]
    return Kubectl(tuple(flags), namespace)


def connected(command: Callable[..., Any], *, default: str = "that of the current context") -> Callable[..., Any]:
    """Add the flags that choose cluster and namespace, and call the command with `kubectl` instead.

    `default` says which namespaces the command uses without a flag.
    """

    @click.option("-n", "--namespace", metavar="NAME", help=f"Namespace. Default: {default}.")
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig.")
    @click.option("--kubeconfig", metavar="PATH", help="Kubeconfig. Default: as kubectl, from KUBECONFIG.")
    @click.option("--as", "user", metavar="USER", help="User to impersonate.")
    @functools.wraps(command)
    def wrapped(
        *args: Any, namespace: str | None, context: str | None, kubeconfig: str | None, user: str | None, **kwargs: Any
    ) -> Any:
        kubectl = from_flags(namespace=namespace, context=context, kubeconfig=kubeconfig, user=user)
        return command(*args, kubectl=kubectl, **kwargs)

    return wrapped


name_argument = click.argument("name", shell_complete=names)
