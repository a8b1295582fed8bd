"""A name, port or path stays with the service that has it, whatever an older live service asks for; real nginx."""

import signal

import pytest
from harness import free_port

LIMIT = 40.0
TEMPLATE = """{main}
http {{
    {http}
    server {{
        listen 127.0.0.1:{port};
        server_name{{% for s in services(tag="http") %}} {{{{ s.name }}}}.x{{% endfor %}};
        {{% for s in services(tag="http") %}}{{% for i in service(s.name) %}}
        location /{{{{ i.meta.path | default(s.name) }}}} {{ return 200 {{{{ s.name }}}}; }}
        {{% endfor %}}{{% endfor %}}
    }}
}}
stream {{
    {{% for s in services(tag="tcp") %}}{{% for i in service(s.name) %}}
    server {{ listen 127.0.0.1:{{{{ i.meta.listen }}}}; proxy_pass {{{{ i.address }}}}:{{{{ i.port }}}}; }}
    {{% endfor %}}{{% endfor %}}
}}
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_an_older_live_service_takes_neither_a_path_nor_a_port_also_after_a_restart(
    tmp_path, consul, nginx, ctemplate, ending
):
    source, first, second = tmp_path / "site.j2", free_port(), free_port()
    source.write_text(TEMPLATE.format(main=nginx.main, http=nginx.http, port=free_port()))
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()

    def register(name, port, listen, path):
        consul.register(name, port=port, tags=["http", "tcp"], meta={"listen": str(listen), "path": path})

    def start(name):
        arguments = ("-template", f"{source}:{nginx.conf}:{nginx.reload_command}", "-wait", "50ms:500ms")
        return ctemplate("-consul-addr", consul.address, *arguments, name=name)

    def wait_for(process, text):
        process.wait_for(lambda: text in nginx.conf.read_text(), LIMIT, text)

    register("evil", 8001, second, "evil")
    register("shop", 8002, first, "shop")
    process = start("first")
    wait_for(process, "location /shop { return 200 shop; }")
    register("evil", 8003, first, "evil")
    process.wait_for_log("service 'evil': tcp port: ", LIMIT)
    register("late", 8004, free_port(), "late")
    wait_for(process, "location /late ")
    process.wait_for(lambda: list(tmp_path.glob("**/answers-*.json")), LIMIT, "the stored answers")
    process.signal(ending)
    process.wait(LIMIT)
    register("evil", 8005, first, "shop")
    consul.register("aaa", port=8006, tags=["http"])
    again = start("again")
    wait_for(again, "location /aaa ")
    text = nginx.conf.read_text()
    assert "location /shop { return 200 shop; }" in text
    assert f"listen 127.0.0.1:{first}; proxy_pass 127.0.0.1:8002;" in text


OF_KEYS = """{main}
http {{
    {http}
    {{% for pair in tree("pools") %}}
    upstream {{{{ pair.key }}}} {{ server 127.0.0.1:9; }}
    {{% endfor %}}
    {{% for s in services(tag="http") %}}
    upstream {{{{ s.name }}}} {{ {{% for i in service(s.name) %}}server 127.0.0.1:{{{{ i.port }}}};{{% endfor %}} }}
    {{% endfor %}}
}}
"""


def test_a_key_takes_no_upstream_of_a_live_service_also_after_a_restart(tmp_path, consul, nginx, ctemplate):
    source = tmp_path / "site.j2"
    source.write_text(OF_KEYS.format(main=nginx.main, http=nginx.http))
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    consul.api("PUT", "/v1/kv/pools/own", "x")
    consul.register("shop", port=8001, tags=["http"])
    for name, port in (("first", 8002), ("again", 8003)):
        arguments = ("-template", f"{source}:{nginx.conf}:{nginx.reload_command}", "-wait", "50ms:500ms")
        process = ctemplate("-consul-addr", consul.address, *arguments, name=name)
        process.wait_for(lambda: "upstream shop " in nginx.conf.read_text(), LIMIT, "the service")
        consul.api("PUT", "/v1/kv/pools/shop", "x")
        process.wait_for_log("key 'pools/shop': http upstream shop belongs to service 'shop'", LIMIT)
        consul.register("shop", port=port, tags=["http"])
        line = f"upstream shop {{ server 127.0.0.1:{port}; }}"
        process.wait_for(lambda line=line: line in nginx.conf.read_text(), LIMIT, line)
        assert nginx.conf.read_text().count("upstream shop ") == 1
        process.stop(LIMIT)
