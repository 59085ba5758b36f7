"""Cells and recipes of a benchmark, before anything is played."""

from __future__ import annotations

import pytest
from small_benchmark import small, small_plan

from medal.benchmark.plan import Cell, at_block, essence, plan
from medal.benchmark.schema import FULL, RANDOM
from medal.errors import ConfigError, UnknownName


def test_whole_blocks_come_first() -> None:
    cells = small_plan().cells
    assert [c.block for c in cells] == sorted(c.block for c in cells)
    assert [c.strategy for c in cells if c.block == 1] == ["random", "random_stratified", "entropy", FULL]


def test_random_stratified_and_the_full_data_line_are_drawn_unasked() -> None:
    made = small_plan(learners={"mine": {}})
    assert [strategy for _, _, strategy in made.arms] == ["random", "random_stratified", FULL]
    assert small_plan(learners={"mine": {}}, without={**small().without, FULL: "a test"}).strategies(
        "drawn", "mine"
    ) == ("random", "random_stratified")


def test_self_supervised_and_shortcut_are_drawn_with_random_alone() -> None:
    made = small_plan(without={})
    assert made.learners("drawn") == ("sigmoid", "self_supervised", "shortcut")
    assert made.strategies("drawn", "shortcut") == made.strategies("drawn", "self_supervised") == ("random",)
    assert ("drawn", "shortcut", FULL) in made.arms


def test_a_learners_own_words_hold_over_those_of_the_file() -> None:
    made = small_plan(without={}, learners={"mine": {"overrides": ["learner.steps=5"]}})
    assert made.arms[("drawn", "mine", RANDOM)].learner.model_dump()["steps"] == 5
    assert made.arms[("drawn", "shortcut", RANDOM)].learner.use == "medal.learners.Columns"
    assert made.arms[("drawn", "self_supervised", FULL)].learner.use == "medal.learners.Frozen"


def test_a_learner_gets_the_parts_of_all_its_strategies() -> None:
    made = small_plan(learners={"mine": {"strategies": ["bald", "entropy"]}})
    learners = {recipe.learner.model_dump_json() for recipe in made.arms.values()}
    assert len(learners) == 1
    assert "MCDropout" in learners.pop()


def test_strategies_that_need_different_parts_go_under_two_learners() -> None:
    head = "learner.parts.head={use: medal.learners.Sigmoid}"
    with pytest.raises(ConfigError, match=r"set drawn, learner mine: the strategy 'beta_total' needs its own .*head"):
        small_plan(learners={"mine": {"overrides": [head], "strategies": ["beta_total"]}})


def test_an_unknown_strategy_names_its_learner() -> None:
    with pytest.raises(UnknownName, match=r"learner mine: unknown work 'entropie'; did you mean 'entropy'"):
        small_plan(learners={"mine": {"strategies": ["entropie"]}})


def test_a_block_is_split_seed_and_study_seed() -> None:
    made = small_plan(overrides=[*small().overrides, "split.by=source"])
    recipe = made.recipe(Cell(1, "drawn", "sigmoid", RANDOM))
    assert (recipe.seed, recipe.seeds, recipe.split.by) == (1, 1, "hash")


def test_the_full_data_line_takes_the_whole_pool_at_once() -> None:
    recipe = small_plan().arms[("drawn", "sigmoid", FULL)]
    assert recipe.budget.rounds == 0
    assert recipe.start.items > 10**6


def test_words_of_the_command_line_hold_over_the_file() -> None:
    made = plan("small", small(), ["budget.rounds=1"])
    assert made.arms[("drawn", "sigmoid", RANDOM)].budget.rounds == 1


def test_smoke_makes_it_tiny() -> None:
    made = plan("small", small(blocks=10), smoke=True)
    assert made.file.blocks == 2
    assert all(readout.min_positives == 1 for readout in made.file.measures.values())
    assert plan("small", small(), blocks=3).file.blocks == 3
    with pytest.raises(ConfigError, match="found 0, expected at least 1"):
        plan("small", small(), blocks=0)


def test_digests_tell_cells_apart_and_not_places() -> None:
    made = small_plan()
    digests = {made.digest(cell) for cell in made.cells}
    assert len(digests) == len(made.cells)
    recipe = made.arms[("drawn", "sigmoid", RANDOM)]
    moved = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": "/elsewhere"})})
    assert essence(at_block(moved, 0)) == essence(at_block(recipe, 0))
