"""Ctemplate with other rights than the test's: an ordinary user, or root with few of its rights. Works for root only.

The process runs in a mount namespace of its own, in which source and Python stand where everybody may read them, and
whatever else the test binds. Nothing outside changes.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.processes import Process
from harness.programs import ROOT

SCRIPT = """
set -e
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
if [ -n "$READ_ONLY" ]; then
    mount -o remount,bind,ro /
    [ ! -d /run ] || { mount --bind /run /run; mount -o remount,bind,ro /run; }
fi
unset READ_ONLY
exec "$@"
"""


class Sandboxed(Process):
    """`ctemplate ARGS` behind `setpriv RIGHTS`; `binds` are pairs of what is mounted where.

    With `read_only` everything is read-only but `writable` folders, as with systemd's ProtectSystem=strict.
    """

    def __init__(
        self,
        folder: Path,
        *args: str | Path,
        rights: Sequence[str],
        binds: Mapping[Path, Path] | None = None,
        writable: Sequence[Path] = (),
        read_only: bool = False,
        name: str = "sandboxed",
    ):
        """Describe the command; `folder` has to be one that everybody may enter."""
        places = {ROOT: folder / "source", Path(sys.prefix): folder / "python"}
        for place in places.values():
            place.mkdir(exist_ok=True)
        places |= dict(binds or {}) | {path: path for path in writable}
        python = folder / "python" / Path(sys.executable).relative_to(sys.prefix)
        pairs = [str(path) for pair in places.items() for path in pair]
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("CONSUL_", "NOTIFY_", "COV"))
        }
        behind = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", SCRIPT, "sh", *pairs, "--"]
        super().__init__(
            name,
            [*behind, "setpriv", *rights, str(python), "-m", "ctemplate", *args],
            folder,
            env=inherited
            | {"PYTHONPATH": str(folder / "source"), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "tmp")}
            | {"READ_ONLY": "yes" if read_only else "", "HOME": str(folder)},
        )
