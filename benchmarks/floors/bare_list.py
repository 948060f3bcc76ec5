"""Lists all exporters of a namespace, page by page, and keeps nothing. Prints when it is done.

python -m benchmarks.floors.bare_list KUBECONFIG NAMESPACE
"""

import json
import sys
from pathlib import Path

import httpx

PAGE = 500
"""The size of a page of kubectl."""


def main() -> None:
    kubeconfig, namespace = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    path = f"/apis/qualtrics-exporter.dev/v1alpha1/namespaces/{namespace}/qualtricsexporters"
    number, token = 0, ""
    headers = {"Authorization": f"Bearer {user['token']}"}
    with httpx.Client(verify=cluster["certificate-authority"], headers=headers, timeout=60) as client:
        while True:
            reply = client.get(cluster["server"] + path, params={"limit": PAGE, "continue": token}).raise_for_status()
            page = reply.json()
            number += len(page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                break
    print(json.dumps({"exporters": number}), flush=True)


if __name__ == "__main__":
    main()
