"""A process table that tests write."""

from pathlib import Path

NGINX = Path("/usr/sbin/nginx")
MASTER = "nginx: master process nginx -c /etc/nginx/nginx.conf"
WORKER = "nginx: worker process"
DRAINING = "nginx: worker process is shutting down"


class Proc:
    """A /proc with the files that are read, for the processes that are added."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "1").mkdir()
        (folder / "1" / "cmdline").write_bytes(b"/sbin/init\0")
        (folder / "uptime").write_text("1000.00 2000.00\n")

    def add(self, pid, title, *, exe=NGINX, started=100, state="S", parent=1, children=(), nspid=None, **facts):
        here = self.folder / str(pid)
        (here / "task" / str(pid)).mkdir(parents=True)
        (here / "task" / str(pid) / "children").write_text(" ".join(map(str, children)))
        room = facts.get("room", 4096)
        fields = [state, str(parent), *["0"] * 17, str(started), *["0"] * 25, "1000", "0", "0", str(1000 + room)]
        (here / "stat").write_text(f"{pid} (nginx: ) x) {' '.join(fields)}\n")
        (here / "cmdline").write_bytes(title.encode() + b"\0\0")
        uid, pending, blocked = (facts.get(name, 0) for name in ("uid", "pending", "blocked"))
        (here / "status").write_text(
            f"State:\t{state} (x)\nUid:\t{uid}\t{uid}\t0\t0\nNSpid:\t{nspid or pid}\n"
            f"SigPnd:\t{0:016x}\nShdPnd:\t{pending:016x}\nSigBlk:\t{blocked:016x}\n"
        )
        (here / "smaps_rollup").write_text("Rss: 9 kB\nPss:                 300 kB\nPss_Anon: 1 kB\n")
        (here / "exe").symlink_to(exe)
