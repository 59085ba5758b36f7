"""A simulated expert: the data set's own labels, in a plausible time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medal.budget import CostModel
from medal.contracts import check_oracle
from medal.errors import ConfigError, UnitError
from medal.oracle import Oracle, Simulated
from medal.seeding import Seed
from medal.source import Truth
from medal.strategy import Query

NAN = float("nan")
ROWS = ("a", "b", "c")
TRUTH = Truth(("left", "right"), torch.tensor([[1.0, 0.0], [NAN, -1.0], [0.5, 1.0]]))


def question(*ids: str) -> Query:
    return Query(ids, (0.0,) * len(ids), ({},) * len(ids), {"items": float(len(ids)), "minutes": 0.0})


def expert(spread: float = 0.3, cost: CostModel | None = None) -> Simulated:
    return Simulated(TRUTH, ROWS, cost or CostModel(), spread)


def test_answers_with_the_truth_in_the_order_asked():
    answers = expert().annotate(question("c", "a", "b"), "image", Seed(0))
    assert answers.ids == ("c", "a", "b")
    assert answers.target.nan_to_num(-9).tolist() == [[0.5, 1], [1, 0], [-9, -1]]
    assert (answers.kind, answers.annotator) == ("image", "simulated")


def test_findings_are_answered_one_by_one():
    answers = expert().annotate(question("c#right", "b#left"), "finding", Seed(0))
    assert answers.target.nan_to_num(-9).tolist() == [[1], [-9]]


def test_the_truth_stays_what_it_is():
    answers = expert().annotate(question("a"), "image", Seed(0))
    answers.target.fill_(0.25)
    assert TRUTH.values[0].tolist() == [1, 0]


@pytest.mark.parametrize(("kind", "shape"), [("image", (0, 2)), ("finding", (0, 1))])
def test_an_empty_question_has_an_empty_answer(kind: str, shape: tuple[int, int]):
    answers = expert().annotate(question(), kind, Seed(0))
    assert (answers.ids, answers.seconds, tuple(answers.target.shape)) == ((), (), shape)


@pytest.mark.parametrize(
    ("unit", "kind"),
    [("d", "image"), ("a#left", "image"), ("a", "finding"), ("a#up", "finding"), ("d#left", "finding")],
)
def test_an_unknown_unit_is_named(unit: str, kind: str):
    with pytest.raises(UnitError, match=f"unit '{unit}' is unknown to the simulated expert"):
        expert().annotate(question(unit), kind, Seed(0))


def test_ids_may_hold_the_separator():
    truth = Truth(("x#y", "z"), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    odd = Simulated(truth, ("p#1", "q"), CostModel())
    answers = odd.annotate(question("p#1#x#y", "p#1#z", "q#x#y"), "finding", Seed(0))
    assert answers.target.tolist() == [[1], [0], [0]]


def test_without_spread_every_answer_takes_the_stated_time():
    cost = CostModel({"image": 1.5, "finding": 0.25})
    assert expert(0.0, cost).annotate(question(*ROWS), "image", Seed(0)).seconds == (90.0,) * 3
    assert expert(0.0, cost).annotate(question("a#left"), "finding", Seed(0)).seconds == (15.0,)


def test_times_are_log_normal_around_the_stated_one():
    rows = tuple(f"r{i:04d}" for i in range(2000))
    many = Simulated(Truth(("l",), torch.zeros(2000, 1)), rows, CostModel({"image": 2.0}), spread=0.4)
    logs = np.log(np.array(many.annotate(question(*rows), "image", Seed(0)).seconds) / 120)
    # four standard errors of the mean and of the standard deviation
    assert abs(logs.mean() + 0.4**2 / 2) < 4 * 0.4 / np.sqrt(2000)
    assert abs(logs.std(ddof=1) - 0.4) < 4 * 0.4 / np.sqrt(4000)


def test_another_seed_takes_another_time():
    one, two = (expert().annotate(question("a"), "image", Seed(s)).seconds for s in (0, 1))
    assert one != two


def test_truth_and_rows_must_fit():
    with pytest.raises(UnitError, match="truth has 3 rows, the source 2; open both together"):
        Simulated(TRUTH, ROWS[:2], CostModel())


@pytest.mark.parametrize("spread", [-0.1, NAN])
def test_spread_is_at_least_zero(spread: float):
    with pytest.raises(ConfigError, match=r"oracle.spread: found .*, expected at least 0"):
        expert(spread)


def test_contract():
    assert isinstance(expert(), Oracle)
    check_oracle(expert(), ROWS)
    check_oracle(expert(), ("a#left", "b#right", "c#left"), "finding")


def test_times_are_the_stated_minutes_on_average() -> None:
    rows = tuple(f"r{i:04d}" for i in range(4000))
    oracle = Simulated(Truth(("a",), torch.zeros(4000, 1)), rows, CostModel({"image": 2.0}), spread=0.5)
    query = Query(rows, (0.0,) * 4000, ({},) * 4000, {"items": 4000.0, "minutes": 8000.0})
    seconds = oracle.annotate(query, "image", Seed(0)).seconds
    assert abs(sum(seconds) / 4000 - 120.0) < 3.0
