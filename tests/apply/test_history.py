"""The states of a group before each change, read from its stored generations."""

from pathlib import Path

from hypothesis import given, strategies as st

from ctemplate.apply.history import history
from ctemplate.apply.state import BACKUPS, ORIGINAL, Generations, group_folder

PATHS = (Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/conf.d/a.conf"))
CHANGES = st.lists(st.dictionaries(st.sampled_from(PATHS), st.binary(min_size=1, max_size=2), min_size=1), max_size=8)


@given(changes=CHANGES, limit=st.integers(1, 4))
def test_a_group_is_brought_to_what_it_was_before_a_change(tmp_path_factory, changes, limit):
    state_dir = tmp_path_factory.mktemp("state")
    shelf = Generations(group_folder(state_dir, PATHS) / BACKUPS, limit)
    shelf.folder.mkdir(parents=True)
    live, before = dict.fromkeys(PATHS, b"-"), {}
    for change in changes:
        replaced = {path: live[path] for path, content in change.items() if content != live[path]}
        generation = shelf.put(replaced)
        if generation is not None:
            before[generation.name] = dict(live)
        live |= change
    for past in history(state_dir, PATHS):
        assert {**live, **past.files} == before[past.label]
    assert [past.label for past in history(state_dir, PATHS)] == sorted(before, reverse=True)[:limit]


def keep_original(state_dir, group, path, content):
    place = state_dir / group / ORIGINAL / path.relative_to("/")
    place.parent.mkdir(parents=True)
    place.write_bytes(content)


def test_an_original_is_found_in_whichever_group_its_file_was_before(tmp_path):
    keep_original(tmp_path, "another-group", PATHS[0], b"from before")
    (past,) = history(tmp_path, PATHS)
    assert (past.label, past.files) == ("original", {PATHS[0]: b"from before"})
    assert past.only([PATHS[1]]).files == {}


def test_without_a_state_folder_nothing_was_before(tmp_path):
    assert history(tmp_path / "none", PATHS) == ()
