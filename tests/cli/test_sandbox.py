"""The command `sandbox`."""

import json
import signal
import socket
import ssl
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from hack import plain_yaml
from tests.cli.conftest import SAMPLE, Program
from tests.support.waiting import HANG_SECONDS

PORTS = ["--nexthink-port", "0", "--qualtrics-port", "0"]


def start_sandbox(program: Program, *flags: str | Path, **options: Any) -> tuple["subprocess.Popen[str]", list[str]]:
    """Start the sandbox, and wait for its banner, whose last line it writes when it accepts connections."""
    server = program.start("sandbox", *PORTS, *flags, **options)
    assert server.stderr
    return server, [server.stderr.readline() for _ in range(11)]


def test_a_run_works_with_the_secrets_that_the_sandbox_prints(program: Program) -> None:
    secrets = program.home / "secrets.yaml"
    with secrets.open("w") as file:
        server, banner = start_sandbox(program, "--people", "30", stdout=file)
    assert "Outbox" in "".join(banner)
    documents = list(plain_yaml.read_all(secrets.read_text()))
    assert [(document["kind"], document["metadata"]) for document in documents] == [
        ("Secret", {"name": "nexthink"}),
        ("Secret", {"name": "qualtrics"}),
    ]
    flags = ["--allowed-host", "127.0.0.1", "--allow-http", "--test", "--send"]
    assert "to 20 people" in program("run", SAMPLE, "--secrets", secrets, *flags).stdout
    outbox = next(line.split()[1] for line in banner if line.startswith("Outbox"))
    with urllib.request.urlopen(f"{outbox}.json") as reply:
        (sent,) = json.load(reply)
    assert len(sent["recipients"]) == 20
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=HANG_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_exits_with_0_after_a_signal(program: Program, number: signal.Signals) -> None:
    server, _ = start_sandbox(program)
    server.send_signal(number)
    _, err = server.communicate(timeout=HANG_SECONDS)
    assert (server.returncode, err) == (0, "")


def test_the_sandbox_with_a_certificate_serves_https(program: Program, tmp_path: Path) -> None:
    authority = trustme.CA()
    server_certificate = authority.issue_cert("localhost")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for part in server_certificate.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    server_certificate.private_key_pem.write_to_path(key)
    tls_flags = ("--certificate", certificate, "--key", key, "--advertise", "localhost")
    server, banner = start_sandbox(program, *tls_flags)
    outbox = next(line.split()[1] for line in banner if line.startswith("Outbox"))
    assert outbox.startswith("https://localhost:")
    assert "--allow-http" not in "".join(banner)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with urllib.request.urlopen(outbox, context=context) as reply:
        assert reply.status == 200
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=HANG_SECONDS)


def test_the_sandbox_rejects_a_certificate_without_a_key_and_an_invalid_certificate(
    program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "tls.crt"
    file.write_text("nothing")
    assert "Use --certificate and --key together" in program("sandbox", "--certificate", file, code=2).stderr
    assert "not a certificate" in program("sandbox", "--certificate", file, "--key", file, code=1).stderr


def test_the_sandbox_listens_on_the_chosen_port_for_files(program: Program) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server, _ = start_sandbox(program, "--store-port", str(port), "--advertise", "sandbox.dex.svc")
    with closing(socket.create_connection(("127.0.0.1", port))):
        server.send_signal(signal.SIGTERM)
    server.communicate(timeout=HANG_SECONDS)


def test_the_sandbox_reports_a_port_that_is_already_in_use(program: Program) -> None:
    first, banner = start_sandbox(program)
    port = banner[1].rpartition(":")[2].strip()
    assert "address already in use" in program("sandbox", "--nexthink-port", port, code=1).stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=HANG_SECONDS)
