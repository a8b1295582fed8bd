"""The examples in the READMEs work as shown, in both languages."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ctemplate.nginx.language.parser import parse_config, walk

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


def blocks(readme, language):
    """The fenced blocks of a language, in order."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in fences if name == language]


def commands(readme):
    """The commands of a README without their comments."""
    return [line.partition("#")[0].strip() for block in blocks(readme, "") for line in block.splitlines()]


def ctemplate(*arguments):
    """Run the command from the top of the repository; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ctemplate", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(rendered):
    """The directives of a rendering, a line each."""
    found = parse_config(rendered.encode(), where="nginx.conf")
    return [b" ".join((each.name, *each.args)).decode() for _, _, each in walk(found)]


def test_both_languages_show_the_same():
    english, chinese = READMES
    assert commands(english) == commands(chinese)
    assert blocks(english, "jinja") == blocks(chinese, "jinja")


def test_the_small_template_does_what_is_said(tmp_path):
    (template,) = blocks(READMES[0], "jinja")
    source = tmp_path / "nginx.conf.j2"
    source.write_text(template)
    assert lines(ctemplate("-catalog", "examples/nginx/catalog.yaml", "-template", source, "-dry")) == [
        "user www-data",
        "events",
        "http",
        "server_names_hash_bucket_size 512",
        "server",
        "listen 80 default_server",
        "return 404",
        "upstream httpfront",
        "server 192.168.0.129:32769 weight=1",
        "server 192.168.0.130:32768 weight=1",
        "server 192.168.0.131:32768 weight=1",
        "server",
        "listen 80",
        "server_name httpfront.example.com",
        "location /",
        "proxy_pass http://httpfront",
    ]


def test_the_command_without_consul_shows_the_shipped_template():
    (command,) = [line for line in commands(READMES[0]) if "-dry" in line]
    shown = lines(ctemplate(*shlex.split(command)[1:]))
    assert {"upstream httpfront", "server_name httpfront.localhost", "listen 9999"} <= set(shown)


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^)#:]+)\)", readme.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_the_installation_uses_an_environment_of_its_own(readme):
    shown = commands(readme)
    assert "python3 -m venv /opt/ctemplate" in shown
    assert [line for line in shown if line.startswith("pip ")] == []
    assert any(line.startswith("apt install") and "python3-venv" in line for line in shown)
