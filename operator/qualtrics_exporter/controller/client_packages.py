"""Loads only the parts of the Kubernetes client that the operator uses.

`kubernetes` imports all of its parts when any of them is imported: both clients, informers, leader elections, and what
they need, such as requests and oauthlib. That takes 9 MB in each replica and a third of the time of a start. The
operator uses two parts, `kubernetes.aio.client` and `kubernetes.aio.config`, and Kopf imports one class of
`kubernetes.client`. With `load_on_demand`, a package is only the name of its parts until somebody uses one of them.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def load_on_demand(package: str) -> None:
    """Let a package import its parts when they are first used, unless it is loaded already.

    Its own code does not run, so what it defines besides its parts is missing.
    """
    if package in sys.modules or (spec := importlib.util.find_spec(package)) is None:
        return
    module: Any = importlib.util.module_from_spec(spec)

    def part(name: str) -> ModuleType:
        full_name = f"{package}.{name}"
        if name.startswith("__") or importlib.util.find_spec(full_name) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(full_name)

    module.__getattr__ = part
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)
