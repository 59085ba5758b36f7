from __future__ import annotations

import pytest
import torch
from maps import outputs_of, pool_of, uniform

from medal.budget import Allowance, CostModel
from medal.errors import ConfigError, OutputError, StrategyFault
from medal.sampling import Diverse, TopK
from medal.sampling.diverse import BLOCK, diverse_order
from medal.seeding import Seed


def greedy(scores, features, threshold, count):
    """The rule word by word."""
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).tolist()
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    kept: list[int] = []
    for i in order:
        if len(kept) < count and all(cosine[i][j] <= threshold for j in kept):
            kept.append(i)
    return kept, [i for i in order if i not in kept]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_agrees_with_the_rule_word_by_word(threshold: float, count: int):
    features, scores = uniform(40, 6) - 0.3, uniform(40, seed=1).mul(8).floor()
    kept, rest = greedy(scores, features, threshold, count)
    assert diverse_order(scores, features, threshold, count).tolist() == kept + rest


def test_several_blocks_agree_with_the_rule():
    size = BLOCK + 60
    features, scores = uniform(size, 6) - 0.5, uniform(size, seed=1)
    kept, rest = greedy(scores, features, 0.8, size)
    worst = scores.argsort(descending=True)[BLOCK:].tolist()
    assert set(kept) & set(worst), "picks come from the second block too"
    assert set(rest) & set(worst)
    assert diverse_order(scores, features, 0.8, size).tolist() == kept + rest


def test_every_index_comes_once_and_doubles_come_last():
    features = torch.tensor([[1.0, 0], [0, 2], [1, 0], [0, 1]])
    assert diverse_order(torch.tensor([4.0, 3, 2, 1]), features, 0.95, 4).tolist() == [0, 1, 2, 3]
    assert diverse_order(torch.tensor([4.0, 1, 3, 2]), features, 0.95, 4).tolist() == [0, 3, 2, 1]


def test_equal_features_leave_the_order_of_the_scores():
    assert diverse_order(torch.tensor([1.0, 3, 2, 3]), torch.ones(4, 2), 0.95, 3).tolist() == [1, 3, 2, 0]
    assert diverse_order(torch.tensor([1.0, 3, 2, 3]), torch.zeros(4, 2), 0.95, 2).tolist() == [1, 3, 2, 0]


def test_a_threshold_of_one_is_top_k():
    pool = pool_of(20, torch.zeros(4, 2))
    features, scores = torch.ones(20, 3), uniform(16)
    allowance = Allowance(6, "items", pool.units, CostModel())
    arguments = (scores, outputs_of(features=features), pool.candidates(), pool, allowance, Seed(0))
    assert torch.equal(Diverse(1.0)(*arguments), TopK()(*arguments))


def test_findings_of_one_image_count_as_doubles():
    pool = pool_of(3, torch.empty(0, 2), "finding")
    allowance = Allowance(3, "items", pool.units, CostModel())
    scores = torch.tensor([6.0, 5, 4, 3, 2, 1])
    picks = Diverse(0.9)(scores, outputs_of(features=torch.eye(3)), pool.candidates(), pool, allowance, Seed(0))
    assert pool.units.names(picks) == ["r0000#a", "r0001#a", "r0002#a"]


@pytest.mark.parametrize("threshold", [-1.0, 1.5])
def test_thresholds_that_are_no_cosine_are_refused(threshold: float):
    with pytest.raises(ConfigError, match=rf"Diverse\.threshold: found {threshold}, expected a cosine"):
        Diverse(threshold)


def test_a_step_without_a_score_is_refused():
    pool = pool_of(3, torch.empty(0, 2))
    allowance = Allowance(1, "items", pool.units, CostModel())
    with pytest.raises(StrategyFault, match="Diverse needs a score"):
        Diverse()(None, outputs_of(features=torch.ones(3, 2)), pool.candidates(), pool, allowance, Seed(0))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(OutputError, match="Diverse: the features of a candidate are not finite"):
        diverse_order(torch.tensor([1.0, 0.0]), torch.tensor([[1.0], [float("nan")]]), 0.9, 2)
