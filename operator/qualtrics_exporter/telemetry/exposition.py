"""The text for Prometheus, formatted in pieces.

The text of 10,000 exporters has 4 MB. Formatting it as a whole takes 20 MB, most of which the process would keep.
"""

import copy
from collections.abc import Iterator
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

PIECE = 1000
"""How many series are formatted at once."""


def pieces(registry: CollectorRegistry) -> Iterator[bytes]:
    """The same text as `generate_latest` returns, in pieces, for metrics without the times of their creation."""
    for metric in registry.collect():
        samples = iter(metric.samples)
        header = True
        while (piece := list(islice(samples, PIECE))) or header:
            part = copy.copy(metric)
            part.samples = piece
            one: Any = SimpleNamespace(collect=partial(iter, (part,)))
            text = generate_latest(one)
            yield text if header else text.split(b"\n", 2)[2]  # the lines HELP and TYPE come once
            header = False
