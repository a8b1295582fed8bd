#!/usr/bin/env python3
"""Register what no agent runs beside, or deregister it, over Consul's catalog API; needs the standard library only.

    catalog.py register external.json
    catalog.py critical external.json      its checks fail from now on; passing takes that back
    catalog.py deregister external.json

CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN are read as by consul itself.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def put(path: str, body: Any) -> None:
    """Send a body to Consul; end with its words when it refuses."""
    address = os.environ.get("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
    url = f"{address if '://' in address else f'http://{address}'}{path}"
    headers = {"X-Consul-Token": os.environ.get("CONSUL_HTTP_TOKEN", "")}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="PUT")  # noqa: S310  # the operator's
    try:
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    except urllib.error.HTTPError as refusal:
        sys.exit(f"{url}: {refusal.code} {refusal.read().decode(errors='replace').strip()}")
    except OSError as fault:
        sys.exit(f"{url}: {fault}")


def main() -> None:
    """Do what the first argument says with the file of the second."""
    if len(sys.argv) != 3:  # noqa: PLR2004
        sys.exit("usage: catalog.py register|passing|warning|critical|deregister FILE")
    verb = sys.argv[1]
    try:
        entry = json.loads(Path(sys.argv[2]).read_text())
    except (OSError, ValueError) as fault:
        sys.exit(f"{sys.argv[2]}: {fault}")
    if verb == "register":
        put("/v1/catalog/register", entry)
    elif verb == "deregister":
        put("/v1/catalog/deregister", {"Node": entry["Node"], "ServiceID": entry["Service"]["ID"]})
    elif verb in {"passing", "warning", "critical"}:
        put("/v1/catalog/register", entry | {"Checks": [check | {"Status": verb} for check in entry["Checks"]]})
    else:
        sys.exit(f"{verb}: must be register, passing, warning, critical or deregister")


if __name__ == "__main__":
    main()
