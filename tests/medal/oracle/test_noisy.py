"""A simulated expert who errs, at the stated rates and whatever the order of the question."""

from __future__ import annotations

import math

import pytest
import torch

from medal.budget import CostModel
from medal.contracts import check_oracle
from medal.errors import ConfigError
from medal.oracle import Noisy, Simulated
from medal.pool import Annotations
from medal.seeding import Seed
from medal.source import Truth
from medal.strategy import Query

COUNT = 1500
ROWS = tuple(f"r{i:04d}" for i in range(COUNT))
LABELS = ("left", "right")


def truth() -> Truth:
    values = (torch.arange(2 * COUNT).view(COUNT, 2) % 3 == 0).float()
    values[:50, 0], values[50:100, 0], values[100:150, 0] = math.nan, -1.0, 0.5
    return Truth(LABELS, values)


def ask(oracle: Noisy | Simulated, ids: tuple[str, ...] = ROWS, kind: str = "image", seed: int = 0) -> Annotations:
    query = Query(ids, (0.0,) * len(ids), ({},) * len(ids), {"items": float(len(ids)), "minutes": 0.0})
    return oracle.annotate(query, kind, Seed(seed))


def test_flips_come_at_the_stated_rates():
    answers = ask(Noisy(truth(), ROWS, CostModel(), miss=0.3, invent=0.1)).target
    values = truth().values
    for present, rate in ((1, 0.3), (0, 0.1)):
        chosen = values == present
        flipped = (answers[chosen] == 1 - present).float()
        n = int(chosen.sum())
        assert abs(float(flipped.mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
        # each label of a row has a draw of its own
        for label in range(2):
            of = flipped[torch.nonzero(chosen)[:, 1] == label]
            assert abs(float(of.mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / len(of))


def test_unknown_uncertain_and_soft_stay_what_they_are():
    answers = ask(Noisy(truth(), ROWS, CostModel(), miss=1.0, invent=1.0)).target
    values = truth().values
    others = ~((values == 0) | (values == 1))
    assert torch.equal(answers[others].nan_to_num(-9), values[others].nan_to_num(-9))
    assert torch.equal(answers[~others], 1 - values[~others])


def test_without_errors_it_is_the_simulated_expert():
    noisy, plain = ask(Noisy(truth(), ROWS, CostModel(), 0.0, 0.0)), ask(Simulated(truth(), ROWS, CostModel()))
    assert torch.equal(noisy.target.nan_to_num(-9), plain.target.nan_to_num(-9))
    assert noisy.seconds == plain.seconds
    assert noisy.annotator == "simulated, noisy"


def test_errors_do_not_depend_on_what_else_is_asked():
    oracle = Noisy(truth(), ROWS, CostModel(), 0.5, 0.5)
    whole = ask(oracle)
    some = (7, 300, 2)
    few = ask(oracle, tuple(ROWS[i] for i in some))
    assert torch.equal(few.target.nan_to_num(-9), whole.target[list(some)].nan_to_num(-9))
    assert not torch.equal(ask(oracle, seed=1).target.nan_to_num(-9), whole.target.nan_to_num(-9))


def test_an_empty_question_has_an_empty_answer():
    assert ask(Noisy(truth(), ROWS, CostModel()), ()).target.shape == (0, 2)


@pytest.mark.parametrize("name", ["miss", "invent"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_chances_lie_between_0_and_1(name: str, value: float):
    with pytest.raises(ConfigError, match=rf"oracle\.{name}: found {value}, expected between 0 and 1"):
        Noisy(truth(), ROWS, CostModel(), **{name: value})


def test_contract():
    oracle = Noisy(truth(), ROWS, CostModel(), 0.4, 0.4)
    check_oracle(oracle, ROWS[:80])
    check_oracle(oracle, tuple(f"{r}#right" for r in ROWS[:80]), "finding")
