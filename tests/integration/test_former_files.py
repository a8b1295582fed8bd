"""Files whose destination was moved or removed: they stay, and the operator learns of each, also after a restart."""

import json
import signal

import pytest
from harness.waiting import PATIENCE, wait_for

WRITTEN = "written earlier and no longer in the configuration; left in place"
INCLUDED = "nginx's configuration still includes"


class Moving:
    """A configuration whose one template can be moved; nginx includes `conf.d`, and nothing of `aside`."""

    def __init__(self, folder, nginx):
        self.nginx = nginx
        self.folder = folder
        for name in ("conf.d", "conf.d/items", "aside"):
            (nginx.prefix / name).mkdir(exist_ok=True)
        nginx.conf.write_text(
            f"{nginx.main}http {{\n{nginx.http}\ninclude conf.d/*.conf;\ninclude conf.d/items/*;\n}}\n"
        )
        (folder / "catalog.yaml").write_text("services: {web: {}, db: {}}\n")
        self.config = folder / "c.toml"

    def write(self, *destinations, each="", name="c.toml"):
        group = f'[[group]]\nname = "nginx"\nreload = {json.dumps([*self.nginx.arguments, "-s", "reload"])}\n'
        templates = "".join(
            f'[[template]]\ncontents = "# file\\n"\ndestination = "{place}"\ngroup = "nginx"\n'
            + (f'for_each = "{each}"\n' if "{{" in str(place) else "")
            for place in destinations
        )
        (self.folder / name).write_text(f'catalog = "catalog.yaml"\nstate_dir = "state"\n{group}{templates}')

    def place(self, name):
        return self.nginx.prefix / name


@pytest.fixture
def moving(tmp_path, nginx):
    return Moving(tmp_path, nginx)


def lines(process):
    return [line.split(" ", 1)[1] for line in process.log().splitlines() if WRITTEN in line]


def hung_up(process, file):
    """Let the daemon read its configuration again, and wait until the new one's file stands."""
    process.signal(signal.SIGHUP)
    wait_for(file.exists, PATIENCE, f"{file}", log=process.log)


def test_a_file_whose_destination_moved_is_named_until_it_is_gone(moving, ctemplate):
    old, new, last = (moving.place(f"conf.d/{name}.conf") for name in ("old", "new", "last"))
    moving.write(old)
    daemon = ctemplate("-config", "c.toml")
    wait_for(old.exists, PATIENCE, "the first file", log=daemon.log)
    moving.write(new)
    hung_up(daemon, new)
    daemon.wait_for_log(WRITTEN)
    said = f"WARNING {old}: {WRITTEN}; {INCLUDED} it: remove what is not meant to stay"
    assert lines(daemon) == [said]
    daemon.terminate()
    assert daemon.wait() == 0
    run = ctemplate("-config", "c.toml", "-once", name="restart")
    assert (run.wait(), lines(run)) == (0, [said])
    old.unlink()
    moving.write(last)
    run = ctemplate("-config", "c.toml", "-once", name="without")
    assert (run.wait(), lines(run)) == (0, [said.replace(str(old), str(new))])


@pytest.mark.parametrize(("folder", "level"), [("conf.d/items", "WARNING"), ("aside", "INFO")])
def test_the_files_of_a_list_whose_folder_moved_are_named(moving, ctemplate, folder, level):
    keep, items = moving.place("conf.d/keep.conf"), moving.place(folder)
    moving.write(keep, items / "{{ item.name }}.txt", each="services()")
    daemon = ctemplate("-config", "c.toml")
    wait_for((items / "web.txt").exists, PATIENCE, "the first files", log=daemon.log)
    moving.write(keep, moving.place("moved") / "x.txt")
    moving.place("moved").mkdir()
    hung_up(daemon, moving.place("moved") / "x.txt")
    daemon.wait_for_log(WRITTEN)
    names = f"{items / 'db.txt'}, {items / 'web.txt'}"
    includes = f"; {INCLUDED} {names}: remove what is not meant to stay" if level == "WARNING" else ""
    assert lines(daemon) == [f"{level} {names}: {WRITTEN}{includes}"]


def test_another_configuration_that_shares_the_state_folder_is_not_concerned(moving, ctemplate):
    for name in ("one", "two", "one"):
        moving.write(moving.place(f"conf.d/{name}.conf"), name=f"{name}.toml")
        run = ctemplate("-config", f"{name}.toml", "-once", name=name)
        assert (run.wait(), lines(run)) == (0, [])
