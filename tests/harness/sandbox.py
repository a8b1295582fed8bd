"""Run ctemplate with other rights than the test's: as an ordinary user, or as root with few capabilities.

Works for root only. The process runs in its own mount namespace, in which source, packages and Python are in places
that every user may read, with whatever else the test binds. Nothing outside changes.
"""

import os
import sys
import sysconfig
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
[ -z "$HIDEPID" ] || mount -t proc -o "hidepid=$HIDEPID" proc /proc
unset READ_ONLY HIDEPID
exec "$@"
"""


class Sandboxed(Process):
    """`ctemplate ARGS` behind `setpriv RIGHTS`; `binds` are pairs of what is mounted where.

    `hidepid` is an option that /proc is mounted with. With `read_only` everything is read-only but `writable` folders,
    as with systemd's ProtectSystem=strict.
    """

    def __init__(
        self,
        folder: Path,
        *args: str | Path,
        rights: Sequence[str],
        binds: Mapping[Path, Path] | None = None,
        writable: Sequence[Path] = (),
        read_only: bool = False,
        hidepid: str = "",
        name: str = "sandboxed",
    ):
        """Describe the command; `folder` has to be one that everybody may enter."""
        packages = Path(sysconfig.get_path("purelib"))
        places = {
            ROOT: folder / "source",
            packages: folder / "packages",
            Path(sys.base_prefix): folder / "python",  # the link in a virtual environment may lead where nobody may go
        }
        for place in places.values():
            place.mkdir(exist_ok=True)
        places |= dict(binds or {}) | {path: path for path in writable}
        python = folder / "python" / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        pairs = [str(path) for pair in places.items() for path in pair]
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("CONSUL_", "NOTIFY_", "COV"))
        }
        own = {
            "PYTHONPATH": f"{folder}/source:{folder}/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(folder / "python" / "lib"),
            "TMPDIR": str(folder / "tmp"),
            "HIDEPID": hidepid,
            "READ_ONLY": "yes" if read_only else "",
            "HOME": str(folder),
        }
        behind = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", SCRIPT, "sh", *pairs, "--"]
        argv = [*behind, "setpriv", *rights, str(python), "-m", "ctemplate", *args]
        super().__init__(name, argv, folder, env=inherited | own)
