"""`validate` and kubectl with a real API server accept and reject the same manifests."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.cli.located import documents
from qualtrics_exporter.cli.manifest_findings import findings
from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

NAMESPACE = "validate-files"
SAMPLE = (
    (ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8").replace("namespace: dex", f"namespace: {NAMESPACE}")
)


OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"


def edited(old: str, new: str) -> str:
    """The sample with one piece of its text replaced."""
    assert old in SAMPLE, old
    return SAMPLE.replace(old, new, 1)


def metadata(text: str) -> str:
    """The sample with more metadata."""
    return edited("metadata:\n", f"metadata:\n  {text}\n")


def spec(text: str) -> str:
    """The sample with another line at the end of its spec, which overrides an earlier line with the same key."""
    return SAMPLE + f"  {text}\n"


VALID_MANIFESTS = {
    "the sample": SAMPLE,
    "with Windows line breaks": SAMPLE.replace("\n", "\r\n"),
    "in flow style": yaml.safe_dump(plain_yaml.read(SAMPLE), default_flow_style=True, width=10_000),
    "as JSON": json.dumps(plain_yaml.read(SAMPLE)),
    "as JSON with tabs": json.dumps(plain_yaml.read(SAMPLE), indent="\t"),
    "as JSON with a surrogate pair": json.dumps(plain_yaml.read(SAMPLE.replace("How is Teams", "😀 Teams"))),
    "tabs between words": SAMPLE.replace("schedule:\n", "schedule:\t# when\n").replace("frequency: ", "frequency:\t"),
    "an anchor that is defined twice": edited("name: nexthink", "name: &a nexthink").replace(
        "name: qualtrics", "name: &a qualtrics"),
    "an annotation's key with capitals": metadata('annotations: {"Example.com/Note": x}'),
    "numbers that are too large for a float": edited("parameters: {}", f"parameters: {{a: 1e400, b: {'9' * 400}}}"),
    "a parameter without a value": edited("parameters: {}", "parameters: {days: ~}"),
    "a time with a tag": edited("parameters: {}", "parameters: {since: !!timestamp 2026-11-24}"),
    "merged keys that come first": edited(
        "    frequency: Weekly", "    <<: {frequency: Sometimes}\n    frequency: Weekly"),
    "with a byte order mark": "\ufeff" + SAMPLE,
    "with a byte order mark after spaces behind the separator": "# nothing\n---  \n\ufeff" + SAMPLE,
    "with a byte order mark and Windows line breaks": f"# nothing\n---\n\ufeff{SAMPLE}".replace("\n", "\r\n"),
    "with a byte order mark before the second document": "# nothing\n---\n\ufeff" + SAMPLE,
    "joined from two files with byte order marks": f"\ufeff---\n{OTHER}---\n\ufeff---\n{SAMPLE}",
    "a subject that ends at a comment": edited("subject: How", "subject: Survey #5: How"),
    "a tag before a subject": edited("subject: How", "subject: !Important How"),
    "in a List": yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [plain_yaml.read(SAMPLE)]}),
    "after an empty document": "---\n---\n" + SAMPLE + "---\n",
    "suspended with on": edited("suspend: false", "suspend: on"),
    "suspended with y": edited("suspend: false", "suspend: y"),
    "a date as a parameter": edited("parameters: {}", "parameters: {since: 2026-11-24}"),
    "a time as a parameter": edited("parameters: {}", "parameters: {at: 12:30}"),
    "a number with an exponent": edited("maxRecipients: 5000", "maxRecipients: 1e3"),
    "a number with underscores": edited("maxRecipients: 5000", "maxRecipients: 5_000"),
    "an octal number": edited("maxRecipients: 5000", "maxRecipients: 0o17"),
    "a number with zeros before it": edited("maxRecipients: 5000", "maxRecipients: 0009"),
    "a number with a point": edited("maxRecipients: 5000", "maxRecipients: 5000.0"),
    "an anchor and an alias": edited("name: nexthink", "name: &a nexthink").replace("name: qualtrics", "name: *a"),
    "merged keys": edited("    frequency: Weekly", "    <<: {frequency: Hourly}\n    frequency: Weekly"),
    "a query in double quotes": edited("query: |\n", 'query: "users | list ad.email_address"\n    # |\n').replace(
        "      users | with", "      # users | with").replace("      | ", "      # | "),
    "labels and annotations": metadata('labels: {team: dex, "example.com/tier": "1"}\n  annotations: {note: "a: b"}'),
    "empty labels": metadata("labels:\n  annotations: {}"),
    "an annotation without a value": metadata("annotations: {note: }"),
    "without a namespace": SAMPLE.replace(f"  namespace: {NAMESPACE}\n", ""),
    "a time of creation": metadata("creationTimestamp: null"),
    "a finalizer": metadata('finalizers: ["example.com/keep"]'),
    "a name with dots": edited("name: teams-rollout", "name: teams.rollout-2"),
    "a name of numbers in quotes": edited("name: teams-rollout", 'name: "2026"'),
    "a status": SAMPLE + "status: {observedGeneration: 3}\n",
    "a field without a value": spec("description:"),
    "a duplicate key": spec("dryRun: true"),
}  # fmt: skip

INVALID_MANIFESTS = {
    "a byte order mark after a separator with a comment": "--- # first\n\ufeff" + SAMPLE,
    "a byte order mark before a comment": edited("spec:\n", "\ufeff# a comment\nspec:\n"),
    "a byte order mark before an empty line": edited("spec:\n", "\ufeff\nspec:\n"),
    "a byte order mark inside a document": edited("metadata:", "\ufeffmetadata:"),
    "a byte order mark before a second key": edited("spec:", "\ufeffspec:"),
    "a comment instead of an id": edited('queryId: "#teams_rollout"', "queryId: #teams_rollout"),
    "merged keys that come last": edited(
        "    frequency: Weekly", "    frequency: Weekly\n    <<: {frequency: Sometimes}"),
    "a list of merged keys, the first of which wins": edited(
        "    frequency: Weekly", "    <<: [{frequency: Sometimes}, {frequency: Weekly}]"),
    "a merge of a number": spec("<<: 3"),
    "a merge of a list of numbers": spec("<<: [3]"),
    "a directive": "%YAML 1.1\n---\n" + SAMPLE,
    "a finalizer with a space": metadata('finalizers: ["a b"]'),
    "a list of manifests": "- " + SAMPLE[SAMPLE.index("apiVersion"):].replace("\n", "\n  "),
    "a tab in a string of JSON": json.dumps(plain_yaml.read(SAMPLE)).replace("How is", "How\tis"),
    "half of a surrogate pair": edited("subject: How", 'subject: "\\ud83d"\n    fromName: How'),
    "an unknown field": spec("suspended: false"),
    "an unknown nested field": edited("frequency: Weekly", "frequency: Weekly\n    cron: '* * * * *'"),
    "an unknown field at the top": SAMPLE + "specs: {}\n",
    "an unknown field of metadata": metadata("label: {a: b}"),
    "an unknown field of the Secret's name": edited("name: nexthink", "name: nexthink\n      namespace: other"),
    "another version": edited("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.dev/v1"),
    "no version": edited("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.dev"),
    "another group": edited("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.com/v1alpha1"),
    "a kind in lower case": edited("kind: QualtricsExporter", "kind: qualtricsexporter"),
    "a plural kind": edited("kind: QualtricsExporter", "kind: QualtricsExporters"),
    "no name": edited("  name: teams-rollout\n", ""),
    "an empty name": edited("name: teams-rollout", 'name: ""'),
    "a name that is a number": edited("name: teams-rollout", "name: 2026"),
    "a name that YAML reads as true": edited("name: teams-rollout", "name: y"),
    "a name with capitals": edited("name: teams-rollout", "name: TeamsRollout"),
    "a name with an underscore": edited("name: teams-rollout", "name: teams_rollout"),
    "a name that is too long": edited("name: teams-rollout", f"name: {'a' * 254}"),
    "a name with two dots": edited("name: teams-rollout", "name: teams..rollout"),
    "a label with a space": metadata('labels: {team: "d x"}'),
    "a label that is too long": metadata(f"labels: {{team: {'d' * 64}}}"),
    "a label that is a number": metadata("labels: {tier: 1}"),
    "a label that YAML reads as true": metadata("labels: {tier: on}"),
    "a label's key with a space": metadata('labels: {"a b": c}'),
    "a label's key with two slashes": metadata('labels: {"a/b/c": d}'),
    "an annotation's key with a space": metadata('annotations: {"a b": c}'),
    "an annotation that is a number": metadata("annotations: {tier: 1}"),
    "annotations that are a list": metadata("annotations: [a]"),
    "annotations that are too large": metadata(f"annotations: {{note: {'a' * 262_144}}}"),
    "no metadata": SAMPLE.replace("metadata:", "metadata2:"),
    "no spec": SAMPLE[: SAMPLE.index("spec:")],
    "an empty spec": SAMPLE[: SAMPLE.index("spec:")] + "spec:\n",
    "a spec that is a list": SAMPLE[: SAMPLE.index("spec:")] + "spec: []\n",
    "text instead of a number": edited("maxRecipients: 5000", 'maxRecipients: "5000"'),
    "a fraction of a person": edited("maxRecipients: 5000", "maxRecipients: .5"),
    "a number instead of text": edited("subject: How is Teams working for you?", "subject: 2026"),
    "a boolean instead of text": edited("subject: How is Teams working for you?", "subject: yes"),
    "a number as a parameter": edited("parameters: {}", "parameters: {days: 7}"),
    "a parameter that YAML reads as false": edited("parameters: {}", "parameters: {days: n}"),
    "an invalid boolean": edited("suspend: false", "suspend: enabled"),
    "a field that the frequency does not allow": edited("dayOfWeek: Monday", "everyHours: 4"),
    "invalid YAML": edited("spec:", "spec: ["),
    "a key without text": spec("~: x"),
    "a key that is a list": spec("? [a]\n  : x"),
    "a tab": edited("  schedule:", "\tschedule:"),
    "a control character": edited("description: Ask", "description: \x01Ask"),
}  # fmt: skip


@pytest.fixture(scope="module")
def kubectl_errors(cluster: ControlPlane) -> Iterator[dict[str, str]]:
    """The error of kubectl for each manifest, empty if the API server accepts it."""
    cluster.namespace(NAMESPACE)

    def create(item: tuple[str, str]) -> tuple[str, str]:
        command = ("create", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", "-")
        result = cluster.kubectl(*command, input=item[1], check=False)
        return item[0], result.stderr if result.returncode else ""

    with ThreadPoolExecutor(4) as workers:
        yield dict(workers.map(create, [*VALID_MANIFESTS.items(), *INVALID_MANIFESTS.items()]))


@pytest.mark.parametrize("name", [*VALID_MANIFESTS, *INVALID_MANIFESTS])
def test_validate_accepts_exactly_the_manifests_that_kubectl_can_create(
    kubectl_errors: dict[str, str], name: str
) -> None:
    _, all_findings = findings(VALID_MANIFESTS.get(name) or INVALID_MANIFESTS[name])
    errors = [finding.message for finding in all_findings if finding.severity == "error"]
    assert bool(errors) == bool(kubectl_errors[name]), (errors, kubectl_errors[name])
    assert bool(errors) == (name in INVALID_MANIFESTS), (errors, kubectl_errors[name])


SCALARS = [
    *("y", "Y", "yes", "n", "NO", "on", "Off", "true", "TRUE", "tRUE", "~", "null", "Null", "nULL"),
    *("2026-11-24", "2026-11-24T10:00:00Z", "12:30:45", "010", "0o10", "0o9", "09", "0x1F", "0b11", "-0b1", "0b12"),
    *("1_000", "1e3", "1e", ".5", "5.", "+1", "-0", "1.5e-3", "99999999999999999999", "-9223372036854775809", "1__0"),
    *("=", "'y'", '"1"', "!!str 5", "!custom foo", "!!int '7'", "a: b", "_1", "--", ".", "..", "1.2.3"),
]


def test_validate_reads_plain_scalars_as_kubectl_does(cluster: ControlPlane) -> None:
    scalars = {f"k{number}": scalar for number, scalar in enumerate(SCALARS) if ": " not in scalar}
    lines = [f"  {key}: {scalar}" for key, scalar in scalars.items()]
    names = [f"  {scalar}: key" for scalar in ("n", "Yes", "1", "1.0", "'on'")]
    text = "\n".join(["apiVersion: v1", "kind: ConfigMap", "metadata: {name: words}", "data:", *lines, *names])
    output = cluster.kubectl(
        "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", input=text
    ).stdout
    by_kubectl = json.loads(output, parse_int=float)["data"]
    by_validate = documents(text)[0].value["data"]
    for name, scalar in scalars.items():
        assert (by_validate[name], type(by_validate[name]) is bool) == (
            by_kubectl[name],
            type(by_kubectl[name]) is bool,
        ), scalar
    assert by_validate.keys() == by_kubectl.keys()
