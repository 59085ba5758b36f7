"""Deep features of saliency maps: cluster novelty times kurtosis (survey, section 5.1.1).

Mahapatra et al., IEEE TMI 2021, found the third of their rules best: an auto-encoder on saliency maps, clusters of its
codes, and a ranking by how informative the clusters are. Taken from it: encoder, k-means with 10 clusters, one score
from cluster and map. The paper trains a further network to predict the rank; here the score is the product itself,
which needs no pseudo-labels: a map counts when its cluster is rare among paid images and the map itself is peaked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medal.errors import ConfigError
from medal.outputs import Outputs
from medal.pool import Pool
from medal.reducers import LabelMean, Reducer
from medal.seeding import Seed
from medal.uncertainty.map_encoder import MapEncoder, normal_maps, sampled, train_map_encoder
from medal.uncertainty.saliency import map_kurtosis
from medal.uncertainty.whole_pool import paid_table, to_units

SAMPLE = 4096
"""Maps that the encoder and the clusters are fitted to."""


def cluster_novelty(paid: Int[Tensor, " k"], free: Int[Tensor, " k"]) -> Float[Tensor, " k"]:
    """How rare each cluster is among paid maps, as against its share of all maps.

    Args:
        paid: (K,) paid maps of each cluster.
        free: (K,) candidates of each cluster.

    Returns:
        (K,) float64 in [0, 1]: all / (all + paid) in shares; 1 where nothing was paid, 1/2 where the cluster's share of
        the paid maps is that of the pool, towards 0 where it is over-represented. An empty cluster has 0.

    Example:
        >>> cluster_novelty(torch.tensor([0, 2, 2]), torch.tensor([8, 2, 2]))
        tensor([1.0000, 0.3333, 0.3333], dtype=torch.float64)
    """
    every = (paid + free).double()
    share, of_paid = every / every.sum().clamp_min(1), paid.double() / paid.sum().clamp_min(1)
    whole = share + of_paid
    return share / whole.where(whole > 0, torch.ones_like(whole))


@dataclass(frozen=True)
class SaliencyClusters:
    """Novelty of the cluster of each label's saliency map, times the kurtosis of the map.

    The encoder and the clusters are fitted anew in each round, to a sample of paid rows and candidates; nothing of the
    labels enters but which rows were paid.

    Args:
        clusters: of the k-means.
        steps: of the auto-encoder's training.
        seed: of sample, encoder and clusters; the round is added to it.
        reducer: from labels to one number, for units that are whole rows.

    Raises:
        ConfigError: when there would be no cluster or no step.
    """

    clusters: int = 10
    steps: int = 100
    seed: int = 0
    reducer: Reducer = field(default_factory=LabelMean)
    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.steps < 1:
            raise ConfigError(
                f"SaliencyClusters: found {self.clusters} clusters and {self.steps} steps, expected at least 1 of each"
            )

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        from medal.representativeness.clusters import kmeans  # it loads scikit-learn

        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        known, labels = paid_table(pool).rows, len(pool.labels)
        known = known[~torch.isin(known, rows)]  # a row with findings left to ask is a candidate
        both = torch.sort(torch.cat([known, rows])).values
        seed = Seed(self.seed) / f"round {pool.round}" / "saliency"
        maps = (normal for _, normal in _maps(outputs, both))
        sample = sampled(maps, len(both) * labels, SAMPLE, seed / "sample")
        encoder, _ = train_map_encoder(sample, seed, self.steps)
        _, centres = kmeans(encoder.codes(sample[None])[0].double(), self.clusters, seed / "k-means")
        counts = [torch.zeros(len(centres), dtype=torch.long) for _ in range(2)]
        number, peaked = torch.empty(len(rows), labels, dtype=torch.long), torch.empty(len(rows), labels)
        for positions, count in zip((known, rows), counts, strict=True):
            start = 0
            for raw, normal in _maps(outputs, positions):
                nearest = _nearest(encoder, normal, centres)
                count += torch.bincount(nearest.flatten(), minlength=len(centres))
                if positions is rows:
                    number[start : start + len(raw)], peaked[start : start + len(raw)] = nearest, map_kurtosis(raw)
                start += len(raw)
        return to_units(cluster_novelty(*counts)[number] * peaked, line, candidates, pool, self.reducer)


def _maps(outputs: Outputs, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Maps as they are and as the encoder reads them, block by block."""
    for chunk in outputs.chunks(frozenset({"saliency"}), rows):
        yield chunk.get("saliency"), normal_maps(chunk.get("saliency"))


def _nearest(encoder: MapEncoder, maps: Tensor, centres: Tensor) -> Tensor:
    """Cluster of each map, (R, L) int64; ties to the lower one."""
    codes = encoder.codes(maps).flatten(0, 1).double()
    return torch.cdist(codes, centres).argmin(1).unflatten(0, maps.shape[:2])
