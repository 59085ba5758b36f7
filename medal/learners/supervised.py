"""The end-to-end learner: backbone, dropout, head; trained with paid labels, calibrated on paid validation labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from medal.calibration.temperature import Temperature
from medal.errors import ConfigError
from medal.learners.checkpoint import start_from
from medal.learners.heads import Head, Sigmoid
from medal.learners.losses import prevalence_weights
from medal.learners.members import Members
from medal.learners.protocol import FitReport, Network
from medal.learners.training import Augmentation, Schedule, TrainingPart, place, train
from medal.outputs import OutputCache, Outputs
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent


@dataclass(frozen=True)
class Parts:
    """What surveyed works add to a learner, in named slots.

    Args:
        head: turns features into outputs of one kind, with its loss.
        members: several opinions from one training.
        calibration: fitted on paid validation labels.
        auxiliary: further loss.
        consistency: further loss.
        pseudo: further loss.
        domain: further loss.
        generative: further loss.
    """

    head: Head = field(default_factory=Sigmoid)
    members: Members | None = None
    calibration: Temperature | None = None
    auxiliary: TrainingPart | None = None
    consistency: TrainingPart | None = None
    pseudo: TrainingPart | None = None
    domain: TrainingPart | None = None
    generative: TrainingPart | None = None

    @property
    def training(self) -> tuple[TrainingPart, ...]:
        """Parts that add a loss."""
        slots = (self.auxiliary, self.consistency, self.pseudo, self.domain, self.generative)
        return tuple(p for p in slots if p is not None)


class Classifier(nn.Module):
    """Backbone, dropout and head as one module: images to raw outputs."""

    def __init__(self, backbone: nn.Module, features: int, dropout: float, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.backbone(images)))


class Supervised:
    """Trains a network end to end.

    Args:
        source: pixels, without labels.
        network: builds the backbone.
        parts: what surveyed works add.
        steps: optimiser steps of each training.
        epochs: passes over the paid labels instead of `steps`.
        batch: rows in a training batch.
        lr: peak learning rate.
        weight_decay: of AdamW.
        dropout: before the head, in [0, 1).
        augment: variation of training images.
        warm: start from the previous round's weights instead of anew.
        init: local checkpoint (safetensors or a state dict) that every training starts from.
        device: "cpu", "cuda" or "auto".
        predict_batch: rows in a block of prediction.
    """

    def __init__(
        self,
        source: Source,
        network: Network,
        parts: Parts | None = None,
        steps: int = 200,
        epochs: float | None = None,
        batch: int = 32,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        dropout: float = 0.2,
        augment: Augmentation | None = None,
        warm: bool = False,
        init: Path | None = None,
        device: str = "cpu",
        predict_batch: int = 64,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ConfigError(f"learner.dropout: found {dropout}, expected at least 0 and below 1")
        self.source = source
        self.parts = parts or Parts()
        self._network = network
        self.schedule = Schedule(steps, epochs, batch, lr, weight_decay)
        self._dropout = dropout
        self._augment = augment
        self.warm = warm
        self._init = init
        self._device = device
        self._predict_batch = predict_batch
        self._seed = Seed(0)
        self._model: Classifier | None = None
        self._weight = torch.ones(len(source.labels))
        self._temperature = torch.ones(len(source.labels))

    def _fresh(self, seed: Seed) -> Classifier:
        """An untrained model; its initialisation is the same in every process."""
        with (seed / "initialisation").globally():
            backbone = self._network.build(self.source.shape[0])
            head = self.parts.head.build(backbone.features, len(self.source.labels))
            return Classifier(backbone, backbone.features, self._dropout, head)

    def _beginning(self, seed: Seed) -> Classifier:
        """What a training starts from. The last round's model is copied: its outputs may still be read."""
        if self.warm and self._model is not None:
            return deepcopy(self._model)
        model = self._fresh(seed)
        if self._init is not None:
            start_from(model, self._init)
        return model

    @property
    def model(self) -> Classifier:
        """The trained model.

        Raises:
            ConfigError: before the first training.
        """
        if self._model is None:
            raise ConfigError("the learner was not trained yet; call fit or load_state_dict first")
        return self._model

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        """Trains on `annotations`, then calibrates on the pool's paid validation labels."""
        model = self._beginning(seed)
        weight = prevalence_weights(annotations.target)

        def loss(raw: Tensor, target: Tensor, part: float) -> Tensor:
            return self.parts.head.loss(raw, target, part, weight.to(raw.device))

        report = train(
            model,
            self.source,
            annotations,
            loss,
            self.schedule,
            seed,
            augment=self._augment,
            parts=self.parts.training,
            device=self._device,
            progress=progress,
        )
        self._model, self._seed, self._weight = model, seed, weight
        self._temperature = self._calibrated(pool.table("validation"))
        extras = {"temperature": [round(float(t), 6) for t in self._temperature]}
        return replace(report, extras=extras)

    def _calibrated(self, table: LabelTable) -> Tensor:
        ones = torch.ones(len(self.source.labels))
        if self.parts.calibration is None or not len(table):
            return ones
        blocks = [self._raw(self.source.images(rows)) for rows in table.rows.split(self._predict_batch)]
        raw = self.parts.head.unweight(torch.cat(blocks).cpu(), self._weight)
        return self.parts.calibration.fit(self.parts.head, raw, table.target)

    @torch.no_grad()
    def _raw(self, images: Tensor) -> Tensor:
        return self.model.eval()(images.to(next(self.model.parameters()).device))

    def predict(self, cache: Path | None = None, progress: Progress = silent) -> Outputs:
        """Lazy outputs over all rows of the source: marginals, features, evidence and draws where the parts give them.

        They stay those of this model when the learner is trained again.

        Raises:
            ConfigError: before the first training.
        """
        names = {"marginals", "features"}
        names |= {"evidence"} if self.parts.head.kind == "evidence" else set()
        names |= {"draws"} if self.parts.members is not None else set()
        store = OutputCache(cache, len(self.source.ids)) if cache is not None else None
        produce = partial(self._produce, self.model.eval(), self._reading(), self._seed)
        return Outputs(names, produce, store, self._predict_batch, progress=progress)

    def _reading(self) -> Callable[[Tensor], Tensor]:
        """How raw outputs of the present model are read: weights of positives undone, then tempered."""
        head, weight, temperature = self.parts.head, self._weight.clone(), self._temperature.clone()
        return lambda raw: head.temper(head.unweight(raw, weight.to(raw.device)), temperature.to(raw.device))

    @torch.no_grad()
    def _produce(
        self, model: Classifier, read: Callable[[Tensor], Tensor], seed: Seed, rows: Tensor, names: frozenset[str]
    ) -> Mapping[str, Tensor]:
        images = self.source.images(rows).to(next(model.parameters()).device)
        head, made = self.parts.head, {}
        if names - {"draws"}:
            features = model.backbone(images)
            made |= head.outputs(read(model.head(features))[:, None])
            made["features"] = features
        if "draws" in names and self.parts.members is not None:
            raw = self.parts.members.draws(model, images, seed / "draws")
            made["draws"] = head.outputs(read(raw))["marginals"]
        return made

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of backbone and head, and what their outputs are read with: weights of positives, temperatures."""
        state = {k: v.detach().cpu().clone().contiguous() for k, v in self.model.state_dict().items()}
        return state | {"positive_weight": self._weight.clone(), "temperature": self._temperature.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        """Brings a trained state back.

        Raises:
            ConfigError: when it is of another network, head or number of labels.
        """
        weights = dict(state)
        ones = torch.ones(len(self.source.labels))
        weight, temperature = weights.pop("positive_weight", ones), weights.pop("temperature", ones)
        model = self._fresh(seed)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(f"the weights do not fit the recipe's network and data: {reason}") from None
        self._model, self._seed = model.eval().to(place(self._device)), seed
        self._weight, self._temperature = weight.clone(), temperature.clone()
