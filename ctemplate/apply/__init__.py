"""Bring rendered files live, all or nothing, and remember what the program accepted.

``StateFolder(path).hold(group)`` locks a group's destinations and opens its state; `recover` puts right what a killed
process left; `apply` does the rest::

    with StateFolder(path).hold(group) as state:
        recover(state)
        outcome = await apply(outputs, state=state, check=check, reload=reload)

Knows nothing of templates, sources or nginx.
"""

from ctemplate.apply.attendance import is_another
from ctemplate.apply.candidates import judged
from ctemplate.apply.commands import CommandCheck, CommandReload
from ctemplate.apply.files import write_private
from ctemplate.apply.flow import apply
from ctemplate.apply.group import Check, Group, OnEdit, Program, Reload
from ctemplate.apply.ledger import Accepted, Ledger, Page, read_page
from ctemplate.apply.state import GroupState, Shelf, StateFolder, group_folder, written_before
from ctemplate.apply.steps import Observe, Step
from ctemplate.apply.transaction import recover

__all__ = [
    "Accepted",
    "Check",
    "CommandCheck",
    "CommandReload",
    "Group",
    "GroupState",
    "Ledger",
    "Observe",
    "OnEdit",
    "Page",
    "Program",
    "Reload",
    "Shelf",
    "StateFolder",
    "Step",
    "apply",
    "group_folder",
    "is_another",
    "judged",
    "read_page",
    "recover",
    "write_private",
    "written_before",
]
