"""An edit that is refused is tried again as soon as any file that stood in its way is there or mended."""

import asyncio
import contextlib
import signal

import pytest

from ctemplate.config.layers import Layer
from ctemplate.core.errors import ConfigError
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.daemon import Daemon

CATALOG = "services: {{web: {{instances: [{{address: 10.0.0.{}, port: 80}}]}}}}"
CONFIG = """
catalog = "{catalog}"
state_dir = "{folder}/state"
[[template]]
source = "{source}"
destination = "{folder}/out"
escape = "none"
"""


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what happens on a disk sets no event of ours
            await asyncio.sleep(0.005)


class Folder:
    """The files of a daemon whose output is its template's text."""

    def __init__(self, path):
        self.path = path
        self.put("catalog.yaml", CATALOG.format(1))
        self.put("conf.d/c.toml", self.configuration())
        self.put("t.j2", "first")

    def configuration(self, *, source="t.j2", catalog="catalog.yaml"):
        return CONFIG.format(folder=self.path, source=self.path / source, catalog=self.path / catalog)

    def put(self, name, text):
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.with_name(".new").write_text(text)
        path.with_name(".new").replace(path)

    @property
    def output(self):
        return (self.path / "out").read_text() if (self.path / "out").exists() else None

    @property
    def assembler(self):
        return Assembler(paths=(self.path / "conf.d",), flags=Layer(where="test", values={}), environ={})

    @contextlib.asynccontextmanager
    async def running(self):
        daemon = Daemon(assembler=self.assembler, assembly=self.assembler.assemble())
        task = asyncio.create_task(daemon.run())
        try:
            await until(lambda: self.output == "first")
            yield
        finally:
            daemon._stop()
            await asyncio.wait_for(task, 60)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


BROKEN = "{% if %}"
NEW = "{% include 'part.j2' %}"
IMPORT = "{% import 'm.j2' as m %}{{ m.x() }}"


@pytest.mark.parametrize(
    ("edits", "mends"),
    [
        pytest.param({"t.j2": NEW}, {"part.j2": "second"}, id="an include that comes later"),
        pytest.param({"part.j2": BROKEN, "t.j2": NEW}, {"part.j2": "second"}, id="a broken new include"),
        pytest.param(
            {"m.j2": NEW + "{% macro x() %}second{% endmacro %}", "t.j2": IMPORT},
            {"part.j2": ""},
            id="an include of a new import",
        ),
        pytest.param({"conf.d/c.toml": "[", "t.j2": "second"}, {"conf.d/c.toml": {}}, id="a broken configuration"),
        pytest.param(
            {"conf.d/d.toml": "[", "t.j2": "second"}, {"conf.d/d.toml": ""}, id="another file of the configuration"
        ),
        pytest.param({"conf.d/c.toml": {"source": "u.j2"}}, {"u.j2": "second"}, id="a template that comes later"),
        pytest.param(
            {"t.j2": "second", "conf.d/c.toml": {"catalog": "other.yaml"}},
            {"other.yaml": CATALOG.format(2)},
            id="a catalog that comes later",
        ),
    ],
)
async def test_a_refused_edit_is_tried_again_once_what_it_needs_is_there(folder, caplog, edits, mends):
    def put(files):
        for name, text in files.items():
            folder.put(name, text if isinstance(text, str) else folder.configuration(**text))

    async with folder.running():
        put(edits)
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: any("keeping the running" in message for message in caplog.messages))
        put(mends)
        await until(lambda: folder.output == "second")


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("name", ["'part.j2' ignore missing", "['part.j2', 'none.j2']", "'pa' ~ 'rt.j2'"])
async def test_a_file_that_is_named_only_when_it_is_rendered_is_followed(folder, name, is_there):
    folder.put("none.j2", "")
    if is_there or "~" in name:
        folder.put("part.j2", "")
    folder.put("t.j2", f"first{{% include {name} %}}")
    async with folder.running():
        folder.put("part.j2", " and second")
        await until(lambda: folder.output == "first and second")
        folder.put("part.j2", " and third")
        await until(lambda: folder.output == "first and third")


def test_no_template_is_written_over_the_configuration(folder):
    folder.put("conf.d/c.toml", folder.configuration().replace("/out", "/conf.d/../conf.d/c.toml"))
    with pytest.raises(ConfigError, match=r"c\.toml: a template would be written over what is read"):
        folder.assembler.assemble()
