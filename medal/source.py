"""Sources: where a modality hands images to the core, and where the truth is kept apart from them.

A `Source` has pixels and harmless columns, never a label. A data set opens as `Opened(source, truth)`; the truth goes
to the oracle and to the final evaluation, never to a learner or a strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from medal.errors import UnitError

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) during long work."""


def silent(what: str, done: int, total: int) -> None:
    """A progress that shows nothing."""


@runtime_checkable
class Source(Protocol):
    """Images of a pool by row, in the order of the sorted pseudonyms.

    Attributes:
        name: short name of the data set.
        labels: (L) names of what is asked about each row.
        ids: (R) pseudonyms of the rows, sorted.
        groups: (R) pseudonym of the patient of each row.
        splits: (R) "pool", "validation" or "test" where the data set brings its own split, else None.
        meta: harmless columns of R strings each, such as sex, age or view; "" when unknown.
        quarantined: id -> reason, for files that cannot be read; they are not among `ids`.
        shape: (channels, *S) of one row.
        digest: hash of content and reading settings; names the cache.
    """

    name: str
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...] | None
    meta: Mapping[str, tuple[str, ...]]
    quarantined: Mapping[str, str]
    shape: tuple[int, ...]
    digest: str

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Pixels of rows, (len(rows), channels, *S) float32 in [0, 1]."""
        ...

    def preview(self, row: int) -> bytes:
        """A PNG of one row for the eyes of an annotator."""
        ...


@dataclass(frozen=True)
class Truth:
    """Labels that nobody has paid for yet; only an oracle and the final evaluation may hold this.

    Args:
        labels: (L) names.
        values: (R, L) float32 in the source's row order: 1, 0, NaN unknown, -1 stated as uncertain.
    """

    labels: tuple[str, ...]
    values: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.labels):
            raise UnitError(f"truth has shape {tuple(self.values.shape)}; expected (rows, {len(self.labels)})")


@dataclass(frozen=True)
class Opened:
    """What opening a data set gives: the source, and the truth where there is one."""

    source: Source
    truth: Truth | None


@runtime_checkable
class Dataset(Protocol):
    """A data set that a recipe names under `data:`; `open` reads every file once and fills the cache."""

    def open(self, cache: Path, progress: Progress = silent) -> Opened:
        """Reads, quarantines what is broken, and returns source and truth."""
        ...
