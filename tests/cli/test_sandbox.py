"""The sandbox as a command."""

import json
import signal
import socket
import ssl
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from tests.cli.conftest import SAMPLE, Program
from tests.environment import plain_yaml
from tests.environment.waiting import HANG_SECONDS

PORTS = ["--nexthink-port", "0", "--qualtrics-port", "0"]


def test_its_secrets_fit_a_run(program: Program) -> None:
    secrets = program.home / "secrets.yaml"
    with secrets.open("w") as file:
        served = program.start("sandbox", *PORTS, "--people", "30", stdout=file)
    assert served.stderr
    welcome = [served.stderr.readline() for _ in range(11)]  # the last line is written once it serves
    assert "Outbox" in "".join(welcome)
    documents = list(plain_yaml.read_all(secrets.read_text()))
    assert [(body["kind"], body["metadata"]) for body in documents] == [
        ("Secret", {"name": "nexthink"}),
        ("Secret", {"name": "qualtrics"}),
    ]
    flags = ["--allowed-host", "127.0.0.1", "--allow-http", "--test", "--send"]
    assert "to 20 people" in program("run", SAMPLE, "--secrets", secrets, *flags).stdout
    outbox = next(line.split()[1] for line in welcome if line.startswith("Outbox"))
    with urllib.request.urlopen(f"{outbox}.json") as reply:
        (sent,) = json.load(reply)
    assert len(sent["recipients"]) == 20
    served.send_signal(signal.SIGTERM)
    served.communicate(timeout=HANG_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(program: Program, number: signal.Signals) -> None:
    served = program.start("sandbox", *PORTS)
    assert served.stderr
    for _ in range(11):
        served.stderr.readline()
    served.send_signal(number)
    _, err = served.communicate(timeout=HANG_SECONDS)
    assert (served.returncode, err) == (0, "")


def test_with_a_certificate_it_serves_https(program: Program, tmp_path: Path) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for part in own.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    own.private_key_pem.write_to_path(key)
    served = program.start("sandbox", *PORTS, "--certificate", certificate, "--key", key, "--advertise", "localhost")
    assert served.stderr
    lines = [served.stderr.readline() for _ in range(11)]
    outbox = next(line.split()[1] for line in lines if line.startswith("Outbox"))
    assert outbox.startswith("https://localhost:")
    assert "--allow-http" not in "".join(lines)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with urllib.request.urlopen(outbox, context=trusting) as reply:
        assert reply.status == 200
    served.send_signal(signal.SIGTERM)
    served.communicate(timeout=HANG_SECONDS)


def test_half_a_certificate_is_wrong_usage(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "tls.crt"
    file.write_text("nothing")
    assert "Use --certificate and --key together" in program("sandbox", "--certificate", file, code=2).stderr
    assert "not a certificate" in program("sandbox", "--certificate", file, "--key", file, code=1).stderr


def test_behind_a_service_each_port_is_one_that_was_named(program: Program) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    served = program.start("sandbox", *PORTS, "--store-port", str(port), "--advertise", "sandbox.dex.svc")
    assert served.stderr
    for _ in range(11):
        served.stderr.readline()
    with closing(socket.create_connection(("127.0.0.1", port))):
        served.send_signal(signal.SIGTERM)
    served.communicate(timeout=HANG_SECONDS)


def test_a_port_that_is_taken_is_a_sentence(program: Program) -> None:
    first = program.start("sandbox", *PORTS)
    assert first.stderr
    lines = [first.stderr.readline() for _ in range(11)]
    port = lines[1].rpartition(":")[2].strip()
    assert "address already in use" in program("sandbox", "--nexthink-port", port, code=1).stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=HANG_SECONDS)
