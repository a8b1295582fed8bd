import pytest
from process_table import MASTER, NGINX, WORKER, Proc

from ctemplate.core.errors import CommandFailed
from ctemplate.nginx.command import Build, Installation, NginxCommand
from ctemplate.nginx.identity import PROCESSES_HIDDEN, FoundMaster, find_master
from ctemplate.nginx.master import NoMaster, Process
from ctemplate.nginx.titles import Arguments, arguments_of

CONF = "/etc/nginx/nginx.conf"


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


@pytest.fixture
def pid_file(tmp_path):
    file = tmp_path / "nginx.pid"
    file.write_text("10\n")
    return file


def find(proc, *pid_files, executable=NGINX, **options):
    build = Build(version=(1, 22, 1), options={"prefix": "/usr/share/nginx", "conf-path": CONF})
    installation = Installation(command=NginxCommand(program="nginx", **options), build=build, executable=executable)
    return find_master(installation, pid_files, proc=proc.folder)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        pytest.param("nginx: master process nginx", Arguments(program="nginx"), id="none"),
        pytest.param(
            "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;",
            Arguments(program="/usr/sbin/nginx", globals="daemon on; master_process on;"),
            id="globals",
        ),
        pytest.param(
            "nginx: master process nginx -p /a b/ -c n.conf -g pid x;",
            Arguments(program="nginx", prefix="/a b/", conf="n.conf", globals="pid x;"),
            id="blanks in a value",
        ),
        pytest.param("nginx: master process nginx -c/n.conf", Arguments(program="nginx", conf="/n.conf"), id="joined"),
        pytest.param(
            "nginx: master process nginx -g user x; -c /n.conf -e /e.log",
            Arguments(program="nginx", conf="/n.conf", globals="user x;", error_log="/e.log"),
            id="behind globals",
        ),
        pytest.param(
            "angie: master process v1.7.0 #3 [angie -c /n.conf]", Arguments(program="angie", conf="/n.conf"), id="angie"
        ),
        pytest.param("nginx: master process", Arguments(program=""), id="nothing"),
        pytest.param("nginx: worker process", None, id="worker"),
        pytest.param("nginx -c /n.conf", None, id="no title"),
        pytest.param("vim nginx: master process", None, id="another program"),
    ],
)
def test_a_title_says_how_a_master_was_started(title, expected):
    assert arguments_of(title) == expected


def test_a_master_is_found(proc, pid_file):
    proc.add(10, MASTER)
    assert find(proc, pid_file) == FoundMaster(process=Process(pid=10, started=100), pid_file=pid_file)


def test_a_master_whose_executable_was_replaced_is_found(proc, pid_file):
    proc.add(10, MASTER, exe=f"{NGINX} (deleted)")
    assert find(proc, pid_file) == FoundMaster(process=Process(pid=10, started=100), pid_file=pid_file)


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        pytest.param({"title": MASTER, "state": "Z"}, "{} names process 10, which has ended", id="zombie"),
        pytest.param(
            {"title": MASTER, "exe": "/bin/cat"},
            "{} names process 10, which runs /bin/cat, not /usr/sbin/nginx",
            id="program",
        ),
        pytest.param(
            {"title": MASTER, "nspid": "10\t1"},
            "{} names process 10, which runs in another pid namespace",
            id="container",
        ),
        pytest.param(
            {"title": WORKER}, "{} names process 10, which is no master but 'nginx: worker process'", id="worker"
        ),
    ],
)
def test_a_process_that_is_not_the_master_is_not_taken_for_it(proc, pid_file, process, reason):
    proc.add(10, **process)
    assert find(proc, pid_file).reason == reason.format(pid_file)


def test_nginx_without_a_master_process_is_an_error(proc, pid_file):
    proc.add(10, "nginx -c /etc/nginx/nginx.conf")
    with pytest.raises(CommandFailed) as raised:
        find(proc, pid_file)
    fix = "remove master_process off, or set proof = false in the group's nginx key"
    said = f"{pid_file}: process 10 runs without a master process, so no reload of it can be proven; {fix}"
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("", "{} holds no pid, found ''", id="empty"),
        pytest.param("12 13", "{} holds no pid, found '12 13'", id="two"),
        pytest.param("\x1b[2J", "{} holds no pid, found '\\\\x1b[2J'", id="control characters"),
        pytest.param("0", "{} holds no pid, found '0'", id="zero"),
        pytest.param("77\n", "{} names process 77, which has ended", id="nobody"),
    ],
)
def test_a_pid_file_without_a_master_gives_the_reason(proc, pid_file, content, reason):
    pid_file.write_text(content)
    found = reason.format(pid_file)
    assert find(proc, pid_file) == NoMaster(reason=found, misnamed=found if "names" in found else "")


def test_no_pid_file_gives_the_reason(proc, pid_file):
    pid_file.unlink()
    assert find(proc, pid_file) == NoMaster(reason=f"{pid_file} does not exist")


@pytest.mark.parametrize(
    ("title", "conf"),
    [
        pytest.param("nginx: master process nginx -c /srv/n.conf", "/srv/n.conf", id="another configuration"),
        pytest.param("nginx: master process nginx -p /srv/ -c n.conf", "/srv/n.conf", id="from its prefix"),
    ],
)
def test_a_master_with_another_configuration_is_not_ours(proc, pid_file, title, conf):
    proc.add(10, title)
    reason = f"{pid_file} names process 10, which runs with {conf}, not {CONF}"
    suspects = (f"process 10 runs {NGINX} with {conf}",)
    assert find(proc, pid_file) == NoMaster(reason=reason, suspects=suspects, misnamed=reason)
    assert find(proc, pid_file, conf=conf) == FoundMaster(process=Process(pid=10, started=100), pid_file=pid_file)


def test_an_executable_moved_aside_is_ours_and_another_beside_it_is_not(proc, pid_file, tmp_path, monkeypatch):
    program = tmp_path / "nginx"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    proc.add(10, MASTER, exe=tmp_path / "nginx.old")
    assert find(proc, pid_file, executable=program).process.pid == 10
    proc.add(11, MASTER, exe=tmp_path / "cat")
    pid_file.write_text("11")
    assert find(proc, pid_file, executable=program).process.pid == 10


def test_a_title_that_was_cut_is_believed_beside_the_pid_file_alone(proc, pid_file, tmp_path):
    cut = "nginx: master process nginx -c /etc/ngi"
    proc.add(10, cut, room=len(cut) + 1)
    assert find(proc, pid_file) == FoundMaster(process=Process(pid=10, started=100), pid_file=pid_file)
    assert isinstance(find(proc, tmp_path / "none"), NoMaster)
    proc.add(11, cut)
    pid_file.write_text("11")
    assert isinstance(find(proc, pid_file), NoMaster)


def test_the_process_table_names_the_master_that_no_pid_file_names(proc, tmp_path):
    proc.add(9, "nginx: master process nginx -c /srv/n.conf")
    proc.add(10, MASTER)
    how = f"{tmp_path}/none does not exist; process 10 is its master"
    assert find(proc, tmp_path / "none") == FoundMaster(process=Process(pid=10, started=100), how=how)


def test_of_the_masters_of_an_upgrade_the_last_one_is_it(proc, tmp_path):
    proc.add(10, MASTER)
    proc.add(11, MASTER, parent=10, children=[12])
    assert find(proc, tmp_path / "none").process.pid == 11


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_has_its_masters_title_yet_is_not_the_master(proc, tmp_path, count):
    young = range(11, 11 + count)
    proc.add(10, MASTER, children=young)
    for pid in young:
        proc.add(pid, MASTER, parent=10)
    assert find(proc, tmp_path / "none").process.pid == 10


def test_of_two_masters_that_have_nothing_to_do_with_each_other_none_is_taken(proc, tmp_path):
    proc.add(10, MASTER)
    proc.add(11, MASTER)
    (said,) = find(proc, tmp_path / "none").suspects
    assert said == "processes 10, 11 are masters of this configuration, and nothing tells which one serves"


def test_workers_without_a_master_are_named(proc, tmp_path):
    proc.add(10, WORKER)
    proc.add(11, WORKER, exe="/opt/nginx")
    found = find(proc, tmp_path / "none")
    assert found.suspects == ("workers run without a master: 10",)
    assert str(found) == f"{tmp_path}/none does not exist; workers run without a master: 10"


def test_where_the_processes_of_others_are_hidden_none_counts_as_ended(proc, pid_file, tmp_path):
    (proc.folder / "1" / "cmdline").unlink()
    proc.add(11, WORKER)
    found = find(proc, pid_file)
    assert (found.reason, found.suspects) == (f"{pid_file} names process 10, which cannot be seen", (PROCESSES_HIDDEN,))
    assert find(proc, tmp_path / "none").suspects == (PROCESSES_HIDDEN,)
    proc.add(10, MASTER)
    assert find(proc, pid_file).process.pid == 10


def test_of_many_other_nginxes_a_few_are_named(proc, tmp_path):
    for pid in range(10, 16):
        proc.add(pid, f"nginx: master process nginx -c /{pid}")
    found = find(proc, tmp_path / "none")
    assert found.suspects == (
        *(f"process {pid} runs {NGINX} with /{pid}" for pid in (10, 11)),
        f"process 12 runs {NGINX} with /12; and 3 more",
    )


def test_three_other_nginxes_are_all_named(proc, tmp_path):
    for pid in (10, 11, 12):
        proc.add(pid, f"nginx: master process nginx -c /{pid}")
    assert find(proc, tmp_path / "none").suspects[2] == f"process 12 runs {NGINX} with /12"


@pytest.mark.parametrize(
    ("process", "said"),
    [
        pytest.param({"exe": "/opt/sbin/nginx"}, "/opt/sbin/nginx with /etc/nginx/nginx.conf", id="executable"),
        pytest.param(
            {"title": "nginx: master process nginx", "exe": "/opt/sbin/nginx"},
            "/opt/sbin/nginx with the configuration of its build",
            id="no arguments",
        ),
        pytest.param(
            {"title": "nginx: master process nginx -p /srv -c n.conf", "exe": "/opt/sbin/nginx"},
            "/opt/sbin/nginx with /srv/n.conf",
            id="prefix",
        ),
        pytest.param(
            {"title": "angie: master process v1.7.0 #1 [angie -c /a.conf]", "exe": "/usr/sbin/angie"},
            "/usr/sbin/angie with /a.conf",
            id="angie",
        ),
        pytest.param(
            {"nspid": "10\t1"}, f"{NGINX} with /etc/nginx/nginx.conf in another pid namespace", id="container"
        ),
        pytest.param(
            {"title": "nginx: master process nginx -c /\x1b[2J"}, f"{NGINX} with /\\x1b[2J", id="control characters"
        ),
    ],
)
def test_another_nginx_is_named_with_its_executable_and_configuration(proc, tmp_path, process, said):
    proc.add(10, **{"title": MASTER, **process})
    assert find(proc, tmp_path / "none").suspects == (f"process 10 runs {said}",)


def test_masters_of_other_programs_and_ended_ones_are_not_named(proc, tmp_path):
    proc.add(10, "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", exe="/usr/sbin/php-fpm8.2")
    proc.add(11, "nginx: master process nginx -c /gone", state="Z")
    assert find(proc, tmp_path / "none").suspects == ()


def test_a_title_that_was_cut_is_named_as_cut(proc, tmp_path):
    cut = "nginx: master process nginx -c /etc/ngi"
    proc.add(10, cut, room=len(cut) + 1)
    assert find(proc, tmp_path / "none").suspects == (f"process 10 runs {NGINX} with /etc/ngi…",)


@pytest.fixture
def hidden_executables(monkeypatch):
    """Have the kernel refuse which program a process runs, as it does for other users' processes."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.readlink", refuse)


@pytest.mark.usefixtures("hidden_executables")
def test_another_program_whose_executable_is_hidden_is_no_nginx(proc, pid_file):
    proc.add(10, "/sbin/init splash", exe="/sbin/init")
    assert find(proc, pid_file).reason == f"{pid_file} names process 10, which runs /sbin/init, not {NGINX}"


@pytest.mark.usefixtures("hidden_executables")
def test_the_master_beside_a_hidden_program_of_a_stale_pid_file_is_found(proc, pid_file, tmp_path):
    nginx = tmp_path / "nginx"  # a title names a program that is there
    nginx.touch(mode=0o755)
    proc.add(10, "/sbin/init splash", exe="/sbin/init")
    proc.add(20, f"nginx: master process {nginx} -c {CONF}")
    found = find(proc, pid_file, executable=nginx)
    assert isinstance(found, FoundMaster)
    assert found.process.pid == 20
