#!/usr/bin/env python3
"""The program of the krew plugin: starts `kubectl qex` with a Python for which the archive has compiled modules.

`plugin.py` puts this file into each archive as `kubectl-qex`, next to the folder `lib`. It must run with every Python
3, because the `python3` of the user may be too old: it then looks for another Python, or says what is missing.
"""

import os
import shutil
import sys
from importlib.machinery import EXTENSION_SUFFIXES

LIB = os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib")
COMPILED = os.path.join(LIB, "pydantic_core", "_pydantic_core")
"""A compiled module. The end of its name contains the version of Python, and the C library on Linux."""
OTHERS = ("python3.14", "python3.13", "python3.12", "python3.11")
TRIED = "KUBECTL_QEX_TRIED"
"""The variable with the number of programs in OTHERS that were started already."""


def main() -> None:
    """Run the command, or complete it if the user linked this file as `kubectl_complete-qex`."""
    tried = int(os.environ.pop(TRIED, "0"))
    if not os.path.exists(COMPILED + EXTENSION_SUFFIXES[0]):
        for number, name in enumerate(OTHERS[tried:], tried + 1):
            path = shutil.which(name)
            if path:
                os.environ[TRIED] = str(number)
                os.execv(path, [path, *sys.argv])  # noqa: S606
        sys.exit(
            "Error: kubectl qex needs Python 3.11, 3.12, 3.13 or 3.14 on the PATH, and did not find it. "
            "Install one of them from python.org or with the packages of your system."
        )
    sys.path.insert(0, LIB)
    if os.path.basename(sys.argv[0]) == "kubectl_complete-qex":
        from qualtrics_exporter.cli.qex.completion import main as run
    else:
        from qualtrics_exporter.cli.qex import main as run
    run()


if __name__ == "__main__":
    main()
