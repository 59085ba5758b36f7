"""First-order radiomics of saliency maps (survey, section 5.1.1).

Mahapatra et al., IEEE TMI 2021: a vector of radiomics describes the saliency map of each image, and a classifier on it
tells which images are worth a label. Names and definitions here are those of the Image Biomarker Standardisation
Initiative (Zwanenburg et al., "The Image Biomarker Standardization Initiative", Radiology 2020): intensity-based
statistics, and two terms of the intensity histogram with a fixed number of bins between each map's own smallest and
largest value. The paper's shape and texture terms are left out: maps are a few places wide.

Two scores are made of the vector. `RadiomicsNovelty`: how far it lies from those of paid rows (Mahalanobis distance).
`RadiomicsError`: the squared error that a ridge regression expects, fitted to the present model's errors on paid rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import ConfigError
from medal.outputs import Outputs
from medal.pool import Pool
from medal.reducers import LabelMean, Reducer
from medal.uncertainty.saliency import ROUNDING, places
from medal.uncertainty.whole_pool import paid_table, to_units

TERMS = {
    "mean": "Q4LE",
    "variance": "ECT3",
    "skewness": "KE2M",
    "excess kurtosis": "IPH6",
    "median": "Y12H",
    "minimum": "1GSF",
    "10th percentile": "QG58",
    "90th percentile": "8DWT",
    "maximum": "84IY",
    "interquartile range": "SALO",
    "range": "2OJQ",
    "mean absolute deviation": "4FUA",
    "robust mean absolute deviation": "1128",
    "median absolute deviation": "N72L",
    "energy": "N8CA",
    "root mean square": "5ZWQ",
    "histogram entropy": "TLU2",
    "histogram uniformity": "BJ5W",
}
"""Terms of the vector in their order, and the initiative's code of each."""
RIDGE = 0.1
"""Shrinkage of the correlation of terms, many of which say nearly the same, towards none."""


def first_order(maps: Float[Tensor, "r l *s"], bins: int = 32) -> Float[Tensor, "r l terms"]:
    """First-order radiomics of the rectified maps.

    Args:
        maps: (R, L, *S), signed.
        bins: of the intensity histogram, fixed in number.

    Returns:
        (R, L, 18) float64 in the order of `TERMS`. A constant map has no spread, so its skewness, excess kurtosis and
        histogram entropy are 0 and its uniformity is 1.

    Example:
        >>> one = first_order(torch.tensor([[[[0.0, 0.0], [0.0, 4.0]]]]))[0, 0]
        >>> dict(zip(TERMS, one.tolist()))["energy"]
        16.0
    """
    x = places(maps)
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    m2, m3, m4 = (centred.pow(k).mean(-1) for k in (2, 3, 4))
    constant = m2 <= (ROUNDING * x.amax(-1)).square()
    safe = m2.where(~constant, torch.ones_like(m2))
    ordered = x.sort(-1).values
    low, high = ordered[..., 0], ordered[..., -1]
    p10, p25, median, p75, p90 = (_percentile(ordered, share) for share in (0.1, 0.25, 0.5, 0.75, 0.9))
    inside = (x >= p10[..., None]) & (x <= p90[..., None])
    count = inside.sum(-1).clamp_min(1)
    middle = (x * inside).sum(-1) / count
    robust = ((x - middle[..., None]).abs() * inside).sum(-1) / count
    width = (high - low).where(~constant, torch.ones_like(high))
    number = ((x - low[..., None]) / width[..., None] * bins).floor().clamp(0, bins - 1)
    number = number.where(~constant[..., None], torch.zeros_like(number)).long()
    histogram = torch.zeros(*x.shape[:-1], bins, dtype=x.dtype, device=x.device)
    histogram = histogram.scatter_add(-1, number, torch.ones_like(x)) / x.shape[-1]
    terms = {
        "mean": mean[..., 0],
        "variance": m2,
        "skewness": m3 / safe.pow(1.5),
        "excess kurtosis": m4 / safe.square() - 3,
        "median": median,
        "minimum": low,
        "10th percentile": p10,
        "90th percentile": p90,
        "maximum": high,
        "interquartile range": p75 - p25,
        "range": high - low,
        "mean absolute deviation": centred.abs().mean(-1),
        "robust mean absolute deviation": robust,
        "median absolute deviation": (x - median[..., None]).abs().mean(-1),
        "energy": x.square().sum(-1),
        "root mean square": x.square().mean(-1).sqrt(),
        # the initiative counts in bits
        "histogram entropy": torch.special.entr(histogram).sum(-1) / torch.log(torch.tensor(2.0, dtype=x.dtype)),
        "histogram uniformity": histogram.square().sum(-1),
    }
    for name in ("skewness", "excess kurtosis"):
        terms[name] = terms[name].where(~constant, torch.zeros_like(m2))
    return torch.stack([terms[name] for name in TERMS], -1)


def _percentile(ordered: Tensor, share: float) -> Tensor:
    """Value below which a share of sorted values lies, between two of them in proportion (torch's has a size limit)."""
    place = share * (ordered.shape[-1] - 1)
    below, above = ordered[..., math.floor(place)], ordered[..., math.ceil(place)]
    return torch.lerp(below, above, place - math.floor(place))


def _vectors(outputs: Outputs, rows: Tensor, *further: str) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Block by block: positions in `rows`, radiomics (B, L, 18), further outputs."""
    start = 0
    for chunk in outputs.chunks(frozenset({"saliency", *further}), rows):
        here = torch.arange(start, start + len(chunk.rows))
        yield here, first_order(chunk.get("saliency")), {name: chunk.get(name) for name in further}
        start += len(chunk.rows)


@dataclass(frozen=True)
class RadiomicsNovelty:
    """Mahalanobis distance of each label's radiomics to those of paid rows.

    Each label has its own centre; the covariance is that of all labels within themselves, shrunk to its diagonal.
    Before anything was paid, the candidates themselves are the reference.

    Args:
        reducer: from labels to one number, for units that are whole rows.
    """

    reducer: Reducer = field(default_factory=LabelMean)
    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        known = paid_table(pool).rows
        known = known if len(known) else rows
        total, cross = torch.zeros(()), torch.zeros(())
        for _, vectors, _ in _vectors(outputs, known):
            total = total + vectors.sum(0)
            cross = cross + torch.einsum("rlf,rlg->fg", vectors, vectors)
        centre = total / len(known)
        covariance = (cross - len(known) * centre.T @ centre) / (len(known) * len(pool.labels))
        # a term that rounding alone moves, such as a minimum that is always 0, takes no part
        moving = covariance.diagonal() > ROUNDING**2 * (1e-300 + cross.diagonal() / (len(known) * len(pool.labels)))
        scale = covariance.diagonal().where(moving, torch.ones(())).clamp_min(0).sqrt()
        correlation = covariance / scale.outer(scale) * moving.outer(moving)
        shrunk = (1 - RIDGE) * correlation + RIDGE * torch.eye(len(scale), dtype=correlation.dtype)
        shrunk = shrunk + torch.diag((~moving).to(shrunk.dtype))
        inverse = torch.linalg.inv(shrunk)
        local = torch.empty(len(rows), len(pool.labels))
        for here, vectors, _ in _vectors(outputs, rows):
            z = (vectors - centre) / scale * moving
            local[here] = torch.einsum("rlf,fg,rlg->rl", z, inverse, z).clamp_min(0).sqrt().float()
        return to_units(local, line, candidates, pool, self.reducer)


@dataclass(frozen=True)
class RadiomicsError:
    """Squared error of the prediction that the radiomics of its map let one expect.

    A ridge regression over all labels, fitted to (answer - probability)^2 on paid rows; labels that are not known, and
    answers between 0 and 1, are left out. The errors are those on rows that the model was trained with, hence smaller
    than they will be, but in their order. Before anything was paid, 0 for all.

    Args:
        ridge: weight of the penalty on standardised terms, relative to the number of answers.
        reducer: from labels to one number, for units that are whole rows.

    Raises:
        ConfigError: when the penalty is not above 0.
    """

    ridge: float = 0.1
    reducer: Reducer = field(default_factory=LabelMean)
    needs: ClassVar[frozenset[str]] = frozenset({"saliency", "marginals"})
    pointwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ConfigError(f"RadiomicsError.ridge: found {self.ridge}, expected a number above 0")

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        table, width = paid_table(pool), len(TERMS) + 1
        gram, moment = torch.zeros(width, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        for here, vectors, more in _vectors(outputs, table.rows, "marginals"):
            target = table.target[here].double()
            known = (target == 0) | (target == 1)
            error = (target - more["marginals"].mean(1).double())[known].square()
            x = torch.cat([torch.ones(len(error), 1, dtype=torch.float64), vectors[known]], 1)
            gram, moment = gram + x.T @ x, moment + x.T @ error
        local = torch.zeros(len(rows), len(pool.labels))
        if gram[0, 0] > 0:
            slope, level = _ridge(gram, moment, self.ridge)
            for here, vectors, _ in _vectors(outputs, rows):
                local[here] = (vectors @ slope + level).float()
        return to_units(local, line, candidates, pool, self.reducer)


def _ridge(gram: Tensor, moment: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Slope and level of a ridge regression on standardised terms, from sums of (1, terms) with itself and errors."""
    count, mean, level = gram[0, 0], gram[0, 1:] / gram[0, 0], moment[0] / gram[0, 0]
    covariance = gram[1:, 1:] / count - mean.outer(mean)
    cross = moment[1:] / count - mean * level
    moving = covariance.diagonal() > ROUNDING**2 * (1e-300 + gram[1:, 1:].diagonal() / count)
    scale = covariance.diagonal().where(moving, torch.ones(())).clamp_min(0).sqrt()
    standard = covariance / scale.outer(scale) * moving.outer(moving)
    solved = torch.linalg.solve(standard + penalty * torch.eye(len(scale), dtype=gram.dtype), cross / scale * moving)
    slope = solved / scale * moving
    return slope, level - mean @ slope
