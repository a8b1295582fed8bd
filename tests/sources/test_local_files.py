"""Files of this host in templates: which files may be read, their values, and that edits are followed."""

import asyncio
import contextlib

import pytest

from ctemplate.catalog import Catalog
from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.queries import LocalFile, LocalFileQuery
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.catalog_file import CatalogFile
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.sources.local_files import LocalFiles, read_local
from ctemplate.template import Renderer, Template

LIMIT = 60


def query(path):
    return LocalFileQuery(path=str(path))


def rendered(text, folder, *answers):
    source = folder / "t.j2"
    source.write_text(text)
    renderer = Renderer([Template.load(source, variables={}, environ={})])
    return renderer.render(Snapshot({each.query: each for each in answers}))


def holding(path, data):
    return Answer(query=query(path), value=() if data is None else (LocalFile(path=path, data=data),))


@pytest.fixture
def folder(tmp_path):
    """A folder that is allowed, beside one that is not, with links between them."""
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    allowed.mkdir()
    other.mkdir()
    (allowed / "a").write_text("inside")
    (other / "b").write_text("outside")
    (allowed / "out").symlink_to(other / "b")
    (allowed / "away").symlink_to(other)
    (other / "in").symlink_to(allowed / "a")
    (allowed / "sub").mkdir()
    return allowed


@pytest.mark.parametrize(("name", "found"), [("a", b"inside"), ("none", None), ("../other/in", b"inside")])
def test_a_file_in_an_allowed_folder_is_read(folder, name, found):
    value = read_local(query(folder / name), [str(folder)])
    assert [entry.data for entry in value] == ([] if found is None else [found])


@pytest.mark.parametrize("name", ["out", "away/b", "../other/b", "../other/none", "/etc/passwd", "../allowed2/x"])
def test_a_file_outside_of_them_is_refused_whatever_leads_there(folder, name):
    with pytest.raises(PermissionError, match=r"lies in no folder of data\.file_folders"):
        read_local(query(folder / name), [str(folder)])
    with pytest.raises(PermissionError, match=r"lies in no folder of data\.file_folders"):
        read_local(query(folder / name), [])


def test_a_folder_is_no_file(folder):
    with pytest.raises(OSError, match="Is a directory"):
        read_local(query(folder / "sub"), [str(folder)])


@pytest.mark.parametrize(
    ("text", "absent", "there"),
    [
        ("{{ file('/f', default='d') }}", "d", "v; }\n"),
        ("{{ file('/f') or 'd' }}", "d", "v; }\n"),
        ("{% if file('//f') %}y{% else %}n{% endif %}", "n", "y"),
        ("{{ file('/x/../f').split(';')[0] }}", None, "v"),
    ],
)
def test_a_text_prints_as_it_stands_and_one_that_is_not_there_is_waited_for(text, absent, there, tmp_path):
    assert rendered(text, tmp_path, holding("/f", b"v; }\n")).texts == (there,)
    rendering = rendered(text, tmp_path, holding("/f", None))
    if absent is None:
        assert rendering.missing == {query("/f")}
    else:
        assert rendering.texts == (absent,)


def test_a_relative_path_counts_from_where_we_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [entry.data for entry in read_local(query("../allowed/a"), [str(folder)])] == [b"inside"]
    with pytest.raises(PermissionError, match="lies in no folder"):
        read_local(query("../other/b"), [str(folder)])


@pytest.mark.parametrize("path", ["", "/a\nb"])
def test_a_path_that_no_file_has_is_an_error(path, tmp_path):
    with pytest.raises(TemplateError, match="is no path of a file"):
        rendered(f"{{{{ file({path!r}) }}}}", tmp_path)


def test_files_are_recorded_and_read_again():
    answers = [holding("/a", b"text\n"), holding("/b", b"\xff"), holding("/none", None)]
    contents = parse_catalog(dump(recorded(answers)), name="c")
    assert [answer(contents, each.query).value for each in answers] == [each.value for each in answers]
    assert recorded([holding("/x/token", b"secret")], masks=["tok*"]).files == {"/x/token": "masked"}


def test_files_outlive_the_process(tmp_path):
    memory = Memory(answer=holding("/a", b"\xff"))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)


@contextlib.asynccontextmanager
async def following(folder, *paths, catalog_text="services: {}"):
    """A catalog beside a catalog file that may read files of the folder."""
    written = folder.parent / "catalog.yaml"
    written.write_text(catalog_text)
    catalog, source = Catalog(), CatalogFile(written, file_folders=[str(folder)])
    catalog.want("group", frozenset(map(query, paths)))
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(catalog, path, data):
    """Wait until a file's content is known, None for one that is not there."""
    expected = () if data is None else (LocalFile(path=str(path), data=data),)
    async with asyncio.timeout(LIMIT):
        while (found := catalog.get(query(path))) is None or found.value != expected:
            await catalog.news()


class Counted(LocalFiles):
    """Counts how often it begins to follow files."""

    count = 0

    async def _follow(self, catalog, queries):
        self.count += 1
        await super()._follow(catalog, queries)


async def test_where_no_file_is_wanted_nothing_goes_round(folder):
    files, catalog = Counted([str(folder)]), Catalog()
    task = asyncio.create_task(files.run(catalog))
    for wanted in (frozenset(), frozenset({query(folder / "a")}), frozenset()):
        files.take(wanted)
        for _ in range(50):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert files.count == 1


def refusal(catalog, path):
    return catalog.get(query(path)).value[0].refusal


async def test_edits_are_followed_and_what_is_wanted_later_is_read(folder):
    first, second = folder / "a", folder / "later"
    async with following(folder, first) as catalog:
        await until(catalog, first, b"inside")
        first.write_text("edited")
        await until(catalog, first, b"edited")
        catalog.want("group", frozenset({query(first), query(second)}))
        await until(catalog, second, None)
        second.write_text("there")
        await until(catalog, second, b"there")
        first.unlink()
        await until(catalog, first, None)


async def test_a_file_that_is_refused_is_named_once_and_holds_up_no_other(folder, caplog):
    async with following(folder, folder / "out", folder / "a") as catalog:
        await until(catalog, folder / "a", b"inside")
        catalog.want("group", frozenset({query(folder / "out"), query(folder / "a"), query(folder / "sub")}))
        async with asyncio.timeout(LIMIT):
            while catalog.missing():
                await catalog.news()
        assert refusal(catalog, folder / "out") == "lies in no folder of data.file_folders"
        assert refusal(catalog, folder / "sub") == "is a directory"
        (folder / "a").write_text("again")
        await until(catalog, folder / "a", b"again")
        (folder / "link").symlink_to("/etc/passwd")
        (folder / "link").rename(folder / "a")
        async with asyncio.timeout(LIMIT):
            while "last content" not in caplog.text:  # noqa: ASYNC110 - a log line sets no event
                await asyncio.sleep(0.01)
        assert catalog.get(query(folder / "a")).value[0].data == b"again"
    assert caplog.text.count("lies in no folder of data.file_folders; its last content stays in use") == 1


@pytest.mark.parametrize("name", ["n" * 300, "..", "../..", "a/x", "loop", "sub"])
async def test_a_path_that_no_file_can_have_is_refused_and_stops_nothing(folder, name):
    (folder / "loop").symlink_to("loop")
    async with following(folder, folder / name, folder / "a") as catalog:
        await until(catalog, folder / "a", b"inside")
        async with asyncio.timeout(LIMIT):
            while catalog.missing():
                await catalog.news()
        assert refusal(catalog, folder / name)
        (folder / "a").write_text("again")
        await until(catalog, folder / "a", b"again")


class FaultyCatalog(Catalog):
    """Fails with a defect for one query, as long as that is set."""

    broken = None

    def put(self, answer):
        if answer.query == self.broken:
            raise KeyError("defect")
        super().put(answer)


async def test_a_defect_costs_one_file_which_is_read_again(folder, caplog, leap):
    other = folder / "other"
    other.write_text("first")
    files, catalog = LocalFiles([str(folder)]), FaultyCatalog()
    catalog.broken = query(folder / "a")
    catalog.want("group", wanted := frozenset({query(folder / "a"), query(other)}))
    files.take(wanted)
    task = asyncio.create_task(files.run(catalog))
    for data in ("first", "second"):
        other.write_text(data)
        await until(catalog, other, data.encode())
    assert catalog.get(query(folder / "a")) is None
    catalog.broken = None
    leap(60)
    await until(catalog, folder / "a", b"inside")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    lines = {record.getMessage() for record in caplog.records if record.levelname == "ERROR"}
    assert lines == {f"file({folder / 'a'}): a defect of ctemplate's own, please report it: KeyError: 'defect'"}


async def test_what_a_catalog_file_holds_is_preferred_to_the_host(folder):
    held = folder / "a"
    async with following(folder, held, catalog_text=f"files: {{{held}: played}}") as catalog:
        await until(catalog, held, b"played")
