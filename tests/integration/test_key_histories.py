"""Histories of many keys on a real Consul: whatever is cached on the way, the file ends as the newest keys say."""

import base64
from random import Random

LIMIT = 60
NAMES = [f"app/{folder}k{number}" for folder in ("", "a/", "b/") for number in range(30)]
SINGLE = NAMES[:40]
VALUES = [b"", b"1", b"two", b"\xff\x00", "ü".encode(), b"};"]
TEMPLATE = (
    "{% for pair in tree('app') if pair.key != 'k7' %}\n{{ pair.key }} {{ pair.value | b64encode | quote }};\n"
    "{% endfor %}\n"
) + "".join(f"single {{{{ key('{name}', default='none') | b64encode | quote }}}};\n" for name in SINGLE)


def shown(value):
    """Return a value as the template shows it."""
    return f'"{base64.b64encode(value).decode()}"'


def expected(keys):
    """Return the file that these keys make."""
    below = [f"{path.removeprefix('app/')} {shown(keys[path])};\n" for path in sorted(keys) if path != "app/k7"]
    return "".join([*below, *(f"single {shown(keys.get(name, b'none'))};\n" for name in SINGLE)])


def put(consul, keys):
    operations = [
        {"KV": {"Verb": "set", "Key": path, "Value": base64.b64encode(value).decode()}} for path, value in keys.items()
    ]
    for start in range(0, len(operations), 60):
        consul.api("PUT", "/v1/txn", operations[start : start + 60])


def change(consul, keys, random):
    """Carry out one random change in Consul and in the keys that are expected."""
    match random.choice(["put", "put", "put", "delete", "delete below"]):
        case "put":
            new = {random.choice(NAMES): random.choice(VALUES)}
            put(consul, new)
            keys |= new
        case "delete":
            path = random.choice(NAMES)
            consul.api("DELETE", f"/v1/kv/{path}")
            keys.pop(path, None)
        case "delete below":
            prefix = random.choice(["app/a/k1", "app/b/k2", "app/k1"])
            consul.api("DELETE", f"/v1/kv/{prefix}?recurse=true")
            for path in [path for path in keys if path.startswith(prefix)]:
                del keys[path]


def test_the_file_follows_a_history_of_keys(start_consul, ctemplate, tmp_path):
    consul, out = start_consul(), tmp_path / "out"
    random = Random(7)  # noqa: S311  # a history that can be repeated
    keys = {name: random.choice(VALUES) for name in NAMES}
    put(consul, keys)
    (tmp_path / "t.j2").write_text(TEMPLATE)
    process = ctemplate("-consul-addr", consul.address, "-wait", "0", "-template", "t.j2:out")

    def follows(what):
        process.wait_for(lambda: out.exists() and out.read_text() == expected(keys), LIMIT, what)

    follows("the first file")
    early, early_keys = consul.snapshot(), dict(keys)
    for number in range(8):
        for _ in range(random.randint(1, 3)):
            change(consul, keys, random)
        follows(f"the file after change {number}")
    consul.restore(early)
    keys = early_keys
    follows("the restored keys")
    for number in range(3):
        change(consul, keys, random)
        follows(f"the file after change {number} of the restored keys")
