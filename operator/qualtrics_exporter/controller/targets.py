"""Who sends the same survey and message to the same list: a copied manifest is the usual way to mail people twice."""

from collections import defaultdict

from qualtrics_exporter.controller.status import Key
from qualtrics_exporter.resource.exporter import Exporter


class Targets:
    """An index of exporters by what they send to whom. A small number each, not a parsed spec."""

    def __init__(self) -> None:
        self._target: dict[tuple[str, str], int] = {}
        self._exporters: dict[int, set[tuple[str, str]]] = defaultdict(set)

    def observe(self, exporter: Exporter) -> None:
        """Remember what the exporter sends now."""
        self.forget(exporter.namespace, exporter.name)
        if exporter.spec is None:
            return
        wish = exporter.spec.qualtrics
        target = hash((wish.survey_id, wish.message_id, wish.mailing_list_id))
        name = (exporter.namespace, exporter.name)
        self._target[name] = target
        self._exporters[target].add(name)

    def forget(self, namespace: str, name: str) -> None:
        """The exporter is gone."""
        target = self._target.pop((namespace, name), None)
        if target is not None:
            self._exporters[target].discard((namespace, name))
            if not self._exporters[target]:
                del self._exporters[target]

    def others(self, key: Key) -> tuple[str, ...]:
        """The other exporters with the same target, as namespace/name."""
        target = self._target.get((key.namespace, key.name))
        names = self._exporters.get(target, set()) if target is not None else set()
        return tuple(sorted(f"{namespace}/{name}" for namespace, name in names if (namespace, name) != key[:2]))
