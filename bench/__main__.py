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

from bench import requests, templates
from bench.agent import RAISED
from bench.changes import INSTANCES
from bench.figures import number, table
from bench.machine import description
from bench.measuring import Record, measured_program, measured_source, start_under_default_limits
from bench.programs import ConsulTemplate, Ctemplate, Program, installed
from bench.rows import TARGETS, Row

Records = dict[int, Record]  # by the number of services
PARTS = ["services", "source", "templates", "requests"]


def size(services: int) -> str:
    """Return what is registered, as the head of a column."""
    return f"{number(services)} × {INSTANCES}"  # noqa: RUF001 - a multiplication sign is what it is


def show_sizes(title: str, records: Records, targets: Mapping[Row, Mapping[int, str]]) -> None:
    """Print a table with a column for each size, and one for its targets where it has some."""
    aimed = [services for services in records if any(services in goals for goals in targets.values())]
    heads = ["", *(head for one in records for head in (size(one), *(["target"] if one in aimed else [])))]
    rows = []
    for row in Row:
        if any(row in record.figures for record in records.values()):
            cells = [row.value]
            for services, record in records.items():
                cells.append(str(record.figures.get(row, "")))
                cells += [targets.get(row, {}).get(services, "")] if services in aimed else []
            rows.append(cells)
    print(f"\n### {title}\n\n{table(heads, rows)}", flush=True)


def show_side_by_side(services: int, limited: Sequence[str], ours: Record, theirs: Record) -> None:
    """Print a table of two programs and their ratios."""
    rows = [[Row.START_LIMITED.value, *limited, ""]]
    for row in Row:
        one, other = ours.figures.get(row), theirs.figures.get(row)
        if one or other:
            ratio = one.ratio(other) if one and other else ""
            rows.append([row.value, str(one or ours.failure), str(other or "not reached"), ratio])
    print(f"\n### {size(services)}, Consul's limits raised\n")
    print(table(["", Ctemplate.name, ConsulTemplate.name, "ratio"], rows), flush=True)


def measure_services(program: Program, other: Program | None, sizes: Sequence[int], changes: int) -> bool:
    """Measure programs at each size in turn; return whether ctemplate showed everything."""
    records = {services: Record(f"{size(services)}, {program.name}") for services in sizes}
    try:
        for services, record in records.items():
            measured_program(record, program, services, changes)
            if other:
                measure_side_by_side(program, other, services, changes)
    finally:
        show_sizes("ctemplate, Consul's default limits", records, TARGETS)
    return not any(record.failure for record in records.values())


def measure_side_by_side(program: Program, other: Program, services: int, changes: int) -> None:
    """Measure both programs where neither meets a limit, and how they start where Consul has its own."""
    limited = [start_under_default_limits(one, services) for one in (program, other)]
    records = []
    for one in (program, other):
        records.append(Record(f"{size(services)}, {one.name}, limits raised"))
        measured_program(records[-1], one, services, changes, RAISED)
    show_side_by_side(services, limited, *records)


def measure_source(environment: Mapping[str, str], sizes: Sequence[int], changes: int) -> bool:
    """Measure the source alone at each size; return whether it showed everything."""
    records = {services: Record(f"{size(services)}, source alone") for services in sizes}
    try:
        for services, record in records.items():
            measured_source(record, environment, services, changes)
    finally:
        show_sizes("The source alone, without rendering and writing", records, {})
    return not any(record.failure for record in records.values())


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[60, 100, 1000, 5000])
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
        if "services" in parts:
            is_fine &= measure_services(program, other, options.services, options.changes)
        if "source" in parts:
            is_fine &= measure_source(environment, options.services, options.changes)
        if "templates" in parts:
            is_fine &= templates.measure(program, other, options.changes)
        if "requests" in parts:
            is_fine &= requests.measure(options.changes)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
