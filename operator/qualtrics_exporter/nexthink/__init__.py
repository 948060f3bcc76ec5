"""The client of Nexthink's NQL API: saved queries in, rows out.

client.py        `NexthinkClient`: execute a saved query, or export its complete result
operations.py    the API calls: paths, bodies, rate limits and the meaning of each refusal
execution.py     the result of an execution
export.py        the result of an export, read row by row
table.py         the CSV file of an export, in pieces
credentials.py   the credentials in a Secret
"""
