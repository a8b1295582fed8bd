"""Files that stand for items of lists: which of the outputs may be written, and which files go with their items.

Only what the ledger has a record of, and is still as it was written, is ever removed or replaced. Reads, never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ctemplate.apply.ledger import Accepted, fingerprint
from ctemplate.core.errors import SwapFailed
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import ItemFileLeft
from ctemplate.core.model import Output, Target
from ctemplate.system.files import Live, read_live

FOREIGN_ITEM = "already exists and was not written by ctemplate; left unchanged; move it away or choose another name"
EDITED_ITEM = "its item is gone, but another program changed it; left unchanged and no longer managed"


def with_item_files(
    outputs: Iterable[Output], records: Mapping[str, Accepted], reported: dict[Path, str] | None = None
) -> tuple[Output, ...]:
    """Return the outputs without those whose destination is a foreign file, and with the files to be removed.

    ``records`` are the ledger's. ``reported`` records what was logged, so that each is logged once; None logs nothing.
    Raises SwapFailed for a path that cannot be read.
    """
    outputs = tuple(outputs)
    wanted = {str(output.target.destination.absolute()) for output in outputs}
    kept = tuple(output for output in outputs if not _is_foreign(output, records, reported))
    return (*kept, *_gone(wanted, records, reported))


def _is_foreign(output: Output, records: Mapping[str, Accepted], reported: dict[Path, str] | None) -> bool:
    """Whether a foreign file with other content exists where a file is to be made for an item."""
    path = output.target.destination.absolute()
    if output.target.each is None or str(path) in records:
        return False
    live = _live(path)
    is_foreign = path.is_symlink() or live.content not in {None, output.content}
    if is_foreign:
        _report(path, FOREIGN_ITEM, reported)
    elif reported is not None:
        reported.pop(path, None)
    return is_foreign


def _gone(wanted: set[str], records: Mapping[str, Accepted], reported: dict[Path, str] | None) -> Iterator[Output]:
    """Yield the files whose items are gone; give up a file that another program changed, and leave it unchanged."""
    for path, record in records.items():
        if not record.is_item or path in wanted:
            continue
        live = _live(Path(path))
        is_ours = not Path(path).is_symlink() and live.content is not None
        if is_ours and fingerprint(live.content or b"") == record.sha256:
            yield Output(target=Target(destination=Path(path)), content=None)
        else:
            yield Output(target=Target(destination=Path(path)), content=live.content)
            if live.content is not None:
                _report(Path(path), EDITED_ITEM, reported)


def _live(path: Path) -> Live:
    try:
        return read_live(path.resolve())
    except OSError as exc:
        raise SwapFailed(str(path), f"cannot be read: {exc.strerror or exc}") from exc


def _report(path: Path, what: str, reported: dict[Path, str] | None) -> None:
    if reported is not None and reported.get(path) != what:
        reported[path] = what
        emit(ItemFileLeft(path=str(path), reason=what))
