"""A run: the recipe's arm and its baselines, each with several seeds, in one folder that can be resumed.

`run.json` is the index; each study below `studies/` keeps its own journal; `cache/` holds the decoded images. Where the
data lie stands in the private folder (`medal.places`), so that a run folder can be shared. Studies are independent, so
where they run (`medal.engine`) and how many at a time changes nothing in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medal.engine import Job, engine_of, settle_process
from medal.engine import Notify as Notify
from medal.engine import quiet as quiet
from medal.errors import ConfigError, MedalError, StudyError
from medal.needs import check_needs
from medal.places import Places, find, keep, laid_back, other_files, taken_out, unknown, whole_of
from medal.recipe import Recipe, change, digest, task_module, validate, with_strategy
from medal.schema import Resources
from medal.source import Progress, silent
from medal.storage import read_json, write_json, writing

FORMAT = 1
INDEX = "run.json"


@dataclass(frozen=True)
class Entry:
    """One study of a run."""

    folder: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Run:
    """A run folder: its recipe for each arm, and its studies.

    Args:
        folder: of the run.
        name: of the recipe.
        arms: arm -> recipe, the main arm first.
        studies: in the order in which they are played.
        unplaced: keys of the recipes whose paths this machine does not know; the run can be read, not resumed.
    """

    folder: Path
    name: str
    arms: Mapping[str, Recipe]
    studies: tuple[Entry, ...]
    unplaced: tuple[str, ...] = field(default=())

    @property
    def main(self) -> Recipe:
        """The recipe of the main arm."""
        return next(iter(self.arms.values()))

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.folder / "cache"

    def path(self, entry: Entry) -> Path:
        """Folder of one study."""
        return self.folder / entry.folder

    def write(self) -> None:
        """Writes the index, and where the data lie into the private folder."""
        from medal.assemble import shareable

        shared = {arm: shareable(recipe) for arm, recipe in self.arms.items()}
        places = {arm: taken_out(whole_of(recipe), shared[arm]) for arm, recipe in self.arms.items()}
        index: dict[str, Any] = {
            "format": FORMAT,
            "recipe": self.name,
            "arms": shared,
            "studies": [{"folder": e.folder, "arm": e.arm, "seed": e.seed} for e in self.studies],
        }
        if any(places.values()):
            index["places"] = {arm: sorted(keys) for arm, keys in places.items()}
            index["token"] = keep(places, _token(self.folder / INDEX))
        write_json(self.folder / INDEX, index)


def _token(index: Path) -> str | None:
    found = read_json(index) if index.is_file() else None
    return str(found["token"]) if isinstance(found, dict) and "token" in found else None


def plan(name: str, recipe: Recipe, folder: Path) -> Run:
    """What a run of this recipe comes to; nothing is written.

    Args:
        name: of the recipe.
        recipe: resolved.
        folder: where the run will lie.
    """
    arms = {recipe.arm: recipe} | {b: with_strategy(recipe, b) for b in recipe.baselines if b != recipe.arm}
    seeds = range(recipe.seed, recipe.seed + recipe.seeds)
    studies = tuple(Entry(f"studies/{arm}-seed{seed}", arm, seed) for seed in seeds for arm in arms)
    return Run(folder, name, arms, studies)


def load_run(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """Reads the index of a run folder, and the private places of its data where this machine knows them.

    Args:
        folder: of the run.
        overrides: where the data lie now (`data.root=PATH`), or other resources (`resources.processes=4`); they are
            kept once the run goes on.

    Raises:
        StudyError: if it is none, is damaged, or was written in another format.
        ConfigError: if an override would change what the studies compute.
    """
    if not (folder / INDEX).is_file():
        raise StudyError(f"{folder} is no run: found no {INDEX}; give the folder that `medal run` made")
    index = read_json(folder / INDEX)
    written = index.get("format") if isinstance(index, dict) else None
    if written != FORMAT:
        raise StudyError(f"{folder} was written in run format {written}, this medal reads {FORMAT}; begin a new run")
    try:
        private = find(index.get("token"))
        known = {arm: _known(private.get(arm, {}), index.get("places", {}).get(arm, [])) for arm in index["arms"]}
        arms = {arm: validate(laid_back(values, known[arm])) for arm, values in index["arms"].items()}
        asked = {key for keys in index.get("places", {}).values() for key in keys}
        unplaced = tuple(sorted(unknown(asked, {key for places in known.values() for key in places})))
        run = Run(folder, str(index["recipe"]), arms, tuple(Entry(**e) for e in index["studies"]), unplaced)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, ConfigError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise StudyError(f"{folder / INDEX} is damaged ({what}); restore it from a backup or begin a new run") from None
    return _changed(run, overrides) if overrides else run


def _known(places: Places, keys: Sequence[str]) -> Places:
    return {key: places[key] for key in keys if key in places}


def _changed(run: Run, overrides: Sequence[str]) -> Run:
    """The run with overrides laid over every arm; only places and resources may change."""
    arms = {arm: change(recipe, overrides) for arm, recipe in run.arms.items()}
    for arm, recipe in run.arms.items():
        if _essence(recipe) != _essence(arms[arm]) or other_files(recipe, arms[arm]):
            raise ConfigError(
                f"{', '.join(overrides)}: found a change of what the studies compute, expected places of the same data "
                "(data.root=PATH) or resources; begin a new run for anything else"
            )
    given = {override.partition("=")[0].strip() for override in overrides}
    return Run(run.folder, run.name, arms, run.studies, tuple(key for key in run.unplaced if key not in given))


def _essence(recipe: Recipe) -> str:
    from medal.assemble import shareable

    return digest(validate(shareable(recipe)))


def settle(recipe: Recipe) -> None:
    """Fixes what numbers depend on in this process: threads and deterministic kernels."""
    settle_process(recipe.resources.threads)


def play(
    recipe: Recipe, seed: int, folder: Path, cache: Path, progress: Progress = silent, *, previews: bool = True
) -> str:
    """Plays one study to its end.

    Args:
        recipe: what it is made of.
        seed: root of every generator.
        folder: of the study.
        cache: of decoded images.
        progress: told about every step.
        previews: whether to keep small images of what is asked.

    Returns:
        Why it ended.
    """
    settle(recipe)
    # a journal says what was computed, not where: its hashes are those of every engine
    here = recipe.model_copy(update={"resources": Resources(threads=recipe.resources.threads)})
    loop = task_module(recipe.task).make(here, seed, folder, cache, progress)
    loop.previews = previews
    try:
        check_needs(loop.strategy, loop.learner)
        if recipe.resources.engine == "ray":
            from medal.engine.scoring import Spread

            loop.learner = Spread(loop.learner, recipe, loop.source, cache)
        while not loop.finished:
            loop.step()
            progress(f"round {loop.pool.round}", loop.steps_done, loop.steps_total)
        return loop.run()
    finally:
        loop.study.close()


def processes_of(recipe: Recipe, studies: int) -> int:
    """How many studies are played at a time."""
    return engine_of(recipe.resources).at_a_time(studies)


def execute(run: Run, notify: Notify = quiet) -> None:
    """Plays every study that is not finished.

    Args:
        run: its index is written first, so that it can be resumed from any moment.
        notify: told about every study's steps.

    Raises:
        MedalError: the first study's error, after the others have ended.
    """
    from medal.study import Study

    if run.unplaced:
        raise StudyError(
            f"{run.folder}: this machine does not know where {', '.join(run.unplaced)} of the run lies; "
            f"go on with `medal resume {run.folder} -d {run.unplaced[0]}=PATH`"
        )
    with writing(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    fresh = not (run.folder / INDEX).exists()
    run.write()
    try:
        _play_all(run, notify)
    except MedalError:
        # a run that could not begin a study cannot be resumed either, and must not hold the folder's name
        if fresh and not any(Study.exists(run.path(entry)) for entry in run.studies):
            (run.folder / INDEX).unlink(missing_ok=True)
        raise


def _play_all(run: Run, notify: Notify) -> None:
    from medal import assemble

    engine = engine_of(run.main.resources)
    settle(run.main)
    # read every file once before the studies start, so that they find the cache filled
    opened = assemble.open_data(run.main, run.cache, lambda what, done, total: notify("", what, done, total))
    learner = assemble.learner_of(run.main, opened.source, run.cache)
    for recipe in run.arms.values():
        check_needs(assemble.strategy_of(recipe), learner)
    engine.run([_job(run, entry) for entry in run.studies], notify)


def _job(run: Run, entry: Entry) -> Job:
    recipe = run.arms[entry.arm].model_dump(mode="json")
    arguments = {"recipe": recipe, "seed": entry.seed, "folder": run.path(entry), "cache": run.cache}
    return Job(entry.folder, _play, arguments)


def _play(recipe: Mapping[str, Any], seed: int, folder: Path, cache: Path, progress: Progress) -> str:
    return play(Recipe.model_validate(recipe), seed, folder, cache, progress)


def study_folders(folder: Path) -> Sequence[Path]:
    """The study folders of a run that were begun, or the study folder itself."""
    from medal.study import Study

    if Study.exists(folder):
        return [folder]
    run = load_run(folder)
    return [run.path(e) for e in run.studies if Study.exists(run.path(e))]
