"""Checking a benchmark without training and without its data set: what is stored, what belongs together, every table.

Journals are checked by their hash chains, predictions by the hashes in them, truth by the hash in the index. In a block
all cells must have one split, one validation arm and one start set. Then every table is computed again and held against
the stored one, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from medal.benchmark.cells import CellResult
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.plan import Cell, essence
from medal.benchmark.results import Results, collect
from medal.benchmark.schema import FULL
from medal.benchmark.truth import TestTruth
from medal.errors import MedalError
from medal.metrics.classification import auroc
from medal.recipe import validate
from medal.study import Study

CLOSE = 1e-9
"""Largest difference of a measure in the journal from the one computed again."""


@dataclass(frozen=True)
class Verdict:
    """What was checked, and what is wrong.

    Args:
        planned: cells of the benchmark.
        cells: finished ones.
        events: in their journals.
        predictions: tables of test predictions.
        tables: files that were computed again.
        problems: one line each; empty when all is right.
    """

    planned: int
    cells: int
    events: int
    predictions: int
    tables: int
    problems: tuple[str, ...]


def verify(folder: BenchmarkFolder) -> Verdict:
    """Checks every cell, every block and every table.

    Args:
        folder: of the benchmark; only read.
    """
    problems, events = [], 0
    for cell in folder.plan.cells:
        if Study.exists(folder.path / cell.folder):
            try:
                with Study.open(folder.path / cell.folder, write=False) as study:
                    events += study.ledger.verify().events
                    _check_units(study)
            except MedalError as error:
                problems.append(f"{cell.name}: {error}")
    try:
        results = collect(folder)
    except MedalError as error:
        return Verdict(len(folder.plan.cells), 0, events, 0, 0, (*problems, str(error)))
    for cell, found in results.cells.items():
        problems += [f"{cell.name}: {p}" for p in _of_cell(folder, cell, found, results.truths[cell.set][cell.block])]
    problems += _of_blocks(results)
    tables, wrong = _of_tables(folder, results)
    return Verdict(
        planned=len(folder.plan.cells),
        cells=len(results.cells),
        events=events,
        predictions=sum(len(found.evaluations) for found in results.cells.values()),
        tables=tables,
        problems=(*problems, *wrong),
    )


def _check_units(study: Study) -> None:
    """Raises when a query asked about a test row, or twice about the same unit."""
    part = {row["id"]: row["split"] for row in study.read_units()}
    seen: set[str] = set()
    for event in study.ledger.events("asked"):
        wanted = "validation" if event.content["purpose"] == "validation" else "pool"
        for unit in event.content["ids"]:
            if part.get(unit.partition("#")[0]) != wanted:
                raise MedalError(
                    f"round {event.content['round']} asked about {unit}, which is not in the {wanted} part"
                )
            if unit in seen and event.content["purpose"] != "relabel":
                raise MedalError(f"{unit} was asked twice")
            seen.add(unit)


def _of_cell(folder: BenchmarkFolder, cell: Cell, found: CellResult, truth: TestTruth) -> Iterator[str]:
    recipe = validate(dict(found.opened["recipe"]))
    if essence(recipe) != folder.plan.digest(cell):
        yield "was played with another recipe than the index has"
    record = folder.splits[cell.set][cell.block]
    if found.split != record.split:
        yield f"has the split {found.split[:12]}, its block has {record.split[:12]}"
    if found.opened["seed"] != cell.block:
        yield f"has the seed {found.opened['seed']}, expected that of its block"
    last = found.evaluations[-1] if found.evaluations else None
    if last is None:
        yield "holds no evaluation"
        return
    for name, stated in _measured(last.measured):
        k = truth.labels.index(name)
        again = auroc(torch.from_numpy(last.probabilities[:, k]), torch.from_numpy(truth.values[:, k]))
        if (again is None) != (stated is None) or (
            again is not None and stated is not None and not math.isclose(again, stated, abs_tol=CLOSE)
        ):
            yield f"the journal says AUROC {stated} of {name}, its predictions say {again}"


def _measured(content: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name, values in content.get("labels", {}).items():
        yield name, values.get("auroc")


def _of_blocks(results: Results) -> Iterator[str]:
    first: dict[tuple[str, int], CellResult] = {}
    begun: dict[tuple[str, str, int], CellResult] = {}
    for cell, found in results.cells.items():
        if cell.strategy == FULL:
            continue
        other = first.setdefault((cell.set, cell.block), found)
        for purpose in ("validation", "start"):
            if found.asked(purpose) != other.asked(purpose):
                yield f"{cell.name} and {other.cell.name} have different {purpose} sets"
        same = begun.setdefault((cell.set, cell.learner, cell.block), found)
        if found.evaluations and same.evaluations:
            ours, theirs = found.evaluations[0], same.evaluations[0]
            if ours.measured["predictions"]["test"] != theirs.measured["predictions"]["test"]:
                yield f"{cell.name} and {same.cell.name} predict differently from the same start set"


def _of_tables(folder: BenchmarkFolder, results: Results) -> tuple[int, list[str]]:
    from medal.benchmark.analysis import analyse
    from medal.benchmark.tables import files

    if not folder.tables.is_dir():
        return 0, [f"{folder.tables} is missing; write it with `medal benchmark report {folder.path}`"]
    made, wrong = files(analyse(results)), []
    for name, data in made.items():
        path = folder.tables / name
        if not path.is_file():
            wrong.append(f"the table {name} is missing")
        elif path.read_bytes() != data:
            wrong.append(f"the table {name} is not what the cells give")
    return len(made), wrong
