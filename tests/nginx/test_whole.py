"""A configuration is read as a whole, with each include replaced by its content."""

from ctemplate.nginx.language.semantic_diff import changes, meaning
from ctemplate.nginx.whole import whole


def site(folder):
    (folder / "sites").mkdir()
    (folder / "sites/blog").write_text("server { listen 81; server_name blog.test; include more; }")
    (folder / "sites/wiki").write_text("server { listen 82; server_name wiki.test; }")
    (folder / "more").write_text("server_name also.test;")
    main = folder / "nginx.conf"
    main.write_text(
        "user www;\nevents { }\nhttp {\n    include sites/*;\n    server { listen 80; server_name _; }\n}\n"
    )
    return main


def test_included_servers_are_part_of_the_whole(tmp_path):
    found = meaning(whole(site(tmp_path)))
    assert found.hosts == {"_", "blog.test", "also.test", "wiki.test"}
    assert found.listeners == {"80 (http)", "81 (http)", "82 (http)"}
    assert (found.includes, found.users) == ({"sites/*"}, {"www"})


def test_what_vanishes_with_a_replaced_main_file_is_told(tmp_path):
    main = site(tmp_path)
    new = b"events { }\nhttp { server { listen 80; server_name _ new.test; } }\n"
    found = changes(meaning(whole(main)), meaning(whole(main, {main: new})))
    assert found.losses == (
        "server also.test",
        "server blog.test",
        "server wiki.test",
        "listener 81 (http)",
        "listener 82 (http)",
        "include sites/*",
        "user www",
    )
    assert found.hosts_added == ("new.test",)


def test_a_new_fragment_changes_what_it_brings_and_nothing_else(tmp_path):
    main = site(tmp_path)
    found = changes(meaning(whole(main)), meaning(whole(main, {tmp_path / "sites/new": b"server { listen 83; }"})))
    assert found.sentences == ("listener 83 (http) added",)
