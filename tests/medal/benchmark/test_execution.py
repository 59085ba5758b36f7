"""A small benchmark, played once: what it leaves, how it goes on, and what checking it finds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_benchmark import played, small, small_plan, tables_of

import medal.benchmark.execution
import medal.run
from medal.benchmark.cells import read_cell
from medal.benchmark.execution import execute, is_finished, play_cell, prepare, to_do
from medal.benchmark.folder import BenchmarkFolder, is_benchmark, make_folder, open_folder, placed
from medal.benchmark.page import write_benchmark_report
from medal.benchmark.picks import names_of_files, write_picks
from medal.benchmark.plan import Cell
from medal.benchmark.results import collect
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.tables import write_tables
from medal.benchmark.truth import read_truth
from medal.benchmark.verify import verify
from medal.engine import Job, Local, Notify, quiet
from medal.engine.job import Outcome
from medal.errors import ConfigError, StudyError, StudyLocked
from medal.identity import PUBLIC_KEY, Pseudonyms
from medal.ledger import Ledger
from medal.lock import FolderLock
from medal.recipe import Recipe
from medal.study import Study

ENTROPY = Cell(1, "drawn", "sigmoid", "entropy")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkFolder:
    return played(tmp_path_factory.mktemp("benchmark") / "whole")


@pytest.fixture
def copy(whole: BenchmarkFolder, tmp_path: Path) -> BenchmarkFolder:
    shutil.copytree(whole.path, tmp_path / "copy")
    return open_folder(tmp_path / "copy")


def problems(folder: BenchmarkFolder) -> str:
    return "\n".join(verify(open_folder(folder.path)).problems)


def table(folder: BenchmarkFolder, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder.tables / f"{name}.csv").read_text().splitlines()))


def test_every_cell_is_a_finished_study(whole: BenchmarkFolder) -> None:
    assert len(whole.plan.cells) == 8
    assert all(is_finished(whole.path / cell.folder) for cell in whole.plan.cells)
    assert to_do(whole) == []
    assert execute(whole) == []


def test_cells_of_a_block_share_split_and_start_set(whole: BenchmarkFolder) -> None:
    cells = [read_cell(whole.path / c.folder, c) for c in whole.plan.cells if c.block == 0 and c.strategy != FULL]
    assert len({(c.split, c.asked("start"), c.asked("validation")) for c in cells if c is not None}) == 1
    other = read_cell(whole.path / ENTROPY.folder, ENTROPY)
    assert other is not None
    assert cells[0] is not None
    assert other.split != cells[0].split


def test_the_full_data_line_trains_on_the_whole_pool(whole: BenchmarkFolder) -> None:
    found = read_cell(whole.path / "cells/drawn/sigmoid/full_data/block_00", Cell(0, "drawn", "sigmoid", FULL))
    assert found is not None
    assert len(found.asked("start")) == whole.splits["drawn"][0].rows["pool"]
    assert len(found.evaluations) == 1


def test_truth_lies_beside_the_cells_and_never_inside(whole: BenchmarkFolder) -> None:
    truth = read_truth(whole, "drawn", 0)
    assert len(truth.ids) == whole.splits["drawn"][0].rows["test"]
    assert set(truth.meta) >= {"view", "sex", "age"}
    positives = whole.splits["drawn"][0].labels["test"]["Effusion"][0]
    assert (truth.values[:, truth.labels.index("Effusion")] == 1).sum() == positives
    assert not list(whole.path.glob("cells/**/*truth*"))
    header = (whole.path / ENTROPY.folder / "units.csv").read_text().splitlines()[0]
    assert "Effusion" not in header


def test_finished_cells_keep_what_tables_need_and_no_more(whole: BenchmarkFolder) -> None:
    names = {p.name for p in (whole.path / ENTROPY.folder).iterdir()}
    assert names >= {"ledger.db", "units.csv", "predictions", "weights"}
    assert not names & {"outputs", "previews"}
    assert [p.name for p in (whole.path / ENTROPY.folder / "weights").iterdir()] == ["round_002.safetensors"]


def test_a_session_names_code_and_machine(whole: BenchmarkFolder) -> None:
    assert str(whole.path.parent) not in (whole.path / "index.json").read_text()
    session = json.loads((whole.path / "sessions.json").read_text())[0]
    assert {"medal", "revision", "processor", "cores", "versions", "started"} <= set(session)


def test_tables_say_what_the_journals_say(whole: BenchmarkFolder) -> None:
    results = collect(whole)
    for row in table(whole, "curves"):
        cell = Cell(int(row["block"]), row["set"], row["learner"], row["strategy"])
        stated = results.cells[cell].evaluations[int(row["round"])].measured
        assert float(row["effusion"]) == pytest.approx(stated["labels"]["Effusion"]["auroc"], abs=1e-6)
        assert float(row["brier"]) == pytest.approx(stated["labels"]["Effusion"]["brier"], abs=1e-6)
        assert float(row["items"]) == stated["spent"]["items"]


def test_differences_are_to_random_of_the_same_block(whole: BenchmarkFolder) -> None:
    area = {(r["strategy"], r["block"]): float(r["aubc"]) for r in table(whole, "blocks") if r["figure"] == "effusion"}
    wanted = np.mean([area[("entropy", b)] - area[(RANDOM, b)] for b in "01"])
    found = {(r["strategy"], r["figure"]): r for r in table(whole, "differences")}
    assert float(found[("entropy", "effusion")]["aubc"]) == pytest.approx(wanted, abs=2e-6)
    assert found[("entropy", "effusion")]["underpowered"] == "1"
    brier = {(r["strategy"], r["block"]): float(r["aubc"]) for r in table(whole, "blocks") if r["figure"] == "brier"}
    wanted = np.mean([brier[(RANDOM, b)] - brier[("entropy", b)] for b in "01"])
    assert float(found[("entropy", "brier")]["aubc"]) == pytest.approx(wanted, abs=2e-6)


def test_the_markdown_stamps_what_it_cannot_claim(whole: BenchmarkFolder) -> None:
    text = (whole.tables / "tables.md").read_text()
    assert "**Underpowered:**" in text
    assert "Not drawn: shortcut (a test)." in text
    assert "Given as counts only: Atelectasis" in text


def test_verify_finds_nothing_to_say(whole: BenchmarkFolder) -> None:
    found = verify(whole)
    assert found.problems == ()
    assert (found.cells, found.planned) == (8, 8)
    assert found.predictions == 6 * 3 + 2


def test_verify_needs_neither_the_data_nor_a_cache(copy: BenchmarkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copy.path / "cache")
    monkeypatch.setattr("medal.assemble.open_data", lambda *_: pytest.fail("opened the data"))
    assert problems(copy) == ""


def test_verify_sees_other_predictions(copy: BenchmarkFolder) -> None:
    source = copy.path / "cells/drawn/sigmoid/random/block_01/predictions/test_001.npz"
    shutil.copy(source, copy.path / ENTROPY.folder / "predictions/test_001.npz")
    assert "other predictions than the journal names" in problems(copy)


def test_verify_sees_a_changed_truth(copy: BenchmarkFolder) -> None:
    path = copy.truth_path("drawn", 0)
    path.write_text(path.read_text().replace(",1", ",0", 1))
    assert "is not the file that the index names" in problems(copy)


def test_verify_sees_a_changed_table(copy: BenchmarkFolder) -> None:
    path = copy.tables / "differences.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    (copy.tables / "ranks.csv").unlink()
    found = problems(copy)
    assert "the table differences.csv is not what the cells give" in found
    assert "the table ranks.csv is missing" in found


def test_verify_sees_a_cell_of_another_block(copy: BenchmarkFolder) -> None:
    shutil.rmtree(copy.path / ENTROPY.folder)
    shutil.copytree(copy.path / "cells/drawn/sigmoid/entropy/block_00", copy.path / ENTROPY.folder)
    found = problems(copy)
    assert "predictions are of other rows than the truth" in found


def test_verify_sees_a_cell_of_another_recipe(copy: BenchmarkFolder) -> None:
    shutil.rmtree(copy.path / ENTROPY.folder)
    shutil.copytree(copy.path / "cells/drawn/sigmoid/random/block_01", copy.path / ENTROPY.folder)
    assert "entropy/block_01: was played with another recipe than the index has" in problems(copy)


def test_verify_sees_a_query_about_a_test_row(copy: BenchmarkFolder) -> None:
    path = copy.path / ENTROPY.folder
    with Study.open(path, write=False) as study:
        test = next(row["id"] for row in study.read_units() if row["split"] == "test")
    with Ledger(path / "ledger.db") as ledger:
        asked = ledger.last("asked")
        assert asked is not None
        ledger.append("asked", {**asked.content, "ids": [test]})
    assert f"asked about {test}, which is not in the pool part" in problems(copy)


def test_verify_sees_an_index_that_was_edited(copy: BenchmarkFolder) -> None:
    path = copy.path / "index.json"
    index = json.loads(path.read_text())
    index["arms"][0][3]["learner"]["steps"] = 4
    path.write_text(json.dumps(index))
    with pytest.raises(StudyError, match="has another digest than its recipe"):
        open_folder(copy.path)


@pytest.mark.parametrize("lost", [ENTROPY.folder, "cells/drawn/sigmoid/full_data/block_00"])
def test_a_lost_cell_is_played_again_to_the_same_tables(copy: BenchmarkFolder, lost: str) -> None:
    before = tables_of(copy.path)
    shutil.rmtree(copy.path / lost)
    write_tables(copy)
    assert "**Unfinished:** 1 of 8 cells" in (copy.tables / "tables.md").read_text()
    assert tables_of(copy.path) != before
    assert execute(placed(open_folder(copy.path), [])) == []
    write_tables(open_folder(copy.path))
    assert tables_of(copy.path) == before


def test_a_broken_cell_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "b", small_plan(blocks=1))
    real = medal.run.play

    def breaks(recipe: Recipe, *rest: Any, **named: Any) -> str:
        if recipe.arm == "random_stratified":
            raise ZeroDivisionError("a defect")
        return real(recipe, *rest, **named)

    monkeypatch.setattr(medal.run, "play", breaks)
    failures = execute(folder)
    assert [(f.cell, f.error) for f in failures] == [
        ("drawn/sigmoid/random_stratified/block_00", "ZeroDivisionError: a defect")
    ]
    assert [c.strategy for c in to_do(folder)] == ["random_stratified"]
    monkeypatch.setattr(medal.run, "play", real)
    assert execute(folder) == []


def test_blocks_can_be_added_and_recipes_not_changed(copy: BenchmarkFolder) -> None:
    more = make_folder(copy.path, small_plan(blocks=3))
    assert [c.block for c in to_do(more)] == [2, 2, 2, 2]
    with pytest.raises(ConfigError, match=r"holds drawn/sigmoid/random with another recipe"):
        make_folder(copy.path, small_plan(overrides=[*small().overrides, "learner.steps=9"]))
    with pytest.raises(ConfigError, match="found a change of what"):
        placed(copy, ["learner.steps=9"])


def test_fewer_blocks_leave_those_that_are_there(copy: BenchmarkFolder) -> None:
    again = make_folder(copy.path, small_plan(blocks=1))
    assert again.plan.cells == copy.plan.cells
    assert open_folder(copy.path).plan.cells == copy.plan.cells


def test_arms_are_not_dropped(copy: BenchmarkFolder) -> None:
    before = (copy.path / "index.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds drawn/sigmoid/entropy, which the file no longer names; give --out"):
        make_folder(copy.path, small_plan(learners={"sigmoid": {"strategies": []}}))
    assert (copy.path / "index.json").read_bytes() == before


def test_one_process_plays_a_benchmark(copy: BenchmarkFolder) -> None:
    shutil.rmtree(copy.path / ENTROPY.folder)
    lock = FolderLock(copy.path / "lock")
    for attempt in (lambda: execute(copy), lambda: make_folder(copy.path, small_plan())):
        with pytest.raises(StudyLocked, match=r"copy is in use by this very process; wait until it ends"):
            attempt()
    assert not is_finished(copy.path / ENTROPY.folder)
    assert problems(copy) != ""  # reading needs no lock
    lock.release()
    assert execute(make_folder(copy.path, small_plan())) == []
    write_tables(copy)
    assert problems(copy) == ""


def test_a_cell_that_an_engine_loses_is_a_failure_like_others(tmp_path: Path) -> None:
    class Losing(Local):
        def outcomes(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Outcome]:
            return [(StudyError("lost"), None), *super().outcomes(jobs[1:], notify)]

    folder = make_folder(tmp_path / "b", small_plan(blocks=1))
    assert [(f.cell, f.error) for f in execute(folder, engine=Losing())] == [("drawn/sigmoid/random/block_00", "lost")]
    assert [c.strategy for c in to_do(folder)] == [RANDOM]


@pytest.mark.slow
def test_a_cell_whose_process_is_killed_is_a_failure_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "b", small_plan(blocks=1))
    monkeypatch.setattr(medal.benchmark.execution, "play_cell", killed_or_played)
    failures = execute(folder, engine=Local(2))
    assert [f.cell for f in failures] == ["drawn/sigmoid/random_stratified/block_00"]
    assert failures[0].error.startswith("its process was ended twice")
    assert [c.strategy for c in to_do(folder)] == ["random_stratified"]
    write_tables(folder)
    assert "**Unfinished:** 1 of 4 cells" in (folder.tables / "tables.md").read_text()


def killed_or_played(recipe: dict[str, Any], **named: Any) -> dict[str, str]:
    if recipe["arm"] == "random_stratified":
        os.kill(os.getpid(), signal.SIGKILL)
    return play_cell(recipe, **named)


def test_other_data_in_the_same_folder_are_refused(copy: BenchmarkFolder) -> None:
    copy.splits["drawn"][0] = copy.splits["drawn"][1]
    with pytest.raises(ConfigError, match="the data or the split are not those that the benchmark was begun with"):
        prepare(copy)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other files"):
        make_folder(tmp_path, small_plan())
    with pytest.raises(StudyError, match=r"is no benchmark: found no index.json"):
        open_folder(tmp_path)
    assert not is_benchmark(tmp_path)


def test_the_report_is_one_page_with_its_figures(whole: BenchmarkFolder, tmp_path: Path) -> None:
    page = write_benchmark_report(whole, write_tables(whole), tmp_path / "report")
    text = page.read_text()
    assert "Research use only, not for diagnosis" in text
    assert "underpowered: fewer than 10 finished blocks" in text
    assert {"curves_drawn_effusion.svg", "differences_drawn_effusion.png", "penalty_sigmoid.svg"} <= {
        p.name for p in (tmp_path / "report").iterdir()
    }


def test_picks_are_those_of_the_journals(whole: BenchmarkFolder, tmp_path: Path) -> None:
    assert write_picks(whole, tmp_path) == 8
    rows = list(csv.DictReader((tmp_path / "drawn/sigmoid.csv").read_text().splitlines()))
    mine = [r["id"] for r in rows if (r["strategy"], r["block"], r["round"]) == ("entropy", "1", "2")]
    found = read_cell(whole.path / ENTROPY.folder, ENTROPY)
    assert found is not None
    assert tuple(mine) == found.queries[-1].ids
    nested = json.loads((tmp_path / "drawn/sigmoid.json").read_text())
    assert [pick["id"] for pick in nested["block 1"]["entropy"]["round 2"]] == mine


def test_public_ids_find_their_files(tmp_path: Path, write: Callable[[str], Path]) -> None:
    write("images/00000061_012.jpg")
    name = Pseudonyms(PUBLIC_KEY).of("I", "00000061_012")
    assert names_of_files(tmp_path)[name] == "images/00000061_012.jpg"
    with pytest.raises(ConfigError, match="is no folder"):
        names_of_files(tmp_path / "absent")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return path

    return make
