"""Writes `config/`, for kustomize: the objects that the chart renders. `python -m hack.generate` runs this program.

It is not in `hack/`, because it renders the chart with the Helm that the tests build. `--check` writes nothing, and
exits with 1 if a file is stale.
"""

import argparse
import sys

from hack.files import ROOT, write
from tests.environment.kustomize import config


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check compare them. 0: success, 1: a file is stale."""
    parser = argparse.ArgumentParser(prog="python -m tests.environment.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    return 0 if write(config(), ROOT, check=parser.parse_args(arguments).check) else 1


if __name__ == "__main__":
    sys.exit(main())
