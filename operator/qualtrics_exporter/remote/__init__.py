"""HTTP calls to Nexthink and Qualtrics: everything that the two clients share.

A client makes a call with a `Session` and an `Operation`. What all sessions of a process share is the `ApiContext`.

    session.py       one service with the credentials of one Secret: `call` and `download`
    operation.py     the description of one API call
    service.py       the properties of one service: its error codes, rate limits and form of refusals
    context.py       what all sessions share: connections, tokens, limits, locks, allowed hosts
    outcomes.py      from the end of a try to the error that the caller gets
    errors.py        the tree of these errors
    retry.py         when a call is repeated, and after which pause
    polling.py       repeated calls until something is done
    rate_limits.py   sliding windows of calls per endpoint
    waits.py         what waits for a limit of this process
    tokens.py        access tokens, shared and renewed
    credentials.py   the content of a Secret
    transport.py     one try of one request on real sockets
    bodies.py        bodies of responses, read within limits
    failures.py      how far a failed try got, and why it failed
    response.py      a response, and functions that read JSON without trusting its shape
    json_pieces.py   JSON, parsed in small pieces
    gunzip.py        gzip, unpacked in small pieces
    paced.py         connections that let other tasks run
    loop_time.py     shares of the event loop's time
    name_lookup.py   shares of the threads that resolve host names
    time_limit.py    a time limit by a `Clock`
    hosts.py         which URLs the operator follows
    proxies.py       which requests use a proxy
    authorities.py   which certificates are trusted
"""

import sys
from typing import Any

# httpx imports its command line if rich is installed, which takes 3 MB. The image does not contain rich.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
