"""Installed by Helm on a real node: the pods are what they are meant to be, and a survey goes out."""

import json

import pytest

from tests.environment.controlplane import KubectlError
from tests.environment.image import Image
from tests.environment.node.installation import NAMESPACE, RELEASE, Installation

MOST_MEMORY = 150 * 1024 * 1024
"""Bytes that the operator may have had at most with a few exporters. It was 95 MB when this was written."""


def python(dex: Installation, pod: str, script: str) -> str:
    """Run a script by the Python of the operator's container."""
    return dex.kubectl("exec", pod, "--container", "controller", "--", "python3", "-c", script).strip()


def test_its_pods_run_the_image_that_was_built(dex: Installation, image: Image) -> None:
    pods = dex.pods()
    assert len(pods) == 2
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["image"], status["restartCount"]) == (image.name, 0)
        assert status["imageID"].endswith(image.configuration_digest)


def test_its_namespace_takes_only_pods_that_pass_the_restricted_standard(dex: Installation, image: Image) -> None:
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        dex.kubectl("run", "any", f"--image={image.name}")


def test_its_container_really_has_no_rights_and_cannot_write(dex: Installation) -> None:
    script = """
import errno, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(os.getuid(), os.getgid(), os.getgroups())
print({status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")}, status["NoNewPrivs"].strip(), status["Seccomp"].strip())
for path in ("/", "/tmp", "/opt/qualtrics-exporter"):
    try:
        open(path + "/x", "w")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""
    assert python(dex, dex.leader(), script).splitlines() == [
        "65532 65532 [65532]",
        "{'0000000000000000'} 1 2",
        "/ EROFS",
        "/tmp EROFS",
        "/opt/qualtrics-exporter EROFS",
    ]


def test_a_survey_goes_out_to_exactly_the_people_of_the_query(dex: Installation) -> None:
    people = ["goes-out-1@example.com", "goes-out-2@example.com", "goes-out-3@example.com"]
    exporter = dex.exporter("goes-out", people)
    assert exporter.checked()["status"] == "True"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["recipients"]["imported"]) == ("Succeeded", 3)
    (sent,) = dex.sandbox.distributions("goes-out")
    assert sent["id"] == entry["distributionId"]
    assert sorted(sent["recipients"]) == people
    mails = dex.sandbox.ledger()["mails"]
    assert {address: mails[address] for address in people} == dict.fromkeys(people, 1)


def test_helm_test_passes_and_leaves_nothing(dex: Installation) -> None:
    assert "Phase:          Succeeded" in dex.helm.test(RELEASE, namespace=NAMESPACE)
    assert f"{RELEASE}-test" not in dex.kubectl("get", "pods", "--output", "name")


def test_its_logs_are_json_and_name_nobody(dex: Installation) -> None:
    people = ["logged-1@example.com", "logged-2@example.com"]
    exporter = dex.exporter("logged", people)
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"
    lines = [line for pod in dex.pods() for line in dex.kubectl("logs", pod["metadata"]["name"]).splitlines()]
    assert any("logged" in json.loads(line)["message"] for line in lines)
    assert not [line for line in lines if "@" in line or "sandbox-secret" in line]


def test_it_needs_little_memory(dex: Installation) -> None:
    peak = int(python(dex, dex.leader(), "print(open('/proc/1/status').read().split('VmHWM:')[1].split()[0])")) * 1024
    assert peak < MOST_MEMORY
