"""A folder of consul-template's configuration works unchanged, with its Go templates, on a real Consul."""

import json
import signal

import pytest
from harness import wait_for

from ctemplate.config.hcl_keys import HCL_KEYS

LIMIT = 60.0
ROTATED = "log_file.log_rotate_max_files"
CONSUL = """
# where Consul is
consul {
  address = "%s"
  retry { enabled = true attempts = 12 }
}
wait { min = "50ms" max = "1s" }
log_level = "INFO"
log_file { log_rotate_max_files = 3 }
"""
TEMPLATES = """
template {
  source      = "web.ctmpl"
  destination = "out/web.conf"
  command     = ["echo run >> runs"]
  perms       = 0640
  left_delimiter = "[["
  right_delimiter = "]]"
}
template {
  contents = <<-EOF
    {{- range service "web" }}
    {{ .Port }}
    {{- end }}
    EOF
  destination = "out/ports"
}
"""
GO = '[[ range service "web" ]]server [[ .Address ]]:[[ .Port ]];\n[[ end ]]'


@pytest.fixture
def folder(tmp_path, consul):
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "consul.hcl").write_text(CONSUL % consul.address)
    (conf / "templates.hcl").write_text(TEMPLATES)
    (tmp_path / "web.ctmpl").write_text(GO)
    consul.register("web", port=8001)
    return tmp_path


def reads(path, text):
    return lambda: path.exists() and path.read_text() == text


ARGS = ("-config", "conf", "-template-language", "go")


def test_the_folder_runs_and_follows_data_and_edits(folder, consul, ctemplate):
    process = ctemplate(*ARGS)
    web, ports = folder / "out/web.conf", folder / "out/ports"
    wait_for(reads(web, "server 127.0.0.1:8001;\n"), LIMIT, "the first file", log=process.log)
    wait_for(reads(ports, "\n8001\n"), LIMIT, "the file of the contents", log=process.log)
    assert web.stat().st_mode & 0o7777 == 0o640
    wait_for((folder / "runs").exists, LIMIT, "the command", log=process.log)
    consul.register("web", port=8002, service_id="web-2")
    two = "server 127.0.0.1:8001;\nserver 127.0.0.1:8002;\n"
    wait_for(reads(web, two), LIMIT, "the second instance", log=process.log)
    (folder / "web.ctmpl").write_text(GO.replace("server", "peer"))
    wait_for(reads(web, two.replace("server", "peer")), LIMIT, "the edited template", log=process.log)
    (folder / "web.ctmpl").write_text("[[ if ]]")
    wait_for(lambda: "web.ctmpl:1:" in process.log(), LIMIT, "the error of a broken edit", log=process.log)
    assert process.is_running
    process.signal(signal.SIGTERM)
    assert process.wait(LIMIT) == 0


@pytest.mark.usefixtures("folder")
def test_each_key_without_a_counterpart_is_one_line_of_the_log(ctemplate):
    process = ctemplate(*ARGS, "-once")
    assert process.wait(LIMIT) == 0, process.log()
    told = [line.partition(" ")[2] for line in process.log().splitlines() if "conf/consul.hcl" in line]
    assert told == [
        "INFO conf/consul.hcl:5: consul.retry.attempts: retries never end; leave it out",
        f"WARNING conf/consul.hcl:9: {ROTATED}: {HCL_KEYS[ROTATED].answer}",
    ]


def test_json_of_consul_templates_runs_as_well(tmp_path, consul, ctemplate):
    consul.register("web", port=8001)
    (tmp_path / "web.ctmpl").write_text('{{ range service "web" }}{{ .Port }} {{ end }}')
    entry = {"source": "web.ctmpl", "destination": "out", "command_timeout": "5s"}
    (tmp_path / "c.json").write_text(json.dumps({"consul": {"address": consul.address}, "template": [entry]}))
    process = ctemplate("-config", "c.json", "-template-language", "go", "-once")
    assert process.wait(LIMIT) == 0, process.log()
    assert (tmp_path / "out").read_text() == "8001 "


def test_a_go_template_that_was_not_asked_for_says_what_to_write(folder, ctemplate):
    (folder / "conf/templates.hcl").write_text('template { source = "a.ctmpl" destination = "out/a" }')
    (folder / "a.ctmpl").write_text('{{ range service "web" }}x{{ end }}')
    process = ctemplate("-config", "conf", "-once")
    assert process.wait(LIMIT) == 2
    assert "a.ctmpl:1: this looks like a Go template" in process.log()
    assert "-template-language go" in process.log()


def test_what_cannot_be_converted_stops_the_start_with_its_place(folder, ctemplate):
    (folder / "web.ctmpl").write_text('[[ secret "a" ]]')
    process = ctemplate(*ARGS, "-once")
    assert process.wait(LIMIT) == 2
    assert "web.ctmpl:1:4: cannot convert the function 'secret'; " in process.log()
