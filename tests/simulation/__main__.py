"""The command: `python -m tests.simulation --seeds 200`."""

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":
    # Otherwise, sets of strings have another order in each process, and a seed does not repeat.
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
    )

from tests.simulation.command import main

sys.exit(main())
