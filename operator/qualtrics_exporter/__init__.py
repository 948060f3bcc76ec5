"""A Kubernetes operator that sends Qualtrics surveys to the people that Nexthink queries return.

cli/           the command line
controller/    the operator: watch, work queue, plan, actions, status
sandbox/       Nexthink and Qualtrics as local servers
export/        one run, and its checks, without Kubernetes
nexthink/      the client of Nexthink
qualtrics/     the client of Qualtrics
remote/        HTTP calls: what both clients share
telemetry/     logs and metrics, without addresses and secrets
pages/         the design of the pages of the console and of the sandbox
nql/           the text of a query: parses and checks it
resource/      the QualtricsExporter: fields, rules, reasons and schemas
schedule.py    slots, as pure functions of schedule and time
clock.py       time as an argument, and jumps of the wall clock
fair_share.py  how tenants share a limited resource

Imports go one way, from the top of this list to its end. docs/architecture.md follows a survey through these packages.
"""
