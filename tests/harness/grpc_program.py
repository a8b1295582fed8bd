"""A gRPC server and a gRPC client, programs of their own: gRPC's threads do not like processes that start others.

`serve PORT NAME` answers each unary call with its name, the path and the request; `call PORT PATH TEXT` prints the
answer, or the status's name.
"""

import sys
from concurrent import futures

import grpc

LIMIT = 60


class Echo(grpc.GenericRpcHandler):
    """Answers every method."""

    def __init__(self, name: str):
        self.name = name

    def service(self, handler_call_details):
        def answer(request, _context):
            return f"{self.name} {handler_call_details.method} {request.decode()}".encode()

        return grpc.unary_unary_rpc_method_handler(answer)


def serve(port: str, name: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo(name)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call(port: str, path: str, text: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = channel.unary_unary(path)(text.encode(), timeout=LIMIT, wait_for_ready=True).decode()
        except grpc.RpcError as exc:
            answer = exc.code().name
    sys.stdout.write(answer)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
