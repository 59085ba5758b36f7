"""The folder of a benchmark: its index, and where everything lies.

`index.json` holds the plan with every resolved recipe, the digest of each cell, and of each split its hash and the hash
of its truth; where the data lie stands in the private folder (`medal.places`). `cells/` holds the studies, `truth/` the
labels of the test rows, `cache/<set>/` decoded images and features, `tables/` what was computed from cells and truth
alone. `sessions.json` says when cells were played, by what code and on what machine.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medal.benchmark.plan import Arm, Plan, at_block, essence
from medal.benchmark.schema import checked
from medal.benchmark.shared_file import shared_file
from medal.errors import ConfigError, StudyError
from medal.lock import FolderLock
from medal.places import find, keep, laid_back, other_files, taken_out, unknown, whole_of
from medal.recipe import change, digest, validate
from medal.resources import ROOT
from medal.schema import Recipe
from medal.storage import read_json, write_json, writing
from medal.strict_yaml import dump, parse

FORMAT = 1
INDEX, SESSIONS, TABLES, TRUTH, LOCK = "index.json", "sessions.json", "tables", "truth", "lock"
OURS = {"cache", LOCK}
"""What may lie in a folder before it has an index."""
MEND = "restore it from a backup, or begin a new benchmark"


@dataclass(frozen=True)
class SplitRecord:
    """One block's split of one set.

    Args:
        split: hash of (row, patient, part).
        truth: sha256 of the file with the labels of the test rows.
        data: digest of the images that the rows were read from.
        rows: part -> rows.
        patients: part -> patients.
        labels: part -> label -> [positives, negatives].
    """

    split: str
    truth: str
    data: str
    rows: Mapping[str, int]
    patients: Mapping[str, int]
    labels: Mapping[str, Mapping[str, list[int]]]


@dataclass
class BenchmarkFolder:
    """A benchmark on disk.

    Args:
        path: the folder.
        plan: its cells.
        splits: set -> block -> split, as far as they were made.
        unplaced: keys of the recipes whose paths this machine does not know; tables can be made, cells not played.
    """

    path: Path
    plan: Plan
    splits: dict[str, dict[int, SplitRecord]] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()

    def cache(self, set_name: str) -> Path:
        """Decoded images and features of one set, shared by all its cells."""
        return self.path / "cache" / set_name

    def truth_path(self, set_name: str, block: int) -> Path:
        """Labels of the test rows of one split."""
        return self.path / TRUTH / set_name / f"block_{block:02d}.csv"

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self.path / TABLES

    def write(self) -> None:
        """Writes the index, and where the data lie into the private folder."""
        from medal.assemble import shareable

        shared = {arm: shareable(recipe) for arm, recipe in self.plan.arms.items()}
        places = {"/".join(arm): taken_out(whole_of(recipe), shared[arm]) for arm, recipe in self.plan.arms.items()}
        index: dict[str, Any] = {
            "format": FORMAT,
            "name": self.plan.name,
            # as text: the order of sets, learners and measures counts, and JSON is written with sorted keys
            "file": dump(shared_file(self.plan.file).model_dump(mode="json")),
            "arms": [[*arm, content] for arm, content in shared.items()],
            "cells": {cell.folder: self.plan.digest(cell) for cell in self.plan.cells},
            "splits": {s: {str(b): vars(r) for b, r in blocks.items()} for s, blocks in self.splits.items()},
        }
        if any(places.values()):
            known = read_json(self.path / INDEX) if is_benchmark(self.path) else {}
            index["places"] = {arm: sorted(keys) for arm, keys in places.items()}
            index["token"] = keep(places, known.get("token"))
        write_json(self.path / INDEX, index)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from planning or playing the benchmark inside the block; reading needs no lock.

        Raises:
            StudyLocked: when another one is there first.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(self.path / LOCK)
        try:
            yield
        finally:
            lock.release()

    def begin_session(self) -> None:
        """Notes when, with what code and on what machine cells are played from now on."""
        from medal.assemble import versions

        path = self.path / SESSIONS
        sessions = read_json(path) if path.exists() else []
        sessions.append(
            {"started": datetime.now(UTC).isoformat(timespec="seconds"), **code(), **hardware(), "versions": versions()}
        )
        write_json(path, sessions)

    def sessions(self) -> list[dict[str, Any]]:
        """What `begin_session` noted."""
        path = self.path / SESSIONS
        return list(read_json(path)) if path.exists() else []


def is_benchmark(path: Path) -> bool:
    """Whether a folder holds a benchmark."""
    return (path / INDEX).is_file()


def open_folder(path: Path) -> BenchmarkFolder:
    """Reads the index of a benchmark folder.

    Raises:
        StudyError: if it is none, is damaged, or was written in another format.
    """
    if not is_benchmark(path):
        raise StudyError(f"{path} is no benchmark: found no {INDEX}; give the folder that `medal benchmark run` made")
    index = read_json(path / INDEX)
    written = index.get("format") if isinstance(index, dict) else None
    if written != FORMAT:
        raise StudyError(f"{path} was written in benchmark format {written}, this medal reads {FORMAT}; begin anew")
    try:
        arms, unplaced = _arms(index)
        plan = Plan(str(index["name"]), checked(parse(index["file"], f"{path / INDEX}"), f"{path / INDEX}"), arms)
        splits = {
            s: {int(b): SplitRecord(**record) for b, record in blocks.items()} for s, blocks in index["splits"].items()
        }
        cells = dict(index["cells"])
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise StudyError(f"{path / INDEX} is damaged ({type(error).__name__}: {error}); {MEND}") from None
    # the digests are those of the recipes as they stand in the index, which says more where an older medal wrote it
    stored = {tuple(arm): validate(shared) for *arm, shared in index["arms"]}
    for cell in plan.cells:
        if cells.get(cell.folder) != digest(at_block(stored[cell.arm], cell.block)):
            raise StudyError(f"{path / INDEX}: {cell.folder} has another digest than its recipe; {MEND}")
    return BenchmarkFolder(path, plan, splits, unplaced)


def _arms(index: dict[str, Any]) -> tuple[dict[Arm, Recipe], tuple[str, ...]]:
    """The recipes with their places, and the keys of the places that this machine does not know."""
    private, arms, unplaced = find(index.get("token")), {}, set()
    for set_name, learner, strategy, shared in index["arms"]:
        name = f"{set_name}/{learner}/{strategy}"
        wanted = index.get("places", {}).get(name, [])
        places = {key: value for key, value in private.get(name, {}).items() if key in wanted}
        unplaced |= unknown(wanted, places)
        arms[(set_name, learner, strategy)] = validate(laid_back(shared, places))
    return arms, tuple(sorted(unplaced))


def placed(folder: BenchmarkFolder, overrides: Sequence[str]) -> BenchmarkFolder:
    """The benchmark with its data in another place, or with other resources.

    Raises:
        ConfigError: if an override would change what the cells compute.
        StudyError: if this machine still does not know where some data lie.
    """
    arms = {arm: change(recipe, overrides) if overrides else recipe for arm, recipe in folder.plan.arms.items()}
    for arm, recipe in folder.plan.arms.items():
        if essence(recipe) != essence(arms[arm]) or other_files(recipe, arms[arm]):
            raise ConfigError(
                f"{', '.join(overrides)}: found a change of what {'/'.join(arm)} computes, expected places of the same "
                "data (data.root=FOLDER) or resources; begin a new benchmark for anything else"
            )
    given = {override.partition("=")[0].strip() for override in overrides}
    missing = [key for key in folder.unplaced if key not in given]
    if missing:
        raise StudyError(
            f"{folder.path}: this machine does not know where {', '.join(missing)} lies; "
            f"go on with `medal benchmark resume {folder.path} {missing[0]}=PATH`"
        )
    plan = Plan(folder.plan.name, folder.plan.file, arms)
    return BenchmarkFolder(folder.path, plan, folder.splits)


def make_folder(path: Path, plan: Plan) -> BenchmarkFolder:
    """Makes the folder of a plan, or goes on in one; further arms and blocks may be added to it.

    Blocks that the folder has and the plan has not stay.

    Raises:
        StudyError: if the folder holds other files, or another process is playing it.
        ConfigError: if it holds cells of other recipes, or of arms that the plan does not have.
    """
    if not is_benchmark(path) and path.exists() and (not path.is_dir() or not {p.name for p in path.iterdir()} <= OURS):
        raise StudyError(f"{path} is a file or holds other files; give --out a new or empty folder")
    folder = BenchmarkFolder(path, plan)
    with folder.held():
        if is_benchmark(path):
            known = open_folder(path)
            folder = replace(folder, plan=_joined(path, known.plan, plan), splits=known.splits)
        folder.write()
    return folder


def _joined(path: Path, known: Plan, plan: Plan) -> Plan:
    """The plan with the blocks that the folder has besides."""
    for cell in (cell for cell in known.cells if cell.block == 0):
        if cell.arm not in plan.arms:
            raise ConfigError(
                f"{path} holds {'/'.join(cell.arm)}, which the file no longer names; give --out a new folder"
            )
        if known.digest(cell) != plan.digest(cell):
            raise ConfigError(
                f"{path} holds {'/'.join(cell.arm)} with another recipe; give --out a new folder, or the same overrides"
            )
    blocks = max(known.file.blocks, plan.file.blocks)
    return replace(plan, file=plan.file.model_copy(update={"blocks": blocks}))


def code() -> dict[str, str]:
    """Version of medal, and the revision where it runs from a checkout ("+" when files were changed since)."""
    import medal

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return {"medal": medal.__version__, "revision": ""}
        changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        return {"medal": medal.__version__, "revision": git("rev-parse", "HEAD")[:12] + changed}
    except (OSError, subprocess.CalledProcessError):
        return {"medal": medal.__version__, "revision": ""}


def hardware() -> dict[str, str | int]:
    """Processor, cores and memory of this machine; nothing that names it."""
    model = platform.processor() or platform.machine()
    memory = 0
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (OSError, ValueError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"system": platform.system(), "processor": model, "cores": cores, "memory_mb": int(memory)}
