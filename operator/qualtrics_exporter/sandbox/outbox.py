"""The outbox: every distribution and its recipients, as a page and as JSON."""

from dataclasses import asdict
from html import escape
from typing import Any

from qualtrics_exporter.sandbox.qualtrics_json import format_time
from qualtrics_exporter.sandbox.recorder import Recorder, SentDistribution

MAX_ADDRESSES = 200
"""How many addresses of a list the page shows. The JSON has all of them."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2430; background: #fff }
section { border: 1px solid #cbd3de; border-radius: 6px; padding: 0 1rem 1rem; margin: 1rem 0 }
h2 { margin-bottom: .2rem } dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem }
dt { color: #53606f } dd { margin: 0; overflow-wrap: anywhere } ul { columns: 20rem }
.twice { font-weight: bold; color: #a30000 }
@media (prefers-color-scheme: dark) { body { color: #e4e8ee; background: #14181e } section { border-color: #3a4553 }
  dt { color: #9eabbb } .twice { color: #ff8a80 } }
"""


def page(recorder: Recorder) -> str:
    """The outbox as a page that reloads every few seconds and loads nothing from other hosts."""
    total = sum(len(sent.recipients) for sent in recorder.distributions)
    sections = "".join(_section(sent) for sent in reversed(recorder.distributions))
    nothing = "<p>Nothing was sent yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        '<meta name="viewport" content="width=device-width"><title>Outbox</title>'
        f"<style>{STYLE}</style></head><body><h1>Outbox</h1>"
        f"<p>{_count(len(recorder.distributions), 'distribution')}, {_count(total, 'mail')}. "
        f'No mail left this machine. As <a href="outbox.json">JSON</a>.</p>{sections or nothing}</body></html>'
    )


def _section(sent: SentDistribution) -> str:
    header = sent.request["header"]
    facts = {
        "Id": sent.id,
        "From": f"{header['fromName']} <{header['fromEmail']}>",
        "Reply to": header.get("replyToEmail", ""),
        "Survey": sent.survey_id,
        "Message": f"{sent.message_id} of {sent.library_id}",
        "To": sent.batch_id or sent.contact_id or sent.mailing_list_id or sent.sample_id or "",
        "Run": ", ".join(sent.run_ids),
        "Send date": format_time(sent.send_date),
        "Created": format_time(sent.created),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    lists = {
        "Mailed": sent.recipients,
        "Bounced": sent.bounced,
        "Blocked as duplicates": sent.blocked,
        "Skipped": sent.skipped,
        "Failed": sent.failed,
    }
    if not sent.mailed:
        people = "<p>Waiting for its send date.</p>"
    else:
        people = "".join(_addresses(name, listed) for name, listed in lists.items() if listed or name == "Mailed")
    return f"<section><h2>{escape(sent.subject)}</h2><dl>{rows}</dl>{people}</section>"


def _addresses(name: str, addresses: list[str]) -> str:
    seen: set[str] = set()
    items = []
    for address in addresses[:MAX_ADDRESSES]:
        repeated = ' class="twice"' if address.lower() in seen else ""
        seen.add(address.lower())
        items.append(f"<li{repeated}>{escape(address)}</li>")
    more = f"<p>… and {len(addresses) - MAX_ADDRESSES} more</p>" if len(addresses) > MAX_ADDRESSES else ""
    return f"<h3>{name}: {len(addresses)}</h3><ul>{''.join(items)}</ul>{more}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def as_json(sent: SentDistribution) -> dict[str, Any]:
    """A distribution, with all of its record."""
    document = asdict(sent)
    times = {name: getattr(sent, name).isoformat() for name in ("created", "send_date")}
    return {**document, **times, "stats": sent.stats}


def record_json(recorder: Recorder) -> dict[str, Any]:
    """The whole record."""
    return {
        "calls": [{**asdict(call), "at": call.at.isoformat()} for call in recorder.calls],
        "batches": [
            {**asdict(batch), "created": batch.created.isoformat(), "repeated": batch.repeated()}
            for batch in recorder.batches.values()
        ],
        "distributions": [as_json(sent) for sent in recorder.distributions],
        "mails": dict(recorder.mails()),
        "errors": recorder.errors,
    }
