"""The programs of the Python environment. `hack/programs.py` finds them, and builds all other programs."""

from hack.programs import installed

__all__ = ["installed"]
