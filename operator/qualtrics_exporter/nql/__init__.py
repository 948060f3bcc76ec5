"""NQL, the query language of Nexthink, as text: nothing in here talks to anybody."""
