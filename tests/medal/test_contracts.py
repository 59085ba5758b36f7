"""The contract checks: everything public keeps them, and a component that breaks a line is caught by that line."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import VectorSource, planted

import medal.representativeness
import medal.sampling
import medal.uncertainty
from medal.budget import Allowance, CostModel
from medal.contracts import (
    LABELS,
    ContractBroken,
    check_learner,
    check_oracle,
    check_sampler,
    check_score,
    small_outputs,
    small_pool,
)
from medal.errors import StrategyFault
from medal.learners import Beta, MCDropout, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.protocol import FitReport
from medal.oracle import Noisy, Simulated
from medal.outputs import Chunk, Outputs
from medal.pool import Annotations, LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Truth, silent
from medal.strategy import Query, Score


def public(package: object, attribute: str) -> list[type]:
    """Classes of a package that have an attribute of their protocol, by name."""
    return [c for _, c in inspect.getmembers(package, inspect.isclass) if hasattr(c, attribute)]


SCORES = public(medal.uncertainty, "pointwise")
SAMPLERS = [*public(medal.sampling, "stops_early"), *public(medal.representativeness, "stops_early")]


@pytest.mark.parametrize("kind", SCORES)
def test_every_public_score_keeps_its_contract(kind: type):
    check_score(kind())


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_public_sampler_keeps_its_contract(kind: type):
    check_sampler(kind())


def test_the_walk_finds_scores_and_samplers():
    assert {"BALD", "Entropy", "BetaEpistemic"} <= {c.__name__ for c in SCORES}
    assert {"Diverse", "KCenter", "RandomSampler", "TopK", "TypiClust"} <= {c.__name__ for c in SAMPLERS}


# ---- made-up material


def test_small_pool_has_paid_free_and_foreign_units():
    pool = small_pool()
    assert (len(pool.candidates()), len(pool.labelled())) == (11, 5)
    assert pool.split.counts() == {"pool": 16, "validation": 4, "test": 4}
    assert small_pool("finding").units.names(small_pool("finding").labelled())[-1] == "r001#b"


def test_small_outputs_hold_just_what_was_named():
    outputs = small_outputs(frozenset({"prediction", "features"}))
    assert outputs.available == {"marginals", "features"}
    features = small_outputs(frozenset({"features"}), level=True).get("features", torch.arange(24))
    assert float((features - features[0]).abs().max()) == 0


# ---- scores that break a line


class Sound:
    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return outputs.distribution().mean(1)[..., 1]


class NotFinite(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return super().__call__(outputs, candidates, pool) / 0


class GlobalRandom(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return torch.rand(len(candidates), len(LABELS))


class Counting(Sound):
    count = 0

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        Counting.count += 1
        return super().__call__(outputs, candidates, pool) + Counting.count


class BlockMean(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        local = super().__call__(outputs, candidates, pool)
        return local - local.mean(0)


class Greedy(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return outputs.get("evidence")[..., 0]


class ByPosition(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return super().__call__(outputs, candidates, pool) + candidates[:, None].float()


class ByOrder:
    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        return torch.arange(float(len(candidates)))


class OneNumber(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return torch.zeros(len(candidates))


class SeedsTheGlobalState(Sound):
    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        np.random.seed(1)  # noqa: NPY002 - what must be caught
        return super().__call__(outputs, candidates, pool)


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (NotFinite(), StrategyFault, "NotFinite: the score of unit 'r005' is not finite"),
        (GlobalRandom(), ContractBroken, "GlobalRandom: gives other numbers when asked again"),
        (Counting(), ContractBroken, "Counting: gives other numbers when asked again"),
        (BlockMean(), ContractBroken, "BlockMean: depends on how rows are read in blocks"),
        (Greedy(), ContractBroken, r"Greedy: reads more than it declares \('evidence' was not computed"),
        (ByPosition(), ContractBroken, "ByPosition: tells equal rows apart"),
        (ByOrder(), ContractBroken, "ByOrder: depends on the order of candidates"),
        (OneNumber(), StrategyFault, r"OneNumber: scores \(5,\); units inside a row need \(R, 3\)"),
        (SeedsTheGlobalState(), ContractBroken, "SeedsTheGlobalState: moves the global random state"),
    ],
)
def test_broken_scores_are_caught(score: Score, error: type[Exception], message: str):
    check_score(Sound())
    with pytest.raises(error, match=message):
        check_score(score)


# ---- samplers that break a line


@dataclass
class FirstOnes:
    needs: ClassVar[frozenset[str]] = frozenset()
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        return allowance.take(candidates)


class Doubling(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        picks = super().__call__(scores, outputs, candidates, pool, allowance, seed)
        return torch.cat([picks, picks[:1]])


class Labelled(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        return allowance.take(pool.labelled())


class TooMany(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        return candidates[: len(super().__call__(scores, outputs, candidates, pool, allowance, seed)) + 1]


class TooFew(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        return super().__call__(scores, outputs, candidates, pool, allowance, seed)[:-1]


class Spoiling(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        if scores is not None:
            scores[0] = 9
        return super().__call__(scores, outputs, candidates, pool, allowance, seed)


class GlobalShuffle(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        return allowance.take(candidates[torch.randperm(len(candidates))])


class Reseeding(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        random.seed(seed.integer())
        return super().__call__(scores, outputs, candidates, pool, allowance, seed)


class Remembering(FirstOnes):
    count = 0

    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        Remembering.count += 1
        return allowance.take(candidates.roll(Remembering.count))


class ItemsForMinutes(FirstOnes):
    def __call__(self, scores, outputs, candidates, pool, allowance, seed):
        return candidates[: int(allowance.amount)]


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (Doubling(), StrategyFault, "Doubling picked a unit twice"),
        (Labelled(), StrategyFault, "Labelled picked position 0, which is no candidate"),
        (TooMany(), StrategyFault, "TooMany spent 2 of 1 items"),
        (TooFew(), StrategyFault, "TooFew spent only 0 of 1 items"),
        (Spoiling(), StrategyFault, "Spoiling changed the scores"),
        (GlobalShuffle(), ContractBroken, "GlobalShuffle: (moves the global|picks others)"),
        (Reseeding(), ContractBroken, "Reseeding: moves the global random state"),
        (Remembering(), ContractBroken, "Remembering: picks others when asked again with the same seed"),
        (ItemsForMinutes(), StrategyFault, r"ItemsForMinutes spent only 0 of 0\.7 minutes"),
    ],
)
def test_broken_samplers_are_caught(sampler: FirstOnes, error: type[Exception], message: str):
    check_sampler(FirstOnes())
    with pytest.raises(error, match=message):
        check_sampler(sampler)


def test_a_sampler_that_says_that_it_stops_early_may():
    class Modest(FirstOnes):
        stops_early: ClassVar[bool] = True

        def __call__(self, scores, outputs, candidates, pool, allowance, seed):
            return candidates[:1]

    check_sampler(Modest())


# ---- learners


def learner_of(source: VectorSource, parts: Parts | None = None) -> Supervised:
    return Supervised(source, Perceptron(8, 0.2), parts, steps=6, batch=8, predict_batch=7)


@pytest.mark.parametrize(
    "parts", [Parts(Sigmoid()), Parts(Beta()), Parts(Sigmoid(), MCDropout(3)), Parts(Beta(), MCDropout(3))]
)
def test_every_head_and_member_keeps_the_contract(parts: Parts):
    source, _ = planted(20, seed=0)
    check_learner(learner_of(source, parts), source)


class Broken(Supervised):
    """Does one thing wrong."""

    def __init__(self, source: VectorSource, fault: str) -> None:
        super().__init__(source, Perceptron(8, 0.2), steps=3, batch=8)
        self.fault = fault
        self.fits = 0

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        self.fits += 1
        if self.fault == "global":
            torch.rand(1)
        if self.fault == "drift":
            seed = seed / self.fits
        return super().fit(pool, annotations, seed, progress)

    def predict(self, cache: Path | None = None, progress: Progress = silent) -> Outputs:
        whole = super().predict(cache, progress)
        if self.fault == "late":

            def late(rows: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
                return next(Supervised.predict(self).chunks(names, rows)).data

            return Outputs(whole.available, late)
        if self.fault == "nan":
            return Outputs({"marginals"}, lambda rows, names: {"marginals": torch.full((len(rows), 1, 2), torch.nan)})
        return whole

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        if self.fault != "forget":
            super().load_state_dict(state, seed)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("global", "Broken: moves the global random state"),
        ("drift", "Broken: gives another features after the same training"),
        ("late", "Broken: changes features that was read from the model before"),
        ("nan", "Broken: gives marginals that is not finite"),
        ("forget", "Broken: gives another features after load_state_dict"),
    ],
)
def test_broken_learners_are_caught(fault: str, message: str):
    source, _ = planted(20, seed=0)
    check_learner(Broken(source, ""), source)
    with pytest.raises(ContractBroken, match=message):
        check_learner(Broken(source, fault), source)


def test_a_state_that_later_training_changes_is_caught():
    source, _ = planted(20, seed=0)

    class Sharing(Supervised):
        """Hands out a tensor and writes into it at the next training."""

        counter = torch.zeros(1)

        def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
            self.counter += 1
            return super().fit(pool, annotations, seed, progress)

        def state_dict(self) -> dict[str, Tensor]:
            return super().state_dict() | {"counter": self.counter}

    with pytest.raises(ContractBroken, match="Sharing: changes counter of a state that was handed out"):
        check_learner(Sharing(source, Perceptron(8, 0.2), steps=3, batch=8), source)


# ---- oracles

IDS = ("a", "b", "c", "d")
TRUTH = Truth(LABELS, (torch.arange(12).view(4, 3) % 2).float())


class Expert(Simulated):
    """A simulated expert that does one thing wrong."""

    def __init__(self, fault: str) -> None:
        super().__init__(TRUTH, IDS, CostModel())
        self.fault = fault
        self.asked = 0

    def annotate(self, query: Query, kind: str, seed: Seed) -> Annotations:
        self.asked += 1
        answers = super().annotate(query, kind, seed)
        if self.fault == "order":
            order = sorted(range(len(query.ids)), key=lambda i: query.ids[i])
            target, ids = answers.target[order], tuple(query.ids[i] for i in order)
            return replace(answers, ids=ids, target=target)
        if self.fault == "unmeasured":
            return replace(answers, seconds=tuple(float("nan") for _ in answers.ids))
        if self.fault == "kind":
            return replace(answers, kind="finding")
        flip = {
            "tired": torch.full((len(query.ids), 1), float(self.asked > 1)),
            "place": torch.arange(float(len(query.ids)))[:, None] % 2,
            "company": torch.full((len(query.ids), 1), float(len(query.ids) == 1)),
        }.get(self.fault, torch.zeros(1, 1))
        return replace(answers, target=(answers.target - flip).abs())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("order", "Expert: answers in another order than asked"),
        ("kind", "Expert: answers about 'finding' when asked about 'image'"),
        ("tired", "Expert: answers otherwise when asked again"),
        ("place", "Expert: answers by the order of the question"),
        ("company", "Expert: answers by what else is in the question"),
    ],
)
def test_broken_oracles_are_caught(fault: str, message: str):
    with pytest.raises(ContractBroken, match=message):
        check_oracle(Expert(fault), IDS)


def test_sound_oracles_pass():
    check_oracle(Expert(""), IDS)
    check_oracle(Expert("unmeasured"), IDS)
    check_oracle(Noisy(TRUTH, IDS, CostModel(), 0.5, 0.5), IDS)
