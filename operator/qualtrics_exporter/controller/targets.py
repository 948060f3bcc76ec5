"""Who sends the same survey and message to the same list: a copied manifest is the usual way to mail people twice."""

from qualtrics_exporter.controller.status import Key
from qualtrics_exporter.resource.exporter import Exporter


class Targets:
    """What each exporter sends to whom, as one number each: a parsed spec would cost a thousand times as much."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str], int] = {}

    def observe(self, exporter: Exporter) -> None:
        """Remember what the exporter sends now."""
        if exporter.spec is None:
            self.forget(exporter.namespace, exporter.name)
            return
        wish = exporter.spec.qualtrics
        target = hash((wish.survey_id, wish.message_id, wish.mailing_list_id))
        self._targets[exporter.namespace, exporter.name] = target

    def forget(self, namespace: str, name: str) -> None:
        """The exporter is gone."""
        self._targets.pop((namespace, name), None)

    def others(self, key: Key) -> tuple[str, ...]:
        """The other exporters with the same target. Names of other namespaces are not for the users of this one.

        Looks at all exporters: it is asked a few times a day.
        """
        mine = self._targets.get((key.namespace, key.name))
        if mine is None:
            return ()
        same = [name for name, target in self._targets.items() if target == mine and name != key[:2]]
        near = sorted("/".join(name) for name in same if name[0] == key.namespace)
        return (*near, "an exporter of another namespace") if len(near) < len(same) else tuple(near)
