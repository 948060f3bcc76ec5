"""`qualtrics-exporter` with shorter pauses: `python -m tests.cli.hurried ARGUMENTS`.

A run gives Qualtrics five seconds before it asks how an import went; here these are a twentieth of a second. Nothing
else differs. A few tests start the installed program itself, to see that this makes no difference.
"""

import asyncio

from qualtrics_exporter.cli import main
from qualtrics_exporter.clock import SystemClock

HASTE = 100


class HurriedClock(SystemClock):
    """The machine's clock, for those who can't sit still."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / HASTE)


if __name__ == "__main__":
    SystemClock.sleep = HurriedClock.sleep  # type: ignore[method-assign]
    main()
