"""Nexthink and Qualtrics as two local servers, to try exporters with and to test the operator against.

The sandbox is as strict as the documented facts allow. Where a fact is unknown, it takes the stricter behavior or
offers a setting in `Account`. Comments name the section of `docs/facts/nexthink.md` or `docs/facts/qualtrics.md` that
they rest on, and how certain it is: D documented by the vendor, S seen, I inferred, ? unknown. The package imports
nothing from the clients, so that both cannot have the same mistakes.

    async with Sandbox() as sandbox:
        sandbox.secrets()                      # the keys of the two credentials Secrets
        sandbox.faults.add("qualtrics.create_distribution", drop="after")
        ...
        sandbox.recorder.mails()               # the number of mails to each address

`account` is the data that both services have, `recorder` records what happened, `faults` injects errors.

server.py           the servers on sockets: `Sandbox`
services.py         the two services and their data, without sockets
middleware.py       records every request and applies its faults
faults.py           faults of chosen requests
recorder.py         what happened: requests, batches, distributions, mails
account.py          the data of both services: queries, surveys, lists, credentials, settings
samples.py          the data that the manifests in `samples/` need
settings.py         reading and changing the settings as JSON
condition.py        waiting for a change by another task
limits.py           rate limits
tokens.py           the token endpoints
nexthink_api.py     Nexthink: the NQL API
object_store.py     Nexthink: the files of exports
qualtrics_api.py    Qualtrics: access, rate limits, and reads before a send
imports.py          Qualtrics: batches and imports
distributions.py    Qualtrics: sends, and the list of distributions
qualtrics_state.py  Qualtrics: contacts, batches, imports and mails, without HTTP
qualtrics_json.py   Qualtrics: strict request bodies, and the envelope of replies
outbox.py           the outbox: each distribution and its recipients
control.py          `/_sandbox/`: the pages, and control by tests
page_routes.py      the pages, from `templates/`: outbox, faults, limits, queries
fault_forms.py      the forms and descriptions of faults
setting_forms.py    the form of limits and settings
changes.py          a stream of changes, for pages that update themselves
"""

from qualtrics_exporter.sandbox.account import Account, Credential, Directory, MailingList, Message, Query, Survey
from qualtrics_exporter.sandbox.faults import Fault, Faults
from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.recorder import Batch, RecordedCall, Recorder, SentDistribution
from qualtrics_exporter.sandbox.server import Sandbox

__all__ = [
    "Account",
    "Batch",
    "Credential",
    "Directory",
    "Fault",
    "Faults",
    "Limits",
    "MailingList",
    "Message",
    "Query",
    "RecordedCall",
    "Recorder",
    "Sandbox",
    "SentDistribution",
    "Survey",
]
