"""Troubles of getting at Consul: a token without rights, certificates that are replaced, a socket that goes away.

Part of `python -m bench.faults`.
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # their harness starts the programs

from harness import Consul, free_port
from harness.consul import certificates

from bench.scene import LIMIT, Scene, Seen, accepted

REST = 5.0  # seconds that each state of a trouble lasts
READ = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'


def _passed(scene: Scene, consul: Consul, trouble: Callable[[], None]) -> Iterator[Seen]:
    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def _started(scene: Scene, consul: Consul) -> Scene:
    scene.populate(consul)
    scene.start()
    return scene


def rights_lost(_options: object, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """ACLs that deny by default: the policy of our token loses all rights, for 5 s once that is noticed."""
    master = str(uuid.uuid4())
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"master": master, "agent": master, "default": master}}
    consul = Consul(folder, config={"acl": acl})
    stack.callback(consul.kill)
    consul.start()
    accepted(lambda: consul.api("PUT", "/v1/acl/policy", {"Name": "read", "Rules": READ}, token=master))
    policy = consul.api("GET", "/v1/acl/policies", token=master)[-1]["ID"]
    token = consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "read"}]}, token=master)["SecretID"]
    scene = _started(Scene(folder, stack, address=consul.address, consul=f'token = "{token}"'), consul)
    give = partial(consul.api, "PUT", f"/v1/acl/policy/{policy}", token=master)

    def trouble() -> None:
        give({"Name": "read", "Rules": 'key_prefix "" { policy = "read" }'})
        scene.ctemplate.wait_for_log("WARNING held: ", LIMIT)
        time.sleep(REST)
        give({"Name": "read", "Rules": READ})
        scene.ctemplate.wait_for_log("all is back", LIMIT)

    yield from _passed(scene, consul, trouble)


def certificates_rotated(_options: object, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """TLS with client certificates: ours is half written for 5 s, then another one, and the agent starts anew."""
    authority, server, client, other = certificates(folder, clients=2)
    ports = {"https": free_port(), "serf_wan": -1}
    tls = {"ca_file": authority, "cert_file": server[0], "key_file": server[1], "verify_incoming_https": True}
    consul = Consul(folder, persistent=True, config=tls | {"ports": ports})
    stack.callback(consul.kill)
    consul.start()
    cert, key = folder / "cert.pem", folder / "key.pem"
    shutil.copy(client[0], cert)
    shutil.copy(client[1], key)
    files = f'ssl_ca_cert = "{authority}"\nssl_cert = "{cert}"\nssl_key = "{key}"'
    address = f"https://127.0.0.1:{ports['https']}"
    scene = _started(Scene(folder, stack, address=address, consul=files), consul)

    def trouble() -> None:
        cert.write_text("half written")
        time.sleep(REST)
        shutil.copy(other[1], key)
        shutil.copy(other[0], cert)
        time.sleep(REST)
        consul.restart()

    yield from _passed(scene, consul, trouble)


def socket_gone(_options: object, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGKILL of the agent behind a unix socket, start with its data after 5 s."""
    path = folder / "http.sock"
    consul = Consul(folder, persistent=True, config={"addresses": {"http": f"127.0.0.1 unix://{path}"}})
    stack.callback(consul.kill)
    consul.start()
    scene = _started(Scene(folder, stack, address=f"unix://{path}"), consul)

    def trouble() -> None:
        consul.kill()
        time.sleep(REST)
        consul.start()

    yield from _passed(scene, consul, trouble)
