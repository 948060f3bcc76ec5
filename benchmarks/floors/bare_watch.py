"""A Kopf operator that watches the exporters of a namespace and does nothing. Prints when it has seen all of them.

    python -m benchmarks.floors.bare_watch NAMESPACE EXPORTERS

It has the settings of the operator's watch that save memory and requests.
"""

import asyncio
import json
import sys
from typing import Any

import kopf

from benchmarks.floors.kopf_settings import login, settings


def main() -> None:
    namespace, expected = sys.argv[1], int(sys.argv[2])
    registry, seen = kopf.OperatorRegistry(), 0
    kopf.on.login(registry=registry)(login)

    @kopf.on.event("qualtrics-exporter.dev", "v1alpha1", "qualtricsexporters", registry=registry)
    async def on_event(**_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == expected:
            print(json.dumps({"exporters": seen}), flush=True)

    asyncio.run(kopf.operator(registry=registry, settings=settings(), standalone=True, namespaces=[namespace]))


if __name__ == "__main__":
    main()
