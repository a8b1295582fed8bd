"""The template that ships, with the places and ports of a test's own nginx."""

from harness.nginx import Nginx
from harness.ports import free_port


def shipped_variables(nginx: Nginx, **others: object) -> tuple[str, ...]:
    """Return the options that give the template that ships its variables, and make the folder that it needs.

    It listens on a free port of the loopback and logs no access; ``others`` adds to these variables or replaces them.
    """
    temporary = nginx.prefix / "temp"
    temporary.mkdir(exist_ok=True)
    variables = {
        "http_port": free_port(),
        "listen": "127.0.0.1",
        "stream_module": nginx.stream_module,
        "user": "",
        "worker_connections": 256,
        "worker_rlimit_nofile": "",
        "pid": nginx.pid_file,
        "error_log": nginx.error_log_file,
        "access_log": "off",
        "stream_access_log": "off",
        "temp_dir": temporary,
        **others,
    }
    return tuple(part for name, value in variables.items() for part in ("-var", f"{name}={value}"))
