"""Which exporters send the same survey and message to the same list, as a copied manifest does."""

from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.resource.exporter import Exporter


class Targets:
    """A hash of survey, message and list for each exporter: parsed specs would take a thousand times the memory."""

    def __init__(self) -> None:
        self._targets: dict[Key, int] = {}

    def observe(self, key: Key, exporter: Exporter) -> None:
        """Remember what the exporter sends now."""
        if exporter.spec is None:
            self.forget(key)
            return
        qualtrics = exporter.spec.qualtrics
        self._targets[key] = hash((qualtrics.survey_id, qualtrics.message_id, qualtrics.mailing_list_id))

    def forget(self, key: Key) -> None:
        """Remove an exporter that is gone."""
        self._targets.pop(key, None)

    def others(self, key: Key) -> tuple[str, ...]:
        """The other exporters with the same target, without the names of exporters in other namespaces.

        Looks at all exporters, because it is called only a few times a day.
        """
        own = self._targets.get(key)
        if own is None:
            return ()
        same = [other for other, target in self._targets.items() if target == own and other != key]
        near = sorted(str(other) for other in same if other.namespace == key.namespace)
        return (*near, "an exporter of another namespace") if len(near) < len(same) else tuple(near)
