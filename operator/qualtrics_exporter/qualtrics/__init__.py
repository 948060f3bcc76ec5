"""The client of Qualtrics' API v3: one survey to the people of one batch.

client.py          `QualtricsClient`: check ids, import recipients, send, and look up what was sent
operations.py      the API calls: paths, bodies, rate limits and the meaning of each refusal
responses.py       the values in the responses
pages.py           lists that Qualtrics returns in pages
imports.py         the imports of a run, several at once
chunks.py          recipients, cut into requests of a permitted size
distributions.py   what is sent, and how to recognize it in a list
notice.py          the notice about requests to the wrong datacenter
credentials.py     the credentials in a Secret
"""
