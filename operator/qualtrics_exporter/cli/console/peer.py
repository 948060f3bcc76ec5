"""Which user of this machine has opened a connection, as Linux knows it.

A browser gets the address of the console in its arguments, which every user of the machine can read.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

TABLE = Path("/proc/net/tcp")
"""The IPv4 connections of this network namespace (proc_pid_net(5)): addresses in hexadecimal, and the user of each."""
_LOCAL, _REMOTE, _USER = 1, 2, 7
"""Columns of the table."""

Address = tuple[str, int]


def is_another_user(request: web.Request) -> bool:
    """Whether the request comes from another user. False if the system does not tell."""
    sockets = (request.get_extra_info("peername"), request.get_extra_info("sockname"))
    if not all(isinstance(address, tuple) for address in sockets):
        return False
    try:
        user = user_of(TABLE.read_text().splitlines(), *sockets)
    except OSError:
        return False
    # Somebody who started the console with sudo uses the own browser. Root can read everything anyway.
    return user is not None and str(user) not in (str(os.getuid()), os.environ.get("SUDO_UID"), "0")


def user_of(table: Iterable[str], local: Address, remote: Address) -> int | None:
    """The id of the user whose socket has these addresses; None if the table has no such socket."""
    wanted = (_hexadecimal(local), _hexadecimal(remote))
    for line in table:
        columns = line.split()
        if len(columns) > _USER and (columns[_LOCAL], columns[_REMOTE]) == wanted:
            return int(columns[_USER])
    return None


def _hexadecimal(address: Address) -> str:
    """The address as the kernel prints it: the number of the host in the byte order of the machine."""
    host, port = address[:2]
    number = int.from_bytes(bytes(map(int, host.split("."))), "little")
    return f"{number:08X}:{port:04X}"
