"""What the soak counts as a failure."""

import hashlib

import pytest

from bench.soak import Sample, grown
from bench.soak_site import SoakSite, Truth


def samples(*, descriptors=(20,), memory=(50.0,)):
    """Return twelve samples; each series is stretched over them."""
    held = [series[number * len(series) // 12] for number in range(12) for series in (descriptors,)]
    used = [series[number * len(series) // 12] for number in range(12) for series in (memory,)]
    return [
        Sample(at=float(number), descriptors=held[number], threads=5, tasks=30, memory=used[number])
        for number in range(12)
    ]


@pytest.mark.parametrize(
    ("series", "faults"),
    [
        ({}, []),
        ({"descriptors": (10, 20, 20, 20)}, []),  # the first quarter is the start
        ({"descriptors": (20, 20, 99, 20)}, []),
        ({"descriptors": (20, 20, 22, 25)}, ["descriptors grew from 20 to 25, by more than 4"]),
        ({"memory": (40.0, 50.0, 58.0, 60.0)}, ["memory grew from 50 to 60, by more than 8"]),
    ],
)
def test_growth_is_that_of_the_last_quarter_over_the_second(series, faults):
    assert grown(samples(**series)) == faults


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.nginx.program", str)  # nginx is never started here
    return SoakSite(tmp_path, "127.0.0.1:1")


def listing(body):
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


@pytest.mark.parametrize(
    ("conf", "text", "count"),
    [
        ("# g1\nx\n# g1\n", listing(b"a\nb\n"), 0),
        ("# g1\nx\n# g2\n", listing(b"a\nb\n"), 1),
        ("# g1\nx\n", listing(b"a\nb\n"), 1),
        ("# g1\nx\n# g1\n", listing(b"a\nb\n")[:-9], 1),
        ("# g1\nx\n# g1\n", listing(b"a\nb\n").replace(b"b", b"c", 1), 1),
    ],
)
def test_a_file_that_is_not_one_whole_rendering_is_torn(site, conf, text, count):
    site.nginx.conf.write_text(conf)
    site.listing.write_bytes(text)
    assert len(site.torn()) == count


def test_the_truth_lists_what_passes_in_order():
    truth = Truth(services={"b": {"b-1": 2}, "a": {"a-2": 9, "a-1": 1}, "gone": {}}, failing={"a-2"}, generation=3)
    assert truth.served() == "m0 e0 g3 a,1 b,2"
    assert truth.listed() == listing(b"m0 e0 g3\na a-1 127.0.0.1:1\nb b-1 127.0.0.1:2\n")


def test_what_nginx_does_not_serve_is_a_difference(site):
    truth = Truth(generation=1)
    site.listing.write_bytes(truth.listed())
    site.nginx.conf.write_text("# generation g1\n# generation g1\n")
    (difference,) = site.differences(truth)
    assert difference.startswith("nginx serves ")
