"""Every reason that a user can meet: name, kind, where it shows, what it means, and what to do next.

Conditions, Events, history, metrics and `docs/reasons.md` use these definitions. Add a reason together with the code
that produces it: a test lists the reasons that nothing produces. To find that code, search for the constant, such as
`SLOT_OVERTAKEN`.

- `definition.py`: `Definition`, `Kind` and `Place`.
- `reason.py`: `Reason`, the enumeration of all definitions.
- `state.py`: the state of an exporter.
- `manifest.py`: the object and its file.
- `remote.py`: Secrets, credentials, and any remote service.
- `survey.py`: the survey and its objects in Qualtrics.
- `query.py`: the query and its result.
- `guards.py`: slots, requests and audiences that are not run.
- `runs.py`: the outcome of runs and tests, and their delivery.
"""

from qualtrics_exporter.resource.reasons.definition import Kind, Place
from qualtrics_exporter.resource.reasons.reason import Reason

__all__ = ["Kind", "Place", "Reason"]
