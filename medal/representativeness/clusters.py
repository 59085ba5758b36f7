"""K-means clusters of features, for queries that want one unit of each kind of image (survey, section 3.2).

scikit-learn's k-means, in mini-batches above 50 clusters as the released code of TypiClust does it, on one thread: with
more, the order of its sums depends on the clock.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from medal.errors import OutputError
from medal.seeding import Seed

MANY = 50
"""Clusters above which mini-batches are used."""
BATCH = 5000
SAME = 1e-12
"""Squared distance, relative to the larger of the two norms, below which two features are one and the same."""


def check_features(features: Tensor, who: str) -> Tensor:
    """Features as float64, refused when they are no table of finite numbers.

    Args:
        features: (N, F).
        who: named in the error.

    Raises:
        OutputError: on another shape, or on a value that is not finite.
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise OutputError(f"{who}: features {tuple(features.shape)} {features.dtype}; expected (N, F) floating point")
    if not torch.isfinite(features).all():
        row = int(torch.nonzero(~torch.isfinite(features).all(1))[0])
        raise OutputError(f"{who}: the features of row {row} are not finite; mend the learner")
    return features.double()


def unit_length(features: Tensor) -> Tensor:
    """Features brought to length 1; a feature of zeros stays.

    Example:
        >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return F.normalize(features, dim=1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances (A, B) of float64 features (A, F) and (B, F).

    Example:
        >>> squared_distances(torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[3.0, 4.0]]).double())
        tensor([[25.]], dtype=torch.float64)
    """
    norm_a, norm_b = a.square().sum(1)[:, None], b.square().sum(1)[None]
    squared = (norm_a + norm_b - 2 * a @ b.T).clamp_min_(0)
    # rounding leaves about 1e-16 between equal features, and its root would break ties
    return squared.masked_fill_(squared <= SAME * torch.maximum(norm_a, norm_b), 0.0)


def kmeans(features: Tensor, count: int, seed: Seed) -> tuple[Tensor, Tensor]:
    """K-means on float64 features.

    Args:
        features: (N, F), N at least 1.
        count: clusters; no more than N are made.
        seed: of the first centres.

    Returns:
        Cluster of each row, (N,) int64, and the centres, (K, F) float64; a cluster may be empty where rows coincide.
    """
    count = min(count, len(features))
    options: dict[str, Any] = {"n_clusters": count, "n_init": 10, "random_state": seed.integer() % 2**32}
    if count > MANY:
        options |= {"n_init": 3, "batch_size": BATCH}
    model = KMeans(**options) if count <= MANY else MiniBatchKMeans(**options)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # fewer distinct rows than clusters: the empty ones are passed over
        cluster = model.fit_predict(features.numpy())
    centres = np.asarray(model.cluster_centers_, dtype=np.float64)
    return torch.from_numpy(np.asarray(cluster, dtype=np.int64)), torch.from_numpy(centres)


def first_largest(values: Tensor) -> int:
    """Index of the largest value; of values that differ by rounding alone, the lowest index.

    Example:
        >>> first_largest(torch.tensor([1.0, 3.0, 3.0]))
        1
    """
    best = values.max()
    return int(torch.nonzero(values >= best - 1e-9 * best.abs())[0])
