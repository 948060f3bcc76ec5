"""Who sends the same survey and message to the same list: a copied manifest is the usual way to mail people twice."""

from qualtrics_exporter.controller.status.store import Key
from qualtrics_exporter.resource.exporter import Exporter


class Targets:
    """What each exporter sends to whom, as one number each: a parsed spec would cost a thousand times as much."""

    def __init__(self) -> None:
        self._targets: dict[Key, int] = {}

    def observe(self, exporter: Exporter) -> None:
        """Remember what the exporter sends now."""
        key = Key(exporter.namespace, exporter.name, exporter.uid)
        if exporter.spec is None:
            self.forget(key)
            return
        wish = exporter.spec.qualtrics
        target = hash((wish.survey_id, wish.message_id, wish.mailing_list_id))
        self._targets[key] = target

    def forget(self, key: Key) -> None:
        """The exporter is gone."""
        self._targets.pop(key, None)

    def others(self, key: Key) -> tuple[str, ...]:
        """The other exporters with the same target. Names of other namespaces are not for the users of this one.

        Looks at all exporters: it is asked a few times a day.
        """
        mine = self._targets.get(key)
        if mine is None:
            return ()
        same = [other for other, target in self._targets.items() if target == mine and other != key]
        near = sorted(str(other) for other in same if other.namespace == key.namespace)
        return (*near, "an exporter of another namespace") if len(near) < len(same) else tuple(near)
