"""Playing the cells of a benchmark: resumable, in any number of processes, on any engine.

Cells share decoded images, features and nothing else. A cell that fails does not stop the others; it is named at the
end, and the tables are made from those that are whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.plan import Cell
from medal.benchmark.truth import store_truth
from medal.engine import Engine, Job, Notify, engine_of, quiet
from medal.errors import MedalError
from medal.recipe import validate
from medal.schema import Recipe
from medal.source import Progress, silent


@dataclass(frozen=True)
class Failure:
    """A cell that stopped with an error."""

    cell: str
    error: str


def is_finished(path: Path) -> bool:
    """Whether a folder holds a study that was played to its end."""
    from medal.study import Study

    if not Study.exists(path):
        return False
    with Study.open(path, write=False) as study:
        return study.ledger.last("closed") is not None


def to_do(folder: BenchmarkFolder) -> list[Cell]:
    """Cells that are not finished, in the order of the plan."""
    return [cell for cell in folder.plan.cells if not is_finished(folder.path / cell.folder)]


def steps_of(recipe: Recipe) -> int:
    """Steps of a cell: four a round, and two for a paid validation arm."""
    return 4 * (recipe.budget.rounds + 1) + 2 * (recipe.validation.items > 0)


def prepare(folder: BenchmarkFolder, notify: Notify = quiet) -> None:
    """Writes the truth of every split and fills the caches, so that cells find them filled.

    Raises:
        MedalError: when a set cannot be opened, or a learner cannot be built on it.
    """
    from medal import assemble
    from medal.learners.frozen import Encoder, FeatureSource
    from medal.run import settle

    def tell(what: str, done: int, total: int) -> None:
        notify("", what, done, total)

    for set_name in folder.plan.sets:
        settle(next(iter(folder.plan.arms.values())))
        store_truth(folder, set_name, tell)
        cache, seen = folder.cache(set_name), set()
        for (name, _, _), recipe in folder.plan.arms.items():
            key = recipe.data.model_dump_json() + recipe.learner.model_dump_json()
            if name == set_name and key not in seen:
                seen.add(key)
                source = assemble.open_data(recipe, cache, tell).source
                encoder = getattr(assemble.learner_of(recipe, source, cache, tell), "encoder", None)
                if isinstance(encoder, Encoder):
                    FeatureSource(source, encoder, cache, progress=tell)  # reads every image and keeps the table


def execute(folder: BenchmarkFolder, notify: Notify = quiet, engine: Engine | None = None) -> list[Failure]:
    """Plays every cell that is not finished.

    Args:
        folder: of the benchmark.
        notify: told about every cell's steps.
        engine: where cells run; None takes what the recipes say.

    Returns:
        Cells that failed, in the order of the plan.

    Raises:
        StudyLocked: when another process is playing the benchmark.
        MedalError: when nothing can be begun at all.
    """
    if not to_do(folder):
        return []
    with folder.held():
        cells = to_do(folder)  # another process may have ended some until now
        folder.begin_session()
        prepare(folder, notify)
        resources = folder.plan.recipe((cells or folder.plan.cells)[0]).resources
        outcomes = (engine or engine_of(resources)).outcomes([_job(folder, cell) for cell in cells], notify)
    errors = [result["error"] if lost is None else str(lost) for lost, result in outcomes]
    return [Failure(cell.name, error) for cell, error in zip(cells, errors, strict=True) if error]


def _job(folder: BenchmarkFolder, cell: Cell) -> Job:
    arguments = {
        "recipe": folder.plan.recipe(cell).model_dump(mode="json"),
        "block": cell.block,
        "folder": (folder.path / cell.folder).absolute(),
        "cache": folder.cache(cell.set).absolute(),
    }
    return Job(cell.name, play_cell, arguments)


def play_cell(
    recipe: Mapping[str, Any], block: int, folder: Path, cache: Path, progress: Progress = silent
) -> dict[str, str]:
    """Plays one cell to its end; an error is returned, so that the other cells go on.

    Args:
        recipe: plain data.
        block: seed of the study.
        folder: of the study.
        cache: of the set.
        progress: told during the work.

    Returns:
        {"end": why it ended, "error": ""} or {"end": "", "error": what went wrong}.
    """
    from medal.run import play

    try:
        end = play(validate(dict(recipe)), block, folder, cache, progress, previews=False)
    except MedalError as error:
        return {"end": "", "error": str(error)}
    except Exception as error:  # a defect of one strategy must not cost the others their night
        return {"end": "", "error": f"{type(error).__name__}: {error}"}
    shed(folder)
    return {"end": end, "error": ""}


def shed(folder: Path) -> Sequence[Path]:
    """Removes from a finished study what tables do not need: cached outputs, previews, all weights but the last.

    Returns:
        What was removed.
    """
    gone = [path for path in (folder / "outputs", folder / "previews") if path.is_dir()]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    weights = sorted((folder / "weights").glob("*.safetensors"))[:-1]
    for path in weights:
        path.unlink(missing_ok=True)
    return [*gone, *weights]
