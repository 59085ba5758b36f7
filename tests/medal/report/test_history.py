from __future__ import annotations

import pytest

from medal.report.history import Batch, RunHistory, StudyHistory, says_bound


def test_random_comes_first_and_the_others_keep_the_order_of_the_index():
    studies = tuple(StudyHistory(arm, 0) for arm in ("zeta", "alpha", "random", "zeta"))
    assert RunHistory("r", studies).arms == ("random", "zeta", "alpha")


@pytest.mark.parametrize(
    ("recipe", "bound"),
    [
        ({}, False),
        ({"bound": True}, True),
        ({"a": [{"b": {"bound": True}}]}, True),
        ({"bound": "yes"}, False),
        ({"x": "bound"}, False),
    ],
)
def test_bound_is_found_at_any_depth(recipe, bound):
    assert says_bound(recipe) is bound


def test_a_bound_arm_carries_its_stamp_in_its_title():
    run = RunHistory("r", (StudyHistory("greedy", 0, {"recipe": {"bound": True}}), StudyHistory("random", 0)))
    assert (run.title("greedy"), run.title("random")) == ("greedy (bound)", "random")


@pytest.mark.parametrize(
    ("purpose", "strategy", "at_random"),
    [
        ("validation", "x", True),
        ("start", "random", True),
        ("query", "random", True),
        ("start", "typicality", False),
        ("query", "x", False),
    ],
)
def test_which_batches_stand_for_the_pool(purpose, strategy, at_random):
    assert Batch(0, purpose, strategy, (), 0, 0).at_random is at_random


def test_the_row_of_a_finding_is_the_row_of_its_image():
    study = StudyHistory("a", 0, units={"I1": {"id": "I1", "group": "P1"}})
    assert study.row("I1#Mass")["group"] == study.row("I1")["group"] == "P1"
    assert study.row("I2") == {}
