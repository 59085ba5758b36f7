from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import fminbound

from medal.calibration import Temperature
from medal.errors import ConfigError, OutputError
from medal.learners.heads import Beta, Head, Sigmoid
from medal.metrics import auroc, ece

NAN = math.nan
HEADS: list[Head] = [Sigmoid(), Beta(), Beta(evidence="relu"), Beta(evidence="exp")]


def sigmoid_data(temperatures: list[float], n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are T times too large for the labels that were drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    honest = 1.5 * torch.randn(n, len(temperatures), generator=generator) - 0.5
    targets = torch.bernoulli(torch.sigmoid(honest), generator=generator)
    return honest * torch.tensor(temperatures), targets


def noisy_data(head: Head, n: int = 60, labels: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    width = labels if head.kind == "bernoulli" else 2 * labels
    targets = torch.bernoulli(torch.full((n, labels), 0.4), generator=generator)
    raw = 3 * torch.randn(n, width, generator=generator)
    sign = 2 * targets - 1
    raw += sign if head.kind == "bernoulli" else torch.stack([sign, -sign], -1).flatten(1)
    return raw, targets


def score(head: Head, raw: torch.Tensor, targets: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    return head.nll(head.temper(raw.double(), temperature.double()), targets).sum(0)


def test_recovers_the_temperature_of_generated_logits():
    wanted = [0.4, 1.0, 2.5, 6.0]
    raw, targets = sigmoid_data(wanted, 40_000)
    found = Temperature().fit(Sigmoid(), raw, targets)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0.05)


def test_recovers_the_temperature_of_generated_evidence():
    generator = torch.Generator().manual_seed(0)
    honest = 4 * torch.rand(40_000, 2, generator=generator)
    p = (honest[:, 0] + 1) / (honest.sum(1) + 2)
    targets = torch.bernoulli(p, generator=generator)[:, None]
    found = Temperature().fit(Beta(evidence="relu"), 5 * honest, targets)
    assert float(found) == pytest.approx(5, rel=0.1)


def test_agrees_with_scipy_label_by_label():
    raw, targets = sigmoid_data([2.0, 0.7, 4.0], 400, seed=3)
    found = Temperature().fit(Sigmoid(), raw, targets)
    for label in range(3):
        z, y = raw[:, label].double().numpy(), targets[:, label].double().numpy()

        def loss(log_t: float, z: np.ndarray = z, y: np.ndarray = y) -> float:
            scaled = z / math.exp(log_t)
            return float((np.logaddexp(0, scaled) - y * scaled).sum())

        best = float(np.asarray(fminbound(loss, math.log(0.05), math.log(20), xtol=1e-9)))
        assert float(found[label]) == pytest.approx(math.exp(best), rel=1e-4)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_finds_the_lowest_valley_and_never_worsens(head: Head):
    dense = torch.linspace(math.log(0.05), math.log(20), 300, dtype=torch.float64).exp()
    for seed in range(3):
        raw, targets = noisy_data(head, seed=seed)
        found = Temperature().fit(head, raw, targets)
        reached = score(head, raw, targets, found)
        assert (reached <= score(head, raw, targets, torch.ones(4)) + 1e-9).all()
        brute = torch.stack([score(head, raw, targets, t.expand(4)) for t in dense]).amin(0)
        assert (reached <= brute + 1e-6).all()


def test_labels_with_few_examples_keep_one():
    raw, _ = sigmoid_data([3.0, 3.0, 3.0, 3.0], 200)
    targets = torch.zeros(200, 4)
    targets[:4, 0] = 1  # 4 positives
    targets[:5, 1] = 1  # 5 positives
    targets[:, 2] = 1
    targets[:4, 2] = 0  # 4 negatives
    targets[:, 3] = NAN  # nothing paid
    found = Temperature(min_each=5).fit(Sigmoid(), raw, targets)
    assert found[[0, 2, 3]].tolist() == [1, 1, 1]
    assert float(found[1]) != 1


def test_outputs_that_no_temperature_changes_keep_one():
    targets = torch.tensor([[0.0], [1.0]]).repeat(10, 1)
    assert Temperature().fit(Sigmoid(), torch.zeros(20, 1), targets).tolist() == [1]


def test_uncertain_labels_do_not_count():
    raw, targets = sigmoid_data([3.0], 12)
    targets[:, 0] = torch.tensor([1.0] * 4 + [-1.0] * 4 + [0.0] * 4)
    assert Temperature(min_each=5).fit(Sigmoid(), raw, targets).tolist() == [1]


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_unknown_rows_change_nothing(head: Head):
    raw, targets = noisy_data(head, n=80)
    more = torch.cat([targets, torch.full((40, 4), NAN), torch.full((40, 4), -1.0)])
    found = Temperature().fit(head, torch.cat([raw, raw[:40] * 7, raw[40:] * 9]), more)
    torch.testing.assert_close(found, Temperature().fit(head, raw, targets))


def test_labels_are_fitted_one_by_one():
    raw, targets = noisy_data(Sigmoid())
    order = torch.tensor([2, 0, 3, 1])
    together = Temperature().fit(Sigmoid(), raw, targets)
    torch.testing.assert_close(Temperature().fit(Sigmoid(), raw[:, order], targets[:, order]), together[order])
    torch.testing.assert_close(Temperature().fit(Sigmoid(), raw[:, :1], targets[:, :1]), together[:1])


def test_same_input_gives_the_same_bits():
    raw, targets = noisy_data(Beta())
    assert torch.equal(Temperature().fit(Beta(), raw, targets), Temperature().fit(Beta(), raw, targets))


def test_told_apart_without_error_ends_at_the_lower_bound():
    targets = torch.tensor([[0.0], [1.0]]).repeat(10, 1)
    found = Temperature().fit(Sigmoid(), 4 * targets - 2, targets)
    assert float(found) == pytest.approx(0.05)


def test_hopelessly_confident_guesses_end_at_the_upper_bound():
    generator = torch.Generator().manual_seed(0)
    targets = torch.bernoulli(torch.full((400, 1), 0.5), generator=generator)
    raw = 500 * torch.randn(400, 1, generator=generator)
    assert float(Temperature().fit(Sigmoid(), raw, targets)) == pytest.approx(20)


def test_calibrates_without_changing_the_ranking():
    raw, targets = sigmoid_data([4.0], 4000, seed=1)
    fresh, truth = sigmoid_data([4.0], 4000, seed=2)
    head = Sigmoid()
    temperature = Temperature().fit(head, raw, targets)
    before = head.outputs(fresh[:, None])["marginals"][:, 0, 0]
    after = head.outputs(head.temper(fresh, temperature)[:, None])["marginals"][:, 0, 0]
    wrong, right = ece(before, truth[:, 0]), ece(after, truth[:, 0])
    assert wrong is not None
    assert right is not None
    assert right < 0.25 * wrong
    assert auroc(after, truth[:, 0]) == pytest.approx(auroc(before, truth[:, 0]), abs=1e-4)


def test_errors_name_the_mend():
    with pytest.raises(ConfigError, match="min_each: found 0, expected at least 1"):
        Temperature(min_each=0)
    with pytest.raises(ConfigError, match=r"found bounds 2\.0 and 20.0, expected 0 < low < 1 < high"):
        Temperature(low=2.0)
    with pytest.raises(OutputError, match="is not finite; lower the learning rate"):
        Temperature().fit(Sigmoid(), torch.tensor([[NAN]]), torch.zeros(1, 1))


@pytest.mark.skipif(hasattr(Temperature.fit, "__wrapped__"), reason="the run-time type checker refuses it first")
def test_wrong_number_of_rows_is_an_error():
    with pytest.raises(OutputError, match="3 raw outputs for 4 validation labels"):
        Temperature().fit(Sigmoid(), torch.zeros(3, 1), torch.zeros(4, 1))
