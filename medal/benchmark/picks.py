"""Index lists of the picks, so that another tool can be fed the same rounds.

Munjal et al., "Towards robust and reproducible active learning using neural networks", CVPR 2022, publish theirs;
without them two implementations of one strategy cannot be told from two start sets.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from medal.benchmark.cells import CellResult, read_cell
from medal.benchmark.folder import BenchmarkFolder
from medal.errors import ConfigError
from medal.identity import PUBLIC_KEY, Pseudonyms
from medal.storage import write_bytes, write_json
from medal.study import Study

COLUMNS = ("block", "strategy", "round", "purpose", "rank", "id", "source")
SOURCE = "file"
"""Column of a source's rows that names the original file, where a public data set has one."""


def write_picks(folder: BenchmarkFolder, out: Path, files: Path | None = None) -> int:
    """Writes `<set>/<learner>.csv` and `.json`: block, strategy, round, purpose, rank, id and source.

    Args:
        folder: of the benchmark.
        out: folder to write.
        files: folder of a public data set; images whose id is the public pseudonym of a file below it are named by that
            file. Ids of hospitals are keyed in private, so none of theirs is found.

    Returns:
        Number of cells written.

    Raises:
        ConfigError: when `files` is no folder.
    """
    known = names_of_files(files) if files is not None else {}
    written, by_learner = 0, {}
    for cell in folder.plan.cells:
        found = read_cell(folder.path / cell.folder, cell)
        if found is not None:
            written += 1
            by_learner.setdefault((cell.set, cell.learner), []).append((found, _sources(folder, found, known)))
    for (set_name, learner), cells in by_learner.items():
        rows = [row for found, sources in cells for row in rows_of(found, sources)]
        write_bytes(out / set_name / f"{learner}.csv", _as_csv(rows))
        write_json(out / set_name / f"{learner}.json", _nested(rows))
    return written


def rows_of(found: CellResult, sources: Mapping[str, str]) -> list[dict[str, str | int]]:
    """One line for each unit that a cell asked about, in the order of the ranks.

    Args:
        found: the cell.
        sources: row id -> the data set's own name of it.
    """
    return [
        {
            "block": found.cell.block,
            "strategy": found.cell.strategy,
            "round": query.round,
            "purpose": query.purpose,
            "rank": rank,
            "id": unit,
            "source": sources.get(unit.partition("#")[0], ""),
        }
        for query in found.queries
        for rank, unit in enumerate(query.ids, 1)
    ]


def names_of_files(folder: Path) -> dict[str, str]:
    """Public pseudonym of an image -> path of its file below a folder, by the file's stem and by its path.

    Raises:
        ConfigError: when there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"--files: {folder} is no folder; give the folder of the data set")
    names, found = Pseudonyms(PUBLIC_KEY), {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        place = path.relative_to(folder).as_posix()
        for identity in (path.stem, path.name, place):
            found.setdefault(names.of("I", identity), place)
    return found


def _sources(folder: BenchmarkFolder, found: CellResult, known: Mapping[str, str]) -> dict[str, str]:
    with Study.open(folder.path / found.cell.folder, write=False) as study:
        return {row["id"]: row.get(SOURCE) or known.get(row["id"], "") for row in study.read_units()}


def _as_csv(rows: list[dict[str, str | int]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows)
    return text.getvalue().encode()


def _nested(rows: list[dict[str, str | int]]) -> dict[str, dict[str, dict[str, list[dict[str, str]]]]]:
    """Block -> strategy -> "validation", "start", "round 1", ... -> picks in order."""
    made: dict[str, dict[str, dict[str, list[dict[str, str]]]]] = {}
    for row in rows:
        step = str(row["purpose"]) if row["round"] == 0 else f"round {row['round']}"
        block = made.setdefault(f"block {row['block']}", {}).setdefault(str(row["strategy"]), {})
        block.setdefault(step, []).append({"id": str(row["id"]), "source": str(row["source"])})
    return made
