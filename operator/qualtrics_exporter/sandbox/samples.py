"""The saved queries and surveys that the manifests in `samples/` need.

A saved query must be the same as the query in its manifest. Otherwise the operator reports a drift. A test compares
the two.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A saved query, the names of the people that it returns, and the survey that they get."""

    query_id: str
    nql: str
    survey_id: str
    survey: str
    names: tuple[str, ...]


TEAMS_ROLLOUT = Sample(
    "#teams_rollout",
    """\
users | with execution.events during past 7d
| where binary.name == "teams.exe"
| compute focus = focus_time.sum()
| where focus < 1min
| list ad.email_address
""",
    "SV_teamsRollout01",
    "Teams rollout",
    # Eight rows for seven users: one user has no address, and one is returned in two spellings. Six people get a mail.
    ("ana", "ben", "chiara", "dmitri", "", "eva", "farid", "Ben"),
)

SAMPLES = (
    TEAMS_ROLLOUT,
    Sample(
        "#notes_not_adopted",
        """\
users during past 7d
| include execution.events during past 7d
| where binary.name == "onenote.exe"
| compute uses_it = user.count()
| where uses_it == 0
| list ad.email_address
""",
        "SV_notAdopted00001",
        "What keeps you from OneNote?",
        ("gina", "hugo", "ines"),
    ),
    Sample(
        "#expenses_power_users",
        """\
users | with execution.events during past 7d
| where binary.name == "expenses.exe"
| compute focus = focus_time.sum()
| where focus > 10h
| list ad.email_address
""",
        "SV_powerUsers00001",
        "Expenses: what do you use it for?",
        ("jana", "kofi"),
    ),
    Sample(
        "#outlook_crashes",
        """\
users | with execution.crashes during past 1d
| where binary.name == "outlook.exe"
| compute crashes = number_of_crashes.sum()
| where crashes >= 3
| list ad.email_address
""",
        "SV_crashes00000001",
        "Outlook crashed: does it keep you from working?",
        ("lea", "mato", "nora"),
    ),
    Sample(
        "#campaign_unanswered",
        """\
campaign.#laptop_feedback.responses during past 7d
| where state != answered
| list user.ad.email_address
""",
        "SV_campaign0000001",
        "Your laptop: a reminder by e-mail",
        ("oskar", "pia"),
    ),
    Sample(
        "#rarely_in_meetings",
        """\
users during past 7d
| include collaboration.sessions during past 7d
| compute meetings = count()
| where meetings == null or meetings < 2
| list ad.email_address
""",
        "SV_meetings0000001",
        "How do you meet your team?",
        ("quinn", "rosa", "sven"),
    ),
)
