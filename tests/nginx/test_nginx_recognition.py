import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.recognition import recognise
from ctemplate.nginx.shell import ShellStep, ShellWord, UnreadableCommand, shell_steps

NGINX = NginxCommand(program="nginx")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("nginx -s reload", NginxCommand(program="nginx"), id="plain"),
        pytest.param(["nginx", "-s", "reload"], NginxCommand(program="nginx"), id="list"),
        pytest.param("/usr/sbin/nginx -s reload", NginxCommand(program="/usr/sbin/nginx"), id="path"),
        pytest.param("openresty -s reload", NginxCommand(program="openresty"), id="openresty"),
        pytest.param("nginx -c /a/n.conf -s reload", NginxCommand(program="nginx", conf="/a/n.conf"), id="conf"),
        pytest.param("nginx -s reload -c n.conf", NginxCommand(program="nginx", conf="n.conf"), id="conf after"),
        pytest.param("nginx -p /a/ -sreload", NginxCommand(program="nginx", prefix="/a/"), id="joined value"),
        pytest.param("nginx -qs reload", NginxCommand(program="nginx"), id="quiet"),
        pytest.param("nginx -e stderr -s reload", NginxCommand(program="nginx", error_log="stderr"), id="error log"),
        pytest.param(
            'nginx -g "pid /run/a.pid;" -s reload',
            NginxCommand(program="nginx", globals="pid /run/a.pid;"),
            id="globals",
        ),
        pytest.param(
            ["nginx", "-g", "pid $x;", "-s", "reload"],
            NginxCommand(program="nginx", globals="pid $x;"),
            id="globals, list",
        ),
        pytest.param("", None, id="nothing"),
        pytest.param([], None, id="empty list"),
        pytest.param("nginx", None, id="start"),
        pytest.param("nginx -s stop", None, id="stop"),
        pytest.param("nginx -s", None, id="no signal"),
        pytest.param("nginx -t -s reload", None, id="test"),
        pytest.param("nginx -t", None, id="test alone"),
        pytest.param("nginx -x -s reload", None, id="unknown option"),
        pytest.param("nginx reload", None, id="no option"),
        pytest.param("nginx -s reload -c", None, id="no value"),
        pytest.param("nginx -c $CONF -s reload", None, id="variable"),
        pytest.param("nginx -c ~/n.conf -s reload", None, id="home"),
        pytest.param("nginx -c 'n.conf -s reload", None, id="open quote"),
        pytest.param("my-nginx -s reload", None, id="another program"),
    ],
)
def test_nginx_alone_is_recognised_and_announced_by_a_signal_of_ours(command, expected):
    assert recognise(command) == expected


WRAPPED = [
    "sudo nginx -s reload",
    "sudo -n nginx -s reload",
    "sudo -nu root -- nginx -s reload",
    "sudo --user=root nginx -s reload",
    "doas -u root nginx -s reload",
    "A=1 nginx -s reload",
    "env LANG=C nginx -s reload",
    "env -i -u HOME A=b nginx -s reload",
    "timeout 10 nginx -s reload",
    "timeout -k 5 --signal=TERM 10s nginx -s reload",
    "sudo timeout 10 env A=b nice -n 5 ionice -c3 nohup nginx -s reload",
    "nginx -t && nginx -s reload",
    "nginx -tq && nginx -s reload",
    "sudo nginx -t && sudo nginx -s reload",
    "nginx -t 2>/dev/null && nginx -s reload >/dev/null 2>&1",
    "nginx -s reload || true",
    "nginx -s reload || :",
    "nginx -s reload || exit 0",
    "nginx -s reload; true",
    "nginx -s reload > /dev/null",
    "nginx -s reload >/dev/null 2>&1",
    "nginx -s reload &>/dev/null",
    "nginx -s reload 2>&1 | logger -t nginx",
    "sleep 1; nginx -s reload",
    "echo 'reload; now' && nginx -s reload # say so",
    "if nginx -t; then nginx -s reload; fi",
    "(nginx -t && nginx -s reload)",
    "nginx -t\nnginx -s reload\n",
    "nginx -t && \\\n  nginx -s reload",
    "bash -c 'nginx -s reload'",
    "sh -c 'nginx -t && nginx -s reload'",
    'bash -ec "nginx -t -q && nginx -s reload || true"',
    "/bin/sh -c 'sudo nginx -s reload'",
    "su -c 'nginx -s reload'",
    "su - root -c 'nginx -s reload'",
    "flock /run/lock/n nginx -s reload",
    "exec nginx -s reload",
    "su root -s /bin/sh -c 'nginx -s reload'",
    "su -s /bin/bash -c 'nginx -s reload' root",
    "runuser -u root -- nginx -s reload",
    "runuser -u root nginx -s reload",
    "runuser -l root -c 'nginx -s reload'",
    "bash -euo pipefail -c 'nginx -t && nginx -s reload'",
    "bash -o pipefail -c 'nginx -t 2>&1 | logger && nginx -s reload'",
    "bash --norc -e -c 'nginx -s reload'",
    "pgrep -x nginx >/dev/null && nginx -s reload",
    "systemctl is-active -q nginx && nginx -s reload",
    "command -v nginx >/dev/null && nginx -s reload",
    "which nginx && nginx -s reload",
    "type nginx >/dev/null 2>&1 && nginx -s reload",
    "if ! nginx -t; then exit 1; fi; nginx -s reload",
    "! nginx -t || nginx -s reload",
    "[[ -f /run/nginx.pid ]] && nginx -s reload",
    "nginx -t > /tmp/o 2>&1 || { cat /tmp/o; exit 1; }; nginx -s reload",
    "umask 022; ulimit -n 65535; export LANG=C; nginx -s reload && touch /run/reloaded",
    "setsid -f nginx -s reload",
    "setpriv --reuid=www --regid www --clear-groups nginx -s reload",
    "gosu www nginx -s reload",
    "su-exec www nginx -s reload",
    "s6-setuidgid www nginx -s reload",
    "chpst -u www nginx -s reload",
    "taskset -c 0,2 nginx -s reload",
    "taskset 3 nginx -s reload",
    "chrt -i 0 nginx -s reload",
    "systemd-cat -t nginx nginx -s reload",
    "unbuffer nginx -s reload",
]
SERVICES = [
    "systemctl reload nginx",
    "systemctl reload nginx.service",
    "systemctl --no-block reload-or-restart nginx",
    "systemctl kill -s HUP nginx",
    "systemctl kill --signal=HUP nginx.service",
    "sudo systemctl reload nginx",
    "/usr/bin/systemctl reload nginx",
    "nginx -t && systemctl reload nginx",
    "service nginx reload",
    "sudo service nginx reload",
    "/usr/sbin/service nginx force-reload",
    "/etc/init.d/nginx reload",
    "invoke-rc.d nginx reload",
    "rc-service nginx reload",
    "systemctl is-active --quiet nginx && systemctl reload nginx",
    "supervisorctl signal HUP nginx",
    "supervisorctl -c /etc/s.conf signal SIGHUP web:nginx",
    "sv hup nginx",
    "systemctl kill -s HUP --kill-who=main nginx",
    "pkill -HUP nginx",
    "pkill -HUP -x nginx",
    "pkill -x -HUP nginx",
    "pkill --signal HUP --exact nginx",
    "pkill -1 -o '^nginx$'",
    "pkill -HUP -u root nginx",
    "pkill -HUP -P 1 -x nginx",
    "pkill -HUP -f '^nginx: master'",
    "pkill -HUP -f '^nginx: master process /usr/sbin/nginx'",
    "sudo pkill -HUP nginx || true",
    "nginx -t && pkill -HUP -x nginx",
    "killall -HUP nginx",
    "killall -q -s HUP nginx",
    "killall -1 nginx 2>/dev/null || :",
    "start-stop-daemon --stop --signal HUP --name nginx",
    "kill -HUP $(pidof nginx)",
    "kill -HUP `pidof -x nginx`",
    "kill -s HUP $(pgrep -o nginx)",
    'kill -HUP "$(pgrep -o -x nginx)"',
    "kill -HUP $(pgrep -fo '^nginx: master')",
    "kill -HUP $(pgrep nginx) 2>/dev/null",
    "sudo kill -HUP $(pidof nginx)",
    "sh -c 'kill -HUP $(pidof nginx)'",
    "kill -HUP $(systemctl show -p MainPID --value nginx)",
    'kill -HUP "$(systemctl show --property=MainPID --value nginx.service)"',
    "systemctl reload tengine",
    "systemctl kill --signal HUP nginx",
    "service nginx status >/dev/null && service nginx reload",
    "service nginx configtest && service nginx reload",
    "/etc/init.d/nginx configtest && /etc/init.d/nginx reload",
    "sv h nginx",
    "sv reload nginx",
    "sv hup /etc/service/nginx",
    "s6-svc -h /run/service/nginx",
    "svc -h /service/nginx",
    "PATH=/opt/bin systemctl reload nginx",
]


@pytest.mark.parametrize("command", WRAPPED)
def test_a_wrapped_reload_is_recognised_and_announced_as_it_was_written(command):
    assert recognise(command) == NginxCommand(program="nginx", announce=command)


@pytest.mark.parametrize("command", SERVICES)
def test_a_service_is_recognised_as_one_whose_running_master_tells_the_configuration(command):
    assert recognise(command) == NginxCommand(program="nginx", announce=command, is_service=True)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param(
            ["sudo", "nginx", "-c", "/a b.conf", "-s", "reload"],
            NginxCommand(
                program="nginx", conf="/a b.conf", announce=("sudo", "nginx", "-c", "/a b.conf", "-s", "reload")
            ),
            id="list",
        ),
        pytest.param(
            ["sh", "-c", "nginx -t && nginx -s reload"],
            NginxCommand(program="nginx", announce=("sh", "-c", "nginx -t && nginx -s reload")),
            id="shell in a list",
        ),
        pytest.param(
            "sudo /opt/n/sbin/nginx -p /opt/n/ -c 'n m.conf' -s reload",
            NginxCommand(
                program="/opt/n/sbin/nginx",
                prefix="/opt/n/",
                conf="n m.conf",
                announce="sudo /opt/n/sbin/nginx -p /opt/n/ -c 'n m.conf' -s reload",
            ),
            id="arguments",
        ),
        pytest.param("angie -s reload", NginxCommand(program="angie"), id="angie"),
        pytest.param(
            "systemctl reload openresty",
            NginxCommand(program="openresty", announce="systemctl reload openresty", is_service=True),
            id="openresty's unit",
        ),
        pytest.param(
            "kill -HUP $(cat /run/nginx.pid)",
            NginxCommand(
                program="nginx",
                pid_file=Path("/run/nginx.pid"),
                follows=Path("/run/nginx.pid"),
                announce="kill -HUP $(cat /run/nginx.pid)",
            ),
            id="kill",
        ),
        pytest.param(
            "sudo -n kill -s HUP `cat /run/angie.pid`",
            NginxCommand(
                program="angie",
                pid_file=Path("/run/angie.pid"),
                follows=Path("/run/angie.pid"),
                announce="sudo -n kill -s HUP `cat /run/angie.pid`",
            ),
            id="kill below a wrapper",
        ),
        pytest.param(
            "kill -1 `cat /run/angie.pid`",
            NginxCommand(
                program="angie",
                pid_file=Path("/run/angie.pid"),
                follows=Path("/run/angie.pid"),
                announce="kill -1 `cat /run/angie.pid`",
            ),
            id="kill, backticks",
        ),
        pytest.param(
            'sh -c "kill -s HUP \\$(< /run/nginx.pid)"',
            NginxCommand(
                program="nginx",
                pid_file=Path("/run/nginx.pid"),
                follows=Path("/run/nginx.pid"),
                announce='sh -c "kill -s HUP \\$(< /run/nginx.pid)"',
            ),
            id="kill in a shell",
        ),
    ],
)
def test_what_the_words_name_is_kept(command, expected):
    assert recognise(command) == expected


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ('kill -HUP "$(cat /run/nginx.pid)"', "/run/nginx.pid"),
        ('kill -s HUP "`cat /run/nginx.pid`"', "/run/nginx.pid"),
        ('[ -s /run/nginx.pid ] && kill -HUP "$(</run/nginx.pid)" || true', "/run/nginx.pid"),
        ("set -e; nginx -t; kill -HUP $(cat /run/nginx.pid)", "/run/nginx.pid"),
        ("kill -HUP $(cat /run/nginx/master.pid)", "/run/nginx/master.pid"),
        ("pkill -HUP -F /run/nginx.pid", "/run/nginx.pid"),
        ("sudo pkill --signal=HUP --pidfile /run/nginx.pid -x nginx", "/run/nginx.pid"),
        ("start-stop-daemon --stop --quiet --signal HUP --pidfile /run/nginx.pid --name nginx", "/run/nginx.pid"),
        ("start-stop-daemon -K -s 1 --pidfile=/opt/nginx/pid", "/opt/nginx/pid"),
        ("kill -HUP -- $(cat /run/nginx.pid)", "/run/nginx.pid"),
        ("kill -s HUP $(head -n 1 /run/nginx.pid)", "/run/nginx.pid"),
        ("PATH=/opt/bin kill -HUP `head -1 /run/nginx.pid`", "/run/nginx.pid"),
    ],
)
def test_the_pid_file_of_a_signal_is_the_one_whose_master_counts(command, file):
    found = recognise(command)
    assert (found.pid_file, found.follows, found.announce) == (Path(file), Path(file), command)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cd /etc/nginx && nginx -s reload", {}),
        ("cd /etc/nginx; nginx -s reload", {}),
        ("cd conf && nginx -c n.conf -s reload", {"conf": "n.conf"}),
        ("cd / && sudo nginx -p /opt/n/ -s reload", {"prefix": "/opt/n/"}),
        ("cd /opt/n && nginx -p . -c n.conf -s reload", {"prefix": "/opt/n/.", "conf": "n.conf"}),
        ("cd /opt && cd n && sbin/nginx -s reload", {"program": "/opt/n/sbin/nginx"}),
        ("cd /opt/n || exit 1; ./nginx -s reload", {"program": "/opt/n/./nginx"}),
        ("cd /opt && sh -c 'cd n && nginx -p x/ -s reload'", {"prefix": "/opt/n/x/"}),
        ("cd n && nginx -p x/ -s reload", {"prefix": "n/x/"}),
        ("(cd /etc/nginx && nginx -s reload)", {}),
        ("PATH=/opt/bin /opt/n/sbin/nginx -s reload", {"program": "/opt/n/sbin/nginx"}),
    ],
)
def test_a_folder_that_is_entered_is_where_relative_paths_begin(command, expected):
    assert recognise(command) == replace(NGINX, announce=command, **expected)


def test_a_pid_file_in_a_folder_that_is_entered():
    found = recognise("cd /opt/nginx && kill -HUP $(cat logs/nginx.pid)")
    assert found.pid_file == found.follows == Path("/opt/nginx/logs/nginx.pid")


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("pkill -HUP openresty", "openresty"),
        ("killall -HUP /opt/nginx/sbin/nginx", "/opt/nginx/sbin/nginx"),
        ("start-stop-daemon --stop --signal HUP --exec /usr/sbin/nginx", "/usr/sbin/nginx"),
        ("kill -HUP $(pidof /usr/sbin/angie)", "/usr/sbin/angie"),
        ("kill -HUP $(systemctl show -p MainPID --value tengine)", "nginx"),
    ],
)
def test_a_program_whose_processes_are_signalled_is_the_one_that_is_named(command, program):
    assert recognise(command) == NginxCommand(program=program, announce=command, is_service=True)


@pytest.mark.parametrize(
    "command",
    [
        "pkill nginx",
        "pkill -USR2 nginx",
        "pkill -HUP haproxy",
        "pkill -HUP nginx-exporter",
        "pkill -HUP 'nginx|haproxy'",
        "pkill -HUP -n nginx",
        "pkill -HUP -v nginx",
        "pkill -HUP -f nginx",
        "pkill -HUP -f 'nginx: master'",
        "pkill -HUP -f '^nginx: worker'",
        "pkill -HUP --ns 1 nginx",
        "pkill -HUP nginx haproxy",
        "pkill -HUP $NAME",
        "killall nginx",
        "killall -HUP nginx haproxy",
        "killall -HUP -w nginx",
        "kill $(pidof nginx)",
        "kill -HUP $(pidof -s nginx)",
        'kill -HUP "$(pidof nginx)"',
        'kill -HUP "$(pgrep nginx)"',
        "kill -HUP $(pgrep -n nginx)",
        "kill -HUP $(pidof nginx haproxy)",
        "kill -HUP $(pidof haproxy)",
        "kill -HUP $(pidof nginx | head -1)",
        "kill -HUP $(pidof nginx; rm x)",
        "kill -HUP $(pidof $NAME)",
        "kill -HUP $(systemctl show -p MainPID nginx)",
        "kill -HUP $(systemctl show -p MainPID --value haproxy)",
        "kill -HUP x$(pidof nginx)",
        "pkill -F /run/nginx.pid",
        "pkill -TERM -F /run/nginx.pid",
        "pkill -HUP -F $FILE",
        "pkill -HUP -P 1 -F /run/nginx.pid",
        "start-stop-daemon --start --signal HUP --pidfile /run/nginx.pid",
        "start-stop-daemon --stop --pidfile /run/nginx.pid",
        "start-stop-daemon --stop --signal HUP --retry 5 --pidfile /run/nginx.pid",
        "kill -HUP $(cat /run/haproxy/master.pid)",
        "docker exec web nginx -s reload",
        "docker kill -s HUP web",
        "kubectl exec web -- nginx -s reload",
        "ssh host nginx -s reload",
        "chroot /srv nginx -s reload",
        "bash -o nginx -s reload",
        "bash --rcfile x -c 'nginx -s reload'",
        "bash -c -o pipefail",
        "su -s /usr/bin/python3 -c 'nginx -s reload'",
        "runuser -u root",
        "nginx -s reload &",
        "nginx -s stop; nginx",
        "systemctl restart nginx",
        "systemctl reload nginx haproxy",
        "systemctl reload haproxy",
        "nginx -s reload || systemctl restart nginx",
        "nginx -s reload; /usr/local/bin/notify",
        "nginx -s reload; nginx -c /b.conf -s reload",
        "nginx -t && nginx -s quit",
        "true",
        "bash reload.sh",
        "bash -c 'nginx -s reload' &",
        "sudo -i nginx -s reload",
        "sudo -u",
        "sudo -u $USER nginx -s reload",
        "timeout nginx -s reload",
        "timeout 10",
        "env -S 'nginx -s reload'",
        "kill -TERM $(cat /run/nginx.pid)",
        "kill -HUP 12",
        "kill -HUP $(cat /run/haproxy.pid)",
        "kill -HUP $(cat /run/nginx.pid) 12",
        "nginx -s reload <<E",
        "nginx -s reload < <(true)",
        "nginx -s reload >",
        "nginx -s reload | sh",
        "$NGINX -s reload",
        "nginx -s reload $EXTRA",
        "nginx -s reload *",
        "FOO=$(rm x)",
        "service nginx restart",
        "/etc/init.d/nginx restart",
        "/opt/init.d/nginx reload",
        "supervisorctl signal TERM nginx",
        "supervisorctl signal HUP all",
        "cd && nginx -s reload",
        "cd - && nginx -s reload",
        "cd $DIR && nginx -s reload",
        "cd /a /b && nginx -s reload",
        "true || cd /a; nginx -s reload",
        "(cd /a); nginx -p . -s reload",
        "! nginx -s reload",
        "nginx -s reload; fi;;",
        "PATH=/opt/n/sbin:$PATH nginx -s reload",
        "PATH=/opt/n/sbin; nginx -s reload",
        "export PATH=/opt/n/sbin; nginx -s reload",
        "env PATH=/opt/n/sbin nginx -s reload",
        "sudo env PATH=/opt/n/sbin sh -c 'nginx -t && nginx -s reload'",
        "sh -c 'PATH=/opt/n/sbin nginx -s reload'",
        "cd /a | true; nginx -p . -s reload",
        "cd /a || nginx -p . -s reload",
        "sv 1 nginx",
        "s6-svc -1 /run/service/nginx",
        "! true; ! nginx -s reload",
        "setpriv --dump nginx -s reload",
        "gosu -h nginx -s reload",
        "gosu",
        "service nginx status",
    ],
)
def test_what_is_not_understood_to_the_last_word_is_not_recognised(command):
    assert recognise(command) is None


WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=4), st.data())
def test_no_word_of_what_is_run_is_lost(commands, data):
    joints = [data.draw(st.sampled_from(["&&", "||", ";", "|", "\n"])) for _ in commands[1:]]
    pieces = [shlex.join(words) for words in commands]
    line = pieces[0] + "".join(f" {joint} {piece}" for joint, piece in zip(joints, pieces[1:], strict=True))
    assert [[word.text for word in step.words] for step in shell_steps(line)] == commands
    assert all(word.is_plain for step in shell_steps(line) for word in step.words)


@given(WORDS.filter(all))
def test_the_options_of_a_wrapped_nginx_are_those_of_nginx(values):
    conf = values[0]
    line = shlex.join(["sudo", "nginx", "-c", conf, "-s", "reload"]) + " >/dev/null || true"
    assert recognise(line) == NginxCommand(program="nginx", conf=conf, announce=line)


@given(st.text("ab \\\"'$`;&|<>()#~*{}=\n", max_size=14))
@example("a|")
@example("a; ;")
def test_a_line_that_is_read_is_split_as_a_shell_splits_it(text):
    try:
        found = shell_steps(text)
    except UnreadableCommand:
        return
    if len(found) != 1 or found[0].joint or not all(word.is_plain for word in found[0].words):
        return
    words = [word.text for word in found[0].words]
    if not words[0].isalpha() or any(mark in text for mark in "<>()"):
        return
    script = f"{words[0]}() {{ for word; do printf '%s\\0' \"$word\"; done; }}\n{text}"
    ran = subprocess.run(["sh", "-c", script], capture_output=True, check=False, timeout=60, text=True)
    if ran.returncode != 0:  # a line that a shell cannot read, such as one that ends with a pipe
        refused = subprocess.run(["sh", "-n", "-c", script], capture_output=True, check=False, timeout=60)
        assert refused.returncode != 0
        return
    assert ran.stdout.split("\0")[:-1] == words[1:]


def test_a_redirection_is_no_word():
    plain = (ShellWord(text="a"), ShellWord(text="2"))
    assert shell_steps("a 2 2>&1 >/dev/null 3<x") == (ShellStep(words=plain),)


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a `b", "a $(b", "a \\", "a &", "a <<E", "a >", "a 2>", "a;;b"])
def test_what_ends_in_the_middle_or_is_not_known_is_unreadable(line):
    with pytest.raises(UnreadableCommand):
        shell_steps(line)
