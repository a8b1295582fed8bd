"""The status page in a real browser: live, usable with keyboard and phone, and safe with hostile data."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import Future

import msgspec
import pytest
from harness import free_port, wait_for
from harness.browser import browser
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_hostile_data import BREAK_OUTS

from ctemplate.core.model import Instance
from ctemplate.runtime.status_service import page_files
from ctemplate.status.address import StatusAddress
from ctemplate.status.history import HistoryEntry
from ctemplate.status.http_server import JSON_TYPE, Reply, serve_status
from ctemplate.status.report import (
    ConfigurationStatus,
    GroupStatus,
    HoldStatus,
    LeftOut,
    OutageStatus,
    QueryCount,
    Report,
    SourceStatus,
)
from ctemplate.status.services import services_page

LIMIT = 60.0
MARKUP = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg/onload=window.pwned=1>",
    "\"><iframe srcdoc='<script>parent.pwned = 1</script>'>",
    "</bdi></p><style>*{display:none}</style>",
    "javascript:window.pwned=1",
    "&lt;b&gt; &amp; ${7*7} {{7*7}}",
    "' autofocus onfocus=window.pwned=1 x='",
)
WIDE = """return [...document.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 365)
    .map((e) => `${e.localName}#${e.id} ${e.getBoundingClientRect().right}`).slice(0, 10)"""
RELEASE_WEB = """const [chosen, given] = ["release-service", "release-token"].map((id) => document.getElementById(id));
    document.getElementById("release-result").textContent = "";
    chosen.value = "web";
    given.value = arguments[0];
    chosen.form.requestSubmit()"""
CORPUS = (*MARKUP, *(each for each in BREAK_OUTS if len(each) < 200))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def text_of(page, name):
    """Return all that an element says, in one step: shown or hidden, and whether or not it is just drawn anew."""
    return page.execute_script("return document.getElementById(arguments[0]).textContent", name)


def complaints(page):
    """Return what the browser's console says against the page."""
    return [each["message"] for each in page.get_log("browser") if each["level"] in {"SEVERE", "WARNING"}]


def hostile_report(words):
    everything = "\n".join(words)
    return Report(
        ctemplate="1.0",
        pid=1,
        started_at=1000.0,
        at=1020.0,
        is_ready=False,
        problems=words,
        configuration=ConfigurationStatus(read_at=1000.0, refused=everything),
        source=SourceStatus(
            name=everything,
            connections=1,
            outages=tuple(OutageStatus(cause=each, subject=each, since=1.0, queries=1) for each in words),
            data_age=1.0,
            oldest_answer_at=1.0,
        ),
        queries=tuple(QueryCount(kind=each, state="answered", count=1) for each in words),
        groups=tuple(
            GroupStatus(
                name=each,
                files=(each,),
                state="failed",
                error=each,
                refused_edit=each,
                owes_reload=True,
                last_applied_at=None,
                last_change=(each,),
                missing=(each,),
                missing_count=1,
                left_out=(LeftOut(service=each, instance=each, reason=each, is_kept=True),),
                draining=1,
                stuck_for=0.0,
            )
            for each in words
        ),
        holds=tuple(
            HoldStatus(query=each, cause=each, reason=each, entries=1, since=1.0, until=None, services=(each,))
            for each in words
        ),
        unverified=words,
        internal_errors=0,
        loop_lag=0.0,
        releasable=words,
        can_release=True,
    )


def hostile_services(words):
    instances = tuple(
        Instance(id=each, name=each, node=each, address=each, port=1, status="critical", meta={}) for each in words[:10]
    )
    return services_page(dict.fromkeys(words, instances), {})


def hostile_history(words):
    return [
        HistoryEntry(id=at, at=1.0, event=each, level="error", text=each, group=each, lines=1, causes=(each,))
        for at, each in enumerate(words)
    ]


async def silence():
    await asyncio.Event().wait()
    yield b""


@contextlib.contextmanager
def serving(values):
    """Serve the real page with the given replies, in a thread."""

    def route(value):
        async def reply(_):
            return Reply(body=msgspec.json.encode(value), content_type=JSON_TYPE)

        return reply

    async def quiet_stream(_):
        return Reply(body=b"retry: 3000\n\n", content_type="text/event-stream", stream=silence())

    port = free_port()
    routes = {**page_files(), "/stream": quiet_stream, **{path: route(value) for path, value in values.items()}}
    begun: Future = Future()

    async def serve():
        task = asyncio.create_task(serve_status(StatusAddress(host="127.0.0.1", port=port), routes))
        stopped = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()
        task.cancel()
        await asyncio.wait([task])

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, stopped = begun.result(LIMIT)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def test_no_registered_text_becomes_markup(page):
    values = {
        "/status": hostile_report(CORPUS),
        "/services": hostile_services(CORPUS),
        "/history": hostile_history(CORPUS),
    }
    with serving(values) as url:
        page.get(url)
        wait_for(lambda: len(page.find_elements(By.CSS_SELECTOR, "#history-list > li")) > 20, LIMIT, "the page")
        page.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
        wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#service-list td"), LIMIT, "the instances")
        assert page.execute_script("return window.pwned === undefined")
        tags = page.execute_script("return [...new Set([...document.querySelectorAll('*')].map((e) => e.localName))]")
        assert {"img", "iframe", "svg", "style", "object", "embed", "b"}.isdisjoint(tags)
        assert page.execute_script("return document.scripts.length") == 1
        names = "return [...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"
        assert [each for each in page.execute_script(names) if each.startswith("on") or each == "style"] == []
        shown = page.execute_script("return document.body.textContent")
        assert [each for each in MARKUP if shown.count(each) < 10] == []
        assert not set(shown) & {"\x1b", "\u202e", "\u200b", "\0"}


@pytest.fixture
def running(tmp_path, nginx, consul, ctemplate):
    """Start nginx and a ctemplate with a page; return it and the page's address."""
    nginx.conf.write_text(f"{nginx.main}http {{ {nginx.http} }}")
    nginx.start()
    (tmp_path / "nginx.conf.j2").write_text(
        nginx.main + "http {\n" + nginx.http + "{% for svc in services() if svc.name != 'consul' %}\n"
        "upstream {{ svc.name | identifier }} {\n{% for i in service(svc.name) %}\n"
        "    server {{ i.address }}:{{ i.port }};\n{% else %}\n    server 127.0.0.1:9;\n{% endfor %}\n}\n{% endfor %}\n"
        "{% set secret = key('site/secret', default='none') %}\nmap $uri $key { default {{ secret | quote }}; }\n}\n"
    )
    (tmp_path / "token").write_text("0123456789abcdef-page\n")
    port = free_port()
    (tmp_path / "c.toml").write_text(
        f'[consul]\naddress = "{consul.address}"\nretry = {{ backoff = "100ms", max_backoff = "1s" }}\n'
        f'[status]\naddress = "127.0.0.1:{port}"\ntoken_file = "{tmp_path}/token"\n'
        f'[[group]]\nname = "edge"\nreload = {json.dumps(nginx.reload_command)}\n'
        f'[[template]]\nsource = "nginx.conf.j2"\ndestination = "{nginx.conf}"\ngroup = "edge"\n'
    )

    def start():
        daemon = ctemplate("-config", tmp_path / "c.toml")
        daemon.wait_for_log("status: served at", LIMIT)
        return daemon

    return start, f"http://127.0.0.1:{port}/"


def test_the_page_lives_and_releases(running, page, consul, nginx):
    start, url = running
    consul.catalog("web", "a", 8001)
    daemon = start()
    page.get(url)
    wait_for(lambda: text_of(page, "verdict") == "ready", LIMIT, "ready", log=daemon.log)
    page.execute_script("window.wasNotLoadedAgain = true")
    consul.api("PUT", "/v1/kv/site/secret", "hunter2-of-the-vault")
    consul.catalog("web", "b", 8002)
    wait_for(lambda: ":8002" in nginx.conf.read_text(), LIMIT, "the change", log=daemon.log)
    wait_for(lambda: "hunter2" in nginx.conf.read_text(), LIMIT, "the key", log=daemon.log)
    wait_for(lambda: "127.0.0.1:8002: service web, instance b" in text_of(page, "history-list"), LIMIT, "its cause")
    page.execute_script("for (const each of document.querySelectorAll('#history-list details')) each.open = true")
    wait_for(lambda: "+    server 127.0.0.1:8002;" in text_of(page, "history-list"), LIMIT, "its diff")
    wait_for(lambda: "(masked)" in text_of(page, "history-list"), LIMIT, "the masked key")
    assert "hunter2" not in page.execute_script("return document.body.textContent")

    consul.restart(keep_data=False)
    wait_for(lambda: "ctemplate release web" in text_of(page, "held-list"), LIMIT, "the hold", log=daemon.log)
    wait_for(lambda: text_of(page, "verdict") == "not ready", LIMIT, "the verdict")
    wait_for(lambda: "held: " in text_of(page, "problem-list"), LIMIT, "the problem")
    wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#release-service option[value=web]"), LIMIT, "the choice")
    page.execute_script("document.getElementById('release-service').value = 'web'")
    page.find_element(By.ID, "release-token").send_keys("not the right token", Keys.ENTER)
    wait_for(lambda: text_of(page, "release-result") == "wrong token", LIMIT, "the refusal")
    daemon.wait_for_log("status: a release was refused: wrong token", LIMIT)

    def released():
        page.execute_script(RELEASE_WEB, "0123456789abcdef-page")
        return wait_for(lambda: text_of(page, "release-result"), LIMIT, "an answer").startswith("released: ")

    wait_for(released, LIMIT, "the release", log=daemon.log)
    daemon.wait_for_log("released by page: service 'web'", LIMIT)
    wait_for(lambda: not page.find_element(By.ID, "release").is_displayed(), LIMIT, "the form's end", log=daemon.log)
    assert text_of(page, "release-result").startswith("released: ")
    assert page.execute_script("return window.wasNotLoadedAgain === true")

    nginx.stop()
    wait_for(lambda: f"{nginx.pid_file} does not exist" in text_of(page, "group-list"), LIMIT, "the stopped nginx")
    wait_for(lambda: "; start nginx" in text_of(page, "problem-list"), LIMIT, "what to do about it")
    nginx.start()

    daemon.stop()
    wait_for(lambda: text_of(page, "verdict") == "no answer", LIMIT, "the end")
    start()
    wait_for(lambda: "127.0.0.1:8002: service web" in text_of(page, "history-list"), LIMIT, "the history, kept")


def test_the_page_is_usable_with_keyboard_phone_and_both_schemes(page):
    words = tuple(f"service-{number}" for number in range(1000))
    healthy = {
        f"service({name})": (Instance(id=name, name=name, node="n" * 80, address="10.0.0.1", port=80),)
        for name in words
    }
    report = hostile_report(("x" * 300,))
    values = {
        "/status": report,
        "/services": services_page(healthy, {}),
        "/history": hostile_history(words[:200]),
    }
    with serving(values) as url:
        page.get(url)
        wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#service-list summary"), LIMIT, "services")
        assert len(page.find_elements(By.CSS_SELECTOR, "#service-list > details")) == 50
        assert len(page.find_elements(By.CSS_SELECTOR, "#history-list > li")) == 30
        page.find_element(By.TAG_NAME, "body").send_keys("/")
        assert page.switch_to.active_element.get_attribute("id") == "search"
        page.find_element(By.CSS_SELECTOR, "#service-list summary").send_keys(Keys.ENTER)
        wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#service-list td"), LIMIT, "the instances, by keyboard")
        grounds = set()
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            grounds.add(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        width = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert width == [360, 360], page.execute_script(WIDE)
