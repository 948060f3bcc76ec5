"""The path of a program that is installed with the development packages, from `hack/programs.py`."""

from hack.programs import installed

__all__ = ["installed"]
