"""The data that a group stores for a later process: read back unchanged, and ignored if damaged."""

import shutil

import pytest

from ctemplate.core.model import Answer, Instance
from ctemplate.queries import ServiceQuery
from ctemplate.runtime import last_good
from ctemplate.runtime.last_good import LastRendered
from ctemplate.template import Baseline, KnownGood, Template, template_digest

WEB = ServiceQuery(name="web")
ANSWER = Answer(query=WEB, value=(Instance(id="a", name="web", node="n", address="10.0.0.1", port=80),), index=7)
KNOWN = KnownGood(answers=(ANSWER,), spent={"web": 10.0})


@pytest.fixture
def template(tmp_path):
    (tmp_path / "t.j2").write_text("{% include 'part.j2' %}")
    (tmp_path / "part.j2").write_text("x")
    return Template.load(tmp_path / "t.j2", variables={}, environ={})


def test_templates_are_read_back_as_they_were_live(tmp_path, template):
    baseline = Baseline(template=template_digest([template]))
    LastRendered(folder=tmp_path).save(baseline, [template], [tmp_path / "out"])
    (tmp_path / "part.j2").write_text("{% for %}")
    texts = LastRendered(folder=tmp_path).texts()[str(tmp_path / "out")]
    again = Template.load(tmp_path / "t.j2", variables={}, environ={}, texts=texts)
    assert template_digest([again]) == baseline.template
    assert again.files.keys() == template.files.keys()


def test_templates_of_another_baseline_are_not_used(tmp_path, template):
    LastRendered(folder=tmp_path).save(Baseline(template=template_digest([template])), [template], [tmp_path / "out"])
    LastRendered(folder=tmp_path).save(Baseline(template="other"), [template], [tmp_path / "out"])
    assert LastRendered(folder=tmp_path).texts() == {}


@pytest.mark.parametrize(("stands_still", "spent"), [(True, 10.0), (False, 110.0)])
def test_last_good_data_are_read_back_with_their_ages(tmp_path, monkeypatch, stands_still, spent):
    now = [1000.0]
    monkeypatch.setattr(last_good.time, "time", lambda: now[0])
    LastRendered(folder=tmp_path).save_services(KNOWN)
    now[0] += 100
    found = LastRendered(folder=tmp_path, stands_still=stands_still).services()
    assert (found.answers, dict(found.spent)) == (KNOWN.answers, {"web": spent})


def test_what_is_stored_already_is_not_written_again(tmp_path, template):
    baseline, last = Baseline(template=template_digest([template])), LastRendered(folder=tmp_path)
    assert not last.is_saved(baseline, KNOWN)
    last.save_all(baseline, [template], [tmp_path / "out"], KNOWN)
    assert last.is_saved(baseline, KNOWN)
    assert not last.is_saved(baseline, KnownGood())
    assert not last.is_saved(Baseline(template="other"), KNOWN)


def test_what_was_deleted_with_its_folder_is_written_again_once_the_folder_is_there(tmp_path, template):
    folder = tmp_path / "group"
    folder.mkdir()
    baseline, last = Baseline(template=template_digest([template])), LastRendered(folder=folder)
    last.save_all(baseline, [template], [tmp_path / "out"], KNOWN)
    names = {path.name for path in folder.iterdir()}
    shutil.rmtree(folder)
    assert last.is_saved(baseline, KNOWN)
    folder.mkdir()
    assert not last.is_saved(baseline, KNOWN)
    last.save_all(baseline, [template], [tmp_path / "out"], KNOWN)
    assert {path.name for path in folder.iterdir()} == names
    assert last.is_saved(baseline, KNOWN)


def test_what_could_not_be_written_is_not_stored(tmp_path, template):
    baseline, last = Baseline(template=template_digest([template])), LastRendered(folder=tmp_path / "missing")
    last.save_all(baseline, [template], [tmp_path / "out"], KnownGood())
    assert not last.is_saved(baseline, KnownGood())


@pytest.mark.parametrize("name", [last_good.BASELINE_NAME, last_good.TEMPLATES_NAME, last_good.SERVICES_NAME])
def test_what_could_not_be_written_is_written_with_the_next_rendering_after_one_warning(
    tmp_path, template, caplog, name
):
    baseline, last = Baseline(template=template_digest([template])), LastRendered(folder=tmp_path)
    (tmp_path / name).mkdir()
    for _ in range(3):
        last.save_all(baseline, [template], [tmp_path / "out"], KNOWN)
        assert not last.is_saved(baseline, KNOWN)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (tmp_path / name).rmdir()
    last.save_all(baseline, [template], [tmp_path / "out"], KNOWN)
    assert last.is_saved(baseline, KNOWN)
    assert (tmp_path / name).is_file()


def test_who_only_looks_writes_nothing(tmp_path, template):
    looking = LastRendered(folder=tmp_path / "state", is_written=False)
    looking.save(Baseline(template=template_digest([template])), [template], [tmp_path / "out"])
    looking.save_services(KNOWN)
    assert not (tmp_path / "state").exists()


def test_nothing_in_use_writes_no_file_and_empties_one_that_is_there(tmp_path):
    LastRendered(folder=tmp_path).save_services(KnownGood())
    assert list(tmp_path.iterdir()) == []
    LastRendered(folder=tmp_path).save_services(KNOWN)
    LastRendered(folder=tmp_path).save_services(KnownGood())
    assert LastRendered(folder=tmp_path).services() == KnownGood()


@pytest.mark.parametrize("content", [b"", b"{", b'{"written_at": 1, "spent": {}, "answers": {"instances": 3}}'])
def test_a_damaged_file_is_one_warning(tmp_path, caplog, content):
    for name in (last_good.TEMPLATES_NAME, last_good.SERVICES_NAME):
        (tmp_path / name).write_bytes(content)
    last = LastRendered(folder=tmp_path)
    assert (last.texts(), last.services()) == ({}, KnownGood())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
