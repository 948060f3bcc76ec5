"""Measurements. `make bench` runs the first group, and each module of the last group is a command of its own.

The command:
    command.py            runs the benchmarks in lanes, and writes the table and dist/bench.json
    page.py, plots.py     write what was measured into docs/performance.md

The benchmarks:
    idle.py               thousands of idle exporters: memory, CPU time, start, and how soon due slots are claimed
    console.py            the console with these exporters; console_process.py opens it
    burst.py              a thousand exporters that are due in one slot
    shared_list.py        exporters that share a mailing list; shared_list_simulation.py is its process
    new_exporters.py      exporters that are created at once; new_exporters_simulation.py is its process
    large_run.py          a run with a million rows
    small_run.py          a run with six people, and how runs grow with their people
    side_by_side.py       a script that a CronJob starts, and Kopf timers, next to the operator
    metrics_page.py       a scrape of the metrics of thousands of exporters; metrics_process.py is its server
    day.py                a simulated day; day_simulation.py is its process
    floors/               the plainest programs that do the same work

What they use:
    figures.py            figures, floors and targets as plain data; the table and its JSON
    growth.py             the slope of a figure over a size
    registry.py           the sizes, and the turns of work that uses a whole core
    installation.py       an API server, with operators and services
    exporters.py          exporters with statuses, created quickly
    runs.py               runs on request, by the operator and by the plain script
    status_watch.py       when runs are claimed and when they end
    operator_process.py   the operator as a process, with a shifted wall clock
    remote_process.py     sandboxes as a process, with the limits of the vendors
    fast_remote.py        both services as a plain server, for a million rows
    processes.py          CPU time and memory of processes
    shifted_clock.py      the slot at which exporters are due
    machine.py            the machine that was measured

Other measurements:
    queue.py              10,000 exporters that are due in one slot, simulated by queue_simulation.py
    neighbours.py         how tenants that hang or flood delay the others
    remote_input.py       how services that flood block the event loop
    slow_api.py           the leader election with a slow API server
    nql.py                the check of a query
"""
