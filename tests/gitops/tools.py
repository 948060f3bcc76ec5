"""How GitOps tools see an object: the real kstatus library (Flux, Helm), and the scripts of Argo CD in real Lua."""

import atexit
import functools
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.files import ROOT
from hack.programs import build

CUSTOMIZATION = ROOT / "argocd" / "resource_customizations" / "qualtrics-exporter.dev" / "QualtricsExporter"
"""The folder has the layout of Argo CD for kinds that it supports."""


class ScriptError(Exception):
    """A Lua script failed. The message is that of Lua."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an object, and the message about it."""

    status: str
    message: str


def kstatus(objects: Iterable[dict[str, Any]]) -> list[Health]:
    """The state of each object for the kstatus library."""
    return [Health(answer["status"], answer["message"]) for answer in _answers("kstatus", objects)]


def run_script(script: Path | str, objects: Iterable[dict[str, Any]]) -> list[Any]:
    """Run a script of Argo CD for each object; returns the results. Raises `ScriptError` at the first failure."""
    text = script.read_text("utf-8") if isinstance(script, Path) else script
    answers = _answers("lua", ({"script": text, "object": object_} for object_ in objects))
    for answer in answers:
        if "error" in answer:
            raise ScriptError(answer["error"])
    return [answer["result"] for answer in answers]


def argo_cd_health(objects: Iterable[dict[str, Any]]) -> list[Health]:
    """The state of each object for Argo CD."""
    results = run_script(CUSTOMIZATION / "health.lua", objects)
    return [Health(result["status"], result.get("message", "")) for result in results]


def enabled_actions(object_: dict[str, Any]) -> set[str]:
    """The names of the actions that Argo CD offers for the object and that are not disabled."""
    (offered,) = run_script(CUSTOMIZATION / "actions" / "discovery.lua", [object_])
    return {name for name, action in offered.items() if not action.get("disabled")}


def run_action(action: str, object_: dict[str, Any]) -> dict[str, Any]:
    """Run the script of an action; returns the changed object.

    Lua does not distinguish an empty map from an empty list. Where the object had an empty map, the result has one too,
    as in Argo CD.
    """
    (changed,) = run_script(CUSTOMIZATION / "actions" / action / "action.lua", [object_])
    restored: dict[str, Any] = _with_empty_maps(changed, object_)
    return restored


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch between two objects, which Argo CD sends after an action."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif value != old:
            patch[key] = value
    return patch


def _with_empty_maps(value: Any, before: Any) -> Any:
    if value == [] and before == {}:
        return {}
    if isinstance(value, dict) and isinstance(before, dict):
        return {key: _with_empty_maps(inner, before.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(before, list):
        return [_with_empty_maps(inner, old) for inner, old in zip(value, before, strict=True)]
    return value


def _answers(command: str, tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send each task to a command of the Go program as a line; returns the answers."""
    process = _process(command)
    assert process.stdin
    assert process.stdout
    answers = []
    for task in tasks:
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"{command} has ended: see its standard error"
        answers.append(json.loads(answer))
    return answers


@functools.cache
def _process(command: str) -> subprocess.Popen[str]:
    """The process of a command. It is started once, because its start takes long, and ends with its standard input."""
    process = subprocess.Popen([str(build()), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process
