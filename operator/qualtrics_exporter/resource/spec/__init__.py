"""`spec`: the fields that users write. Every rule is beside its field, with the message that users read.

A rule is either plain schema (type, enum, length) or a `Rule`. For a `Rule`, the API server shows its message instead
of a regular expression (docs/facts/kubernetes.md section 5). Maximum lengths are generous, because the API server
evaluates no rule for a text that exceeds its maxLength.

The operator validates objects with the same models, because an older CRD may have admitted invalid values. It tolerates
unknown fields, because a newer CRD may have admitted them.

- `spec.py`: `Spec`, all of it.
- `schedule.py`: `spec.schedule`.
- `nexthink.py`: `spec.nexthink`.
- `qualtrics.py`: `spec.qualtrics`.
- `sample.py`: `spec.sample`.
- `secret.py`: the references to Secrets.
- `text.py`: rules for texts.
"""

from qualtrics_exporter.resource.spec.nexthink import LONGEST_QUERY, NEVER_COMPARED, NexthinkSpec
from qualtrics_exporter.resource.spec.sample import MAX_GROUPS, SampleSpec
from qualtrics_exporter.resource.spec.schedule import ScheduleSpec
from qualtrics_exporter.resource.spec.spec import Spec

__all__ = ["LONGEST_QUERY", "MAX_GROUPS", "NEVER_COMPARED", "NexthinkSpec", "SampleSpec", "ScheduleSpec", "Spec"]
