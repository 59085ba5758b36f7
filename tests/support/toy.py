"""A toy source of vectors with planted signal, and a whole campaign on it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch import Tensor

from medal.budget import Budget, CostModel
from medal.examine import Examiner
from medal.learners import Beta, MCDropout, Parts, Perceptron, Sigmoid, Supervised
from medal.loop import ActiveLoop
from medal.oracle import Simulated
from medal.pool import Pool
from medal.seeding import Seed
from medal.source import Truth
from medal.split import split_by_group
from medal.strategy import Strategy
from medal.study import Study
from medal.torchvision_ops import prepare_torchvision
from medal.units import Units

prepare_torchvision()
# imported late elsewhere; the kill test's server forks after them, so that no kill falls into an import
import lightning.fabric  # noqa: E402, F401
import sklearn.metrics  # noqa: E402, F401


@dataclass
class VectorSource:
    """Vectors instead of images."""

    vectors: Tensor
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    name: str = "toy"
    splits: tuple[str, ...] | None = None
    meta: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    digest: str = "toy"
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = tuple(self.vectors.shape[1:])

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        return self.vectors[torch.as_tensor(rows)].clone()

    def preview(self, row: int) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("L", (4, 4), row % 256).save(buffer, "PNG")
        return buffer.getvalue()


def names(count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(f"u{i:05d}" for i in range(count)), tuple(f"p{i // 2:05d}" for i in range(count))


def planted(count: int, seed: int, noise: bool = False) -> tuple[VectorSource, Truth]:
    """Two labels; most units say only what is obvious, one in seven lies where the two classes meet.

    With `noise`, the labels are coins that know nothing of the vectors. The hard units are those whose first two
    numbers are small (`hard_rows`).
    """
    g = torch.Generator().manual_seed(seed)
    ids, groups = names(count)
    side = torch.randint(0, 2, (count, 2), generator=g).float()
    hard = torch.rand(count, generator=g) < 0.15
    easy = (2 * side - 1) * 3 + 0.2 * torch.randn(count, 2, generator=g)
    # near the border a second direction decides, which the easy units never show
    border = 0.3 * torch.randn(count, 2, generator=g)
    cue = (2 * side - 1) * (0.5 + torch.rand(count, 2, generator=g))
    vectors = torch.cat([torch.where(hard[:, None], border, easy), torch.where(hard[:, None], cue, torch.zeros(1))], 1)
    vectors = torch.cat([vectors, 0.5 * torch.randn(count, 4, generator=g)], 1)
    if noise:
        side = torch.randint(0, 2, (count, 2), generator=g).float()
    source = VectorSource(vectors, ("left", "right"), ids, groups)
    return source, Truth(source.labels, side)


def hard_rows(source: VectorSource) -> Tensor:
    """The units that are not obvious, (N,) bool."""
    return source.vectors[:, :2].abs().amax(1) < 1.6


def campaign(
    folder: Path,
    strategy: Strategy,
    *,
    source: VectorSource,
    truth: Truth,
    seed: int = 0,
    kind: str = "image",
    head: str = "sigmoid",
    rounds: int = 4,
    per_round: float = 8,
    start: int = 12,
    validation: int = 6,
    steps: int = 60,
    unit: str = "items",
    min_positives: int = 5,
    exam: Truth | None = None,
) -> ActiveLoop:
    units = Units(kind, source.ids, source.groups, source.labels if kind == "finding" else ())
    split = split_by_group(source.ids, source.groups, seed=0, test=0.3, validation=0.1)
    parts = Parts(head=Beta() if head == "beta" else Sigmoid(), members=MCDropout(8) if head == "mc" else None)
    learner = Supervised(source, Perceptron(16, 0.2), parts, steps=steps, batch=16, lr=5e-3, dropout=0.2)
    cost = CostModel()
    if (folder / "ledger.db").exists():
        study = Study.open(folder)
    else:
        study = Study.create(
            folder, {"task": "toy", "arm": strategy.name, "seed": seed, "split": {"hash": split.digest()}}
        )
    return ActiveLoop(
        study=study,
        source=source,
        pool=Pool(units, source.labels, split),
        learner=learner,
        strategy=strategy,
        oracle=Simulated(truth, source.ids, cost),
        budget=Budget(per_round, rounds, unit),
        cost=cost,
        validation=validation,
        start=start,
        seed=Seed(seed),
        examine=Examiner(exam or truth, min_positives=min_positives),
    )


def killable(folder: Path, ready: Event) -> None:
    """Plays the kill test's campaign; it goes on where it stopped."""
    from medal.sampling import TopK
    from medal.strategy import Step
    from medal.uncertainty import BALD

    torch.set_num_threads(1)
    source, truth = planted(160, seed=5)
    bald = Strategy(Step(TopK(), BALD()), name="bald")
    ready.set()
    loop = campaign(folder, bald, source=source, truth=truth, head="mc", rounds=6)
    loop.run()
    loop.study.close()
