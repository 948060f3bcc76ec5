"""A mail server on a local port that accepts every mail and keeps it."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler

from tests.support.recording_server import RecordingServer


class MailServer(RecordingServer[EmailMessage]):
    """It knows as much SMTP as Alertmanager needs, without TLS and passwords."""

    def __init__(self) -> None:
        super().__init__(self._handler())

    @property
    def mails(self) -> list[EmailMessage]:
        return self.kept

    def _handler(self) -> type[StreamRequestHandler]:
        keep = self._keep

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
                        keep(message_from_bytes(data, policy=policy.default))
                    self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
                    if command == b"QUIT":
                        return

        return Handler
