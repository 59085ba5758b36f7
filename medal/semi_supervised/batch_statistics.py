"""Keeping batch normalisation and dropout still while a model is asked further questions in the middle of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_untouched(model: nn.Module) -> Iterator[None]:
    """Forward passes in training mode that leave running means, variances and counters of batches as they are.

    Args:
        model: normalises by the batch inside the block, as in training.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; each layer's own mode after it.

    Args:
        model: speaks without dropout, and normalises by its running statistics.
    """
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
