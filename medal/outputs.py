"""Outputs: what a learner says about rows, computed lazily in bounded blocks and cached on disk by weights and row.

Names: "marginals" (R, 1, L), "probs" (R, 1, C, *S), "draws" (the same with M members), "evidence" (R, L, 2), "features"
(R, F), "saliency" (R, L, *T), a signed map for each label at the size of the last feature map.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medal.errors import MissingOutput, OutputError, OutputTooLarge
from medal.source import Progress, silent
from medal.storage import writing

Produce = Callable[[Tensor, frozenset[str]], Mapping[str, Tensor]]
"""Computes named outputs for one block of rows: produce(rows, names)."""
Elsewhere = Callable[[Sequence[tuple[Tensor, frozenset[str]]]], Iterable[tuple[Tensor, Mapping[str, Tensor]]]]
"""Computes blocks (rows, names) in other processes, and hands them over as (rows, outputs) in any order; it may leave
out what it could not compute."""

PREDICTIONS = ("marginals", "probs", "evidence")
"""What "prediction" may stand for, the first that the learner has."""
ADVICE = {
    "draws": "lay `learner.parts.members: {use: medal.learners.MCDropout}` over the recipe",
    "evidence": "lay `learner.parts.head: {use: medal.learners.Beta}` over the recipe",
    "saliency": "take a network that is trained on the images, such as `learner=small`; frozen features have no map",
}


@dataclass(frozen=True)
class Chunk:
    """Outputs of one block of rows.

    Args:
        rows: (R) positions of the rows.
        data: name -> tensor whose first axis is R.
    """

    rows: Tensor
    data: Mapping[str, Tensor]

    def get(self, name: str) -> Tensor:
        """One output of this block.

        Raises:
            MissingOutput: naming what there is.
        """
        if name not in self.data:
            raise MissingOutput(f"{name!r} was not computed, only {sorted(self.data)}; add it to the score's `needs`")
        return self.data[name]

    def distribution(self) -> Tensor:
        """Every prediction as categorical distributions over the last axis, (R, M, *inner, C).

        A Bernoulli label is C = 2, ordered absent, present, with inner = (L,); a softmax map has inner = S; a Beta
        stands for its mean. The members are the draws where they were asked for, else the one prediction.

        Raises:
            MissingOutput: without a prediction; draws alone do not say whether they are of labels or of classes.
        """
        if "probs" in self.data:
            return self.data.get("draws", self.data["probs"]).movedim(2, -1)
        if "marginals" in self.data:
            p = self.data.get("draws", self.data["marginals"])
        elif "evidence" in self.data:
            evidence = self.data["evidence"]
            p = self.data.get("draws", (evidence[..., 0] / evidence.sum(-1))[:, None])
        else:
            raise MissingOutput(f"no prediction was computed, only {sorted(self.data)}; add 'prediction' to `needs`")
        return torch.stack([1 - p, p], dim=-1)


class OutputCache:
    """Outputs of one set of weights on disk: one table of rows a name, and one checksum a row.

    A row counts as stored when its checksum fits, so that a process that was killed in the middle of a write, or a
    machine that lost power before the pages reached the disk, leaves no half row behind. Rows are written, not mapped:
    a full disk is an error then, and not a signal that ends the process.

    Args:
        folder: emptied by whoever owns it when the weights change.
        rows: length of every table; a table of another length is begun anew.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder = folder
        self._rows = rows
        self._open: dict[str, tuple[np.memmap, np.memmap]] = {}

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._folder / f"{name}.npy", self._folder / f"{name}.sums.npy"

    def _tables(self, name: str) -> tuple[np.memmap, np.memmap] | None:
        """Rows and checksums, read-only; None when there are none that can be used."""
        if name not in self._open:
            try:
                values, sums = (np.lib.format.open_memmap(path, mode="r") for path in self._paths(name))
            except (OSError, ValueError):
                return None
            if len(values) != self._rows or sums.shape != (self._rows,):
                return None
            self._open[name] = values, sums
        return self._open[name]

    def read(self, name: str, rows: Tensor) -> Tensor | None:
        """The rows when all of them are there, else None."""
        tables = self._tables(name)
        if tables is None:
            return None
        index = rows.numpy()
        stored = tables[1][index]
        if not stored.all():
            return None
        values = np.array(tables[0][index])
        return torch.from_numpy(values) if np.array_equal(_checksums(values), stored) else None

    def write(self, name: str, rows: Tensor, values: Tensor) -> None:
        """Stores rows.

        Raises:
            StorageFull: when the disk is full.
        """
        array, index = np.ascontiguousarray(values.numpy(), dtype=np.float32), rows.numpy()
        with writing(self._folder):
            tables = self._tables(name)
            if tables is None or tables[0].shape[1:] != array.shape[1:]:
                tables = self._begin(name, array.shape[1:])
            # values first: a checksum without its row does not fit, a row without its checksum is computed again
            for path, table, made in zip(self._paths(name), tables, (array, _checksums(array)), strict=True):
                with path.open("r+b", buffering=0) as handle:
                    for row, line in zip(index.tolist(), made, strict=True):
                        handle.seek(table.offset + row * table.strides[0])
                        handle.write(line.tobytes())

    def _begin(self, name: str, shape: tuple[int, ...]) -> tuple[np.memmap, np.memmap]:
        self._open.pop(name, None)
        self._folder.mkdir(parents=True, exist_ok=True)
        values, sums = self._paths(name)
        sums.unlink(missing_ok=True)
        np.lib.format.open_memmap(values, mode="w+", dtype=np.float32, shape=(self._rows, *shape)).flush()
        np.lib.format.open_memmap(sums, mode="w+", dtype=np.uint32, shape=(self._rows,)).flush()
        tables = self._tables(name)
        if tables is None:
            raise OutputError(f"{values.name} cannot be read back from {self._folder}; check the disk")
        return tables


def _checksums(values: np.ndarray) -> np.ndarray:
    """One checksum a row, never 0, which stands for a row that was not written."""
    return np.array([zlib.crc32(row.tobytes()) or 1 for row in values], dtype=np.uint32)


class Outputs:
    """Lazy outputs over rows.

    Args:
        available: names that the learner can give.
        produce: computes one block.
        cache: where finished rows are kept; None keeps nothing.
        batch: rows in one block.
        cap: bytes above which `get` refuses a dense result.
        progress: told after every block that was computed.

    Attributes:
        elsewhere: who computes missing blocks beforehand when there are several and a cache to keep them; None, as at
            first, for nobody. The blocks and so the numbers are the same.
    """

    def __init__(
        self,
        available: Iterable[str],
        produce: Produce,
        cache: OutputCache | None = None,
        batch: int = 32,
        cap: int = 1 << 30,
        progress: Progress = silent,
    ) -> None:
        self.available = frozenset(available)
        self._produce = produce
        self._cache = cache
        self._batch = batch
        self._cap = cap
        self._progress = progress
        self.elsewhere: Elsewhere | None = None

    def resolve(self, needs: Iterable[str], who: str) -> frozenset[str]:
        """Turns `needs` into names of outputs.

        Args:
            needs: names, or "prediction" for the learner's own kind.
            who: the score or sampler that asks, for the message.

        Raises:
            MissingOutput: naming what to add.
        """
        names: set[str] = set()
        for need in needs:
            name = next((p for p in PREDICTIONS if p in self.available), need) if need == "prediction" else need
            if name not in self.available:
                advice = ADVICE.get(name, f"take a learner that gives {name!r}")
                given = ", ".join(sorted(self.available)) or "nothing"
                raise MissingOutput(f"{who} needs {name!r}; the learner gives {given}; {advice}")
            names.add(name)
        return frozenset(names)

    def chunks(self, names: frozenset[str], rows: Tensor) -> Iterator[Chunk]:
        """Bounded blocks of rows, in the order given; blocks are the same whether or not they were cached before.

        Args:
            names: what `resolve` gave.
            rows: (R) positions.

        Raises:
            MissingOutput: when the learner does not give what it offers.
        """
        if self.elsewhere is not None and self._cache is not None:
            self._fetch(self.elsewhere, self._cache, names, rows)
        for start in range(0, len(rows), self._batch):
            block = rows[start : start + self._batch]
            data = {n: v for n in names if self._cache and (v := self._cache.read(n, block)) is not None}
            missing = names - data.keys()
            if missing:
                made = {n: v.detach().to("cpu", torch.float32) for n, v in self._produce(block, missing).items()}
                if missing - made.keys():
                    raise MissingOutput(
                        f"the learner gave {sorted(made)} when asked for {sorted(missing)}; mend the learner"
                    )
                for name in sorted(missing):
                    data[name] = made[name]
                    if self._cache:
                        self._cache.write(name, block, made[name])
            self._progress("reading the learner", min(start + self._batch, len(rows)), len(rows))
            yield Chunk(block, data)

    def _fetch(self, elsewhere: Elsewhere, cache: OutputCache, names: frozenset[str], rows: Tensor) -> None:
        """Has the missing blocks computed elsewhere and stores them; what does not come is computed here later."""
        work = []
        for block in rows.split(self._batch) if len(rows) > self._batch else ():
            missing = frozenset(name for name in names if cache.read(name, block) is None)
            work += [(block, missing)] if missing else []
        if len(work) < 2:
            return
        done = 0
        for block, made in elsewhere(work):
            for name, values in made.items():
                cache.write(name, block, values)
            done += len(block)
            self._progress("reading the learner", done, len(rows))

    def get(self, name: str, rows: Tensor) -> Tensor:
        """One output of all rows at once, (len(rows), ...).

        Raises:
            OutputTooLarge: when the result would pass the byte cap; go through `chunks` and reduce.
        """
        names = self.resolve({name}, "get")
        whole: Tensor | None = None
        for start, chunk in zip(range(0, len(rows), self._batch), self.chunks(names, rows), strict=True):
            block = chunk.get(next(iter(names)))
            if whole is None:
                shape = (len(rows), *block.shape[1:])
                size = 4 * prod(shape)
                if size > self._cap:
                    raise OutputTooLarge(
                        f"{name!r} of shape {shape} takes {size / 2**30:.1f} GiB, allowed {self._cap / 2**30:.1f}; "
                        "go through `chunks` and reduce"
                    )
                whole = torch.empty(shape)
            whole[start : start + len(block)] = block
        return torch.empty(0) if whole is None else whole
