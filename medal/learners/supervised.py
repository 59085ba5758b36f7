"""The end-to-end learner: backbone, dropout, head; trained with paid labels, calibrated on paid validation labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from medal.calibration.temperature import Temperature
from medal.errors import ConfigError
from medal.learners.checkpoint import start_from
from medal.learners.heads import Head, Sigmoid
from medal.learners.losses import prevalence_weights
from medal.learners.members import Members, Mixture
from medal.learners.protocol import Augmentation, FitReport, Loss, Network
from medal.learners.saliency import class_activation_maps, class_scores, has_maps
from medal.learners.training import Schedule, place, train
from medal.learners.training_part import RunningPart, TrainingContext, TrainingPart, unlabelled
from medal.outputs import OutputCache, Outputs
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent

SLOTS = ("auxiliary", "consistency", "pseudo", "domain", "generative")
"""Slots of parts that take part in training."""
COMPANION = "companion."
"""Beginning of the names of a further network's tensors in a state; its number follows."""


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
    def training(self) -> dict[str, TrainingPart]:
        """Parts that add a loss, by slot."""
        return {slot: part for slot in SLOTS if (part := getattr(self, slot)) is not None}


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
        self._networks: tuple[Classifier, ...] = ()
        self._weight = torch.ones(len(source.labels))
        self._temperature = torch.ones(len(source.labels))

    def _fresh(self, seed: Seed) -> Classifier:
        """An untrained model; its initialisation is the same in every process."""
        with (seed / "initialisation").globally():
            backbone = self._network.build(self.source.shape[0])
            head = self.parts.head.build(backbone.features, len(self.source.labels))
            return Classifier(backbone, backbone.features, self._dropout, head)

    def _beginning(self, seed: Seed, number: int = 0) -> Classifier:
        """What a training starts from. The last round's networks are copied: their outputs may still be read.

        Args:
            seed: of the training.
            number: 0 for the network that the labels train, from 1 for a companion.
        """
        if self.warm and number < len(self._networks):
            return deepcopy(self._networks[number])
        model = self._fresh(seed / f"companion {number}" if number else seed)
        if self._init is not None:
            start_from(model, self._init)
        return model

    @property
    def model(self) -> Classifier:
        """The trained model; the first where several predict together.

        Raises:
            ConfigError: before the first training.
        """
        return self.networks[0]

    @property
    def networks(self) -> tuple[Classifier, ...]:
        """The networks that predict together; a training part may leave a pair, or a teacher in place of its student.

        Raises:
            ConfigError: before the first training.
        """
        if not self._networks:
            raise ConfigError("the learner was not trained yet; call fit or load_state_dict first")
        return self._networks

    @property
    def offers(self) -> frozenset[str]:
        """Names of outputs that `predict` may give once trained; training parts can leave several networks: draws."""
        names = {"marginals", "features"}
        names |= {"saliency"} if has_maps(self.source.shape) else set()
        names |= {"evidence"} if self.parts.head.kind == "evidence" else set()
        return frozenset(names | ({"draws"} if self.parts.members is not None or self.parts.training else set()))

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        """Trains on `annotations`, then calibrates on the pool's paid validation labels."""
        model = self._beginning(seed)
        weight = prevalence_weights(annotations.target)

        def loss(raw: Tensor, target: Tensor, done: float) -> Tensor:
            return self.parts.head.loss(raw, target, done, weight.to(raw.device))

        running = self._begun(model, pool, annotations, loss, weight, seed)
        report = train(
            model,
            self.source,
            annotations,
            loss,
            self.schedule,
            seed,
            augment=self._augment,
            parts=running,
            device=self._device,
            progress=progress,
        )
        self._networks, self._seed, self._weight = _speaking(model, running), seed, weight
        self._temperature = self._calibrated(pool.table("validation"))
        extras = {"temperature": [round(float(t), 6) for t in self._temperature]}
        return replace(report, extras=extras)

    def _begun(
        self, model: Classifier, pool: Pool, table: LabelTable, loss: Loss, weight: Tensor, seed: Seed
    ) -> dict[str, RunningPart]:
        """The training parts at the beginning of a training, by slot."""
        if not self.parts.training or not len(table):
            return {}
        device, looked_at = place(self._device), unlabelled(pool, table)
        model.to(device)
        context = TrainingContext(
            model=model,
            another=lambda number: self._beginning(seed, number).to(device),
            source=self.source,
            table=table,
            unlabelled=looked_at,
            head=self.parts.head,
            loss=loss,
            read=lambda raw: self.parts.head.unweight(raw, weight.to(raw.device)),
            augment=self._augment,
            batch=self.schedule.batch,
            device=device,
            steps=self.schedule.count(len(table)),
            round=pool.round,
            seed=seed / "parts",
        )
        return {s: p.begin(replace(context, seed=seed / "parts" / s)) for s, p in self.parts.training.items()}

    def _calibrated(self, table: LabelTable) -> Tensor:
        ones = torch.ones(len(self.source.labels))
        if self.parts.calibration is None or not len(table):
            return ones
        head = self.parts.head
        blocks = [self._raw(self.source.images(rows)) for rows in table.rows.split(self._predict_batch)]
        raw = head.unweight(torch.cat(blocks).cpu(), self._weight)
        if len(self.networks) == 1:
            return self.parts.calibration.fit(head, raw[:, 0], table.target)
        return self.parts.calibration.fit(Mixture(head), raw, table.target)

    @torch.no_grad()
    def _raw(self, images: Tensor) -> Tensor:
        """Raw outputs of every network, (R, M, D)."""
        images = images.to(next(self.model.parameters()).device)
        return torch.stack([model.eval()(images) for model in self.networks], dim=1)

    def predict(self, cache: Path | None = None, progress: Progress = silent) -> Outputs:
        """Lazy outputs over all rows: marginals and features; saliency, evidence and draws where there are any.

        Images have saliency, tables of features have none; head and members give evidence and draws.
        Several networks that predict together give the mean of their probabilities and of their evidence, the features
        of the first, and draws: one a network, or those that the members part draws from each.
        They stay those of these networks when the learner is trained again.

        Raises:
            ConfigError: before the first training.
        """
        drawn = self.parts.members is not None or len(self.networks) > 1
        names = self.offers - (frozenset() if drawn else {"draws"})
        store = OutputCache(cache, len(self.source.ids)) if cache is not None else None
        networks = tuple(model.eval() for model in self.networks)
        produce = partial(self._produce, networks, self._reading(), self._seed)
        return Outputs(names, produce, store, self._predict_batch, progress=progress)

    def _reading(self) -> Callable[[Tensor], Tensor]:
        """How raw outputs of the present networks are read: weights of positives undone, then tempered."""
        head, weight, temperature = self.parts.head, self._weight.clone(), self._temperature.clone()
        return lambda raw: head.temper(head.unweight(raw, weight.to(raw.device)), temperature.to(raw.device))

    @torch.no_grad()
    def _produce(
        self,
        networks: tuple[Classifier, ...],
        read: Callable[[Tensor], Tensor],
        seed: Seed,
        rows: Tensor,
        names: frozenset[str],
    ) -> Mapping[str, Tensor]:
        images = self.source.images(rows).to(next(networks[0].parameters()).device)
        head, members, made = self.parts.head, self.parts.members, {}
        if names - {"draws", "saliency"} or ("draws" in names and members is None):
            features = [model.backbone(images) for model in networks]
            raw = torch.stack([m.head(f) for m, f in zip(networks, features, strict=True)], dim=1)
            made |= head.outputs(read(raw))
            made["features"] = features[0]
            if len(networks) > 1:
                made["draws"] = made["marginals"]
                made["marginals"] = made["marginals"].mean(1, keepdim=True)
        if "draws" in names and members is not None:
            seeds = [seed / "draws", *(seed / f"draws of companion {n}" for n in range(1, len(networks)))]
            raw = torch.cat([members.draws(m, images, s) for m, s in zip(networks, seeds, strict=True)], dim=1)
            made["draws"] = head.outputs(read(raw))["marginals"]
        if "saliency" in names:
            maps = [
                class_activation_maps(m.backbone, lambda f, m=m: class_scores(head, read(m.head(f))), images)
                for m in networks
            ]
            made["saliency"] = torch.stack(maps).mean(0)
        return made

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of every network, and what their outputs are read with: weights of positives, temperatures."""
        state = {
            f"{f'{COMPANION}{number}.' if number else ''}{k}": v.detach().cpu().clone().contiguous()
            for number, model in enumerate(self.networks)
            for k, v in model.state_dict().items()
        }
        return state | {"positive_weight": self._weight.clone(), "temperature": self._temperature.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        """Brings a trained state back.

        Raises:
            ConfigError: when it is of another network, head or number of labels.
        """
        weights = dict(state)
        ones = torch.ones(len(self.source.labels))
        weight, temperature = weights.pop("positive_weight", ones), weights.pop("temperature", ones)
        networks = [self._fresh(seed) for _ in range(1 + _companions(weights))]
        try:
            for number, model in enumerate(networks):
                model.load_state_dict(_weights_of(weights, number))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(f"the weights do not fit the recipe's network and data: {reason}") from None
        device = place(self._device)
        self._networks, self._seed = tuple(model.eval().to(device) for model in networks), seed
        self._weight, self._temperature = weight.clone(), temperature.clone()


def _speaking(model: Classifier, parts: Mapping[str, RunningPart]) -> tuple[Classifier, ...]:
    """The networks that predict after a training: the student, unless one part has others speak for it."""
    offers = {slot: networks for slot, part in parts.items() if (networks := part.networks())}
    if len(offers) > 1:
        first, second, *_ = offers
        raise ConfigError(
            f"learner.parts: {first} and {second} both decide which network predicts; leave one of them, or set "
            "`predict: student` in one that has it"
        )
    networks = next(iter(offers.values()), (model,))
    return tuple(cast(Classifier, network).eval() for network in networks)


def _companions(state: Mapping[str, Tensor]) -> int:
    """How many further networks a state holds."""
    return len({name.split(".")[1] for name in state if name.startswith(COMPANION)})


def _weights_of(state: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """One network's tensors by their own names."""
    if not number:
        return {name: value for name, value in state.items() if not name.startswith(COMPANION)}
    mark = f"{COMPANION}{number}."
    return {name.removeprefix(mark): value for name, value in state.items() if name.startswith(mark)}
