"""The truth of the test rows, stored once for each set and split, beside the cells and never inside one.

With it and the stored predictions every measure can be computed again without the data set. Only test rows are written:
the labels of the pool stay with the data set.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medal import assemble
from medal.benchmark.folder import BenchmarkFolder, SplitRecord
from medal.benchmark.plan import at_block
from medal.errors import ConfigError, StudyError
from medal.schema import Recipe
from medal.source import Opened, Progress, silent
from medal.split import PARTS, Split
from medal.storage import sha256_file, write_bytes

META, LABEL = "meta.", "label."
MEND = "restore the benchmark from a backup"


@dataclass(frozen=True)
class TestTruth:
    """Labels and harmless columns of the test rows of one split.

    Args:
        ids: (T) rows.
        patients: (T) whose they are.
        meta: column -> (T) values.
        labels: (L) names.
        values: (T, L) float64 of 1, 0, NaN unknown and -1 uncertain.
    """

    __test__ = False  # for pytest, which takes the name for a test

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    meta: dict[str, tuple[str, ...]]
    labels: tuple[str, ...]
    values: NDArray[np.float64]


def store_truth(folder: BenchmarkFolder, set_name: str, progress: Progress = silent) -> None:
    """Opens a set once and writes the truth of every block that lacks it; the caches of images are filled on the way.

    Raises:
        ConfigError: when the set has no labels, a split leaves a part empty, or learners see other rows.
    """
    recipes = [recipe for (name, _, _), recipe in folder.plan.arms.items() if name == set_name]
    opened = assemble.open_data(recipes[0], folder.cache(set_name), progress)
    if opened.truth is None:
        raise ConfigError(f"set {set_name}: {opened.source.name!r} has no labels to measure with")
    for other in _distinct_data(recipes)[1:]:
        source = assemble.open_data(other, folder.cache(set_name), progress).source
        if (tuple(source.ids), tuple(source.labels)) != (tuple(opened.source.ids), tuple(opened.source.labels)):
            raise ConfigError(f"set {set_name}: its learners read other rows or labels; give them sets of their own")
    known = folder.splits.setdefault(set_name, {})
    for block in range(folder.plan.file.blocks):
        record = _write_block(folder, set_name, block, opened, at_block(recipes[0], block))
        if known.setdefault(block, record) != record:
            raise ConfigError(
                f"set {set_name}, block {block}: the data or the split are not those that the benchmark was begun "
                "with; bring them back, or begin a new benchmark"
            )
    _check_splits_agree(recipes, set_name)
    folder.write()


def _distinct_data(recipes: Sequence[Recipe]) -> list[Recipe]:
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        found.setdefault(recipe.data.model_dump_json(), recipe)
    return list(found.values())


def _check_splits_agree(recipes: Sequence[Recipe], set_name: str) -> None:
    if len({(r.split.test, r.split.validation, r.validation.items, r.unit) for r in recipes}) > 1:
        raise ConfigError(
            f"set {set_name}: its learners differ in split, validation or unit, so that nothing pairs; make them equal"
        )


def _write_block(folder: BenchmarkFolder, set_name: str, block: int, opened: Opened, recipe: Recipe) -> SplitRecord:
    source = opened.source
    split = assemble.split_of(recipe, source)
    values = _values(opened)
    test = split.positions("test").tolist()
    if not test or not len(split.positions("pool")):
        raise ConfigError(f"set {set_name}, block {block}: found {split.counts()} rows, expected some in pool and test")
    found = TestTruth(
        ids=tuple(source.ids[i] for i in test),
        patients=tuple(source.groups[i] for i in test),
        meta={name: tuple(column[i] for i in test) for name, column in source.meta.items()},
        labels=tuple(source.labels),
        values=values[test],
    )
    data = _as_csv(found)
    path = folder.truth_path(set_name, block)
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data)
    return SplitRecord(
        split=split.digest(),
        truth=hashlib.sha256(data).hexdigest(),
        data=opened.source.digest,
        rows=split.counts(),
        patients={
            part: len({g for g, p in zip(split.groups, split.parts, strict=True) if p == part}) for part in PARTS
        },
        labels={part: _counts(split, part, values, source.labels) for part in PARTS},
    )


def _values(opened: Opened) -> NDArray[np.float64]:
    if opened.truth is None:
        return np.zeros((len(opened.source.ids), 0))
    return opened.truth.values.numpy().astype(np.float64)


def _counts(split: Split, part: str, values: NDArray[np.float64], labels: Sequence[str]) -> dict[str, list[int]]:
    own = values[split.positions(part).numpy()]
    return {name: [int((own[:, k] == 1).sum()), int((own[:, k] == 0).sum())] for k, name in enumerate(labels)}


def _as_csv(truth: TestTruth) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "patient", *(META + m for m in truth.meta), *(LABEL + name for name in truth.labels)])
    columns = list(truth.meta.values())
    for i, (row, patient) in enumerate(zip(truth.ids, truth.patients, strict=True)):
        labels = ["" if math.isnan(v) else f"{v:g}" for v in truth.values[i]]
        writer.writerow([row, patient, *(column[i] for column in columns), *labels])
    return text.getvalue().encode()


def read_truth(folder: BenchmarkFolder, set_name: str, block: int) -> TestTruth:
    """The truth of one split, checked against the index.

    Raises:
        StudyError: when it is missing, or another one than the index names.
    """
    path = folder.truth_path(set_name, block)
    record = folder.splits.get(set_name, {}).get(block)
    if record is None or not path.is_file():
        raise StudyError(f"{path} is missing; {MEND}, or run the benchmark again to write it")
    if sha256_file(path) != record.truth:
        raise StudyError(f"{path} is not the file that the index names; {MEND}")
    return parse_truth(path)


def parse_truth(path: Path) -> TestTruth:
    """Reads a file that `store_truth` wrote."""
    with path.open(newline="", encoding="utf-8") as handle:
        header, *rows = list(csv.reader(handle))
    meta = {name.removeprefix(META): k for k, name in enumerate(header) if name.startswith(META)}
    label = {name.removeprefix(LABEL): k for k, name in enumerate(header) if name.startswith(LABEL)}
    values = [[float(row[k]) if row[k] else math.nan for k in label.values()] for row in rows]
    return TestTruth(
        ids=tuple(row[0] for row in rows),
        patients=tuple(row[1] for row in rows),
        meta={name: tuple(row[k] for row in rows) for name, k in meta.items()},
        labels=tuple(label),
        values=np.array(values, dtype=np.float64).reshape(len(rows), len(label)),
    )
