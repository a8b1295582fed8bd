"""gRPC servers and calls, run by `grpc_program`."""

import subprocess
import sys
from pathlib import Path

from harness.ports import free_port
from harness.processes import Process
from harness.waiting import PATIENCE

PROGRAM = Path(__file__).with_name("grpc_program.py")


class GrpcBackend:
    """Answers each unary call with its name, the path and the request."""

    def __init__(self, name: str, folder: Path):
        self.port = free_port()
        self.process = Process(f"grpc-{name}", [sys.executable, PROGRAM, "serve", str(self.port), name], folder)


def grpc_call(port: int, path: str, text: str = "hi") -> str:
    """Return the answer of a unary call, or the name of the status that came instead; waits for the server."""
    command = [sys.executable, PROGRAM, "call", str(port), path, text]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE * 2).stdout.strip()
