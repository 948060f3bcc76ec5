"""Objects that this version of the controller would never write: damage to a status, invalid specs, unusual metadata.

Every value here is invalid. A status with other valid values could come from a backup, and the operator trusts it
(docs/reliability.md, "What is not promised").
"""

import copy
import re
from collections.abc import Iterator
from random import Random
from typing import Any

Path = tuple[str | int, ...]

MEMORY = (
    "claimedSlots", "claimedSlotsSince", "sentRuns", "handledRequests", "handledRunRequests", "handledTestRequests",
    "handledSettlements", "lastHandledRunRequest", "lastHandledTestRequest",
)  # fmt: skip
"""The fields of a status that remember slots and requests that had their run."""
PLAN = ("schedule", "timeZone", "scheduleSince", "nextScheduleTime", "lastScheduleTime", "lastCheckTime")
"""The fields about the next slots."""
HOW = (
    "memory", "memory", "all memory", "run", "run", "run", "plan", "plan", "anywhere", "anywhere", "parts", "newer",
    "wiped",
)  # fmt: skip
"""The kinds of damage to a status."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_BAD_TIMES = (
    "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "soon",
)  # fmt: skip
_INVALID_TEXTS = {
    "step": ("Finalizing", "", "sending"),
    "trigger": ("Cron", ""),
    "result": ("Perhaps", ""),
    "status": ("Maybe",),
    "schedule": ("every blue moon", "", "every 5 hours at :20, UTC", "every day at 00:20, Mars/Olympus"),
    "timeZone": ("Mars/Olympus", "../../etc/passwd", "localtime", ""),
}
"""Texts that are invalid for a field."""


def damaged(status: Any, how: str, random: Random) -> tuple[Any, str]:
    """The status after the damage, and a short description of the damage. None: the object has no status."""
    if how == "wiped" or not isinstance(status, dict) or not status:
        return None, "wiped"
    rest = copy.deepcopy(status)
    if how == "newer":
        return _of_another_version(rest, random), "unknown fields"
    if how == "parts":
        names = random.sample(sorted(rest), min(len(rest), random.choice((1, 1, 2))))
        for name in names:
            del rest[name]
        return rest, f"without {', '.join(names)}"
    if how == "anywhere" and random.random() < 0.05:
        return random.choice(("damaged", 7, [])), "not an object"
    return rest, ", ".join(".".join(map(str, path)) for path in _with_invalid_values(rest, how, random))


def _with_invalid_values(status: dict[str, Any], how: str, random: Random) -> list[Path]:
    """Replace values by invalid ones, in place. Returns their paths."""
    if how == "all memory":
        # The history remembers slots too.
        chosen: list[Path] = [(name,) for name in (*MEMORY, "history") if name in status]
    else:
        roots = {"memory": MEMORY, "plan": PLAN, "run": ("activeRun",)}.get(how)
        inside = [path for path in _paths(status) if roots is None or path[0] in roots]
        inside = inside or list(_paths(status))
        chosen = random.sample(inside, min(len(inside), random.choice((1, 1, 2, 3))))
    done = []
    # Inner values come before outer ones, and later elements of a list before earlier ones: each path stays valid.
    for path in sorted(chosen, key=lambda path: (len(path), path), reverse=True):
        parent: Any = status
        for part in path[:-1]:
            parent = parent[part]
        if how == "run" and len(path) > 1 and random.random() < 0.3:
            del parent[path[-1]]
        else:
            parent[path[-1]] = _invalid(str(path[-1]), parent[path[-1]], random)
        done.append(path)
    return done


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from _paths(part, (*path, name))


def _invalid(name: str, value: Any, random: Random) -> Any:
    if isinstance(value, dict):
        return random.choice(("damaged", 7, [], True))
    if isinstance(value, list):
        return random.choice(("damaged", 7, {"0": "damaged"}, [None, *value, 7, {}]))
    if isinstance(value, int):
        return random.choice(("many", 1 << 63, -(1 << 60), 1.5, [], {}))
    if isinstance(value, str) and _TIME.fullmatch(value):
        return random.choice((*_BAD_TIMES, 7, [], {"time": value}))
    return random.choice((*_INVALID_TEXTS.get(name, ()), 7, 1e300, False, [], {"damaged": True}))


def _of_another_version(status: dict[str, Any], random: Random) -> dict[str, Any]:
    status["phase"], status["retired"] = "Ready", {"since": "9999-12-31T23:59:59Z", "items": [None, 7]}
    for name in ("activeRun", "lastTest", "history", "conditions", "warnings", "claimedSlots"):
        parts = status.get(name)
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, dict) and random.random() < 0.5:
                part["retired"] = random.choice((7, "damaged", [], {}))
    return status


INVALID_SPECS = 16
"""How many kinds of invalid specs there are."""


def invalid_spec(spec: dict[str, Any], number: int) -> Any:
    """An invalid spec that the CRD of another version accepts."""
    schedule, nexthink, qualtrics = spec["schedule"], spec["nexthink"], spec["qualtrics"]
    made: tuple[Any, ...] = (
        "send it", 7, [], {},
        {"schedule": schedule},
        {**spec, "schedule": {"frequency": "Minutely"}},
        {**spec, "schedule": {"frequency": "Hourly", "everyHours": 0}},
        {**spec, "schedule": {"frequency": "Hourly", "everyHours": 1 << 63}},
        {**spec, "schedule": {"frequency": "Weekly", "dayOfWeek": "Someday"}},
        {**spec, "schedule": {**schedule, "timeZone": "../../etc/passwd"}},
        {**spec, "schedule": {**schedule, "startingDeadlineSeconds": -5}},
        {**spec, "nexthink": {**nexthink, "queryId": 7}},
        {**spec, "nexthink": {**nexthink, "driftPolicy": "Perhaps"}},
        {**spec, "nexthink": {**nexthink, "credentialsSecretRef": "nexthink"}},
        {**spec, "qualtrics": {name: value for name, value in qualtrics.items() if name != "surveyId"}},
        {**spec, "suspend": "no", "maxRecipients": -1},
    )  # fmt: skip
    assert len(made) == INVALID_SPECS
    return made[number]


UNUSUAL_TOKENS = (
    "ana@example.com",
    "\x00",
    "é" * 120,
    "null",
    "{}",
    "2026-02-30",
    "-1",
    "sha256:" + "0" * 64,
    "a b\nc",
)


def meaningless_metadata(random: Random) -> dict[str, Any]:
    """Metadata that a tool may write, and that mean nothing to the operator."""
    made: tuple[dict[str, Any], ...] = (
        {"ownerReferences": [{"kind": "Application"}], "managedFields": [None, 7]},
        {"finalizers": ["example.com/keep"]},
        {"creationTimestamp": random.choice(_BAD_TIMES)},
        {"selfLink": 7, "generateName": "", "deletionGracePeriodSeconds": -1},
    )
    return random.choice(made)
