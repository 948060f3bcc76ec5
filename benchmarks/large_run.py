"""Measures one run with many people: the requests of its import, and the memory of the operator.

    python -m benchmarks.large_run [--rows 25300]

The operator runs as a separate process, with a real API server and the sandbox over HTTPS.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.environment.controlplane import ControlPlane
from tests.environment.stage import Stage


def main() -> None:
    """Run the exporter and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=25_300, help="number of people that the query returns (25300)")
    rows = parser.parse_args().rows
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qualtrics-exporter-large-run-")))
        cluster = stack.enter_context(ControlPlane())
        cluster.install_crds()
        stage = Stage(cluster, cluster.namespace("large-run"), folder, stack)
        stage.people("#many", rows)
        operator = stage.operator(steered=False)
        exporter = stage.exporter(**{"nexthink.queryId": "#many"})
        exporter.checked()
        before = operator.peak_memory()
        began = time.monotonic()
        exporter.annotate(run_requested_at="now")
        entry = exporter.ended()
        took = time.monotonic() - began
        after = operator.peak_memory()
        imports = stage.sandbox.ledger.of("qualtrics.import_contacts")
        (sent,) = stage.sandbox.ledger.distributions
        print(f"rows                        {rows:>12,}")
        print(f"result                      {entry['result']:>12}")
        print(f"imported                    {entry['recipients']['imported']:>12,}")
        print(f"mailed                      {len(sent.recipients):>12,}")
        print(f"import requests             {len(imports):>12,}")
        print(f"most contacts in a request  {max(call.contacts or 0 for call in imports):>12,}")
        print(f"largest request, bytes      {max(call.bytes for call in imports):>12,}")
        print(f"seconds                     {took:>12.1f}")
        print(f"peak memory before, MB      {before / 1e6:>12.1f}")
        print(f"peak memory after, MB       {after / 1e6:>12.1f}")


if __name__ == "__main__":
    main()
