"""What others make of our objects: the kstatus library (Flux, Helm) and the scripts of Argo CD, both run for real."""

import atexit
import functools
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environment.build import ROOT, build

CUSTOMIZATION = ROOT / "argocd" / "resource_customizations" / "qualtrics-exporter.dev" / "QualtricsExporter"
"""Laid out as Argo CD has it for kinds that it knows."""


class ScriptError(Exception):
    """A Lua script failed; the message has Lua's own words."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How an object does, and the sentence that goes with it."""

    status: str
    message: str


def kstatus(objects: Iterable[dict[str, Any]]) -> list[Judgement]:
    """What the kstatus library says of each."""
    return [Judgement(answer["status"], answer["message"]) for answer in _asked("kstatus", objects)]


def run_script(script: Path | str, objects: Iterable[dict[str, Any]]) -> list[Any]:
    """What a script of Argo CD returns for each object. Raises `ScriptError` for the first that fails."""
    text = script.read_text("utf-8") if isinstance(script, Path) else script
    answers = _asked("lua", ({"script": text, "object": object_} for object_ in objects))
    for answer in answers:
        if "error" in answer:
            raise ScriptError(answer["error"])
    return [answer["result"] for answer in answers]


def health(objects: Iterable[dict[str, Any]], script: Path | str = CUSTOMIZATION / "health.lua") -> list[Judgement]:
    """What Argo CD says of each."""
    return [Judgement(answer["status"], answer.get("message", "")) for answer in run_script(script, objects)]


def actions(object_: dict[str, Any]) -> set[str]:
    """The actions that Argo CD offers, as buttons that can be pressed."""
    (offered,) = run_script(CUSTOMIZATION / "actions" / "discovery.lua", [object_])
    return {name for name, action in offered.items() if not action.get("disabled")}


def acted(action: str, object_: dict[str, Any]) -> dict[str, Any]:
    """The object as an action makes it: an empty list where a map was is Lua's way to write an empty map, as Argo CD
    knows too."""
    (changed,) = run_script(CUSTOMIZATION / "actions" / action / "action.lua", [object_])
    cleaned: dict[str, Any] = _as_before(changed, object_)
    return cleaned


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch between two objects: what Argo CD sends once an action has run."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif value != old:
            patch[key] = value
    return patch


def _as_before(value: Any, before: Any) -> Any:
    if value == [] and before == {}:
        return {}
    if isinstance(value, dict) and isinstance(before, dict):
        return {key: _as_before(inner, before.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(before, list):
        return [_as_before(inner, old) for inner, old in zip(value, before, strict=True)]
    return value


def _asked(command: str, tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of one part of the Go program, a line for each task."""
    judge = _judge(command)
    assert judge.stdin
    assert judge.stdout
    answers = []
    for task in tasks:
        judge.stdin.write(json.dumps(task) + "\n")
        judge.stdin.flush()
        answer = judge.stdout.readline()
        assert answer, f"{command} has ended; see what it wrote on standard error"
        answers.append(json.loads(answer))
    return answers


@functools.cache
def _judge(command: str) -> subprocess.Popen[str]:
    """That part of the program, which takes longer to start than to judge. It ends with its standard input."""
    judge = subprocess.Popen([str(build()), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(judge.communicate)
    return judge
