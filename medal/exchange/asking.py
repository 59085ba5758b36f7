"""What the next work list asks: a random part that measures, doubtful labels where wanted, and what teaches most.

The first list, without a model, begins the random validation arm and takes images that stand for the pool from features
without labels (TypiClust, Hacohen et al. 2022; the cold start of survey section 4.2.1). Later lists follow the strategy
on the last model, and go on with the arm until it is complete. Images of one examination are asked together where they
teach; images that measure are drawn one by one, each with the same chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.doubt import Doubt, doubt
from medal.errors import BudgetError, StudyError
from medal.exchange.reasons import DISPUTED, GIVEN, MODEL, SIBLING, TYPICAL
from medal.pool import Pool
from medal.strategy import Query, Strategy
from medal.units import IMAGE

if TYPE_CHECKING:
    from medal.human import HumanCampaign

FIRST_SHARE, LATER_SHARE = 0.5, 0.25
"""Share of a list that measures until the arm is complete: half of it while there is no model, a quarter later."""
COLD_START, DOUBT = "cold start", "doubtful labels"


@dataclass(frozen=True)
class Portion:
    """A part of a list with one purpose.

    Args:
        query: what is asked.
        purpose: as in the journal.
        strategy: by what it was chosen.
    """

    query: Query
    purpose: str
    strategy: str


@dataclass(frozen=True)
class Wish:
    """What somebody wants to label.

    Args:
        count: images, or units where the study asks about findings one by one.
        relabel: how many of them are labels to look at again.
        measure: how many of them are random images for the validation arm; None for the usual share.
        strategy: in place of the recipe's; None for the recipe's.

    Raises:
        BudgetError: when the parts are more than the whole.
    """

    count: int
    relabel: int = 0
    measure: int | None = None
    strategy: Strategy | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise BudgetError(f"asked for {self.count} images, expected at least 1; give -n 20")
        if self.relabel < 0 or (self.measure or 0) < 0 or self.relabel + (self.measure or 0) > self.count:
            raise BudgetError(
                f"{self.relabel} to label again and {self.measure or 0} for measuring are not parts of {self.count}; "
                "raise -n"
            )


def compose(campaign: HumanCampaign, wish: Wish, name: str) -> list[Portion]:
    """The portions of one list; nothing is written.

    Args:
        campaign: brought up to date.
        wish: what is wanted.
        name: of the list; names the generators.

    Raises:
        BudgetError: when nothing is left to ask.
    """
    if campaign.trained:
        campaign.restore()
    pool = campaign.pool.awaiting(campaign.open_units())
    portions = [p for p in (_relabel(campaign, wish.relabel), _arm(campaign, wish, name)) if p is not None]
    rest = wish.count - sum(round(p.query.cost["items"]) for p in portions)
    if rest > 0 and len(pool.candidates()):
        chosen = _by_strategy(campaign, pool, rest, wish, name) if campaign.trained else _cold(campaign, pool, rest)
        portions.append(chosen)
    if not portions:
        raise BudgetError("nothing is left to ask: every image of the pool is labelled, asked or taken out")
    return sorted(portions, key=lambda p: ("validation", "start", "query", "relabel").index(p.purpose))


def _arm(campaign: HumanCampaign, wish: Wish, name: str) -> Portion | None:
    """The next random images of the validation part; with those before them they are one simple random sample.

    Images that have come into the folder since take part in this draw and in later ones.
    """
    pool, room = campaign.pool, wish.count - wish.relabel
    asked = campaign.arm_rows()
    rows = pool.split.positions("validation")
    rows = rows[~torch.isin(rows, asked)]
    share = LATER_SHARE if campaign.trained else FIRST_SHARE
    wanted = min(round(share * room), campaign.recipe.validation.items - len(asked))
    count = min(wanted if wish.measure is None else wish.measure, len(rows))
    if count <= 0:
        return None
    generator = (campaign.round_seed / "validation" / name).torch()
    order = torch.randperm(len(rows), generator=generator)
    return Portion(campaign.query_rows(rows[order[:count]].sort().values, len(rows)), "validation", "random")


def _cold(campaign: HumanCampaign, pool: Pool, count: int) -> Portion:
    """Images that stand for the pool, while there is no model."""
    from medal.representativeness import cold_start
    from medal.self_supervised import embed

    units, rows = pool.units, pool.split.positions("pool")
    candidates = torch.unique(units.row[pool.candidates()])
    if len(rows) < 2 or len(candidates) <= count:
        chosen = candidates
    else:
        covered = torch.unique(units.row[pool.covered()])
        covered = covered[~torch.isin(covered, candidates)]
        features = embed(campaign.source, rows, campaign.cache, campaign.progress, campaign.seed / "embedding")
        chosen = cold_start(features, covered, candidates, count, campaign.round_seed / "start")
    chosen, followers = _with_siblings(campaign, chosen, candidates, count)
    free = pool.candidates()
    positions = [int(p) for row in chosen.tolist() for p in free[units.row[free] == row]]
    row_of = [int(units.row[p]) for p in positions]
    terms = tuple(
        {SIBLING: 1.0} if row in followers else {TYPICAL: 1.0, "candidates": float(len(candidates))} for row in row_of
    )
    cost = {"items": float(len(chosen)), "minutes": campaign.prices.of(IMAGE.name) * len(chosen)}
    query = Query(tuple(units.names(positions)), (math.nan,) * len(positions), terms, cost)
    return Portion(query, "start", COLD_START)


def _by_strategy(campaign: HumanCampaign, pool: Pool, count: int, wish: Wish, name: str) -> Portion:
    strategy = wish.strategy or campaign.strategy
    allowance = Allowance(count, "items", pool.units, campaign.prices)
    query = strategy.query(campaign.outputs, pool, allowance, campaign.round_seed / "strategy" / name)
    if not pool.units.inner:
        query = _siblings_of_query(campaign, pool, query, allowance)
    return Portion(query, "query", strategy.name)


def _siblings_of_query(campaign: HumanCampaign, pool: Pool, query: Query, allowance: Allowance) -> Query:
    """The query with images of the same examinations in place of its last picks."""
    picks = pool.units.positions(query.ids)
    chosen, followers = _with_siblings(campaign, picks, pool.candidates(), len(picks))
    if not followers:
        return query
    score = dict(zip(query.ids, query.scores, strict=True))
    terms = dict(zip(query.ids, query.terms, strict=True))
    ids = tuple(pool.units.names(chosen))
    told: tuple[Mapping[str, float], ...] = tuple(terms.get(i, {SIBLING: 1.0}) for i in ids)
    cost = {"items": float(len(ids)), "minutes": allowance.minutes(chosen)}
    return Query(ids, tuple(score.get(i, math.nan) for i in ids), told, cost)


def _with_siblings(
    campaign: HumanCampaign, picks: Tensor, candidates: Tensor, count: int
) -> tuple[Tensor, frozenset[int]]:
    """Rows in order of choice, each followed by the candidates of its examination, `count` in all.

    Returns:
        The rows, and which of them came along.
    """
    exams = campaign.source.meta.get("exam")
    if exams is None:
        return picks[:count], frozenset()
    of_exam: dict[str, list[int]] = {}
    for row in candidates.tolist():
        if exams[row]:
            of_exam.setdefault(exams[row], []).append(row)
    wanted, chosen, followers = set(picks.tolist()), [], set()
    for row in picks.tolist():
        if row in chosen:
            continue
        siblings = [s for s in of_exam.get(exams[row], []) if s != row and s not in chosen]
        group = [row, *siblings][: count - len(chosen)]
        followers |= {s for s in group[1:] if s not in wanted}
        chosen += group
        if len(chosen) >= count:
            break
    return torch.tensor(chosen, dtype=torch.long), frozenset(followers)


def _relabel(campaign: HumanCampaign, count: int) -> Portion | None:
    """Labelled units of the pool whose labels are the most doubtful; each is looked at again once.

    Raises:
        StudyError: when labels are to be looked at again before there is any.
    """
    if not count:
        return None
    pool = campaign.pool
    open_units = pool.units.positions(campaign.open_units())
    labelled = pool.labelled()
    labelled = labelled[~torch.isin(labelled, open_units)]
    if not len(labelled):
        raise StudyError("nothing is labelled yet, so that nothing can be labelled again; leave --relabel out")
    told = _probabilities(campaign, labelled)
    found = [
        (doubt(pool.opinions(unit), pool.label(unit), p), unit)
        for unit, p in zip(pool.units.names(labelled), told, strict=True)
    ]
    worth = [
        (d, unit)
        for d, unit in found
        if (d.confidence < 0.5 or bool(d.disputed.any()))
        and all(answer.purpose != "relabel" for answer in pool.opinions(unit))
    ]
    ranked = sorted(worth, key=lambda pair: (pair[0].rank, pair[1]))[:count]
    if not ranked:
        return None
    terms = tuple(_doubt_terms(campaign, unit, d, p) for d, unit, p in _with_told(ranked, found, told))
    cost = {"items": float(len(ranked)), "minutes": campaign.prices.of(pool.units.kind) * len(ranked)}
    query = Query(tuple(u for _, u in ranked), tuple(1 - d.confidence for d, _ in ranked), terms, cost)
    return Portion(query, "relabel", DOUBT)


def _probabilities(campaign: HumanCampaign, units: Tensor) -> Tensor:
    """What the model says about units, (U, W); one half where there is no model."""
    pool = campaign.pool
    width = 1 if pool.units.inner else len(pool.labels)
    if not campaign.trained:
        return torch.full((len(units), width), 0.5)
    by_row = campaign.probabilities(pool.units.row[units])
    return by_row.gather(1, pool.units.index[units][:, None]) if pool.units.inner else by_row


def _with_told(
    ranked: Sequence[tuple[Doubt, str]], found: Sequence[tuple[Doubt, str]], told: Tensor
) -> list[tuple[Doubt, str, Tensor]]:
    line = {unit: i for i, (_, unit) in enumerate(found)}
    return [(d, unit, told[line[unit]]) for d, unit in ranked]


def _doubt_terms(campaign: HumanCampaign, unit: str, found: Doubt, told: Tensor) -> dict[str, float]:
    pool = campaign.pool
    names = [pool.units[int(pool.units.positions([unit])[0])].inside or ""] if pool.units.inner else list(pool.labels)
    terms = {f"{DISPUTED}{names[k]}": 1.0 for k in torch.nonzero(found.disputed).flatten().tolist()}
    if found.label >= 0 and campaign.trained:
        terms |= {f"{GIVEN}{names[found.label]}": found.given, f"{MODEL}{names[found.label]}": float(told[found.label])}
    return terms
