"""A teacher: the moving average of a student's weights (survey, section 4.1.2).

Tarvainen and Valpola, NIPS 2017: theta' <- a theta' + (1 - a) theta with a = min(1 - 1 / (t + 1), decay), so that the
first steps, whose weights are worth nothing, are forgotten soon.

Their reference averages parameters only and lets the teacher's batch normalisation count for itself. Here the teacher
always speaks in evaluation mode, so its buffers must come from the student: averaged like the weights, or copied.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn

from medal.errors import ConfigError, UnknownName

Buffers = Literal["average", "copy"]


def check_average(part: str, decay: float, buffers: str) -> None:
    """Refuses settings that no average can have.

    Raises:
        ConfigError: on a decay outside [0, 1).
        UnknownName: on another treatment of buffers.
    """
    if not 0 <= decay < 1:
        raise ConfigError(f"{part}.decay: found {decay}, expected at least 0 and below 1")
    if buffers not in ("average", "copy"):
        raise UnknownName.near(f"{part}.buffers", buffers, ("average", "copy"))


class Teacher:
    """The moving average of a student, always in evaluation mode and without gradient.

    Args:
        student: is copied.
        decay: a, the largest share of the old average that is kept in a step.
        buffers: of floating point, such as the statistics of batch normalisation: "average" them like the weights, or
            "copy" the student's. Counters are copied.
    """

    def __init__(self, student: nn.Module, decay: float, buffers: Buffers = "average") -> None:
        self.model = deepcopy(student).eval().requires_grad_(False)
        self._student = student
        self._decay = decay
        self._buffers: Buffers = buffers

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Raw outputs, (R, D)."""
        return self.model(images)

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Moves the average after step t = 0, 1, ... of the student."""
        keep = min(1 - 1 / (step + 1), self._decay)
        for old, new in zip(self.model.parameters(), self._student.parameters(), strict=True):
            old.lerp_(new, 1 - keep)
        for old, new in zip(self.model.buffers(), self._student.buffers(), strict=True):
            if self._buffers == "average" and old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)
