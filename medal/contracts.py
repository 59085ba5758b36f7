"""Checks that any Score, Sampler, Learner or Oracle must pass; third parties run the same ones on theirs.

Call `check_score(MyScore())`, `check_sampler(MySampler())`, `check_learner(MyLearner(source), source)` or
`check_oracle(MyOracle(), ids)` in a test; a broken line raises `ContractBroken` and names it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from medal.budget import Allowance, CostModel
from medal.errors import MedalError, MissingOutput
from medal.learners.protocol import Learner
from medal.oracle.protocol import Oracle
from medal.outputs import Chunk, Outputs
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.source import Source
from medal.split import Split
from medal.strategy import Query, Sampler, Score, Step, Strategy, score_units
from medal.units import Units

LABELS = ("a", "b", "c")
ROWS = 24


class ContractBroken(MedalError):
    """A component does not keep its contract; the text says which line of it."""


def _require(holds: bool, who: object, what: str) -> None:
    if not holds:
        raise ContractBroken(f"{type(who).__name__}: {what}")


@contextmanager
def _leaves_global_state_alone(who: object) -> Iterator[None]:
    """The global generators of torch, numpy and random are as they were."""

    def state() -> tuple[bytes, str, object]:
        return torch.random.get_rng_state().numpy().tobytes(), str(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = state()
    yield
    _require(state() == before, who, "moves the global random state")


def small_pool(kind: str = "image", rows: int = ROWS) -> Pool:
    """A pool of a few rows with some paid labels, for checks."""
    names = tuple(f"r{i:03d}" for i in range(rows))
    groups = tuple(f"g{i // 2:03d}" for i in range(rows))
    units = Units(kind, names, groups, LABELS if kind == "finding" else ())
    parts = tuple("test" if i % 12 >= 10 else "validation" if i % 12 >= 8 else "pool" for i in range(rows))
    pool = Pool(units, LABELS, Split(names, groups, parts))
    paid = pool.candidates()[:5]
    width = 1 if units.inner else len(LABELS)
    target = torch.tensor([[float((i + j) % 2) for j in range(width)] for i in range(len(paid))])
    pool.answer(Annotations(tuple(units.names(paid)), target, kind, (60.0,) * len(paid), "check"))
    return pool


def small_outputs(
    names: frozenset[str], rows: int = ROWS, seed: Seed | None = None, level: bool = False, batch: int = 5
) -> Outputs:
    """Made-up outputs that hold just the named ones.

    Args:
        names: which outputs there are; "prediction" is read as marginals.
        rows: how many rows.
        seed: of the numbers.
        level: True gives every row the same numbers, the hardest case for ties.
        batch: rows in a block.
    """
    generator = (seed or Seed(0) / "contract").torch()

    def tell(*shape: int) -> Tensor:
        drawn = torch.rand(1 if level else rows, *shape, generator=generator)
        return drawn.expand(rows, *shape).clone()

    made: dict[str, Tensor] = {
        "marginals": tell(1, len(LABELS)),
        "draws": tell(7, len(LABELS)),
        "evidence": 1 + 30 * tell(len(LABELS), 2),
        "features": tell(5),
        "saliency": tell(len(LABELS), 6, 6) - 0.4,
    }
    wanted = {"marginals" if n == "prediction" else n for n in names}

    def produce(block: Tensor, asked: frozenset[str]) -> Mapping[str, Tensor]:
        return {n: made[n][block] for n in asked}

    return Outputs(wanted & made.keys(), produce, batch=batch)


def check_score(score: Score) -> None:
    """Checks a score on a small pool.

    One finite float32 for each candidate; the same when asked again; blind to the order of the candidates and to how
    rows are read in blocks; equal for equal rows when pointwise; no output but those that it declares.

    Raises:
        ContractBroken: naming the line.
        StrategyFault: from the engine's own checks.
    """
    from medal.sampling import TopK

    for kind in ("image", "finding") if score.pointwise else ("image",):
        pool = small_pool(kind)
        candidates, step = pool.candidates(), Step(TopK(), score)

        def units(order: Tensor, level: bool = False, batch: int = 5, step: Step = step, pool: Pool = pool) -> Tensor:
            try:
                found = score_units(step, small_outputs(score.needs, level=level, batch=batch), order, pool)
            except MissingOutput as error:
                raise ContractBroken(f"{type(score).__name__}: reads more than it declares ({error})") from error
            return found if found is not None else torch.empty(0)

        with _leaves_global_state_alone(score):
            first = units(candidates)
            _require(first.dtype == torch.float32, score, f"gives {first.dtype}, expected float32")
            _require(torch.equal(units(candidates), first), score, "gives other numbers when asked again")
        _same(units(candidates.flip(0)).flip(0), first, score, "depends on the order of candidates")
        _same(units(candidates, batch=ROWS), first, score, "depends on how rows are read in blocks")
        if kind == "image" and score.pointwise:
            level = units(candidates, level=True)
            _require(float(level.max() - level.min()) < 1e-6, score, "tells equal rows apart")


def _same(found: Tensor, expected: Tensor, who: object, what: str) -> None:
    _require(found.shape == expected.shape and torch.allclose(found, expected, atol=1e-6), who, what)


def check_sampler(sampler: Sampler) -> None:
    """Checks a sampler on a small pool.

    Distinct candidates; exactly the budget in items, and no more than it in minutes; the same twice; for one, seven and
    all, also when every score is equal; the global generators stay as they are.

    Raises:
        ContractBroken: naming the line.
        StrategyFault: from the engine's own checks.
    """
    for kind in ("image", "finding"):
        pool = small_pool(kind)
        count = len(pool.candidates())
        minutes = CostModel().of(kind)
        for level in (False, True):
            outputs = small_outputs(sampler.needs | {"prediction"}, level=level)
            strategy = Strategy(Step(sampler, _Level() if level else _FirstLabel()), name=type(sampler).__name__)
            for amount, unit, expected in (
                (1, "items", 1),
                (7, "items", 7),
                (count, "items", count),
                (count + 5, "items", count),
                (3.5 * minutes, "minutes", 3),
            ):
                allowance = Allowance(amount, unit, pool.units, CostModel())
                with _leaves_global_state_alone(sampler):
                    first = strategy.query(outputs, pool, allowance, Seed(3))
                    second = strategy.query(outputs, pool, allowance, Seed(3))
                _require(first.ids == second.ids, sampler, "picks others when asked again with the same seed")
                found = len(first.ids)
                _require(sampler.stops_early or found == expected, sampler, f"picked {found} of {expected}")


class _FirstLabel:
    """The prediction itself as a score."""

    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return outputs.distribution().mean(1)[..., 1]


class _Level(_FirstLabel):
    """The same score for all."""

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return torch.zeros(len(candidates), len(LABELS))


def check_learner(learner: Learner, source: Source, seed: Seed | None = None) -> None:
    """Checks a learner on its source.

    It trains on partial labels; gives finite outputs for every row; leaves the global generators alone; repeats itself,
    also after `load_state_dict`; its state is not changed by a later training; and outputs stay those of the model that
    they were asked of. A learner that starts warm does not repeat itself; check it with `warm` off.

    Args:
        learner: built over `source`.
        source: at least 12 rows.
        seed: of the labels and the training.

    Raises:
        ContractBroken: naming the line.
    """
    seed, rows = seed or Seed(0) / "contract", len(source.ids)
    pool = _partly_labelled(source, seed)
    every = torch.arange(rows)

    def read(outputs: Outputs) -> dict[str, Tensor]:
        return {n: outputs.get(n, every) for n in sorted(outputs.available)}

    with _leaves_global_state_alone(learner):
        learner.fit(pool, pool.table(), seed)
        held = learner.predict()
        first = read(held)
        state = learner.state_dict()
    copy = {k: v.clone() for k, v in state.items()}
    for name, value in first.items():
        _require(bool(torch.isfinite(value).all()), learner, f"gives {name} that is not finite")
        _require(len(value) == rows, learner, f"gives {len(value)} rows of {name} for {rows}")
    learner.fit(pool, pool.table(), seed / "other")
    _agree(read(held), first, learner, "changes {} that was read from the model before")
    _agree(state, copy, learner, "changes {} of a state that was handed out")
    learner.fit(pool, pool.table(), seed)
    _agree(read(learner.predict()), first, learner, "gives another {} after the same training")
    learner.fit(pool, pool.table(), seed / "other")
    learner.load_state_dict(copy, seed)
    _agree(read(learner.predict()), first, learner, "gives another {} after load_state_dict")


def _partly_labelled(source: Source, seed: Seed) -> Pool:
    """A pool with ten paid rows, a third of them without the first label."""
    units = Units("image", tuple(source.ids), tuple(source.groups))
    pool = Pool(units, tuple(source.labels), Split(units.rows, units.row_groups, ("pool",) * len(units.rows)))
    target = (torch.rand(10, len(source.labels), generator=seed.torch()) > 0.5).float()
    target[::3, 0] = float("nan")
    pool.answer(Annotations(units.ids[:10], target, "image", (1.0,) * 10, "check"))
    return pool


def _agree(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], who: object, what: str) -> None:
    _require(found.keys() == expected.keys(), who, f"gives {sorted(found)}, before {sorted(expected)}")
    for name, value in expected.items():
        _require(torch.equal(found[name], value), who, what.format(name))


def check_oracle(oracle: Oracle, ids: tuple[str, ...], kind: str = "image") -> None:
    """Checks an oracle that answers at once.

    Answers come in the order asked and are about the kind that was asked; each is the same when the question is asked
    again, turned round or alone.

    Args:
        oracle: answers about `ids`.
        ids: at least two units.
        kind: of the units.

    Raises:
        ContractBroken: naming the line.
    """
    seed = Seed(0) / "contract"

    def ask(asked: tuple[str, ...]) -> Annotations:
        query = Query(asked, (0.0,) * len(asked), ({},) * len(asked), {"items": len(asked), "minutes": 0.0})
        answers = oracle.annotate(query, kind, seed)
        _require(answers.ids == asked, oracle, "answers in another order than asked")
        _require(answers.kind == kind, oracle, f"answers about {answers.kind!r} when asked about {kind!r}")
        return answers

    with _leaves_global_state_alone(oracle):
        first = _lines(ask(ids))
        _require(torch.equal(_lines(ask(ids)), first), oracle, "answers otherwise when asked again")
    _require(torch.equal(_lines(ask(ids[::-1])).flip(0), first), oracle, "answers by the order of the question")
    _require(torch.equal(_lines(ask(ids[:1])), first[:1]), oracle, "answers by what else is in the question")


def _lines(answers: Annotations) -> Tensor:
    """Target and seconds of each unit in one line, comparable: -9 for NaN."""
    seconds = torch.tensor(answers.seconds, dtype=torch.float64)[:, None]
    return torch.cat([answers.target.double(), seconds], 1).nan_to_num(-9)
