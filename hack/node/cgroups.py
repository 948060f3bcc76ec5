"""Creates the cgroups of the pods of a node: one in each hierarchy. `guard.py` removes them."""

from pathlib import Path

from hack.node.settings import CGROUPS, CGROUPS_V2


def hierarchies() -> list[Path]:
    """Return the cgroup hierarchies: one in version 2, one for each controller in version 1."""
    if CGROUPS_V2:
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()]


def create(name: str) -> list[Path]:
    """Create a cgroup in each hierarchy."""
    made = []
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir()
        made.append(group)
        # In version 1, these are empty in a new cgroup, and no process can join it then.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not CGROUPS_V2 and (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
    return made
