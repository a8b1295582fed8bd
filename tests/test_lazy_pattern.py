import re
import subprocess
import sys

import pytest

from ctemplate.core.lazy_pattern import lazy_pattern

COMPILE_ALL = """
import gc, importlib, pkgutil
import ctemplate
from ctemplate.core.lazy_pattern import lazy_pattern
for module in pkgutil.walk_packages(ctemplate.__path__, "ctemplate."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
found = [each for each in gc.get_objects() if type(each) is type(lazy_pattern(""))]
for each in found:
    each.search
print(len(found))
"""


def test_a_lazy_pattern_does_what_the_compiled_one_does():
    text, flags = r"(?P<key>\w+)=(\d+)", re.IGNORECASE
    lazy, compiled = lazy_pattern(text, flags), re.compile(text, flags)
    line = "a=1, B=22"
    for _ in range(2):
        assert lazy.findall(line) == compiled.findall(line)
        assert lazy.sub("x", line) == compiled.sub("x", line)
        assert lazy.match(line)["key"] == "a"
        assert lazy.fullmatch(line) is None
    assert (lazy.pattern, lazy.flags, lazy.groups) == (compiled.pattern, compiled.flags, compiled.groups)
    assert lazy_pattern(rb"\d").search(b"a1")[0] == b"1"


def test_a_malformed_pattern_is_an_error_when_it_is_used():
    broken = lazy_pattern("(")
    with pytest.raises(re.error):
        broken.match("")


def test_every_lazy_pattern_of_the_program_can_be_compiled():
    ran = subprocess.run([sys.executable, "-c", COMPILE_ALL], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 50
