"""`validate` and a real API server on the same files: what the one takes, kubectl gets into the other."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from qualtrics_exporter.cli.located import documents
from qualtrics_exporter.cli.manifest_findings import findings
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

NAMESPACE = "validate-files"
SAMPLE = (
    (ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8").replace("namespace: dex", f"namespace: {NAMESPACE}")
)


OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"


def with_(old: str, new: str) -> str:
    """The sample with one piece of its text replaced."""
    assert old in SAMPLE, old
    return SAMPLE.replace(old, new, 1)


def metadata(text: str) -> str:
    """The sample with more metadata."""
    return with_("metadata:\n", f"metadata:\n  {text}\n")


def spec(text: str) -> str:
    """The sample with more in its spec, which wins over what is there."""
    return SAMPLE + f"  {text}\n"


GOOD = {
    "the sample": SAMPLE,
    "with Windows line breaks": SAMPLE.replace("\n", "\r\n"),
    "in flow style": yaml.safe_dump(plain_yaml.read(SAMPLE), default_flow_style=True, width=10_000),
    "as JSON": json.dumps(plain_yaml.read(SAMPLE)),
    "as JSON with tabs": json.dumps(plain_yaml.read(SAMPLE), indent="\t"),
    "as JSON with an emoji in two halves": json.dumps(plain_yaml.read(SAMPLE.replace("How is Teams", "😀 Teams"))),
    "tabs between words": SAMPLE.replace("schedule:\n", "schedule:\t# when\n").replace("frequency: ", "frequency:\t"),
    "an anchor that is given twice": with_("name: nexthink", "name: &a nexthink").replace(
        "name: qualtrics", "name: &a qualtrics"),
    "an annotation's key with capitals": metadata('annotations: {"Example.com/Note": x}'),
    "a number too large to be one": with_("parameters: {}", f"parameters: {{a: 1e400, b: {'9' * 400}}}"),
    "a parameter without a value": with_("parameters: {}", "parameters: {days: ~}"),
    "a time by its tag": with_("parameters: {}", "parameters: {since: !!timestamp 2026-11-24}"),
    "merged keys that come first": with_(
        "    frequency: Weekly", "    <<: {frequency: Sometimes}\n    frequency: Weekly"),
    "with a byte order mark": "\ufeff" + SAMPLE,
    "with a byte order mark after spaces behind the separator": "# nothing\n---  \n\ufeff" + SAMPLE,
    "with a byte order mark and Windows line breaks": f"# nothing\n---\n\ufeff{SAMPLE}".replace("\n", "\r\n"),
    "with a byte order mark before the second document": "# nothing\n---\n\ufeff" + SAMPLE,
    "joined from two files with byte order marks": f"\ufeff---\n{OTHER}---\n\ufeff---\n{SAMPLE}",
    "a subject that ends at a comment": with_("subject: How", "subject: Survey #5: How"),
    "a tag before a subject": with_("subject: How", "subject: !Important How"),
    "in a List": yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [plain_yaml.read(SAMPLE)]}),
    "after an empty document": "---\n---\n" + SAMPLE + "---\n",
    "suspended with on": with_("suspend: false", "suspend: on"),
    "suspended with y": with_("suspend: false", "suspend: y"),
    "a date as a parameter": with_("parameters: {}", "parameters: {since: 2026-11-24}"),
    "a time as a parameter": with_("parameters: {}", "parameters: {at: 12:30}"),
    "a number with an exponent": with_("maxRecipients: 5000", "maxRecipients: 1e3"),
    "a number with underscores": with_("maxRecipients: 5000", "maxRecipients: 5_000"),
    "an octal number": with_("maxRecipients: 5000", "maxRecipients: 0o17"),
    "a number with zeros before it": with_("maxRecipients: 5000", "maxRecipients: 0009"),
    "a number with a point": with_("maxRecipients: 5000", "maxRecipients: 5000.0"),
    "an anchor and an alias": with_("name: nexthink", "name: &side nexthink").replace("name: qualtrics", "name: *side"),
    "merged keys": with_("    frequency: Weekly", "    <<: {frequency: Hourly}\n    frequency: Weekly"),
    "a query in double quotes": with_("query: |\n", 'query: "users | list ad.email_address"\n    # |\n').replace(
        "      users | with", "      # users | with").replace("      | ", "      # | "),
    "labels and annotations": metadata('labels: {team: dex, "example.com/tier": "1"}\n  annotations: {note: "a: b"}'),
    "empty labels": metadata("labels:\n  annotations: {}"),
    "an annotation without a value": metadata("annotations: {note: }"),
    "without a namespace": SAMPLE.replace(f"  namespace: {NAMESPACE}\n", ""),
    "a time of creation": metadata("creationTimestamp: null"),
    "a finalizer": metadata('finalizers: ["example.com/keep"]'),
    "a name with dots": with_("name: teams-rollout", "name: teams.rollout-2"),
    "a name of numbers in quotes": with_("name: teams-rollout", 'name: "2026"'),
    "a status": SAMPLE + "status: {observedGeneration: 3}\n",
    "a field without a value": spec("description:"),
    "a key that stands twice": spec("dryRun: true"),
}  # fmt: skip

BAD = {
    "a byte order mark after a separator with a comment": "--- # first\n\ufeff" + SAMPLE,
    "a byte order mark before a comment": with_("spec:\n", "\ufeff# a comment\nspec:\n"),
    "a byte order mark before an empty line": with_("spec:\n", "\ufeff\nspec:\n"),
    "a byte order mark inside a document": with_("metadata:", "\ufeffmetadata:"),
    "a byte order mark before a second key": with_("spec:", "\ufeffspec:"),
    "a comment for an id": with_('queryId: "#teams_rollout"', "queryId: #teams_rollout"),
    "merged keys that come last": with_(
        "    frequency: Weekly", "    frequency: Weekly\n    <<: {frequency: Sometimes}"),
    "a list of merged keys, the first of which wins": with_(
        "    frequency: Weekly", "    <<: [{frequency: Sometimes}, {frequency: Weekly}]"),
    "a merge of no object": spec("<<: 3"),
    "a merge of a list of no objects": spec("<<: [3]"),
    "a directive": "%YAML 1.1\n---\n" + SAMPLE,
    "a finalizer with a space": metadata('finalizers: ["a b"]'),
    "a list of manifests": "- " + SAMPLE[SAMPLE.index("apiVersion"):].replace("\n", "\n  "),
    "a tab in a text of JSON": json.dumps(plain_yaml.read(SAMPLE)).replace("How is", "How\tis"),
    "half of an emoji": with_("subject: How", 'subject: "\\ud83d"\n    fromName: How'),
    "an unknown field": spec("suspended: false"),
    "an unknown field further in": with_("frequency: Weekly", "frequency: Weekly\n    cron: '* * * * *'"),
    "an unknown field at the top": SAMPLE + "specs: {}\n",
    "an unknown field of metadata": metadata("label: {a: b}"),
    "an unknown field of the Secret's name": with_("name: nexthink", "name: nexthink\n      namespace: other"),
    "another version": with_("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.dev/v1"),
    "no version": with_("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.dev"),
    "another group": with_("qualtrics-exporter.dev/v1alpha1", "qualtrics-exporter.com/v1alpha1"),
    "another spelling of the kind": with_("kind: QualtricsExporter", "kind: qualtricsexporter"),
    "a plural kind": with_("kind: QualtricsExporter", "kind: QualtricsExporters"),
    "no name": with_("  name: teams-rollout\n", ""),
    "an empty name": with_("name: teams-rollout", 'name: ""'),
    "a name that is a number": with_("name: teams-rollout", "name: 2026"),
    "a name that is true": with_("name: teams-rollout", "name: y"),
    "a name with capitals": with_("name: teams-rollout", "name: TeamsRollout"),
    "a name with an underscore": with_("name: teams-rollout", "name: teams_rollout"),
    "a name that is too long": with_("name: teams-rollout", f"name: {'a' * 254}"),
    "a name with two dots": with_("name: teams-rollout", "name: teams..rollout"),
    "a label with a space": metadata('labels: {team: "d x"}'),
    "a label that is too long": metadata(f"labels: {{team: {'d' * 64}}}"),
    "a label that is a number": metadata("labels: {tier: 1}"),
    "a label that is true": metadata("labels: {tier: on}"),
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
    "text for a number": with_("maxRecipients: 5000", 'maxRecipients: "5000"'),
    "a fraction of a person": with_("maxRecipients: 5000", "maxRecipients: .5"),
    "a number for text": with_("subject: How is Teams working for you?", "subject: 2026"),
    "true for text": with_("subject: How is Teams working for you?", "subject: yes"),
    "a number as a parameter": with_("parameters: {}", "parameters: {days: 7}"),
    "a parameter that YAML calls false": with_("parameters: {}", "parameters: {days: n}"),
    "a word for true": with_("suspend: false", "suspend: enabled"),
    "a rule that is broken": with_("dayOfWeek: Monday", "everyHours: 4"),
    "no YAML": with_("spec:", "spec: ["),
    "a key without text": spec("~: x"),
    "a key that is a list": spec("? [a]\n  : x"),
    "a tab": with_("  schedule:", "\tschedule:"),
    "a control character": with_("description: Ask", "description: \x01Ask"),
}  # fmt: skip


@pytest.fixture(scope="module")
def refused(cluster: ControlPlane) -> Iterator[dict[str, str]]:
    """What kubectl says of each file that it does not get into the API server."""
    cluster.namespace(NAMESPACE)

    def create(item: tuple[str, str]) -> tuple[str, str]:
        command = ("create", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", "-")
        ended = cluster.kubectl(*command, input=item[1], check=False)
        return item[0], ended.stderr if ended.returncode else ""

    with ThreadPoolExecutor(4) as workers:
        yield dict(workers.map(create, [*GOOD.items(), *BAD.items()]))


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_validate_and_kubectl_never_disagree(refused: dict[str, str], name: str) -> None:
    _, found = findings(GOOD.get(name) or BAD[name])
    errors = [finding.message for finding in found if finding.severity == "error"]
    assert bool(errors) == bool(refused[name]), (errors, refused[name])
    assert bool(errors) == (name in BAD), (errors, refused[name])


WORDS = [
    *("y", "Y", "yes", "n", "NO", "on", "Off", "true", "TRUE", "tRUE", "~", "null", "Null", "nULL"),
    *("2026-11-24", "2026-11-24T10:00:00Z", "12:30:45", "010", "0o10", "0o9", "09", "0x1F", "0b11", "-0b1", "0b12"),
    *("1_000", "1e3", "1e", ".5", "5.", "+1", "-0", "1.5e-3", "99999999999999999999", "-9223372036854775809", "1__0"),
    *("=", "'y'", '"1"', "!!str 5", "!custom foo", "!!int '7'", "a: b", "_1", "--", ".", "..", "1.2.3"),
]


def test_plain_words_become_what_kubectl_makes_of_them(cluster: ControlPlane) -> None:
    keys = {f"k{number}": word for number, word in enumerate(WORDS) if ": " not in word}
    lines = [f"  {key}: {word}" for key, word in keys.items()]
    names = [f"  {word}: key" for word in ("n", "Yes", "1", "1.0", "'on'")]
    text = "\n".join(["apiVersion: v1", "kind: ConfigMap", "metadata: {name: words}", "data:", *lines, *names])
    shown = cluster.kubectl(
        "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", input=text
    ).stdout
    theirs = json.loads(shown, parse_int=float)["data"]
    ours = documents(text)[0].value["data"]
    for name, word in keys.items():
        assert (ours[name], type(ours[name]) is bool) == (theirs[name], type(theirs[name]) is bool), word
    assert ours.keys() == theirs.keys()
