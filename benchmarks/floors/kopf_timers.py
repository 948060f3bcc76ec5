"""A Kopf operator with one timer per exporter, and Kopf's defaults. Prints when each timer has run once.

    python -m benchmarks.floors.kopf_timers NAMESPACE EXPORTERS

This is the usual way to run something on a schedule with Kopf. The timers only look whether it is time.
"""

import asyncio
import json
import sys
from typing import Any

import kopf

from benchmarks.floors.kopf_settings import login

INTERVAL = 30.0
"""How often each timer looks whether its exporter is due, in seconds."""


def main() -> None:
    namespace, expected = sys.argv[1], int(sys.argv[2])
    registry = kopf.OperatorRegistry()
    seen: set[str] = set()
    kopf.on.login(registry=registry)(login)

    @kopf.timer("qualtrics-exporter.dev", "v1alpha1", "qualtricsexporters", interval=INTERVAL, registry=registry)
    async def on_timer(name: str | None, status: kopf.Status, **_: Any) -> None:
        status.get("nextSlot")
        seen.add(name or "")
        if len(seen) == expected:
            print(json.dumps({"exporters": expected}), flush=True)
            seen.add("printed")

    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    asyncio.run(kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[namespace]))


if __name__ == "__main__":
    main()
