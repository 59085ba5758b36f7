"""Bootstrap of a difference over blocks, and over the patients inside them.

Where every block has test patients of its own, patients are drawn anew inside each drawn block ("nested": Davison and
Hinkley, "Bootstrap methods and their application", 1997, section 3.8). Where the blocks' test sets overlap, as in
repeated splits of one data set, a patient who is drawn twice counts twice in every block ("crossed": Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics, 2007); drawing anew would count the same patients as new evidence.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medal.errors import ConfigError
from medal.metrics.cluster_bootstrap import (
    RESAMPLES,
    Interval,
    check_predictions,
    estimable_labels,
    macro_replicates,
    mean_of_defined,
    patient_weights,
    percentiles,
)
from medal.metrics.weighted_ranks import concordance
from medal.seeding import Seed

PAIRS_AT_ONCE = 4_000_000
"""Pairs of a positive and a negative up to which their concordance is held as a matrix."""


@dataclass(frozen=True)
class Block:
    """Test predictions of two runs that share data, split, start set and seed.

    Args:
        ours: (T, L) probabilities of one round, or (P, T, L) of P rounds.
        theirs: the baseline's, likewise.
        targets: (T, L) of 1, 0, NaN and -1.
        patients: (T) who each image is of, the same names in every block.
        budget: (P) where rounds are given; their measures become the area under the budget curve, over its span.
    """

    ours: np.ndarray
    theirs: np.ndarray
    targets: np.ndarray
    patients: Sequence[Hashable]
    budget: Sequence[float] | None = None


def two_level_difference(
    blocks: Sequence[Block],
    seed: Seed,
    *,
    patients: Literal["crossed", "nested"] = "crossed",
    measure: str = "auroc",
    labels: Sequence[int] | None = None,
    min_positives: int = 20,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean difference of two runs over blocks, with an interval that counts blocks and patients both.

    Args:
        blocks: at least one.
        seed: of the resampling.
        patients: "crossed" where blocks share test patients (repeated splits of one set), "nested" where none do.
        measure: "auroc" or "auprc".
        labels: positions of the labels in the mean; None for those estimable in the block.
        min_positives: for `labels=None`.
        level: coverage.
        resamples: of the blocks, and of the patients.

    Returns:
        Positive when ours is better; `labels` is the smallest number of labels in any block. NaN when a block has no
        estimable label.

    Raises:
        OutputError: when shapes do not fit.
        ConfigError: without blocks, on another measure, or on rounds without their budget.

    Example:
        >>> y, good, poor = [[1], [0], [1], [0]], [[0.9], [0.1], [0.8], [0.2]], [[0.9], [0.1], [0.2], [0.8]]
        >>> block = Block(np.array(good), np.array(poor), np.array(y), "abcd")
        >>> two_level_difference([block, block], Seed(0), min_positives=1).value
        0.25
    """
    if not blocks:
        raise ConfigError("two-level bootstrap: found no block, expected at least one")
    if patients not in ("crossed", "nested"):
        raise ConfigError(f"patients: found {patients!r}, expected 'crossed' or 'nested'")
    drawn = _weights_of_blocks(blocks, seed, patients, resamples)
    once, replicates, kept = [], [], []
    for block, weights in zip(blocks, drawn, strict=True):
        chosen = estimable_labels(block.targets, min_positives) if labels is None else tuple(labels)
        both = np.concatenate([np.ones((1, weights.shape[1])), weights])
        found = _difference(block, both, chosen, measure)
        once.append(found[0])
        replicates.append(found[1:])
        kept.append(len(chosen))
    matrix = np.stack(replicates)  # (blocks, resamples)
    generator = (seed / "blocks").numpy()
    block_of = generator.integers(0, len(blocks), (resamples, len(blocks)))
    same = np.broadcast_to(np.arange(resamples)[:, None], block_of.shape)
    # a block that is drawn twice brings two draws of its own patients when nested, one draw for all when crossed
    draw_of = same if patients == "crossed" else generator.integers(0, resamples, block_of.shape)
    return Interval(float(np.mean(once)), *percentiles(matrix[block_of, draw_of].mean(1), level), min(kept))


def _difference(block: Block, weights: np.ndarray, labels: Sequence[int], measure: str) -> np.ndarray:
    """(B) ours less theirs for each weighting of the images."""
    ours, theirs = (np.asarray(p, dtype=np.float64) for p in (block.ours, block.theirs))
    targets = np.asarray(block.targets, dtype=np.float64)
    pairs = (targets == 1).sum(0) * (targets == 0).sum(0)
    if measure != "auroc" or not len(labels) or pairs.max() > PAIRS_AT_ONCE or ours.shape != theirs.shape:
        return _area(block, ours, weights, labels, measure) - _area(block, theirs, weights, labels, measure)
    rounds = _weights_of_rounds(block, len(ours)) if ours.ndim == 3 else np.ones(1)
    ours, theirs = (p.reshape(len(rounds), *p.shape[-2:]) for p in (ours, theirs))
    for p in (*ours, *theirs):
        check_predictions(p, targets, weights.shape[1], measure)
    found = []
    for k in labels:
        y = targets[:, k]
        # the area is linear in the concordance: one product of matrices stands for all rounds of both runs
        gain = sum(
            w * (concordance(a[:, k], y) - concordance(b[:, k], y))
            for w, a, b in zip(rounds, ours, theirs, strict=True)
        )
        positive, negative = weights[:, y == 1], weights[:, y == 0]
        mass = positive.sum(1) * negative.sum(1)
        won = ((positive @ gain) * negative).sum(1)
        found.append(np.divide(won, mass, out=np.full(len(mass), np.nan), where=mass > 0))
    return mean_of_defined(np.stack(found))


def _weights_of_rounds(block: Block, rounds: int) -> np.ndarray:
    """(P) weight of each round in the area under the budget curve over its span, by the trapezoid rule."""
    budget = np.asarray(block.budget if block.budget is not None else [], dtype=np.float64)
    if len(budget) != rounds or len(budget) < 2 or not (np.diff(budget) > 0).all():
        raise ConfigError(f"block: found {rounds} rounds and {len(budget)} budgets; expected (P) ascending, P >= 2")
    steps = np.diff(budget) / (budget[-1] - budget[0])
    return (np.r_[steps, 0.0] + np.r_[0.0, steps]) / 2


def _weights_of_blocks(
    blocks: Sequence[Block], seed: Seed, patients: Literal["crossed", "nested"], resamples: int
) -> list[np.ndarray]:
    if patients == "nested":
        return [patient_weights(b.patients, seed / "patients" / k, resamples) for k, b in enumerate(blocks)]
    names = sorted({str(p) for block in blocks for p in block.patients})
    place = {name: position for position, name in enumerate(names)}
    weights = patient_weights(names, seed / "patients", resamples)
    return [weights[:, [place[str(p)] for p in block.patients]] for block in blocks]


def _area(
    block: Block, predictions: np.ndarray, weights: np.ndarray, labels: Sequence[int], measure: str
) -> np.ndarray:
    if predictions.ndim == 2:
        return macro_replicates(predictions, block.targets, weights, labels, measure)
    rounds = _weights_of_rounds(block, len(predictions))
    return rounds @ np.stack([macro_replicates(p, block.targets, weights, labels, measure) for p in predictions])
