import asyncio
import contextlib
import ctypes
import os
import sys
from pathlib import Path

import pytest

from ctemplate.core.errors import CommandFailed
from ctemplate.system.child_program import ChildCommand
from ctemplate.system.programs import (
    OUTPUT_LIMIT_BYTES,
    Completed,
    argv_of,
    child_environment,
    format_command,
    reap_orphans,
    run_program,
)

LIMIT = 60.0  # seconds that no command here comes near, on any machine
LONG = 3600.0  # a time limit that a test ends itself, by a leap of the clock


def shell(command):
    return ("sh", "-c", command)


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        pytest.param(["nginx", "-g", "daemon off;"], ("nginx", "-g", "daemon off;"), id="list"),
        pytest.param(["a b", "$HOME"], ("a b", "$HOME"), id="list is never split nor expanded"),
        pytest.param("nginx -s reload", ("nginx", "-s", "reload"), id="plain words"),
        pytest.param("  nginx\t-s  reload ", ("nginx", "-s", "reload"), id="spaces and tabs"),
        pytest.param(
            "/usr/sbin/nginx -c /etc/a:b,c@d+e.conf", ("/usr/sbin/nginx", "-c", "/etc/a:b,c@d+e.conf"), id="path"
        ),
        pytest.param("true && false", shell("true && false"), id="and"),
        pytest.param("true; false", shell("true; false"), id="sequence"),
        pytest.param("a | b", shell("a | b"), id="pipe"),
        pytest.param("a > b", shell("a > b"), id="redirection"),
        pytest.param("a &", shell("a &"), id="background"),
        pytest.param("echo $HOME", shell("echo $HOME"), id="variable"),
        pytest.param("echo `id`", shell("echo `id`"), id="backquotes"),
        pytest.param("nginx -g 'daemon off'", shell("nginx -g 'daemon off'"), id="single quotes"),
        pytest.param('nginx -g "daemon off"', shell('nginx -g "daemon off"'), id="double quotes"),
        pytest.param(r"a\ b", shell(r"a\ b"), id="backslash"),
        pytest.param("rm *.tmp", shell("rm *.tmp"), id="pattern"),
        pytest.param("ls ~", shell("ls ~"), id="home"),
        pytest.param("A=b cmd", shell("A=b cmd"), id="assignment"),
        pytest.param("a # b", shell("a # b"), id="comment"),
        pytest.param("a\nb", shell("a\nb"), id="lines"),
        pytest.param("exit 3", shell("exit 3"), id="a word that only a shell knows"),
        pytest.param(". /etc/profile", shell(". /etc/profile"), id="dot"),
        pytest.param("", (), id="empty"),
        pytest.param("   ", (), id="blank"),
        pytest.param([], (), id="empty list"),
    ],
)
def test_a_command_gets_a_shell_only_when_it_needs_one(command, argv):
    assert argv_of(command) == argv


def test_a_command_is_shown_in_one_line():
    assert format_command(["nginx", "-g", "daemon off;"]) == "nginx -g 'daemon off;'"
    assert format_command("a\nb") == "a\\nb"


def test_a_child_gets_everything_but_credentials():
    environ = {
        "PATH": "/bin",
        "CONSUL_HTTP_ADDR": "127.0.0.1:8500",
        "CONSUL_HTTP_TOKEN": "s",
        "CONSUL_HTTP_TOKEN_FILE": "s",
        "CONSUL_HTTP_AUTH": "s",
        "CONSUL_TOKEN": "s",
    }
    assert child_environment(environ) == {"PATH": "/bin", "CONSUL_HTTP_ADDR": "127.0.0.1:8500"}


async def test_a_child_sees_no_token(monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "secret")
    monkeypatch.setenv("KEPT", "yes")
    completed = await run_program(["env"], timeout=LIMIT)
    assert "KEPT=yes" in completed.output
    assert not any("secret" in line for line in completed.output)


@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        pytest.param("true", 0, (), id="success"),
        pytest.param("exit 3", 3, (), id="exit status"),
        pytest.param("kill -TERM $$", -15, (), id="signal"),
        pytest.param("echo out; echo err >&2; echo; echo more", 0, ("out", "err", "more"), id="both streams in order"),
        pytest.param(r"printf 'a\377b'", 0, ("a\ufffdb",), id="not text"),
        pytest.param("cat", 0, (), id="nothing to read"),
    ],
)
async def test_a_command_ends_with_a_status_and_its_output(command, status, output):
    completed = await run_program(command, timeout=LIMIT)
    assert completed == Completed(status=status, output=output, duration=completed.duration)


async def test_output_beyond_the_limit_is_dropped_and_does_not_block_the_command():
    completed = await run_program("yes | head -c 1000000; exit 4", timeout=LIMIT)
    assert completed.status == 4
    assert sum(len(line) + 1 for line in completed.output) == OUTPUT_LIMIT_BYTES


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param([], "command: is empty", id="empty list"),
        pytest.param("  ", "command: is empty", id="blank"),
        pytest.param(
            "no-such-program -x",
            "no-such-program -x: cannot be started: no such program; install it, or write its full path",
            id="absent",
        ),
        pytest.param(["/etc/passwd"], "/etc/passwd: cannot be started: Permission denied", id="not executable"),
        pytest.param(["a\0b"], "'a\\x00b': cannot be started: embedded null byte", id="NUL"),
    ],
)
async def test_a_command_that_cannot_be_started_is_an_error(command, message):
    with pytest.raises(CommandFailed) as caught:
        await run_program(command, timeout=LIMIT)
    assert str(caught.value) == message


async def until(condition):
    """Return the condition's first true value."""
    async with asyncio.timeout(LIMIT):
        while not (value := condition()):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)
    return value


def is_gone(pid) -> bool:
    """Whether the process has ended: nothing there, or a zombie that its parent has not reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def words(path: Path) -> list[str]:
    """What a program wrote, once it has finished a line."""
    text = path.read_text() if path.exists() else ""
    return text.split() if text.endswith("\n") else []


async def test_running_out_of_time_ends_the_whole_group(tmp_path, leap):
    pids = tmp_path / "pids"
    script = f"sleep 600 & (trap '' TERM; sleep 600 & echo $! >> {pids}; wait) & echo hello; echo $$ >> {pids}; wait"
    task = asyncio.create_task(run_program(["sh", "-c", script], timeout=LONG))
    numbers = await until(lambda: words(pids)[1:] and words(pids))
    leap(LONG)
    with pytest.raises(CommandFailed) as caught:
        await task
    assert caught.value.what == "still running after 3600s; its process group was killed"
    assert caught.value.output == ("hello",)
    await until(lambda: all(is_gone(number) for number in numbers))


async def test_a_command_that_ignores_termination_is_killed(tmp_path, leap):
    ready = tmp_path / "ready"
    program = (
        f"import signal,time;signal.signal(15,signal.SIG_IGN);open({str(ready)!r},'w').write('yes\\n');time.sleep(600)"
    )
    task = asyncio.create_task(run_program([sys.executable, "-c", program], timeout=LONG))
    await until(lambda: words(ready))
    leap(LONG)
    with pytest.raises(CommandFailed, match="still running after 3600s"):
        await task


async def test_a_daemon_left_behind_delays_no_command(tmp_path):
    pid = tmp_path / "pid"
    completed = await run_program(f"echo started; sleep 600 & echo $! > {pid}", timeout=LIMIT)
    assert (completed.status, completed.output) == (0, ("started",))
    [left] = await until(lambda: words(pid))
    os.kill(int(left), 9)
    await until(lambda: is_gone(left))


async def test_cancelling_kills_the_whole_group(tmp_path):
    pids = tmp_path / "pids"
    task = asyncio.create_task(run_program(f"trap '' TERM; sleep 600 & echo $! $$ > {pids}; wait", timeout=LIMIT))
    numbers = await until(lambda: words(pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: all(is_gone(number) for number in numbers))


async def test_cancelling_within_the_grace_after_a_timeout_kills_at_once(tmp_path, leap):
    pid = tmp_path / "pid"
    task = asyncio.create_task(
        run_program(f"trap 'echo term >> {pid}' TERM; echo $$ > {pid}; while true; do sleep 1; done", timeout=LONG)
    )
    await until(lambda: words(pid))
    leap(LONG)
    await until(lambda: "term" in words(pid))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: is_gone(words(pid)[0]))


async def test_file_descriptors_can_be_passed_on(tmp_path):
    (tmp_path / "file").write_text("through\n")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        completed = await run_program(["cat", f"/dev/fd/{descriptor}"], timeout=LIMIT, pass_fds=(descriptor,))
    finally:
        os.close(descriptor)
    assert completed.output == ("through",)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_running_commands_leaks_no_file_descriptors():
    await run_program("true", timeout=LIMIT)
    before = open_files()
    for command in ("true", "false", "echo x"):
        await run_program(command, timeout=LIMIT)
    with pytest.raises(CommandFailed):
        await run_program("no-such-program", timeout=LIMIT)
    assert open_files() == before


SET_CHILD_SUBREAPER = 36  # prctl: what process 1 is to all, for our descendants


@contextlib.asynccontextmanager
async def as_process_1():
    """Become the parent of orphans, as process 1 is, and reap them."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    task = asyncio.create_task(reap_orphans())
    try:
        yield
    finally:
        prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        task.cancel()
        await asyncio.wait([task])


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_what_commands_leave_behind_is_reaped(tmp_path):
    async with as_process_1():
        await run_program(f"(sleep 0.2; exit 3) & echo $! > {tmp_path}/pid; exit 0", timeout=LIMIT)
        (orphan,) = words(tmp_path / "pid")
        if not is_gone(orphan):
            assert parent_of(orphan) in {os.getpid(), 1}
        await until(lambda: not Path(f"/proc/{orphan}").exists())


async def test_the_status_of_commands_is_theirs_while_orphans_end():
    async with as_process_1():
        commands = [run_program(f"(sleep 0.0{number % 5} &) ; exit {number}", timeout=LIMIT) for number in range(40)]
        assert [completed.status for completed in await asyncio.gather(*commands)] == list(range(40))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("FOO=1 true", "FOO=1 exec true"),
        ("A=$B C='x y' true \"$D\" '|' ", None),
        ("A=$B C='x y' true \"$D|\" >log 2>&1", "A=$B C='x y' exec true \"$D|\" >log 2>&1"),
        ("true; true", None),
        ("true & true", None),
        ("true && true", None),
        ("true 'a\nb'", None),
        ("true $(echo a)", None),
        ("true 'open", None),
        ("exec true '1'", None),
        ("no-such-program '1'", None),
        ("if true; then true; fi", None),
        ("A=1", None),
    ],
)
def test_a_simple_command_replaces_its_shell(command, expected):
    given = ChildCommand(command=command, environ={"PATH": "/usr/bin:/bin"})
    assert given.argv == ("sh", "-c", expected or command)
    assert given.is_group == (expected is None)


def test_a_command_without_a_shell_is_no_group():
    assert not ChildCommand(command="true a", environ={}).is_group
    assert not ChildCommand(command=("sh", "-c", "true; true"), environ={}).is_group
