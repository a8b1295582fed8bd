"""How long `ctemplate convert` takes over a thousand lines: `python -m bench --only convert`."""

from __future__ import annotations

import time
from pathlib import Path

from bench.figures import spread, table
from ctemplate.convert import convert

CORPUS = Path(__file__).parents[1] / "tests" / "convert" / "corpus"
LINES = 1000
TRIES = 10


def long_template() -> str:
    """Return whole configurations of the corpus, one after the other, of at least so many lines."""
    sites = [path.read_text() for path in sorted(CORPUS.glob("site_*.ctmpl"))]
    return "".join(sites) * (1 + LINES // sum(site.count("\n") for site in sites))


def measure_conversion() -> None:
    """Print how long it takes to convert the template."""
    source = long_template()
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        convert(source, "long.ctmpl")
        seconds.append(time.perf_counter() - start)
    heads = ["", f"{source.count(chr(10))} lines", "target"]
    print(f"\n### convert\n\n{table(heads, [['one template', str(spread(seconds)), '1 s']])}", flush=True)
