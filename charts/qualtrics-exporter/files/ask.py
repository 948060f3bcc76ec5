"""Run by `helm test`: whether an operator is ready and has metrics, at the host and port that are given."""

import http.client
import sys
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])
GIVE_UP = time.monotonic() + 60


def ask(path):
    """The answer; asked for a minute until there is a good one, as pods may have to start."""
    while True:
        connection = http.client.HTTPConnection(HOST, PORT, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            text = reply.read().decode()
            if reply.status == 200:
                return text
            print(f"{path}: {reply.status} {text.strip()}", flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(f"{path}: {error}", flush=True)
        finally:
            connection.close()
        if time.monotonic() > GIVE_UP:
            sys.exit("no operator is ready: the logs of its pods tell why")
        time.sleep(2)


print("/readyz:", ask("/readyz").strip())
if "qualtrics_exporter_leader " not in ask("/metrics"):
    sys.exit("what answers there is not the operator: its metrics are missing")
print("/metrics: those of the operator")
