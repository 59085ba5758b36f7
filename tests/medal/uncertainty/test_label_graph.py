from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from maps import outputs_of, pool_of, uniform
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from medal.outputs import Chunk
from medal.uncertainty import (
    LabelGraphEntropy,
    LabelGraphNovelty,
    LabelSeparation,
    departure,
    interaction_graph,
    separation,
    spectral_entropy,
)


def random_maps(rows: int, labels: int = 4, seed: int = 0) -> Tensor:
    return uniform(rows, labels, 5, 5, seed=seed) - 0.4


def cliques(*sizes: int) -> Tensor:
    return torch.block_diag(*[torch.ones(n, n, dtype=torch.float64) for n in sizes])[None]


def test_edges_are_cosines():
    maps = random_maps(3)
    graph = interaction_graph(maps)
    for row in range(3):
        np.testing.assert_allclose(
            graph[row], cosine_similarity(maps[row].clamp_min(0).flatten(1).double()), atol=1e-12
        )
    torch.testing.assert_close(graph, graph.transpose(1, 2))


def test_disjoint_maps_have_no_edges_and_equal_maps_have_all():
    apart = torch.eye(4).view(1, 4, 2, 2)
    assert torch.equal(interaction_graph(apart)[0], torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(interaction_graph(uniform(1, 1, 3, 3).expand(1, 4, 3, 3))[0], cliques(4)[0])


def test_a_label_without_evidence_is_a_node_without_edges():
    maps = torch.ones(1, 3, 2, 2)
    maps[0, 1] = -1
    graph = interaction_graph(maps)[0]
    assert graph[1].tolist() == [0, 1, 0]
    assert torch.isfinite(interaction_graph(torch.zeros(2, 3, 2, 2))).all()


@given(st.integers(0, 500), st.floats(1e-20, 1e20))
def test_strength_of_the_evidence_changes_nothing(seed: int, scale: float):
    maps = random_maps(2, seed=seed)
    maps[:, 1] *= scale
    torch.testing.assert_close(
        interaction_graph(maps), interaction_graph(random_maps(2, seed=seed)), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("count", [1, 2, 3, 14])
def test_closed_forms_of_the_empty_and_the_full_graph(count: int):
    empty, full = torch.eye(count, dtype=torch.float64)[None], cliques(count)
    assert separation(empty).tolist() == [[0.0] * count]
    assert separation(full).tolist() == [[0.0 if count == 1 else -1.0] * count]
    assert spectral_entropy(empty).tolist() == [0.0]
    # eigenvalues 0 and, L - 1 times, L / (L - 1)
    assert float(spectral_entropy(full)) == pytest.approx(math.log(max(count - 1, 1)), abs=1e-9)


def test_spectral_entropy_does_not_see_how_strong_all_edges_are():
    weak = 0.1 * cliques(5) + 0.9 * torch.eye(5, dtype=torch.float64)
    assert float(spectral_entropy(weak)) == pytest.approx(math.log(4))


def test_spectral_entropy_of_two_cliques():
    # clique of n: n / (n - 1), n - 1 times, summing to n; so shares of 5 are 2/5 once and 3/10 twice
    expected = -(0.4 * math.log(0.4) + 2 * 0.3 * math.log(0.3))
    assert float(spectral_entropy(cliques(2, 3))) == pytest.approx(expected)
    # a node without edges adds nothing
    assert float(spectral_entropy(cliques(2, 3, 1))) == pytest.approx(expected)


def test_spectral_entropy_of_a_path():
    # normalised Laplacian of the path of three nodes: 0, 1, 2
    path = torch.tensor([[[1.0, 1, 0], [1, 1, 1], [0, 1, 1]]]).double()
    assert float(spectral_entropy(path)) == pytest.approx(-(math.log(1 / 3) / 3 + 2 / 3 * math.log(2 / 3)))


def test_spectral_entropy_agrees_with_scipy():
    from scipy.sparse.csgraph import laplacian

    graph = interaction_graph(random_maps(4, labels=6))
    for row in range(4):
        edges = graph[row].numpy() - np.eye(6)
        values = np.linalg.eigvalsh(laplacian(edges, normed=True)).clip(1e-300)
        share = values / values.sum()
        assert float(spectral_entropy(graph)[row]) == pytest.approx(-(share * np.log(share)).sum())


def test_separation_is_minus_the_mean_edge():
    graph = interaction_graph(random_maps(3))
    off = (graph.sum((1, 2)) - 4) / 12
    torch.testing.assert_close(separation(graph).mean(1), -off)
    assert separation(graph).min() >= -1


def test_departure_gives_the_frobenius_distance():
    graph, reference = interaction_graph(random_maps(3)), interaction_graph(random_maps(1, seed=9))[0]
    torch.testing.assert_close(
        departure(graph, reference).square().sum(1).sqrt(), torch.linalg.norm(graph - reference, dim=(1, 2))
    )


def test_renaming_labels_changes_nothing():
    maps = random_maps(3)
    graph, renamed = interaction_graph(maps), interaction_graph(maps[:, [2, 0, 3, 1]])
    torch.testing.assert_close(spectral_entropy(renamed), spectral_entropy(graph))
    torch.testing.assert_close(separation(renamed).mean(1), separation(graph).mean(1))


def test_pointwise_scores_read_label_by_label():
    maps, pool = random_maps(3), pool_of(3, torch.empty(0, 4))
    chunk = Chunk(torch.arange(3), {"saliency": maps})
    graph = interaction_graph(maps)
    torch.testing.assert_close(LabelSeparation()(chunk, chunk.rows, pool), separation(graph).float())
    entropies = LabelGraphEntropy()(chunk, chunk.rows, pool)
    assert entropies.shape == (3, 4)
    torch.testing.assert_close(entropies.mean(1), spectral_entropy(graph).float())


def test_novelty_is_the_distance_to_the_mean_graph_of_paid_images():
    maps, pool = random_maps(11), pool_of(11, torch.zeros(6, 4))
    found = LabelGraphNovelty()(outputs_of(saliency=maps), pool.candidates(), pool)
    graph = interaction_graph(maps)
    torch.testing.assert_close(found, torch.linalg.norm(graph[6:] - graph[:6].mean(0), dim=(1, 2)).float())
    order = torch.tensor([3, 0, 5, 1, 2, 4, 9, 6, 10, 8, 7])
    again = LabelGraphNovelty()(outputs_of(saliency=maps[order], batch=3), pool.candidates(), pool)
    torch.testing.assert_close(again, found[order[6:] - 6])


def test_without_paid_images_the_reference_has_no_edges():
    maps, pool = random_maps(4), pool_of(4, torch.empty(0, 4))
    found = LabelGraphNovelty()(outputs_of(saliency=maps), pool.candidates(), pool)
    edges = interaction_graph(maps) - torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(found, edges.square().sum((1, 2)).sqrt().float())


def test_all_equal_and_empty_maps_and_a_single_candidate_are_finite():
    for maps in (torch.zeros(5, 4, 3, 3), torch.ones(5, 4, 3, 3)):
        for paid in (0, 4):
            pool = pool_of(5, torch.zeros(paid, 4))
            found = LabelGraphNovelty()(outputs_of(saliency=maps), pool.candidates()[-1:], pool)
            assert torch.isfinite(found).all()
            assert paid == 0 or found.tolist() == [0.0]


def test_findings_take_the_departure_of_their_own_label():
    maps, pool = random_maps(5), pool_of(5, torch.zeros(3, 4), "finding")
    found = LabelGraphNovelty()(outputs_of(saliency=maps), pool.candidates(), pool)
    graph = interaction_graph(maps)
    torch.testing.assert_close(found.view(2, 4), departure(graph[3:], graph[:3].mean(0)).float())
