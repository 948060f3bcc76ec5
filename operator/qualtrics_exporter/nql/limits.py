"""The limit of an executed query. It is apart from `compare`, so that the event loop can test it without the grammar."""

LONGEST = 40_000
"""Maximum number of characters of an executed query. The longest query with all its parameters has fewer."""
TOO_LONG = f"its length: Nexthink runs a text of more than {LONGEST:,} characters"
