"""Label-interaction graphs: which labels of an image share their evidence (survey, section 5.1.1).

Mahapatra, Poellinger, Reyes, "Graph node based interpretability guided sample selection for active learning", IEEE TMI
2022: for each image a graph with a node for each label and edges that say how alike the labels' saliency maps are; the
graph is brought to one number. Here the edge is the cosine of the rectified maps themselves, so that A is in [0, 1]; no
encoder and no graph network is trained.

Three numbers: minus the mean edge (labels that are told apart), the spectral entropy of the normalised Laplacian (how
many interactions are equally strong), and the Frobenius distance to the mean graph of paid images (the paper's choice:
images whose interactions are unlike those that are labelled). A label without any evidence is a node without edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.outputs import Chunk, Outputs
from medal.pool import Pool
from medal.reducers import Reducer
from medal.uncertainty.saliency import places
from medal.uncertainty.whole_pool import paid_table, to_units


def interaction_graph(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l l"]:
    """Cosines of the rectified maps of each image.

    Args:
        maps: (R, L, *S), signed.

    Returns:
        (R, L, L) float64 in [0, 1], symmetric, 1 on the diagonal; 0 beside it for a map that is nowhere above 0.

    Example:
        >>> interaction_graph(torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]], [[0.0, -1.0]]]])).round(decimals=4)[0]
        tensor([[1.0000, 0.7071, 0.0000],
                [0.7071, 1.0000, 0.0000],
                [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    x = places(maps)
    # by the largest value first, so that faint maps keep their direction
    x = x / x.amax(-1, keepdim=True).where(x.amax(-1, keepdim=True) > 0, x.new_ones(()))
    length = x.square().sum(-1, keepdim=True).sqrt()
    x = x / length.where(length > 0, torch.ones_like(length))
    graph = (x @ x.transpose(-1, -2)).clamp(0, 1)
    nodes = torch.eye(maps.shape[1], dtype=torch.bool, device=maps.device)
    return torch.where(nodes, graph.new_ones(()), graph)


def separation(graph: Float[Tensor, "r l l"]) -> Float[Tensor, "r l"]:
    """Minus the mean edge of each label (its degree): how well its evidence is told apart from that of the others.

    Args:
        graph: (R, L, L) with 1 on the diagonal.

    Returns:
        (R, L) in [-1, 0]; its mean over labels is minus the mean edge of the graph. 0 where there is one label alone.

    Example:
        >>> separation(torch.eye(3)[None]).tolist()
        [[0.0, 0.0, 0.0]]
    """
    count = graph.shape[-1]
    degree = (graph.sum(-1) - graph.diagonal(dim1=-2, dim2=-1)) / max(count - 1, 1)
    return 0 - degree


def spectral_entropy(graph: Float[Tensor, "r l l"]) -> Float[Tensor, " r"]:
    """Entropy of the eigenvalues of the normalised Laplacian, as shares of their sum.

    Args:
        graph: (R, L, L) with weights of at least 0; the diagonal takes no part.

    Returns:
        (R,) in nats, in [0, log L): log(L - 1) where all edges are alike, 0 for one pair of labels, and 0 for a graph
        without edges, whose Laplacian is 0.

    Example:
        >>> spectral_entropy(torch.ones(1, 4, 4).double()).round(decimals=4)
        tensor([1.0986], dtype=torch.float64)
    """
    nodes = torch.eye(graph.shape[-1], dtype=torch.bool, device=graph.device)
    edges = graph.double().masked_fill(nodes, 0)
    degree = edges.sum(-1)
    linked = degree > 0
    root = degree.where(linked, torch.ones_like(degree)).rsqrt()
    # a node without edges has a row of zeros (Chung, "Spectral graph theory", 1997)
    laplacian = torch.diag_embed(linked.double()) - root[..., None] * edges * root[..., None, :]
    values = torch.linalg.eigvalsh(laplacian).clamp_min(0)
    total = values.sum(-1, keepdim=True)
    share = values / total.where(total > 0, torch.ones_like(total))
    return torch.special.entr(share).sum(-1).to(graph.dtype)


def departure(graph: Float[Tensor, "r l l"], reference: Float[Tensor, "l l"]) -> Float[Tensor, "r l"]:
    """Distance of each label's edges to those of a reference; their root sum of squares is the Frobenius distance.

    Args:
        graph: (R, L, L).
        reference: (L, L).

    Returns:
        (R, L), at least 0.

    Example:
        >>> departure(torch.ones(1, 2, 2), torch.eye(2)).tolist()
        [[1.0, 1.0]]
    """
    return (graph - reference).square().sum(-1).sqrt()


@dataclass(frozen=True)
class LabelSeparation:
    """Minus the mean cosine of each label's saliency map with those of the other labels, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return separation(interaction_graph(outputs.get("saliency"))).float()


@dataclass(frozen=True)
class LabelGraphEntropy:
    """Spectral entropy of the label-interaction graph in nats; the same for all labels of an image, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        maps = outputs.get("saliency")
        return spectral_entropy(interaction_graph(maps)).float()[:, None].expand(-1, maps.shape[1])


@dataclass(frozen=True)
class RootSumOfSquares:
    """Length of the vector of local scores; brings the departures of labels to the Frobenius distance of the graph."""

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        return local.flatten(1).square().sum(1).sqrt() if local.ndim > 1 else local


@dataclass(frozen=True)
class LabelGraphNovelty:
    """Distance of the label-interaction graph to the mean graph of paid images.

    Before anything was paid, the reference is the graph without edges.

    Args:
        reducer: from labels to one number, for units that are whole rows; the default gives the Frobenius distance.
    """

    reducer: Reducer = field(default_factory=RootSumOfSquares)
    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        known = paid_table(pool).rows
        reference = torch.eye(len(pool.labels), dtype=torch.float64)
        if len(known):
            reference = sum((g.sum(0) for g in _graphs(outputs, known)), torch.zeros_like(reference)) / len(known)
        local = torch.cat([departure(graph, reference) for graph in _graphs(outputs, rows)])
        return to_units(local, line, candidates, pool, self.reducer)


def _graphs(outputs: Outputs, rows: Tensor) -> Iterator[Tensor]:
    """Graphs of rows, block by block."""
    return (interaction_graph(chunk.get("saliency")) for chunk in outputs.chunks(frozenset({"saliency"}), rows))
