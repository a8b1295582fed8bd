"""Measure ctemplate against a real Consul and a real nginx: `make bench`, or `python -m bench [--services N…]`.

Prints Markdown tables of medians and 95th percentiles, and on standard error each figure as it comes. The environment
variable CONSUL_TEMPLATE may name a consul-template, which is then measured in turn with ctemplate.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import conversion, keys, requests, templates
from bench.agent import RAISED
from bench.changes import Size
from bench.figures import table
from bench.machine import description
from bench.measuring import Record, measured_program, measured_source, start_under_default_limits
from bench.programs import ConsulTemplate, Ctemplate, Program, installed
from bench.rows import TARGETS, Row

Records = dict[Size, Record]
PARTS = ["services", "nodes", "source", "templates", "keys", "requests", "convert"]
NODES_SERVICES = 1000  # that are spread over other numbers of nodes than the default
OTHER_NODES = [1, 400, 4000]


def show_sizes(title: str, records: Records, targets: Mapping[Row, Mapping[int, str]]) -> None:
    """Print a table with a column for each size, and one for its targets where it has some."""
    aimed = [size for size in records if any(size.services in goals for goals in targets.values())]
    heads = ["", *(head for one in records for head in (str(one), *(["target"] if one in aimed else [])))]
    rows = []
    for row in Row:
        if any(row in record.figures for record in records.values()):
            cells = [row.value]
            for size, record in records.items():
                cells.append(str(record.figures.get(row, "")))
                cells += [targets.get(row, {}).get(size.services, "")] if size in aimed else []
            rows.append(cells)
    print(f"\n### {title}\n\n{table(heads, rows)}", flush=True)


def show_side_by_side(size: Size, limited: Sequence[str], ours: Record, theirs: Record) -> None:
    """Print a table of two programs and their ratios."""
    rows = [[Row.START_LIMITED.value, *limited, ""]]
    for row in Row:
        one, other = ours.figures.get(row), theirs.figures.get(row)
        if one or other:
            ratio = one.ratio(other) if one and other else ""
            rows.append([row.value, str(one or ours.failure), str(other or "not reached"), ratio])
    print(f"\n### {size}, Consul's limits raised\n")
    print(table(["", Ctemplate.name, ConsulTemplate.name, "ratio"], rows), flush=True)


def measure_services(
    program: Program,
    other: Program | None,
    sizes: Sequence[Size],
    changes: int,
    targets: Mapping[Row, Mapping[int, str]],
) -> bool:
    """Measure programs at each size in turn; return whether ctemplate showed everything."""
    records = {size: Record(f"{size}, {program.name}") for size in sizes}
    try:
        for size, record in records.items():
            measured_program(record, program, size, changes)
            if other:
                measure_side_by_side(program, other, size, changes)
    finally:
        show_sizes("ctemplate, Consul's default limits", records, targets)
    return not any(record.failure for record in records.values())


def measure_side_by_side(program: Program, other: Program, size: Size, changes: int) -> None:
    """Measure both programs where neither meets a limit, and how they start where Consul has its own."""
    limited = [start_under_default_limits(one, size) for one in (program, other)]
    records = []
    for one in (program, other):
        records.append(Record(f"{size}, {one.name}, limits raised"))
        measured_program(records[-1], one, size, changes, RAISED)
    show_side_by_side(size, limited, *records)


def measure_source(environment: Mapping[str, str], sizes: Sequence[Size], changes: int) -> bool:
    """Measure the source alone at each size; return whether it showed everything."""
    records = {size: Record(f"{size}, source alone") for size in sizes}
    try:
        for size, record in records.items():
            measured_source(record, environment, size, changes)
    finally:
        show_sizes("The source alone, without rendering and writing", records, {})
    return not any(record.failure for record in records.values())


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[60, 100, 1000, 5000])
    parser.add_argument("--nodes", type=int, nargs="+", default=OTHER_NODES, help="to spread 1,000 services over")
    parser.add_argument("--spread", type=int, default=NODES_SERVICES, help="services that are spread over --nodes")
    parser.add_argument("--changes", type=int, default=30, help="of each kind (default 30)")
    parser.add_argument("--only", choices=PARTS, help="measure this alone; source is measured only when asked for")
    options = parser.parse_args()
    options.other = os.environ.get("CONSUL_TEMPLATE")
    if options.other and not os.access(options.other, os.X_OK):
        parser.error(f"CONSUL_TEMPLATE={options.other}: not a program that can be run")
    return options


def main() -> None:
    """Measure everything that was asked for; exit with 1 if something never showed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended then, too
    options = parsed()
    parts = [options.only] if options.only else [part for part in PARTS if part != "source"]
    with installed() as environment:
        other = ConsulTemplate(environment, Path(options.other).resolve()) if options.other else None
        print(description(other), flush=True)
        program, is_fine = Ctemplate(environment), True
        sizes = [Size(services) for services in options.services]
        if "services" in parts:
            is_fine &= measure_services(program, other, sizes, options.changes, TARGETS)
        if "nodes" in parts:
            spread = [Size(options.spread, nodes) for nodes in options.nodes]
            is_fine &= measure_services(program, other, spread, options.changes, {})
        if "source" in parts:
            is_fine &= measure_source(environment, sizes, options.changes)
        if "templates" in parts:
            is_fine &= templates.measure(program, other, options.changes)
        if "keys" in parts:
            is_fine &= keys.measure_keys(program, other, options.changes)
        if "requests" in parts:
            is_fine &= requests.measure(options.changes)
        if "convert" in parts:
            conversion.measure_conversion()
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
