"""Builds everything that a node with the image of the operator needs, if this machine can run a node.

`make test` runs this before the tests, because their time is limited.
"""

import sys

from hack.build import BuildError
from hack.image.builder import image
from hack.node.node import prepare, unsupported_reason


def main() -> None:
    """Build the programs and images that are missing. If this machine cannot run a node, print the reason."""
    if reason := unsupported_reason():
        print(f"This machine cannot run a node: {reason}.", file=sys.stderr)
        return
    prepare()
    image()


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(str(error))
