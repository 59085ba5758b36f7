"""Strategy: an acquisition function and a sampling strategy, composed in steps (survey, section 2, equation 1).

A pointwise score is called block by block and returns local scores (R, *inner), which the step's reducer brings to one
number a unit; a score that compares units is called once and returns (U,). Bigger is always more worth annotating.
The engine, not the sampler, builds the query and checks it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from medal.budget import SLACK, Allowance
from medal.errors import BudgetError, StrategyFault
from medal.outputs import Outputs
from medal.pool import Pool
from medal.reducers import LabelMean, Reducer, entries
from medal.seeding import Seed
from medal.types import Scores


@runtime_checkable
class Score(Protocol):
    """How informative a unit is.

    Attributes:
        needs: names of outputs; "prediction" is the learner's own kind.
        pointwise: True when each row is scored on its own.
    """

    needs: ClassVar[frozenset[str]]
    pointwise: ClassVar[bool]

    def __call__(self, outputs: Any, candidates: Tensor, pool: Pool) -> Tensor:
        """Local scores (R, *inner) of the chunk's rows when pointwise, else (U,) of the candidates.

        Args:
            outputs: a `Chunk` with the needed names when pointwise, else the whole `Outputs`.
            candidates: positions of the chunk's rows when pointwise, else of the candidate units.
            pool: what was paid for.
        """
        ...


@runtime_checkable
class Sampler(Protocol):
    """How a batch is drawn from scored candidates.

    Attributes:
        needs: names of outputs beyond the scores.
        stops_early: True when the sampler may leave affordable candidates behind on purpose; it still picks one.
        uniform: True when every candidate has the same chance whatever its score; may be left out, for False.
    """

    needs: ClassVar[frozenset[str]]
    stops_early: ClassVar[bool]

    def __call__(
        self, scores: Scores | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        """Positions of the picks, in order of choice."""
        ...


@dataclass(frozen=True)
class Step:
    """One score and one sampler.

    Args:
        sampler: draws from the scored candidates.
        score: None when the sampler needs no score.
        reducer: local scores to one number a row.
        keep: candidates that pass to the next step; None for the last step, which spends the budget.

    Raises:
        StrategyFault: when nothing would be kept.
    """

    sampler: Sampler
    score: Score | None = None
    reducer: Reducer | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise StrategyFault(
                f"strategy step: found keep={self.keep}, expected at least 1; leave it out of the last step"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Names of outputs that this step asks for."""
        return (self.score.needs if self.score else frozenset()) | self.sampler.needs


@dataclass(frozen=True)
class Query:
    """What the annotator is asked, in order of choice.

    Args:
        ids: (K) distinct units.
        scores: (K) score of each at the last step that has one; NaN when none has.
        terms: breakdown of each pick, so that "why this one?" has an answer.
        cost: {"items": ..., "minutes": ...}.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    terms: tuple[Mapping[str, float], ...]
    cost: Mapping[str, float]


def score_units(step: Step, outputs: Outputs, candidates: Tensor, pool: Pool) -> Scores | None:
    """Scores of candidates, (U,) float32, or None when the step has no score. Memory: one block and U numbers.

    Raises:
        MissingOutput: naming what to add to the learner.
        StrategyFault: on a wrong shape or a value that is not finite, with the unit's id.
    """
    if step.score is None:
        return None
    name = type(step.score).__name__
    if not step.score.pointwise:
        scores = step.score(outputs, candidates, pool).to(torch.float32)
    else:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        if pool.units.inner:
            scores = entries(_by_row(step, outputs, rows, pool)[line], pool.units.index[candidates])
        else:
            scores = _by_row(step, outputs, rows, pool)[line]
    if scores.shape != candidates.shape:
        raise StrategyFault(f"{name}: {tuple(scores.shape)} scores for {len(candidates)} candidates")
    if not torch.isfinite(scores).all():
        bad = candidates[~torch.isfinite(scores)][0]
        raise StrategyFault(f"{name}: the score of unit {pool.units.ids[int(bad)]!r} is not finite; mend the score")
    return scores


def _by_row(step: Step, outputs: Outputs, rows: Tensor, pool: Pool) -> Tensor:
    """Pointwise scores of rows: (R, L) for units inside a row, else (R,) after the reducer."""
    if step.score is None:
        raise StrategyFault("a step without a score has no scores")
    name, reduce = type(step.score).__name__, step.reducer or LabelMean()
    whole = torch.empty(len(rows), *((len(pool.labels),) if pool.units.inner else ()))
    start = 0
    for chunk in outputs.chunks(outputs.resolve(step.score.needs, name), rows):
        count = len(chunk.rows)
        local = step.score(chunk, chunk.rows, pool)
        if len(local) != count:
            raise StrategyFault(f"{name}: local scores {tuple(local.shape)} for {count} rows; give one line a row")
        if not pool.units.inner:
            local, name = reduce(local, pool), f"{type(step.score).__name__} with {type(reduce).__name__}"
        if local.shape != (count, *whole.shape[1:]):
            expected = f"units inside a row need (R, {len(pool.labels)})" if pool.units.inner else "expected (R,)"
            raise StrategyFault(f"{name}: scores {tuple(local.shape)}; {expected}")
        whole[start : start + count] = local
        start += count
    return whole


class Strategy:
    """Steps in order: each narrows the candidates, the last spends the budget.

    Args:
        steps: at least one; all but the last have `keep`.
        name: how reports call it.

    Raises:
        StrategyFault: when the steps cannot follow each other.
    """

    def __init__(self, *steps: Step, name: str = "strategy") -> None:
        if not steps or any(s.keep is None for s in steps[:-1]) or steps[-1].keep is not None:
            raise StrategyFault(f"{name}: every step but the last needs `keep`, the last must not have it")
        self.steps: Sequence[Step] = steps
        self.name = name

    @property
    def needs(self) -> frozenset[str]:
        """Names of outputs that any step asks for."""
        return frozenset().union(*(s.needs for s in self.steps))

    def query(self, outputs: Outputs, pool: Pool, allowance: Allowance, seed: Seed) -> Query:
        """Chooses what to annotate next.

        Raises:
            BudgetError: when no candidate is left or none can be paid.
            StrategyFault: when a step breaks its contract; the text names the strategy.
        """
        candidates = pool.candidates()
        if not len(candidates) or float(allowance.prices(candidates).min()) > allowance.amount + SLACK:
            amount, price = f"{allowance.amount:g} {allowance.unit}", ""
            if len(candidates):
                cheapest = float(allowance.prices(candidates).min())
                price = f", the cheapest of which costs {cheapest:.3g}; raise budget.per_round"
            raise BudgetError(f"{self.name}: {amount} pay for none of {len(candidates)} candidates{price}")
        scores: Scores | None = None
        considered, picks, last = candidates, candidates, None
        for i, step in enumerate(self.steps):
            outputs.resolve(step.needs, f"{self.name}, step {i + 1}")
            step_scores = score_units(step, outputs, candidates, pool)
            picks = self._sample(step, step_scores, outputs, candidates, pool, allowance, seed / f"step {i + 1}")
            if step_scores is not None:
                scores, considered, last = step_scores, candidates, step
            candidates = torch.sort(picks).values
        return self._query(picks, scores, considered, last, outputs, pool, allowance)

    def _sample(
        self,
        step: Step,
        scores: Scores | None,
        outputs: Outputs,
        candidates: Tensor,
        pool: Pool,
        allowance: Allowance,
        seed: Seed,
    ) -> Tensor:
        """Checked picks of one step, int64; the sampler works on copies, so that the engine's own stay as they are."""
        who, room = f"{self.name}: {type(step.sampler).__name__}", self._room(step, candidates, allowance)
        given, offered = None if scores is None else scores.clone(), candidates.clone()
        picks = step.sampler(given, outputs, offered, pool, room, seed)
        if given is not None and scores is not None and not torch.equal(given, scores):
            raise StrategyFault(f"{who} changed the scores that it was given")
        if not torch.equal(offered, candidates):
            raise StrategyFault(f"{who} changed the candidates that it was given")
        if not isinstance(picks, Tensor) or picks.dtype not in (torch.int64, torch.int32) or picks.ndim != 1:
            found = f"{picks.dtype} {tuple(picks.shape)}" if isinstance(picks, Tensor) else type(picks).__name__
            raise StrategyFault(f"{who} gave {found}, expected positions as an integer tensor (K,)")
        self._check(who, step.sampler.stops_early, picks.long(), candidates, room)
        return picks.long()

    def _room(self, step: Step, candidates: Tensor, allowance: Allowance) -> Allowance:
        """What a step may take: the allowance in the last step, else `keep` items."""
        if step.keep is None:
            return allowance
        payable = len(allowance.take(candidates))
        if step.keep < payable:
            raise StrategyFault(
                f"{self.name}: a step keeps {step.keep} units, the budget pays for {payable}; raise `keep`"
            )
        return Allowance(step.keep, "items", allowance.units, allowance.cost)

    @staticmethod
    def _check(who: str, stops_early: bool, picks: Tensor, candidates: Tensor, room: Allowance) -> None:
        if len(torch.unique(picks)) != len(picks):
            raise StrategyFault(f"{who} picked a unit twice")
        outside = picks[~torch.isin(picks, candidates)]
        if len(outside):
            first = int(outside[0])
            raise StrategyFault(f"{who} picked position {first}, which is no candidate (labelled, retired or foreign)")
        spent = room.spent(picks)
        if spent > room.amount + 2 * SLACK:
            raise StrategyFault(f"{who} spent {spent:g} of {room.amount:g} {room.unit}")
        rest = candidates[~torch.isin(candidates, picks)]
        if not stops_early and len(rest) and float(room.prices(rest).min()) <= room.amount - spent:
            amount = f"{spent:g} of {room.amount:g} {room.unit}"
            raise StrategyFault(f"{who} spent only {amount} and left {len(rest)} candidates")
        if not len(picks):
            raise StrategyFault(f"{who} picked nothing of {len(candidates)} candidates; it must pick one at least")

    def _query(
        self,
        picks: Tensor,
        scores: Scores | None,
        considered: Tensor,
        step: Step | None,
        outputs: Outputs,
        pool: Pool,
        allowance: Allowance,
    ) -> Query:
        cost = {"items": float(len(picks)), "minutes": allowance.minutes(picks)}
        ids = tuple(pool.units.names(picks))
        if scores is None or step is None or step.score is None:
            term = {"candidates": float(len(considered))}
            if all(getattr(s.sampler, "uniform", False) for s in self.steps):
                term["probability"] = len(picks) / len(considered)
            return Query(ids, (math.nan,) * len(picks), tuple(dict(term) for _ in picks), cost)
        where = torch.searchsorted(considered, picks)
        ordered = torch.sort(scores).values
        below = torch.searchsorted(ordered, scores[where], right=False)
        local = self._local(step, picks, outputs, pool)
        terms = []
        for k in range(len(picks)):
            term = {"score": float(scores[where[k]]), "candidates": float(len(considered))}
            term["percentile"] = 100.0 * float(below[k]) / max(len(considered) - 1, 1)
            if local is not None:
                term |= {f"label:{n}": float(v) for n, v in zip(pool.labels, local[k], strict=True)}
            terms.append(term)
        return Query(ids, tuple(float(s) for s in scores[where]), tuple(terms), cost)

    def _local(self, step: Step, picks: Tensor, outputs: Outputs, pool: Pool) -> Tensor | None:
        """Per-label scores of the picks, for the breakdown; None when the score has none."""
        if step.score is None or not step.score.pointwise or pool.units.inner:
            return None
        names = outputs.resolve(step.score.needs, self.name)
        rows, line = torch.unique(pool.units.row[picks], return_inverse=True)
        blocks = [step.score(chunk, chunk.rows, pool) for chunk in outputs.chunks(names, rows)]
        local = torch.cat(blocks)
        return local[line] if local.ndim == 2 and local.shape[1] == len(pool.labels) else None
