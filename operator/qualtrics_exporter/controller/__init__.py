"""The operator. A change of an exporter passes these parts in this order:

watch.py              reports changes of exporters to the work queue
queue/                decides whose turn it is
reconciler.py         reads an exporter, plans, acts, and says when to look again
plan/                 what is due now: pure functions
actions/              does what the plan has claimed: runs, tests, checks, questions to Qualtrics
status/               stores the status: journal, conditions, Events
kube/                 the calls to the API server

The process:
app.py                wires these parts and runs them
settings.py           the flags
probes.py             probes and metrics over HTTP
health.py             the answers to the probes
temporary_files.py    whether temporary files can be written
client_packages.py    loads only the parts of the Kubernetes client that are used
election/             which replica works: the leader election

What a process knows besides the status:
sweep.py              finds what the watches miss
credentials.py        clients, made from Secrets
targets.py            exporters that send the same survey to the same list
memory.py             what is remembered of exporters; losing it only costs a check
run_holders.py        who holds a run, and whether that process still works on it
recipient_memory.py   the memory that the recipients of all runs share
announcer.py          Events and metrics about a change
"""

from qualtrics_exporter.controller.client_packages import load_on_demand

for _package in ("kubernetes", "kubernetes.aio"):  # before any module of this package imports one of their parts
    load_on_demand(_package)
