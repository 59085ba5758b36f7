from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from toy import planted

from medal.errors import ConfigError
from medal.learners import Beta, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.heads import Head
from medal.learners.training_part import Batch, RunningPart, TrainingContext, Unlabelled
from medal.pool import Annotations, LabelTable, Pool
from medal.seeding import Seed
from medal.semi_supervised.gates import Confident, Evident, Gate
from medal.semi_supervised.momentum import MomentumPseudoLabel, RunningMomentum, SmoothedPredictions
from medal.split import Split
from medal.units import Units

SURE = Confident(0.9)


def batch(progress: float = 1.0) -> Batch:
    empty = torch.empty(0)
    return Batch(0, progress, Seed(0), empty.long(), empty, empty)


def told(part: RunningMomentum, progress: float = 1.0) -> float:
    return float(part.loss(batch(progress)).detach())


def context(model: nn.Module, open_: Tensor, head: Head | None = None) -> TrainingContext:
    """Rows that are all unlabelled; their images are vectors of their own line and ones."""
    source, _ = planted(len(open_), seed=0)
    source.vectors = torch.stack([torch.arange(float(len(open_))), torch.ones(len(open_))], 1)
    head = head or Sigmoid()
    rows = torch.arange(len(open_))
    return TrainingContext(
        model=model,
        another=lambda number: model,
        source=source,
        table=LabelTable(torch.empty(0, dtype=torch.long), torch.empty(0, open_.shape[1])),
        unlabelled=Unlabelled(rows, source.ids, open_),
        head=head,
        loss=head.loss,
        read=lambda raw: raw,
        augment=None,
        batch=len(open_),
        device=torch.device("cpu"),
        steps=10,
        round=0,
        seed=Seed(0) / "part",
    )


class Says(nn.Module):
    """The same logits for every row, to be changed between steps."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def running(model: nn.Module, open_: Tensor, head: Head | None = None, **settings: object) -> RunningMomentum:
    return MomentumPseudoLabel(start=0.0, full=0.0, **settings).begin(context(model, open_, head))  # type: ignore[arg-type]


def test_closed_form_of_the_moving_average():
    kept = SmoothedPredictions(("a", "b"), 1, 0.9)
    for p in (0.2, 1.0, 1.0):
        found = kept.update(("a",), torch.tensor([[p]]))
    # 0.2; 0.9 0.2 + 0.1; 0.9 0.28 + 0.1
    assert float(found) == pytest.approx(0.352)
    assert math.isnan(kept.state_dict()["b"][0])
    for k in range(300):
        found = kept.update(("a",), torch.tensor([[0.7]]))
        assert k > 250 or 0.352 <= float(found) <= 0.7
    assert float(found) == pytest.approx(0.7)


def test_state_is_kept_under_the_id_whatever_the_order():
    one, two = SmoothedPredictions("abc", 2, 0.5), SmoothedPredictions("cab", 2, 0.5)
    table = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 1])
    for values in table:
        one.update("abc", values)
        two.update("cab", values[order])
    assert one.state_dict() == two.state_dict()


def test_no_momentum_is_the_prediction_itself():
    kept = SmoothedPredictions("a", 1, 0.0)
    kept.update("a", torch.tensor([[0.1]]))
    assert float(kept.update("a", torch.tensor([[0.8]]))) == pytest.approx(0.8)


def test_labels_are_those_of_the_smoothed_prediction_and_are_assigned_anew():
    model = Says(6.0)
    part = running(model, torch.ones(4, 1, dtype=torch.bool), gate=SURE)
    assert told(part) == pytest.approx(math.log1p(math.exp(-6)), rel=1e-4)
    with torch.no_grad():
        model.logits.fill_(-6.0)
    # p_bar = 0.9 sigmoid(6) + 0.1 sigmoid(-6) = 0.898: the odd step neither turns the answer nor passes
    assert told(part) == 0
    silent = 0
    while not (value := told(part)):
        silent += 1
    # p_bar - low falls by a tenth a step until p_bar is below 0.1
    low = 1 / (1 + math.exp(6))
    after = 0.9 * (1 - low) + 0.1 * low
    assert silent + 1 == math.ceil(math.log((0.1 - low) / (after - low)) / math.log(0.9))
    assert value == pytest.approx(math.log1p(math.exp(-6)), rel=1e-4), "the answer has turned to absent"


def test_with_momentum_a_label_outlives_one_odd_step():
    model = Says(9.0)
    part = running(model, torch.ones(3, 1, dtype=torch.bool), gate=Confident(0.8))
    part.loss(batch())
    with torch.no_grad():
        model.logits.fill_(-9.0)
    assert told(part) == pytest.approx(9, rel=1e-3), "trained towards present still"
    plain = running(model, torch.ones(3, 1, dtype=torch.bool), gate=Confident(0.8), momentum=0.0)
    assert told(plain) < 1e-3


def test_only_confident_open_labels_are_trained_and_few_of_them_weigh_little():
    open_ = torch.tensor([[True, True, False], [True, True, True]])
    part = running(Says(6.0, 0.1, 6.0), open_, gate=SURE)
    value = told(part)
    # 5 open labels, of which label 0 of both rows and label 2 of one pass
    assert value == pytest.approx(3 / 5 * math.log1p(math.exp(-6)), rel=1e-4)


def test_the_loss_has_a_gradient_in_the_student_on_what_passed_alone():
    model = Says(6.0, 0.1)
    running(model, torch.ones(4, 2, dtype=torch.bool), gate=SURE).loss(batch()).backward()
    assert model.logits.grad is not None
    assert float(model.logits.grad[0]) < 0
    assert float(model.logits.grad[1]) == 0


@pytest.mark.parametrize("open_", [torch.zeros(0, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)])
def test_without_open_labels_there_is_no_loss(open_: Tensor):
    part = running(Says(6.0, 6.0), open_, gate=SURE)
    assert told(part) == 0


def test_before_the_start_nothing_is_taken_in():
    part = MomentumPseudoLabel(start=0.5, full=0.5).begin(context(Says(6.0), torch.ones(2, 1, dtype=torch.bool)))
    assert told(part, 0.4) == 0
    assert all(math.isnan(v[0]) for v in part.predictions.state_dict().values())
    assert told(part, 0.5) > 0


def test_gates_of_evidence_are_asked_with_evidence():
    part = running(Says(30.0, -30.0), torch.ones(3, 1, dtype=torch.bool), Beta(), gate=Evident())
    assert told(part) > 0
    with pytest.raises(ConfigError, match="Sigmoid gives no evidence"):
        running(Says(1.0), torch.ones(3, 1, dtype=torch.bool), Sigmoid(), gate=Evident())


@dataclass(frozen=True)
class Watched:
    """The part, and what became of it."""

    part: MomentumPseudoLabel
    seen: list[RunningMomentum] = field(default_factory=list)

    def begin(self, context: TrainingContext) -> RunningPart:
        self.seen.append(self.part.begin(context))
        return self.seen[-1]


def test_a_learner_trains_with_it_repeatably_and_the_pool_is_not_told():
    source, truth = planted(60, seed=0)
    parts = tuple("validation" if i < 6 else "test" if i < 16 else "pool" for i in range(60))
    pool = Pool(Units("image", source.ids, source.groups), source.labels, Split(source.ids, source.groups, parts))
    paid = pool.candidates()[:12]
    target = truth.values[paid].clone()
    target[0, 1] = math.nan
    pool.answer(Annotations(tuple(pool.units.names(paid)), target, "image", (1.0,) * 12, "test"))
    gate: Gate = Confident(0.6)
    watched = Watched(MomentumPseudoLabel(gate, start=0.1, full=0.2))
    states = []
    for _ in range(2):
        learner = Supervised(
            source, Perceptron(8, 0.0), Parts(pseudo=watched), steps=40, batch=12, lr=5e-3, dropout=0.0
        )
        learner.fit(pool, pool.table(), Seed(0))
        states.append(learner.state_dict())
    plain = Supervised(source, Perceptron(8, 0.0), steps=40, batch=12, lr=5e-3, dropout=0.0)
    plain.fit(pool, pool.table(), Seed(0))
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], v) for k, v in plain.state_dict().items())
    first, second = (w.predictions.state_dict() for w in watched.seen)
    assert str(first) == str(second)
    # the pool part alone, and of the paid rows the one with an open label
    assert set(first) == {source.ids[i] for i in range(16, 60) if i not in set(paid[1:].tolist())}
    assert len(pool.candidates()) == 44 - 12
    assert len(pool.table()) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 1.0}, r"MomentumPseudoLabel\.momentum: found 1\.0, expected at least 0 and below 1"),
        ({"weight": -1.0}, r"MomentumPseudoLabel\.weight: found -1\.0"),
        ({"start": 0.7}, r"found start 0\.7 after full 0\.6"),
        ({"ratio": 0.0}, r"MomentumPseudoLabel\.ratio: found 0\.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        MomentumPseudoLabel(**settings)  # type: ignore[arg-type]
