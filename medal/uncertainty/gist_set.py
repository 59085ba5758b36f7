"""Gist set: candidates that lie where the other class is labelled (survey, section 5.1.1).

Nguyen et al., "GOAL: gist-set online active learning for efficient chest X-ray image annotation", MIDL 2021: uncertain
images are sent to the expert when they also lie near the decision boundary, which is found from labelled images; here,
as the distance to labelled prototypes of the opposite class. With independent labels, an image is near to the boundary
of each label by itself. `GistUncertainty` puts the uncertain members of the gist set first; with the sampler `Diverse`,
near-doubles come last. Its second half, pseudo-labels, is `medal.semi_supervised.momentum`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medal.errors import ConfigError
from medal.outputs import Outputs
from medal.pool import Pool
from medal.reducers import LabelMean, Reducer
from medal.uncertainty.prediction import entropy
from medal.uncertainty.whole_pool import paid_table, to_units

ALONE = -1.0
"""Membership where no paid row is of the opposite class: the cosine of what lies farthest away."""


def gist_membership(
    features: Float[Tensor, "r f"],
    predicted: Float[Tensor, "r l"],
    known: Float[Tensor, "n f"],
    target: Float[Tensor, "n l"],
) -> Float[Tensor, "r l"]:
    """Cosine with the nearest labelled row of the class that is not predicted.

    Args:
        features: (R, F) of candidates.
        predicted: (R, L) probabilities; a label is predicted present from 0.5.
        known: (n, F) features of paid rows.
        target: (n, L) their labels; 1 and 0 are prototypes, all else is none.

    Returns:
        (R, L) in [-1, 1]; -1 where no paid row is of the opposite class.

    Example:
        >>> gist_membership(
        ...     torch.tensor([[1.0, 1.0]]), torch.tensor([[0.2]]), torch.eye(2), torch.tensor([[1.0], [0.0]])
        ... )
        tensor([[0.7071]])
    """
    cosine = (F.normalize(features.double()) @ F.normalize(known.double()).T).clamp(-1, 1)
    nearest = []
    for label in range(predicted.shape[1]):
        of_class = []
        for value in (0, 1):
            own = target[:, label] == value
            of_class.append(cosine[:, own].amax(1) if own.any() else cosine.new_full((len(features),), ALONE))
        nearest.append(torch.where(predicted[:, label] >= 0.5, of_class[0], of_class[1]))
    return torch.stack(nearest, 1).to(features.dtype)


@dataclass(frozen=True)
class GistMembership:
    """Nearness of each label to the boundary: cosine with the nearest paid row of the class that is not predicted.

    Memory beside the features of paid rows: one block of rows times the paid rows.

    Args:
        reducer: from labels to one number, for units that are whole rows.
    """

    reducer: Reducer = field(default_factory=LabelMean)
    needs: ClassVar[frozenset[str]] = frozenset({"features", "marginals"})
    pointwise: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        local = torch.cat([membership for membership, _ in _walk(outputs, rows, pool)])
        return to_units(local, line, candidates, pool, self.reducer)


@dataclass(frozen=True)
class GistUncertainty:
    """Entropy of the prediction in nats, with log 2 added for members of the gist set, so that they come first.

    Args:
        share: of the candidates, those nearest to the boundary, that make the gist set, in (0, 1]; ties are members.
        reducer: from labels to one number, of membership and of entropy alike, for units that are whole rows.

    Raises:
        ConfigError: when the share is outside (0, 1].
    """

    share: float = 0.5
    reducer: Reducer = field(default_factory=LabelMean)
    needs: ClassVar[frozenset[str]] = frozenset({"features", "marginals"})
    pointwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"GistUncertainty.share: found {self.share}, expected a share above 0 and at most 1")

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        membership, predicted = (torch.cat(blocks) for blocks in zip(*_walk(outputs, rows, pool), strict=True))
        local = entropy(torch.stack([1 - predicted, predicted], -1))
        near = to_units(membership, line, candidates, pool, self.reducer)
        last = near.sort(descending=True).values[math.ceil(self.share * len(near)) - 1]
        return to_units(local, line, candidates, pool, self.reducer) + math.log(2) * (near >= last)


def _walk(outputs: Outputs, rows: Tensor, pool: Pool) -> Iterator[tuple[Tensor, Tensor]]:
    """Membership and prediction of rows, (R, L) each, block by block."""
    table = paid_table(pool)
    known = outputs.get("features", table.rows)
    for chunk in outputs.chunks(frozenset({"features", "marginals"}), rows):
        features, predicted = chunk.get("features"), chunk.get("marginals").mean(1)
        prototypes = known if len(table) else features[:0]
        yield gist_membership(features, predicted, prototypes, table.target), predicted
