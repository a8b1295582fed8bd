"""A real nginx checks candidates in their real place, and the check leaves no trace."""

import asyncio
import logging
import os
import re
import shutil
import subprocess

import pytest
from harness import free_port, wait_for
from harness.users import as_nobody, open_to_all

from ctemplate.core.errors import CheckRefused
from ctemplate.core.model import StagedFile
from ctemplate.nginx import check as check_module
from ctemplate.nginx.check import NginxCheck, can_mount
from ctemplate.nginx.command import Installation
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.recognition import recognise

WAYS = [pytest.param(True, id="bound"), pytest.param(False, id="copied")]


@pytest.fixture(params=WAYS)
def check_of(request):
    """Make a check that judges in one of the two ways."""

    def make(nginx, **options):
        check = NginxCheck(nginx=Lookup(command=recognise([*nginx.arguments, "-s", "reload"])), **options)
        if not request.param:
            check._can_mount = False
        return check

    if request.param and not asyncio.run(can_mount()):
        pytest.skip("no right to mount")
    return make


def main_text(nginx, http="", main=""):
    return f"{nginx.main}{main}http {{\n{nginx.http}{http}\n}}\n"


def stage(live, text):
    candidate = live.with_name(f".{live.name}.ctemplate")
    candidate.write_text(text)
    return StagedFile(candidate=candidate, live=live)


def state(folder):
    """Everything below a folder that a test could leave or touch, but for times of reading."""
    return {
        str(path.relative_to(folder)): (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)
        for path in sorted(folder.rglob("*"))
        for found in [path.lstat()]
    }


@pytest.fixture
def site(nginx):
    """An nginx whose main file includes `conf.d/*.conf` in its http block; `web` names a fragment there."""
    (nginx.prefix / "conf.d").mkdir()
    nginx.web = nginx.prefix / "conf.d" / "web.conf"
    nginx.web.write_text("upstream web { server 127.0.0.1:1; }\n")
    nginx.conf.write_text(main_text(nginx, f"include conf.d/*.conf;\nserver {{ listen 127.0.0.1:{free_port()}; }}\n"))
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (nginx.prefix / f"{name}_temp").mkdir(mode=0o700)
    return nginx


async def test_a_good_main_file_is_accepted_without_a_trace(site, check_of):
    staged = stage(site.conf, site.conf.read_text() + "# new\n")
    before = state(site.prefix)
    assert await check_of(site).check((staged,)) == ()
    assert state(site.prefix) == before
    assert not site.pid_file.exists()
    assert not site.error_log_file.exists()


async def test_folders_for_temporary_files_and_caches_are_not_created(nginx, check_of):
    cache = f"proxy_cache_path {nginx.prefix}/cache levels=1:2 keys_zone=one:1m;"
    nginx.conf.write_text(main_text(nginx, cache))
    staged = stage(nginx.conf, main_text(nginx, cache + " # new"))
    before = state(nginx.prefix)
    assert await check_of(nginx).check((staged,)) == ()
    assert state(nginx.prefix) == before


async def test_a_cache_in_a_folder_that_is_missing_is_refused(nginx, check_of):
    nginx.conf.write_text(main_text(nginx))
    staged = stage(nginx.conf, main_text(nginx, "proxy_cache_path missing/cache keys_zone=one:1m;"))
    with pytest.raises(CheckRefused, match="mkdir"):
        await check_of(nginx).check((staged,))


async def test_a_good_fragment_is_accepted_without_a_trace(site, check_of):
    staged = stage(site.web, "upstream web { server 127.0.0.1:2; }\n")
    before = state(site.prefix)
    assert await check_of(site).check((staged,)) == ()
    assert state(site.prefix) == before


async def test_the_check_of_a_running_nginx_touches_neither_pid_file_nor_logs(site, check_of):
    site.start()
    wait_for(
        lambda: len(re.findall(r"start worker process \d+", site.error_log())) == 2, 10, "the last line of the start"
    )
    before = state(site.prefix)
    staged = stage(site.web, "upstream web { zone w 32k; " + "server 127.0.0.1:9; " * 80 + "}\n")
    with pytest.raises(CheckRefused):
        await check_of(site).check((staged,))
    staged.candidate.unlink()
    after = state(site.prefix)
    folder = str(site.web.parent.relative_to(site.prefix))
    assert {name: after[name] for name in after if name != folder} == {
        name: before[name] for name in before if name != folder
    }


REFUSED = [
    pytest.param("upstream web { }", "no servers are inside upstream", id="empty upstream"),
    pytest.param("upstream web { server 127.0.0.1:1 backup; }", "no servers in upstream", id="only backup"),
    pytest.param("upstream web { server 1.1.1.1:1; } upstream web { server 1.1.1.1:2; }", "duplicate", id="duplicate"),
    pytest.param("upstream web { server 127.0.0.1:0; }", "invalid port", id="port 0"),
    pytest.param("upstream web { server 127.0.0.1:1 weight=0; }", "weight=0", id="weight 0"),
    pytest.param("upstream web { server ::1:80; }", "invalid port", id="IPv6 without brackets"),
    pytest.param("upstream w { ip_hash; server 1.1.1.1:1; server 1.1.1.1:2 backup; }", "backup", id="ip_hash backup"),
    pytest.param("upstream web { server 127.0.0.1:1;", "unexpected end of file", id="open block"),
    pytest.param("garbage;", 'unknown directive "garbage"', id="garbage"),
    pytest.param("include missing.conf;", "missing.conf", id="missing include"),
    pytest.param("upstream w { server name.invalid:1; }", "host not found in upstream", id="unresolvable"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
async def test_a_refused_fragment_is_shown_at_its_live_path_and_line(site, check_of, text, words):
    staged = stage(site.web, f"# first line\n{text}\n")
    with pytest.raises(CheckRefused) as raised:
        await check_of(site).check((staged,))
    error = raised.value
    assert words in str(error)
    assert "ctemplate-check" not in str(error)
    assert ".ctemplate" not in str(error)
    assert words == "no servers in upstream" or str(site.web) in str(error)


async def test_a_refusal_names_the_file_and_the_exit_status(site, check_of):
    with pytest.raises(CheckRefused) as raised:
        await check_of(site).check((stage(site.web, "\n\ngarbage;\n"),))
    assert str(raised.value) == (
        f'{site.web}: nginx -t: exit status 1\n    nginx: [emerg] unknown directive "garbage" in {site.web}:3'
    )


async def test_a_zone_too_small_is_refused_though_it_passes_the_syntax(site, check_of):
    servers = "".join(f"server 127.0.0.1:{1000 + number};" for number in range(80))
    with pytest.raises(CheckRefused, match='no memory in upstream zone "web"'):
        await check_of(site).check((stage(site.web, f"upstream web {{ zone web 32k; {servers} }}\n"),))


async def test_a_new_file_under_a_glob_is_judged_though_it_is_not_live_yet(site, check_of):
    new = site.web.with_name("new.conf")
    with pytest.raises(CheckRefused) as raised:
        await check_of(site).check((stage(new, "\ngarbage;\n"),))
    assert raised.value.output == (f'nginx: [emerg] unknown directive "garbage" in {new}:2',)
    assert await check_of(site).check((stage(new, "upstream new { server 127.0.0.1:1; }\n"),)) == ()
    assert not new.exists()


async def test_files_of_a_group_are_judged_together(site, check_of):
    other = site.web.with_name("other.conf")
    other.write_text("upstream other { server 127.0.0.1:1; }\n")
    swapped = (
        stage(site.web, "upstream other { server 127.0.0.1:1; }\n"),
        stage(other, "upstream web { server 127.0.0.1:1; }\n"),
    )
    assert await check_of(site).check(swapped) == ()
    with pytest.raises(CheckRefused, match="duplicate upstream"):
        await check_of(site).check(swapped[:1])


async def test_main_file_and_fragment_are_judged_together(site, check_of):
    main = stage(site.conf, site.conf.read_text().replace("conf.d/*.conf", "other.d/*.conf"))
    (site.prefix / "other.d").mkdir()
    fragment = stage(site.prefix / "other.d" / "a.conf", "garbage;\n")
    with pytest.raises(CheckRefused, match=r"other\.d/a\.conf:1"):
        await check_of(site).check((main, fragment))


@pytest.fixture
def certificate(site):
    """A key and a certificate, `site.key` and `site.crt`, in the folder of the main file."""
    request = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout site.key -out site.crt"
    subprocess.run(request.split(), cwd=site.prefix, check=True, capture_output=True)


@pytest.mark.usefixtures("certificate")
async def test_an_absolute_include_and_a_relative_certificate_mean_what_they_mean_live(site, check_of):
    site.conf.write_text(main_text(site, f"include {site.prefix}/conf.d/*.conf;\n"))
    server = f"server {{ listen 127.0.0.1:{free_port()} ssl; ssl_certificate site.crt; ssl_certificate_key site.key; }}"
    assert await check_of(site).check((stage(site.web, server),)) == ()
    with pytest.raises(CheckRefused, match="no-such"):
        await check_of(site).check((stage(site.web, server.replace("site.crt", "no-such.crt")),))


async def test_the_first_main_file_ever_is_judged(site, check_of):
    text = site.conf.read_text()
    site.conf.unlink()
    assert await check_of(site).check((stage(site.conf, text),)) == ()
    with pytest.raises(CheckRefused, match=rf'unknown directive "garbage" in {site.conf}:\d+$'):
        await check_of(site).check((stage(site.conf, text + "garbage;\n"),))
    assert not site.conf.exists()


async def test_a_symlinked_live_file_is_judged(site, check_of):
    kept = site.prefix / "kept.conf"
    site.web.replace(kept)
    site.web.symlink_to("../kept.conf")
    staged = StagedFile(candidate=stage(kept, "garbage;\n").candidate, live=site.web)
    with pytest.raises(CheckRefused, match="unknown directive"):
        await check_of(site).check((staged,))


async def test_a_file_outside_the_configuration_passes_and_is_named_once(site, check_of, caplog):
    staged = stage(site.prefix / "stray.conf", "garbage;\n")
    check = check_of(site)
    with caplog.at_level(logging.WARNING):
        assert await check.check((staged,)) == ()
        assert await check.check((staged,)) == ()
    said = (
        f"{staged.live}: {site.conf} does not read it: no include and no other directive names it; it is not checked; "
        "write it where an include finds it, or name the configuration that reads it in the group's nginx key"
    )
    assert [record.getMessage() for record in caplog.records] == [said]
    assert check.unread == (staged.live,)


async def test_a_warning_is_reported_and_refuses_only_when_asked(site, check_of):
    port = free_port()
    twice = f"server {{ listen 127.0.0.1:{port}; server_name a; }}\n" * 2
    warning = f'nginx: [warn] conflicting server name "a" on 127.0.0.1:{port}, ignored'
    staged = stage(site.web, twice)
    assert await check_of(site).check((staged,)) == (warning,)
    with pytest.raises(CheckRefused) as raised:
        await check_of(site, warnings_refuse=True).check((staged,))
    assert raised.value.output == (warning,)


async def test_a_secret_that_nginx_repeats_is_not_shown(site, check_of):
    secret = site.prefix / "secret"
    secret.write_text('SECRET_TOKEN="hunter2-value";\n')
    with pytest.raises(CheckRefused) as raised:
        await check_of(site).check((stage(site.web, f"include {secret};\n"),))
    assert "hunter2" not in str(raised.value)
    assert "SECRET_TOKEN" not in str(raised.value)
    assert f'unknown directive "…" in {secret}:1' in str(raised.value)


async def test_logs_that_do_not_exist_are_not_created(site, check_of):
    logs = site.prefix / "logs"
    logs.mkdir()
    text = (
        f"error_log {logs}/http.log; access_log {logs}/main.log combined buffer=4k;\n"
        f"server {{ listen 127.0.0.1:{free_port()}; access_log {logs}/server.log; error_log logs/server-error.log; }}\n"
    )
    assert await check_of(site).check((stage(site.web, text),)) == ()
    assert list(logs.iterdir()) == []


async def test_a_log_in_a_missing_folder_is_refused(site, check_of):
    text = f"access_log {site.prefix}/nowhere/a.log;\n"
    with pytest.raises(CheckRefused, match=r"nowhere/a\.log"):
        await check_of(site).check((stage(site.web, text),))


async def test_pid_directive_in_g_is_kept_apart_too(site, check_of):
    site.conf.write_text(site.conf.read_text().replace(f"pid {site.pid_file};\n", ""))
    site.arguments += ["-g", f"pid {site.pid_file};"]
    assert await check_of(site).check((stage(site.web, ""),)) == ()
    assert not site.pid_file.exists()


def test_the_default_pid_file_is_not_created(site, check_of):
    site.conf.write_text(site.conf.read_text().replace(f"pid {site.pid_file};\n", ""))
    default = asyncio.run(Installation.find(recognise([site.program, "-s", "reload"]))).default_pid_file
    existed = os.path.lexists(default)
    assert asyncio.run(check_of(site).check((stage(site.web, ""),))) == ()
    assert os.path.lexists(default) == existed


async def test_no_folder_is_left_in_the_temporary_directory(site, check_of, tmp_path, monkeypatch):
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setattr(check_module.tempfile, "tempdir", str(private))
    await check_of(site).check((stage(site.web, ""),))
    with pytest.raises(CheckRefused):
        await check_of(site).check((stage(site.web, "garbage;"),))
    assert list(private.iterdir()) == []


def outcome_of(check, files):
    try:
        return asyncio.run(check.check(files))
    except CheckRefused as error:
        return error


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("upstream web { server 127.0.0.1:2; }\n", "()", id="good"),
        pytest.param("garbage;\n", 'unknown directive "garbage" in {live}:1', id="refused"),
    ],
)
def test_without_root_pid_file_and_logs_of_root_are_no_obstacle(site, text, expected):
    logs = site.prefix / "logs"
    logs.mkdir()
    (logs / "access.log").touch(0o600)
    site.pid_file.touch(0o600)
    site.error_log_file.touch(0o600)
    site.conf.write_text("user root;\n" + site.conf.read_text().replace("access_log off", "access_log logs/access.log"))
    staged = stage(site.web, text)
    shutil.chown(site.prefix / "client_body_temp", "nobody")
    open_to_all(site.prefix)
    check = NginxCheck(nginx=Lookup(command=recognise([*site.arguments, "-s", "reload"])))
    found = as_nobody(lambda: outcome_of(check, (staged,)))
    assert found.endswith(expected.format(live=site.web)), found


@pytest.fixture
def unprivileged(site):
    """A site that nobody may judge: what nginx writes when it tests belongs to nobody."""
    shutil.chown(site.prefix / "client_body_temp", "nobody")
    open_to_all(site.prefix)
    return NginxCheck(nginx=Lookup(command=recognise([*site.arguments, "-s", "reload"])))


@pytest.mark.needs_root
def test_without_root_a_port_below_1024_is_no_obstacle(site, unprivileged):
    staged = stage(site.web, "server { listen 127.0.0.1:79; }\n")
    assert as_nobody(lambda: outcome_of(unprivileged, (staged,))) == "()"


TLS = "server {{ listen 127.0.0.1:{} ssl; ssl_certificate site.crt; ssl_certificate_key site.key; {} }}\n"


@pytest.mark.needs_root
@pytest.mark.usefixtures("certificate")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", "()"),
        ("ssl_stapling on;", "()"),
        ("garbage;", 'unknown directive "garbage" in {live}:1'),
        ("ssl_trusted_certificate none.crt;", "none.crt"),
    ],
)
def test_without_root_all_but_a_key_of_roots_is_judged(site, unprivileged, more, expected, caplog):
    (site.prefix / "site.key").chmod(0o600)
    (site.prefix / "site.crt").chmod(0o644)
    staged = stage(site.web, TLS.format(free_port(), more))
    found = as_nobody(lambda: (str(outcome_of(unprivileged, (staged,))), caplog.text, unprivileged._unreadable))
    assert expected.format(live=site.web) in found
    assert f"{site.prefix}/site.key" in found.rpartition("{")[2]
    assert "CannotJudge" not in found


@pytest.mark.needs_root
@pytest.mark.usefixtures("certificate")
def test_without_root_any_other_file_of_roots_is_left_to_the_reload(site, unprivileged):
    parameters = site.prefix / "dh.pem"
    parameters.touch(0o600)
    staged = stage(site.web, TLS.format(free_port(), "ssl_dhparam dh.pem;"))
    found = as_nobody(lambda: repr(outcome_of(unprivileged, (staged,))))
    assert found.startswith("CannotJudge("), found
    assert "this user lacks a right that nginx has: nginx: [emerg] " in found
    site.web.write_bytes(staged.candidate.read_bytes())
    live = StagedFile(candidate=site.web, live=site.web)
    found = as_nobody(lambda: repr(outcome_of(unprivileged, (live,))))
    assert "this user lacks a right" in found, found
    assert "the reload alone decides" in found


async def test_live_files_are_judged_where_they_stand_and_no_empty_pid_file_stays(site, check_of):
    live = StagedFile(candidate=site.web, live=site.web)
    assert await check_of(site).check((live,)) == ()
    site.web.write_text("garbage;\n")
    with pytest.raises(CheckRefused, match="garbage"):
        await check_of(site).check((live,))
    assert not site.pid_file.exists()


@pytest.mark.needs_root
def test_a_configuration_that_may_not_be_read_is_no_refusal(site):
    hidden = site.web.with_name("hidden.conf")
    hidden.touch(0o600)
    open_to_all(site.prefix)
    check = NginxCheck(nginx=Lookup(command=recognise([*site.arguments, "-s", "reload"])))
    staged = stage(site.web, "")
    found = as_nobody(lambda: (type(error := outcome_of(check, (staged,))).__name__, str(error)))
    what = f"cannot be read: Permission denied, included by {site.conf}"
    assert found == str(("CannotJudge", f"{hidden}: {what}"))
