"""Peak memory of one query against the size of the pool: nothing but scores may grow.

    python benchmarks/pool_memory.py --rows 2000 20000

Each size runs in a child process; the kernel's high-water mark is read before and after the query.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from medal.budget import Allowance, CostModel
from medal.learners import Beta, Parts, Supervised
from medal.pool import Pool
from medal.sampling import TopK
from medal.seeding import Seed
from medal.split import Split
from medal.strategy import Step, Strategy
from medal.uncertainty import BetaEpistemic
from medal.units import Units
from modalities.chest_xray import SmallNet

LABELS = tuple(f"finding {i}" for i in range(14))


class Generated:
    """Images made from their number when they are asked for."""

    def __init__(self, rows: int) -> None:
        self.name = self.digest = "generated"
        self.labels: tuple[str, ...] = LABELS
        self.shape: tuple[int, ...] = (1, 64, 64)
        self.splits: tuple[str, ...] | None = None
        self.ids = tuple(f"{i:07d}" for i in range(rows))
        self.groups = self.ids
        self.meta: Mapping[str, tuple[str, ...]] = {}
        self.quarantined: Mapping[str, str] = {}

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        return torch.stack([torch.rand(self.shape, generator=torch.Generator().manual_seed(int(r))) for r in rows])

    def preview(self, row: int) -> bytes:
        return bytes([row % 256])


def resident() -> tuple[float, float]:
    """Resident memory and its high-water mark, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return found["VmRSS"], found["VmHWM"]


def child(rows: int) -> None:
    """Runs one query and prints rows, growth of the high-water mark in MiB, and seconds."""
    torch.set_num_threads(1)
    source = Generated(rows)
    learner = Supervised(source, SmallNet(8), Parts(head=Beta()))
    learner.load_state_dict(learner._fresh(Seed(0)).state_dict(), Seed(0))
    units = Units("image", source.ids, source.groups)
    pool = Pool(units, LABELS, Split(source.ids, source.groups, ("pool",) * rows))
    strategy = Strategy(Step(TopK(), BetaEpistemic()), name="beta_epistemic")
    Path("/proc/self/clear_refs").write_text("5")
    before, _ = resident()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        strategy.query(learner.predict(Path(cache)), pool, Allowance(100, "items", units, CostModel()), Seed(0))
        _, peak = resident()
    print(rows, f"{peak - before:.0f}", f"{time.perf_counter() - began:.1f}")


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--child", type=int)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    print("| rows | growth of peak memory, MiB | s |")
    print("| --- | --- | --- |")
    for rows in given.rows:
        told = subprocess.run(
            [sys.executable, __file__, "--child", str(rows)], capture_output=True, text=True, check=True
        )
        print("| " + " | ".join(told.stdout.split()) + " |")


if __name__ == "__main__":
    main()
