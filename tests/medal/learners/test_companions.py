"""Parts that take part in training, and the networks that they leave to predict: one, another one, or several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from learned import EVERY, ROWS, everything, learner_of, material, pay, trained
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medal.calibration.temperature import Temperature
from medal.errors import ConfigError
from medal.learners import Beta, MCDropout, Parts, Sigmoid
from medal.learners.losses import prevalence_weights
from medal.learners.training_part import Batch, RunningPart, TrainingContext, TrainingPart
from medal.seeding import Seed
from medal.source import Truth


@dataclass(frozen=True)
class Shrinking:
    """Adds a penalty on the weights of the student; `offer` are the networks that it says predict."""

    value: float = 10.0
    offer: str = "student"

    def begin(self, context: TrainingContext) -> RunningPart:
        return RunningShrinking(self, context)


class RunningShrinking(RunningPart):
    def __init__(self, part: Shrinking, context: TrainingContext) -> None:
        self.part, self.context = part, context
        self.second = context.another(1)
        self.modules = (self.second,)

    def loss(self, batch: Batch) -> Tensor:
        models = (self.context.model, self.second)
        return self.part.value * torch.stack([p.square().sum() for m in models for p in m.parameters()]).sum()

    def networks(self) -> tuple[nn.Module, ...]:
        model = self.context.model
        return {"student": (), "second": (self.second,), "pair": (model, self.second)}[self.part.offer]


@pytest.mark.parametrize("slot", ["auxiliary", "consistency", "pseudo", "domain", "generative"])
def test_every_slot_takes_part_in_training(slot: str):
    slots: dict[str, Any] = {slot: Shrinking()}
    plain, other = trained()[0], trained(Parts(**slots))[0]
    assert Parts(**slots).training == slots
    assert isinstance(slots[slot], TrainingPart)
    sizes = [sum(float(v.square().sum()) for v in x.state_dict().values()) for x in (plain, other)]
    assert sizes[1] < sizes[0]


def test_a_part_is_told_what_the_training_is():
    seen: list[TrainingContext] = []

    class Noting(Shrinking):
        def begin(self, context: TrainingContext) -> RunningPart:
            seen.append(context)
            return super().begin(context)

    learner, source, _, pool = trained(Parts(Beta(), domain=Noting()))
    context = seen[0]
    assert (context.steps, context.batch, context.round) == (10, 8, 0)
    assert context.source is source
    assert torch.equal(context.table.rows, pool.table().rows)
    assert context.unlabelled.rows.tolist() == list(range(30, 40))
    assert context.seed.path == ("parts", "domain")
    raw = torch.randn(3, 4)
    weight = prevalence_weights(pool.table().target)
    assert torch.equal(context.read(raw), Beta().unweight(raw, weight))
    target = torch.tensor([[1.0, 0.0]] * 3)
    assert torch.equal(context.loss(raw, target, 0.5), Beta().loss(raw, target, 0.5, weight))
    assert context.head == Beta()
    assert next(iter(learner.model.parameters())) is next(iter(context.model.parameters()))


# ---- several networks


PAIR = Parts(consistency=Shrinking(0.0, "pair"))


def test_a_part_can_have_another_network_predict():
    student, second = trained()[0], trained(Parts(consistency=Shrinking(0.01, "second")))[0]
    assert len(second.networks) == 1
    assert set(second.state_dict()) == set(student.state_dict())
    assert second.predict().available == {"marginals", "features"}
    assert not torch.equal(second.state_dict()["head.weight"], student.state_dict()["head.weight"])


def test_a_pair_gives_its_mean_and_its_draws():
    learner, source, *_ = trained(Parts(Beta(), consistency=Shrinking(0.0, "pair")))
    found = everything(learner.predict())
    assert {n: tuple(v.shape) for n, v in found.items()} == {
        "marginals": (ROWS, 1, 2), "draws": (ROWS, 2, 2), "evidence": (ROWS, 2, 2), "features": (ROWS, 8)
    }  # fmt: skip
    torch.testing.assert_close(found["marginals"], found["draws"].mean(1, keepdim=True), rtol=0, atol=1e-7)
    assert float((found["draws"][:, 0] - found["draws"][:, 1]).abs().max()) > 1e-3
    first, second = learner.networks
    assert learner.model is first
    read = learner.parts.head.unweight
    with torch.no_grad():
        each = [
            Beta().concentration(read(m(source.vectors), learner.state_dict()["positive_weight"]))
            for m in (first, second)
        ]
    torch.testing.assert_close(found["evidence"], torch.stack(each).mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["draws"][:, 1], each[1][..., 0] / each[1].sum(-1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["features"], first.backbone(source.vectors).detach(), rtol=0, atol=1e-6)


def test_one_output_of_a_pair_at_a_time_is_the_same(tmp_path: Path):
    learner = trained(Parts(Beta(), consistency=Shrinking(0.0, "pair")))[0]
    found = everything(learner.predict())
    outputs = learner.predict(tmp_path)
    for name in ("draws", "evidence", "marginals", "features"):
        assert torch.equal(outputs.get(name, EVERY), found[name])


def test_a_members_part_draws_from_each_network():
    learner = trained(Parts(Sigmoid(), MCDropout(3), consistency=Shrinking(0.0, "pair")))[0]
    draws = learner.predict().get("draws", EVERY)
    assert draws.shape == (ROWS, 6, 2)
    alone = trained(Parts(Sigmoid(), MCDropout(3)))[0].predict().get("draws", EVERY)
    # the second network at weight 0 leaves the first as it is, draws and all
    assert torch.equal(draws[:, :3], alone)


@pytest.mark.parametrize("members", [None, MCDropout(3)])
def test_a_pair_comes_back_from_its_state(tmp_path: Path, members: MCDropout | None):
    parts = Parts(Beta(), members, consistency=Shrinking(0.0, "pair"))
    learner, source, *_ = trained(parts)
    save_file(learner.state_dict(), tmp_path / "w.safetensors")
    other = learner_of(source, parts)
    other.load_state_dict(load_file(tmp_path / "w.safetensors"), Seed(0))
    assert len(other.networks) == 2
    first, second = everything(learner.predict()), everything(other.predict())
    assert all(torch.equal(first[n], second[n]) for n in first)
    # a recipe without the part, as at deployment, reads the same state
    bare = learner_of(source, Parts(Beta(), members))
    bare.load_state_dict(learner.state_dict(), Seed(0))
    assert torch.equal(bare.predict().get("evidence", EVERY), first["evidence"])


def test_a_damaged_companion_is_refused():
    learner, source, *_ = trained(PAIR)
    state = learner.state_dict()
    del state["companion.1.head.weight"]
    with pytest.raises(ConfigError, match="the weights do not fit the recipe's network and data: "):
        learner_of(source, PAIR).load_state_dict(state, Seed(0))


def test_a_warm_pair_goes_on_with_both_networks():
    source, truth, pool = material()
    table = pay(pool, truth, EVERY[:30])
    warm, resumed = (learner_of(source, PAIR, warm=True, steps=1, lr=1e-12, weight_decay=0.0) for _ in range(2))
    warm.fit(pool, table, Seed(0))
    before = warm.state_dict()
    resumed.load_state_dict(before, Seed(0))
    for learner in (warm, resumed):
        learner.fit(pool, table, Seed(1))
        after = learner.state_dict()
        assert all(torch.allclose(after[k], before[k], atol=1e-9) for k in before)
    assert not torch.equal(before["head.weight"], before["companion.1.head.weight"])


def test_the_temperature_of_a_pair_suits_its_mean():
    source, truth, pool = material()
    pay(pool, truth, EVERY[40:])
    noisy = truth.values.clone()
    noisy[:30:2] = 1 - noisy[:30:2]
    table = pay(pool, Truth(truth.labels, noisy), EVERY[:30])
    plain = learner_of(source, PAIR, steps=100)
    tempered = learner_of(source, replace(PAIR, calibration=Temperature(min_each=2)), steps=100)
    for learner in (plain, tempered):
        learner.fit(pool, table, Seed(0))
    fitted = tempered.state_dict()["temperature"].double()
    assert not torch.allclose(fitted, torch.ones(2, dtype=torch.float64))
    logits, y = torch.logit(plain.predict().get("draws", EVERY[40:]).double()), truth.values[40:].double()

    def score(temperature: Tensor) -> Tensor:
        p = torch.sigmoid(logits / temperature).mean(1).clamp(1e-9, 1 - 1e-9)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean(0)

    for factor in (0.8, 1.25):
        better = score(fitted) <= score(fitted * factor) + 1e-6
        assert bool(better[(fitted > 0.06) & (fitted < 19)].all())
    assert bool((score(fitted) <= score(torch.ones(2, dtype=torch.float64)) + 1e-6).all())


def test_two_parts_cannot_both_choose_who_predicts():
    parts = Parts(consistency=Shrinking(0.0, "second"), pseudo=Shrinking(0.0, "pair"))
    with pytest.raises(ConfigError, match=r"learner\.parts: consistency and pseudo both decide which network predicts"):
        trained(parts)
    trained(replace(parts, pseudo=Shrinking(0.0)))
