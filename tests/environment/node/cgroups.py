"""The groups that a node's pods are in: one for the node in each hierarchy. `guard.py` removes them."""

from pathlib import Path

from tests.environment.node.settings import CGROUPS, VERSION_2


def hierarchies() -> list[Path]:
    """Where groups are made: one place in version 2, one for each controller in version 1."""
    if VERSION_2:
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()]


def create(name: str) -> list[Path]:
    """Make a group in each hierarchy."""
    made = []
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir()
        made.append(group)
        for setting in (
            "cpuset.cpus",
            "cpuset.mems",
        ):  # empty in a new group of version 1, which nothing may enter then
            if not VERSION_2 and (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
    return made
