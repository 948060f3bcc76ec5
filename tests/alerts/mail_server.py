"""A mail server on a local port that accepts every mail and keeps it."""

import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Self

from tests.support.waiting import HANG_SECONDS


class MailServer:
    """A context manager. It knows as much SMTP as Alertmanager needs, without TLS and passwords."""

    def __init__(self) -> None:
        self._mails: list[EmailMessage] = []
        self._changed = threading.Condition()
        self._server = ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="mail server", daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def mails(self) -> list[EmailMessage]:
        with self._changed:
            return list(self._mails)

    def until(self, wanted: Callable[[], object], what: str) -> None:
        """Wait for mails until a condition is met."""
        with self._changed:
            assert self._changed.wait_for(wanted, HANG_SECONDS), what

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _received(self, data: bytes) -> None:
        mail = message_from_bytes(data, policy=policy.default)
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()

    def _handler(self) -> type[StreamRequestHandler]:
        received = self._received

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 localhost\r\n")
                for line in self.rfile:
                    command = line[:4].upper().strip()
                    if command == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        data = b""
                        while (part := self.rfile.readline()) != b".\r\n":
                            data += part
                        received(data)
                    self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
                    if command == b"QUIT":
                        return

        return Handler
