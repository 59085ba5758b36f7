"""Named generators from one seed: `Seed(0) / "round 3" / "strategy" / "kmeans"`.

Every consumer of randomness names its own branch, so that adding one never shifts another, and a resumed run draws
what the uninterrupted run would have drawn. The global state of torch, numpy and random is never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Seed:
    """A branch of the tree of generators.

    Args:
        root: the one seed of the study.
        path: names from the root to this branch.

    Example:
        >>> (Seed(0) / "round 1" / "start").integer() == (Seed(0) / "round 1" / "start").integer()
        True
        >>> (Seed(0) / "a").integer() == (Seed(0) / "b").integer()
        False
    """

    root: int
    path: tuple[str, ...] = ()

    def __truediv__(self, name: object) -> Seed:
        return Seed(self.root, (*self.path, str(name)))

    def integer(self) -> int:
        """A 63-bit seed for this branch."""
        text = "\x1f".join((str(self.root), *self.path))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def torch(self) -> torch.Generator:
        """A fresh CPU generator at the start of this branch."""
        return torch.Generator().manual_seed(self.integer())

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator at the start of this branch."""
        return np.random.default_rng(self.integer())

    @contextmanager
    def globally(self) -> Iterator[None]:
        """Runs a block whose library calls know the global torch state alone (such as dropout); restores it after."""
        devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.integer())
            yield
