"""One start of an exporter in a process of its own, to be killed: `python -m tests.export.process FOLDER`.

The folder holds `spec.json`, `secrets.json`, the clock's file and the journal.
"""

import asyncio
import json
import sys
from pathlib import Path

from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.resource.spec import Spec
from tests.export.conftest import HastyClock, connected, taken


async def main(folder: Path) -> None:
    """Start the run, or go on with it."""
    clock = HastyClock(folder / "clock")
    spec = Spec.model_validate_json((folder / "spec.json").read_text())
    secrets = json.loads((folder / "secrets.json").read_text())
    with FileJournal(folder / "journal.json") as journal:
        run = await taken(journal, clock)
        async with connected(secrets, clock) as sides:
            await execute(run, spec, sides, journal, clock)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
