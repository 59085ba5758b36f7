"""Overhead of `Learner.predict` over the bare forward pass on decoded tensors, DenseNet121, in one process.

    python benchmarks/predict_overhead.py --size 96 --rows 128 --repeats 5

Both sides take turns on the same tensors, so that a noisy machine disturbs both; the ratio is of medians of
processor seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from medal.learners import Beta, Parts, Supervised
from medal.seeding import Seed
from modalities.chest_xray import DenseNet121


class Decoded:
    """Images that are decoded already."""

    def __init__(self, pixels: Tensor) -> None:
        self.name = self.digest = "decoded"
        self.labels: tuple[str, ...] = ("a", "b", "c", "d", "e", "f")
        self.splits: tuple[str, ...] | None = None
        self.pixels = pixels
        self.ids = tuple(f"{i:06d}" for i in range(len(pixels)))
        self.groups = self.ids
        self.meta: Mapping[str, tuple[str, ...]] = {}
        self.quarantined: Mapping[str, str] = {}
        self.shape = tuple(pixels.shape[1:])

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        return self.pixels[torch.as_tensor(rows)]

    def preview(self, row: int) -> bytes:
        return bytes([row % 256])


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Prints one line of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pixels = torch.rand(given.rows, 1, given.size, given.size, generator=torch.Generator().manual_seed(0))
    source = Decoded(pixels)
    learner = Supervised(source, DenseNet121(), Parts(head=Beta()), predict_batch=given.batch)
    fresh = learner._fresh(Seed(0))
    learner.load_state_dict(fresh.state_dict(), Seed(0))
    model, every = learner.model, torch.arange(given.rows)

    def bare() -> None:
        with torch.inference_mode():
            for start in range(0, given.rows, given.batch):
                model(pixels[start : start + given.batch])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as cache:
            outputs = learner.predict(Path(cache))
            for _ in outputs.chunks(frozenset({"evidence"}), every):
                continue

    bare()
    ours()
    pairs = [(seconds(bare), seconds(ours)) for _ in range(given.repeats)]
    floor, took = (statistics.median(side) for side in zip(*pairs, strict=True))
    print("| network | size | rows | batch | bare s | predict s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| DenseNet121 | {given.size} | {given.rows} | {given.batch} | {floor:.2f} | {took:.2f} | {took / floor:.3f} |"
    )


if __name__ == "__main__":
    main()
