"""The limit of an executed query. It is not in `compare`, because the event loop needs it without the grammar."""

LONGEST = 40_000
"""Maximum number of characters of an executed query. The longest query with all its parameters has fewer."""
TOO_LONG = f"its length: Nexthink runs a text of more than {LONGEST:,} characters"
