"""The end-to-end learner: what it trains, says, saves and brings back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from learned import EVERY, ROWS, everything, learner_of, material, pay, trained
from safetensors.torch import save_file
from torch import Tensor
from toy import VectorSource

from medal.calibration.temperature import Temperature
from medal.contracts import check_learner
from medal.errors import ConfigError
from medal.learners import Beta, MCDropout, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.losses import prevalence_weights
from medal.learners.protocol import Learner
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.source import Truth
from medal.split import Split
from medal.units import Units

# ---- outputs


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (Parts(), {"marginals", "features"}),
        (Parts(Beta()), {"marginals", "features", "evidence"}),
        (Parts(Sigmoid(), MCDropout(3)), {"marginals", "features", "draws"}),
        (Parts(Beta(), MCDropout(3)), {"marginals", "features", "draws", "evidence"}),
    ],
)
def test_outputs_have_the_axes_that_scores_read(parts: Parts, names: set[str]):
    outputs = trained(parts)[0].predict()
    assert outputs.available == names
    shapes = {"marginals": (ROWS, 1, 2), "features": (ROWS, 8), "draws": (ROWS, 3, 2), "evidence": (ROWS, 2, 2)}
    found = everything(outputs)
    assert {n: tuple(v.shape) for n, v in found.items()} == {n: shapes[n] for n in names}
    for name in names & {"marginals", "draws"}:
        assert float(found[name].min()) >= 0
        assert float(found[name].max()) <= 1
    if "evidence" in names:
        assert float(found["evidence"].min()) >= 1
        mean = found["evidence"][..., 0] / found["evidence"].sum(-1)
        torch.testing.assert_close(mean, found["marginals"][:, 0])


def test_marginals_are_head_of_backbone_without_dropout():
    learner, source, *_ = trained()
    model = learner.model
    with torch.no_grad():
        expected = torch.sigmoid(model.head(model.backbone(source.vectors)))
    found = everything(learner.predict())
    torch.testing.assert_close(found["marginals"][:, 0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["features"], model.backbone(source.vectors).detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("parts", [Parts(Sigmoid(), MCDropout(4)), Parts(Beta(), MCDropout(4))])
def test_cached_outputs_are_the_same_bit_for_bit(tmp_path: Path, parts: Parts):
    learner = trained(parts)[0]
    plain = everything(learner.predict())
    for _ in range(2):
        cached = everything(learner.predict(tmp_path))
        assert all(torch.equal(cached[n], plain[n]) for n in plain)


def test_a_rows_draws_do_not_depend_on_what_else_is_read():
    learner = trained(Parts(Sigmoid(), MCDropout(4)))[0]
    whole = learner.predict().get("draws", EVERY)
    some = torch.tensor([50, 3, 17])
    torch.testing.assert_close(learner.predict().get("draws", some), whole[some], rtol=0, atol=1e-6)


def test_outputs_can_be_changed_in_place_by_who_reads_them():
    learner = trained()[0]
    chunk = next(learner.predict().chunks(frozenset({"marginals"}), EVERY))
    assert not chunk.get("marginals").requires_grad
    assert not chunk.get("marginals").is_inference()
    chunk.get("marginals").mul_(2)


def test_outputs_stay_those_of_the_model_that_gave_them():
    for warm in (False, True):
        learner, _, _, pool = trained(warm=warm)
        held = learner.predict()
        first = everything(held)
        learner.fit(pool, pool.table(), Seed(1))
        assert all(torch.equal(v, first[n]) for n, v in everything(held).items())
        assert not torch.equal(everything(learner.predict())["marginals"], first["marginals"])


def test_nothing_is_said_before_training():
    learner = learner_of(material()[0])
    for ask in (learner.predict, learner.state_dict, lambda: learner.model):
        with pytest.raises(ConfigError, match="the learner was not trained yet; call fit or load_state_dict first"):
            ask()


# ---- training


def test_training_finds_the_signal():
    source, truth, pool = material()
    learner = learner_of(source, steps=150, lr=1e-2)
    report = learner.fit(pool, pay(pool, truth, EVERY[:40]), Seed(0))
    p = learner.predict().get("marginals", EVERY[40:])[:, 0]
    assert float(((p > 0.5).float() == truth.values[40:]).float().mean()) > 0.85
    assert report.steps == 150
    assert report.extras == {"temperature": [1.0, 1.0]}


def test_every_round_starts_anew_unless_warm():
    source, truth, pool = material()
    table = pay(pool, truth, EVERY[:30])
    cold, twice = learner_of(source), learner_of(source)
    cold.fit(pool, table, Seed(1))
    twice.fit(pool, table, Seed(0))
    twice.fit(pool, table, Seed(1))
    first, second = cold.state_dict(), twice.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_warm_start_goes_on_and_can_be_resumed():
    source, truth, pool = material()
    table = pay(pool, truth, EVERY[:30])
    warm, resumed, cold = learner_of(source, warm=True), learner_of(source, warm=True), learner_of(source)
    warm.fit(pool, table, Seed(0))
    state = warm.state_dict()
    warm.fit(pool, table, Seed(1))
    resumed.load_state_dict(state, Seed(0))
    resumed.fit(pool, table, Seed(1))
    cold.fit(pool, table, Seed(1))
    first, second, third = warm.state_dict(), resumed.state_dict(), cold.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], third[k]) for k in first)


def test_the_seed_decides_initialisation_and_order():
    source, truth, pool = material()
    table = pay(pool, truth, EVERY[:30])
    states = []
    for seed in (0, 0, 1):
        learner = learner_of(source)
        learner.fit(pool, table, Seed(seed))
        states.append(learner.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_positives_are_weighted_by_the_paid_labels():
    source, truth, pool = material()
    seen: list[Tensor | None] = []

    class Noting(Sigmoid):
        def loss(
            self, raw: Tensor, targets: Tensor, progress: float = 1.0, positive_weight: Tensor | None = None
        ) -> Tensor:
            seen.append(positive_weight)
            return super().loss(raw, targets, progress, positive_weight)

    table = pay(pool, truth, EVERY[:30])
    learner_of(source, Parts(Noting()), steps=2).fit(pool, table, Seed(0))
    assert len(seen) == 2
    assert seen[0] is not None
    assert torch.equal(seen[0], prevalence_weights(table.target))


def test_augmentation_is_applied_to_training_alone():
    calls: list[int] = []

    def noting(images: Tensor, generator: torch.Generator) -> Tensor:
        calls.append(len(images))
        return images

    learner = trained(augment=noting)[0]
    assert calls == [8] * 10
    everything(learner.predict())
    assert calls == [8] * 10


# ---- calibration


def test_temperature_is_fitted_on_the_paid_validation_rows():
    source, truth, pool = material()
    pay(pool, truth, EVERY[40:])
    noisy = truth.values.clone()
    noisy[:30:2] = 1 - noisy[:30:2]
    table = pay(pool, Truth(truth.labels, noisy), EVERY[:30])
    parts = Parts(calibration=Temperature(min_each=2))
    plain, tempered = learner_of(source, steps=100), learner_of(source, parts, steps=100)
    plain.fit(pool, table, Seed(0))
    report = tempered.fit(pool, table, Seed(0))
    fitted = tempered.state_dict()["temperature"]
    assert report.extras["temperature"] == pytest.approx(fitted.tolist(), abs=1e-6)
    assert not torch.allclose(fitted, torch.ones(2))
    logits = torch.logit(plain.predict().get("marginals", EVERY)[:, 0].double())
    expected = torch.sigmoid(logits / fitted)
    torch.testing.assert_close(tempered.predict().get("marginals", EVERY)[:, 0].double(), expected, rtol=0, atol=1e-5)
    # and it fits the validation labels no worse than no temperature
    p = torch.stack([torch.sigmoid(logits), expected])[:, 40:].clamp(1e-6, 1 - 1e-6)
    y = truth.values[40:].double()
    nll = -(y * p.log() + (1 - y) * (1 - p).log()).mean((1, 2))
    assert float(nll[1]) <= float(nll[0]) + 1e-9


def test_without_validation_labels_there_is_no_temperature():
    learner = trained(Parts(calibration=Temperature()))[0]
    assert learner.state_dict()["temperature"].tolist() == [1.0, 1.0]


def test_draws_are_tempered_too():
    learner = trained(Parts(Sigmoid(), MCDropout(3)))[0]
    state = learner.state_dict()
    before = learner.predict().get("draws", EVERY)
    learner.load_state_dict(state | {"temperature": torch.tensor([2.0, 1.0])}, Seed(0))
    after = learner.predict().get("draws", EVERY)
    torch.testing.assert_close(torch.logit(after[..., 0]), torch.logit(before[..., 0]) / 2, rtol=1e-4, atol=1e-5)
    assert torch.equal(after[..., 1], before[..., 1])


# ---- state


@pytest.mark.parametrize("parts", [Parts(), Parts(Beta(), MCDropout(3))])
def test_a_state_brings_every_output_back_in_another_process(parts: Parts):
    learner, source, *_ = trained(parts)
    other = learner_of(source, parts)
    other.load_state_dict(learner.state_dict(), Seed(0))
    first, second = everything(learner.predict()), everything(other.predict())
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_a_state_is_a_copy_and_can_be_saved(tmp_path: Path):
    learner, _, _, pool = trained(warm=True)
    state = learner.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    copy = {k: v.clone() for k, v in state.items()}
    learner.fit(pool, pool.table(), Seed(1))
    assert all(torch.equal(v, copy[k]) for k, v in state.items())
    assert state.keys() >= {"temperature", "head.weight"}
    before = learner.predict().get("marginals", EVERY)
    for value in learner.state_dict().values():
        value.fill_(3)
    assert torch.equal(learner.predict().get("marginals", EVERY), before)


def test_a_state_of_another_network_is_refused_and_changes_nothing():
    learner, source, _, pool = trained()
    first = everything(learner.predict())
    wide = Supervised(source, Perceptron(9), steps=2, batch=8)
    wide.fit(pool, pool.table(), Seed(0))
    odd = wide.state_dict() | {"temperature": torch.full((2,), 5.0)}
    with pytest.raises(ConfigError, match="the weights do not fit the recipe's network and data: "):
        learner.load_state_dict(odd, Seed(3))
    second = everything(learner.predict())
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_training_starts_from_a_checkpoint_and_a_state_does_not_need_it(tmp_path: Path):
    source, truth, pool = material()
    table = pay(pool, truth, EVERY[:30])
    path = tmp_path / "w.safetensors"
    begun = {k: torch.full_like(v, 0.123) for k, v in Perceptron(8).build(8).state_dict().items()}
    save_file(begun, path)
    learner = learner_of(source, init=path, steps=1, lr=1e-9)
    learner.fit(pool, table, Seed(0))
    state = learner.state_dict()
    assert all(torch.allclose(state[f"backbone.{k}"], v, atol=1e-6) for k, v in begun.items())
    path.unlink()
    again = learner_of(source, init=path)
    again.load_state_dict(state, Seed(0))
    first, second = everything(learner.predict()), everything(again.predict())
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_a_state_goes_to_the_learners_own_device(monkeypatch: pytest.MonkeyPatch):
    learner, source, *_ = trained()
    asked: list[str] = []
    monkeypatch.setattr(
        "medal.learners.supervised.place", lambda device: (asked.append(device), torch.device("meta"))[1]
    )
    other = learner_of(source, device="auto")
    other.load_state_dict(learner.state_dict(), Seed(0))
    assert asked == ["auto"]
    assert {p.device.type for p in other.model.parameters()} == {"meta"}


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_has_bounds(dropout: float):
    with pytest.raises(ConfigError, match=r"learner\.dropout: found .*, expected at least 0 and below 1"):
        learner_of(material()[0], dropout=dropout)


def test_contract():
    source = material()[0]
    learner = learner_of(source, Parts(Beta(), MCDropout(3), Temperature()))
    assert isinstance(learner, Learner)
    check_learner(learner, source)


def test_probabilities_mean_prevalence_although_positives_are_weighted() -> None:
    """One label in ten, unrelated to the vectors: the best answer is a tenth for everybody, not a half."""
    generator = torch.Generator().manual_seed(3)
    ids = tuple(f"u{i:04d}" for i in range(400))
    source = VectorSource(torch.randn(400, 3, generator=generator), ("rare",), ids, ids)
    pool = Pool(Units("image", ids, ids), ("rare",), Split(ids, ids, ("pool",) * 400))
    target = (torch.rand(400, 1, generator=generator) < 0.1).float()
    pool.answer(Annotations(ids, target, "image", (1.0,) * 400, "test"))
    learner = Supervised(source, Perceptron(0), Parts(head=Sigmoid()), steps=300, batch=64, lr=1e-2, dropout=0.0)
    learner.fit(pool, pool.table(), Seed(0))
    assert float(learner.state_dict()["positive_weight"][0]) > 6
    told = learner.predict().get("marginals", torch.arange(400)).mean()
    assert abs(float(told) - float(target.mean())) < 0.04
