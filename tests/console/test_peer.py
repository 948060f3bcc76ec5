"""The token works only for the user who has started the console, although others can see it."""

import os
import socket

import pytest

from qualtrics_exporter.cli.console import peer
from qualtrics_exporter.cli.console.peer import TABLE, user_of
from tests.console.in_memory import InMemory, console_of
from tests.support.clock import SteeredClock

CLIENT, SERVER = ("127.0.0.1", 53542), ("127.0.0.1", 8080)
LINES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D126 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:D126 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1
   3: garbage
""".splitlines()


def test_user_is_that_of_the_socket_of_the_client() -> None:
    assert user_of(LINES, CLIENT, SERVER) == 1000
    assert user_of(LINES, SERVER, CLIENT) == 0
    assert user_of(LINES, ("127.0.0.1", 1), SERVER) is None


def test_kernel_names_the_user_of_a_real_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        table = TABLE.read_text().splitlines()
        assert user_of(table, client.getsockname(), client.getpeername()) == os.getuid()


async def test_another_user_cannot_use_the_token_and_does_not_use_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteeredClock()
    monkeypatch.setattr(peer, "user_of", lambda *_: os.getuid() + 1)
    with pytest.raises(KeyError, match="Set-Cookie"):
        async with console_of(InMemory(), clock):
            pass
