"""Bring rendered files live, all or nothing, and remember what the program accepted.

``StateFolder(path).hold(group)`` locks a group's destinations and opens its state; `recover` repairs what a killed
process left; `apply` does the rest::

    with StateFolder(path).hold(group) as state:
        recover(state)
        outcome = await apply(outputs, state=state, check=check, reload=reload)

Knows nothing of templates, sources or nginx.
"""

from ctemplate.apply.attendance import is_another
from ctemplate.apply.candidates import judged
from ctemplate.apply.commands import CommandCheck, CommandReload
from ctemplate.apply.flow import apply, reload_live
from ctemplate.apply.group import CandidateCheck, Group, LiveChange, OnEdit, Program, Reload
from ctemplate.apply.item_files import FOREIGN_ITEM, with_item_files
from ctemplate.apply.ledger import Accepted, Ledger, LedgerPage, read_ledger
from ctemplate.apply.state import (
    Generations,
    GroupState,
    StateFolder,
    former_files,
    group_folder,
    item_records,
    written_before,
)
from ctemplate.apply.steps import Observe, Step
from ctemplate.apply.transaction import recover
from ctemplate.system.files import write_private

__all__ = [
    "FOREIGN_ITEM",
    "Accepted",
    "CandidateCheck",
    "CommandCheck",
    "CommandReload",
    "Generations",
    "Group",
    "GroupState",
    "Ledger",
    "LedgerPage",
    "LiveChange",
    "Observe",
    "OnEdit",
    "Program",
    "Reload",
    "StateFolder",
    "Step",
    "apply",
    "former_files",
    "group_folder",
    "is_another",
    "item_records",
    "judged",
    "read_ledger",
    "recover",
    "reload_live",
    "with_item_files",
    "write_private",
    "written_before",
]
