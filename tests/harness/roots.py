"""Clean hosts: a fresh Debian in a folder; programs run there with their own processes and network. Root only."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.programs import ROOT

CACHE = ROOT / ".cache/roots"
LIMIT = 900.0
INSIDE = """
set -e
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
{more}
exec chroot {options} "$root" "$@"
"""
ALONE = "ip link set lo up"
RESOLVED = """for file in /etc/resolv.conf /etc/hosts; do
    [ -e "$file" ] && touch "$root$file" && mount --bind "$file" "$root$file"
done"""
INDEX_SETTINGS = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class CleanRoot:
    """A Debian in a folder: as small as it can be, with apt and what it needs."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(
        self,
        script: str,
        *,
        has_network: bool = False,
        user: str = "",
        env: Mapping[str, str] | None = None,
        fails: bool = False,
    ) -> str:
        """Run lines of shell, the first process of all; return what they print, errors too.

        Without the network there is a loopback interface of its own. Fails unless the lines do as they should.
        """
        command = self.command(["/bin/sh", "-euc", script], has_network=has_network, user=user)
        done = subprocess.run(
            command,
            env=self._environment(has_network=has_network) | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert bool(done.returncode) == fails, f"{script}\nexit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def command(self, argv: list[str], *, has_network: bool = False, user: str = "") -> list[str]:
        """Return what runs a program as process 1 of the root, and ends it with whoever started it."""
        options = f"--userspec={user}" if user else ""
        inside = INSIDE.format(more=RESOLVED if has_network else ALONE, options=options)
        spaces = ["--mount", "--pid", "--ipc", "--fork", "--kill-child", *([] if has_network else ["--net"])]
        return ["unshare", *spaces, "sh", "-c", inside, "sh", str(self.folder), *argv]

    def install(self, *packages: str) -> None:
        """Install packages as a person would, from the sources that the root was made of; those that miss."""
        if all(self.has(f"/var/lib/dpkg/info/{name}.list") for name in packages):
            return
        self.run(
            f"apt-get -q update; apt-get -q -y install --no-install-recommends {' '.join(packages)}", has_network=True
        )

    def put(self, source: Path, destination: str) -> None:
        """Copy a file or folder of ours into the root."""
        target = self.folder / destination.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)

    def write(self, destination: str, text: str) -> None:
        target = self.folder / destination.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path.lstrip("/")).read_text()

    def has(self, path: str) -> bool:
        return (self.folder / path.lstrip("/")).exists()

    def trust_our_index(self) -> None:
        """Have pip in the root reach what pip here reaches: its settings, and the certificates that these name."""
        for name, value in self._environment(has_network=True).items():
            if name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") and Path(value).is_file():
                self.put(Path(value), value)
        for file in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf"):
            if file.is_file():
                self.put(file, "/etc/pip.conf")

    @staticmethod
    def _environment(*, has_network: bool) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        if has_network:
            given |= {name: value for name, value in os.environ.items() if name.startswith(INDEX_SETTINGS)}
        return given


def is_possible() -> bool:
    """Whether this process may make roots and run programs in them."""
    return os.geteuid() == 0


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let no other process of these tests do the same at the same time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base(suite: str) -> Path:
    """Return the archive of a fresh Debian; the first who wants it makes it."""
    archive = CACHE / f"{suite}.tar"
    with _alone(suite):
        if not archive.exists():
            made = subprocess.run(
                [ROOT / "scripts/tools.sh", "root", suite, archive], capture_output=True, text=True, check=False
            )
            assert made.returncode == 0, made.stdout + made.stderr
    return archive


def clean_root(suite: str, folder: Path) -> CleanRoot:
    """Unpack a fresh Debian into the folder."""
    folder.mkdir()
    subprocess.run(["tar", "-C", folder, "-xpf", base(suite), "--exclude", "./dev/*"], check=True)
    return CleanRoot(folder)
