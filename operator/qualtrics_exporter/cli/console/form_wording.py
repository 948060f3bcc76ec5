"""The texts of the CRD and of the findings, in the words of the form.

These texts are for people who write a manifest: they name its fields, and explain YAML. A user of the form sees only
labels. A test finds texts that are missing here, and entries that no text needs any more.
"""

import re
from collections.abc import Mapping

PHRASES: Mapping[str, str] = {
    # Descriptions
    "While true,": "While this is on,",
    "every everyHours hours": "every few hours",
    "on dayOfWeek": "on the chosen day",
    "in timeZone": "in the chosen time zone",
    "the operator's --time-zone applies": "the time zone of the operator applies",
    "With sample,": "With a sample,",
    "use groups.": 'use "Sample: groups in turn".',
    "`qualtrics-exporter validate` and the operator": "This form and the operator",
    "the saved query of queryId": "the saved query with the id below",
    " (quote it in YAML, because of the #)": "",
    ": {days: 7d} for $days. All values are text.": ", for example days and 7d for $days.",
    "differs from query:": "differs from this one:",
    " See status.heavyQuery.": "",
    "driftPolicy: Hold holds": 'Hold in "If Nexthink runs another query" holds',
    "the text of query finds": "the query finds",
    "Allow a fromEmail": "Allow a sender's address",
    "go to fromEmail": "go to the sender's address",
    # Findings
    ", without quotes": "",
    '; quote it in YAML because of the #: "#teams_rollout"': ", for example #teams_rollout",
    ": write it on one line, or with >- in YAML": "",
    "This field must be at qemailserver.com": "The address must be at qemailserver.com",
    "set allowCustomFromDomain: true": 'turn on "Sender at your own domain"',
    "This field must have names of letters": "The names must consist of letters",
    "together with groups: remove one": 'together with "Sample: groups in turn": clear one',
    "with frequency Hourly": 'if "How often" is Hourly',
    "with frequency Weekly": 'if "How often" is Weekly',
    "is Export: with driftPolicy: Hold,": 'is Export, and "If Nexthink runs another query" is Hold:',
    "Set driftPolicy: Warn, or resultSource: Auto": "Choose Warn there, or Auto here",
    "the cycle of spec.sample": "the cycle of the sample",
}


def in_the_form(text: str, labels: Mapping[str, str]) -> str:
    """The text with the labels of fields in place of their names. `labels` has them by path."""
    for phrase, words in PHRASES.items():
        text = text.replace(phrase, words)
    keys = {path.rpartition(".")[2]: label for path, label in labels.items()}
    # Other keys, such as query and name, are also words of a sentence.
    known = {**labels, **{key: label for key, label in keys.items() if not key.islower()}}
    names = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    return re.sub(rf"\b({names})\b", lambda found: f'"{known[found[0]]}"', text)
