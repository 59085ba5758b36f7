"""Scoring a large pool on Ray: the blocks of rows that outputs are computed in go to several workers.

The blocks stay those of one process, each computed by the same code from the same weights, so that the numbers are the
same bit for bit; whatever does not come back is computed here. A worker opens the data and builds the learner from the
recipe once, and fetches the weights once after each training.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from medal.engine.choice import engine_of
from medal.engine.cluster import connected, load_ray
from medal.engine.ray import Outcome, Ray, as_ready, carrier, guarded
from medal.engine.surroundings import Surroundings
from medal.errors import StudyError
from medal.learners.protocol import FitReport, Learner
from medal.outputs import Outputs
from medal.pool import LabelTable, Pool
from medal.schema import Recipe
from medal.seeding import Seed
from medal.source import Progress, Source, silent

TOGETHER = 8
"""Blocks in one task, at most."""
AHEAD = 2
"""Tasks under way for each free worker, so that none waits for the next."""

log = logging.getLogger(__name__)
Block = tuple[Tensor, frozenset[str]]


@dataclass(frozen=True)
class Model:
    """A trained learner as a worker rebuilds it.

    Args:
        recipe: as plain data.
        cache: folder of decoded images.
        source: digest of the images; a worker that finds others refuses.
        seed: that the training was given.
        weights: names the state, which travels apart.
    """

    recipe: Mapping[str, Any]
    cache: Path
    source: str
    seed: Seed
    weights: str


class Spread:
    """A learner whose outputs are computed by the free workers of a connected Ray cluster; in all else the learner.

    Args:
        learner: whom to wrap.
        recipe: from which workers build it again.
        source: what it predicts on.
        cache: folder of decoded images.
    """

    def __init__(self, learner: Learner, recipe: Recipe, source: Source, cache: Path) -> None:
        self.learner = learner
        self.warm = learner.warm
        self._recipe = recipe
        self._source = source
        self._cache = cache
        self._seed: Seed | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "learner":  # asked before it is set, as by copy
            raise AttributeError(name)
        return getattr(self.learner, name)

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        self._seed = seed
        return self.learner.fit(pool, annotations, seed, progress)

    def state_dict(self) -> dict[str, Tensor]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        self._seed = seed
        self.learner.load_state_dict(state, seed)

    def predict(self, cache: Path | None = None, progress: Progress = silent) -> Outputs:
        outputs = self.learner.predict(cache, progress)
        if self._seed is None:  # trained before it was wrapped: nobody else could draw what it draws
            return outputs
        content = self._recipe.model_dump(mode="json")
        outputs.elsewhere = Workers(content, self._cache, self._source.digest, self._seed, self.learner.state_dict())
        return outputs


class Campaigning(Protocol):
    """What is wrapped: a campaign (`medal.campaign.Campaign`)."""

    learner: Learner
    source: Source


@contextmanager
def spreading(campaign: Campaigning, recipe: Recipe, cache: Path) -> Iterator[None]:
    """For the length of a block, Ray scores the pool of a campaign where the recipe says `engine: ray`.

    Args:
        campaign: just built; its learner must not have been trained or brought back yet.
        recipe: with the places of its data.
        cache: folder of decoded images.

    Raises:
        MissingDependency: when ray is not installed.
        ConfigError: when no cluster answers at the recipe's address.

    Example:
        >>> from medal.recipe import load
        >>> with spreading(campaign, load("chest_xray", ["engine=ray"]), cache):  # doctest: +SKIP
        ...     campaign.restore()
    """
    engine = engine_of(recipe.resources)
    if not isinstance(engine, Ray):
        yield
        return
    with connected(engine.cpus, engine.address):
        campaign.learner = Spread(campaign.learner, recipe, campaign.source, cache)
        yield


@dataclass
class Workers:
    """Computes blocks of one trained model on Ray (`medal.outputs.Elsewhere`).

    Args:
        recipe: as plain data.
        cache: folder of decoded images.
        source: digest of the images.
        seed: that the training was given.
        state: of the trained learner.
    """

    recipe: Mapping[str, Any]
    cache: Path
    source: str
    seed: Seed
    state: Mapping[str, Tensor]
    _sent: tuple[Model, Any] | None = field(default=None, repr=False)

    def __call__(self, work: Sequence[Block]) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        ray = load_ray()
        free = _free_workers(ray, self.recipe["resources"]["threads"]) if ray.is_initialized() else 0
        if free == 0:
            return
        size = max(1, min(TOGETHER, len(work) // (free * AHEAD)))
        groups = [work[start : start + size] for start in range(0, len(work), size)]
        model, state = self._sent = self._sent or self._send(ray)
        threads = self.recipe["resources"]["threads"]
        task = ray.remote(carrier()).options(num_cpus=threads, max_retries=1)
        around = Surroundings.here()

        def submit(group: Sequence[Block]) -> Any:
            blocks = [(rows.tolist(), sorted(names)) for rows, names in group]
            return task.remote(around.modules, pickle.dumps((around, _score, (model, blocks, threads))), [state])

        for position, (error, made) in as_ready(ray, groups, submit, free * AHEAD):
            if error is not None:
                log.warning("the rest of the pool is computed here, not by workers: %s", error)
                return
            for (rows, _), arrays in zip(groups[position], made, strict=True):
                yield rows, {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}

    def _send(self, ray: Any) -> tuple[Model, Any]:
        """Hands the weights to the cluster, once."""
        from safetensors.torch import save

        content = save({name: value.detach().cpu().contiguous() for name, value in self.state.items()})
        name = hashlib.sha256(content).hexdigest()
        return Model(self.recipe, self.cache.absolute(), self.source, self.seed, name), ray.put(content)


def _free_workers(ray: Any, threads: int) -> int:
    return int(ray.available_resources().get("CPU", 0) // threads)


_opened: dict[str, Source] = {}
_built: dict[str, Learner] = {}


def _score(
    around: Surroundings,
    model: Model,
    blocks: Sequence[tuple[list[int], list[str]]],
    threads: int,
    state: Sequence[Any],
) -> Outcome:
    """Computes blocks in a worker: one mapping of arrays for each; the state travels as a reference in a list."""

    def work() -> list[dict[str, np.ndarray]]:
        outputs = _learner(model, state[0]).predict()
        return [_block(outputs, rows, frozenset(names)) for rows, names in blocks]

    return guarded(around, threads, work)


def _block(outputs: Outputs, rows: list[int], names: frozenset[str]) -> dict[str, np.ndarray]:
    chunks = list(outputs.chunks(names, torch.tensor(rows)))
    if len(chunks) != 1:
        raise StudyError(f"a block of {len(rows)} rows fell into {len(chunks)} here; expected the same learner")
    return {name: chunks[0].get(name).numpy() for name in names}


def _learner(model: Model, state: Any) -> Learner:
    """The learner of this worker; it keeps one, as a process that plays a study does."""
    key = repr(model)
    if key not in _built:
        from safetensors.torch import load

        from medal.assemble import learner_of

        recipe = Recipe.model_validate(model.recipe)
        learner = learner_of(recipe, _source(recipe, model), model.cache)
        learner.load_state_dict(load(load_ray().get(state)), model.seed)
        _built.clear()
        _built[key] = learner
    return _built[key]


def _source(recipe: Recipe, model: Model) -> Source:
    if model.source not in _opened:
        from medal.assemble import open_data

        source = open_data(recipe, model.cache).source
        if source.digest != model.source:
            raise StudyError(f"found other images here ({source.digest[:12]}), expected {model.source[:12]}")
        _opened.clear()
        _opened[model.source] = source
    return _opened[model.source]
