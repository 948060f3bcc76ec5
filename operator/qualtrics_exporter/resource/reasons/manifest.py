"""Reasons about the object and its file."""

from qualtrics_exporter.resource.reasons.definition import EVENTS, MANIFEST, Definition, Kind, Place

SPEC_INVALID = Definition(
    "SpecInvalid", Kind.PERMANENT, MANIFEST,
    "The spec breaks a rule. In a cluster, an older CRD admitted it.",
    "Apply the CRD of this version, then correct the field that the message names.",
)  # fmt: skip
STATUS_REFUSED = Definition(
    "StatusRefused", Kind.PERMANENT, EVENTS,
    "The API server refuses to store the status of this exporter. No run starts, and the status may be outdated. The "
    "message names the cause: an admission policy or webhook, a quota, a missing permission of the operator, or a "
    "spec that another CRD admitted and that breaks a rule of the current CRD.",
    "If the message names a policy, a webhook or a quota, ask its owner to allow the operator's writes to "
    "qualtricsexporters/status, or change the exporter so that the policy accepts it. If the operator's role lacks a "
    "rule, add `update` on qualtricsexporters/status to it. If the message names a field, apply the CRD of this "
    "version and correct the spec.",
)  # fmt: skip
MANIFEST_INVALID = Definition(
    "ManifestInvalid", Kind.PERMANENT, (Place.VALIDATE,),
    "The file contains something that kubectl or the API server rejects.",
    "Correct the place that the message names.",
)  # fmt: skip
KEY_REPEATED = Definition(
    "KeyRepeated", Kind.WARNING, (Place.VALIDATE,),
    "A key appears twice in one object: kubectl uses the last one, other tools reject the file.",
    "Remove one of the two.",
)  # fmt: skip
VALUE_CUT = Definition(
    "ValueCut", Kind.WARNING, (Place.VALIDATE,),
    "YAML reads a part of a value as something else: an unquoted # starts a comment, ! a tag and & an anchor.",
    "Quote the value. If you intended a comment, put a space after the #.",
)  # fmt: skip
