"""The shortcut baseline: a learner that sees no pixel, only the source's harmless columns such as view and age.

What it reaches is what a network may reach without looking at the lungs (DeGrave et al., "AI for radiographic COVID-19
detection selects shortcuts over signal", 2021); every result on images is read beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from medal.errors import ConfigError, UnknownName
from medal.learners.networks import Perceptron
from medal.learners.protocol import FitReport, Network
from medal.learners.supervised import Parts, Supervised
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent

CODE = "columns"
"""Name under which a state holds how columns are read."""


@dataclass(frozen=True)
class Column:
    """How one column becomes numbers.

    Args:
        name: of the column.
        values: sorted categories; empty for a column of numbers.
        mean: of the numbers.
        deviation: of the numbers, above 0.
    """

    name: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    def encode(self, cells: Sequence[str]) -> Tensor:
        """One line a cell, (R, D) float32; the last number says that the cell is empty or cannot be read.

        A category that was not there when the column was learned has zeros throughout.

        Example:
            >>> Column("view", ("AP", "PA")).encode(["PA", "", "LL"])
            tensor([[0., 1., 0.],
                    [0., 0., 1.],
                    [0., 0., 0.]])
            >>> Column("age", mean=50.0, deviation=10.0).encode(["70", "?"])
            tensor([[2., 0.],
                    [0., 1.]])
        """
        if self.values:
            told = (*self.values, "")
            return torch.tensor([[float(c == v) for v in told] for c in cells]).reshape(len(cells), len(told))
        numbers = [_number(c) for c in cells]
        lines = [[0.0, 1.0] if n is None else [(n - self.mean) / self.deviation, 0.0] for n in numbers]
        return torch.tensor(lines).reshape(len(cells), 2)


def learn_column(name: str, cells: Sequence[str]) -> Column:
    """Whether a column holds numbers or categories, and their statistics.

    Args:
        name: of the column.
        cells: of the pool part; "" when unknown.

    Example:
        >>> learn_column("age", ["40", "", "60"])
        Column(name='age', values=(), mean=50.0, deviation=10.0)
        >>> learn_column("view", ["PA", "AP", "PA"]).values
        ('AP', 'PA')
    """
    known = [c for c in cells if c]
    numbers = [n for c in known if (n := _number(c)) is not None]
    if len(numbers) < len(known):
        return Column(name, tuple(sorted(set(known))))
    if not numbers:
        return Column(name)
    mean = math.fsum(numbers) / len(numbers)
    deviation = math.sqrt(math.fsum((n - mean) ** 2 for n in numbers) / len(numbers))
    return Column(name, (), mean, deviation or 1.0)


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class ColumnSource:
    """A source whose images are the encoded columns of another one.

    Args:
        source: has the columns; its images are never read.
        columns: how they become numbers.

    Raises:
        UnknownName: when the source lacks a column.
    """

    def __init__(self, source: Source, columns: Sequence[Column]) -> None:
        check_columns(source, [c.name for c in columns])
        self.name, self.labels, self.ids, self.groups = source.name, source.labels, source.ids, source.groups
        self.splits, self.meta, self.quarantined = source.splits, source.meta, source.quarantined
        self.digest = hashlib.sha256(f"{source.digest}\x1f{columns}".encode()).hexdigest()
        self._preview = source.preview
        self._table = torch.cat([c.encode(source.meta[c.name]) for c in columns], 1)
        self.shape = tuple(self._table.shape[1:])

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Encoded columns of rows, (len(rows), D)."""
        return self._table[torch.as_tensor(rows, dtype=torch.long)]

    def preview(self, row: int) -> bytes:
        """The image, which the learner does not see."""
        return self._preview(row)


def check_columns(source: Source, names: Sequence[str]) -> None:
    """Refuses columns that the source does not have.

    Raises:
        UnknownName: naming the nearest column.
        ConfigError: when there are none at all.
    """
    if not names:
        known = ", ".join(sorted(source.meta)) or "none"
        raise ConfigError(f"learner.columns: found none, expected one at least; {source.name} has: {known}")
    for name in names:
        if name not in source.meta:
            raise UnknownName.near("column", name, source.meta)


class Columns(Supervised):
    """Trains a head on metadata alone: categories one-hot, numbers standardised, an empty cell its own category.

    Args:
        source: has the columns; its images are never read.
        columns: their names.
        network: on top of the encoded columns; None takes one hidden layer of 16.
        parts: as for `Supervised`.
        steps: as for `Supervised`.
        epochs: as for `Supervised`.
        batch: as for `Supervised`.
        lr: as for `Supervised`.
        weight_decay: as for `Supervised`.
        dropout: as for `Supervised`.
        warm: as for `Supervised`.
        device: as for `Supervised`.

    Raises:
        UnknownName: when the source lacks a column.
    """

    def __init__(
        self,
        source: Source,
        columns: Sequence[str],
        network: Network | None = None,
        parts: Parts | None = None,
        steps: int = 100,
        epochs: float | None = None,
        batch: int = 64,
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        dropout: float = 0.1,
        warm: bool = False,
        device: str = "cpu",
    ) -> None:
        check_columns(source, columns)
        super().__init__(
            source,
            network or Perceptron(16, 0.0, normalise=False),
            parts,
            steps=steps,
            epochs=epochs,
            batch=batch,
            lr=lr,
            weight_decay=weight_decay,
            dropout=dropout,
            warm=warm,
            device=device,
            predict_batch=1024,
        )
        self._told, self._names, self._code = source, tuple(columns), ()

    @property
    def offers(self) -> frozenset[str]:
        """As in `Supervised`; columns have no axes in space, so there are no maps of saliency."""
        return super().offers - {"saliency"}

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        """Learns from the pool part how columns are read, then trains the head."""
        rows = pool.split.positions("pool").tolist()
        self._read_as([learn_column(n, [self._told.meta[n][row] for row in rows]) for n in self._names])
        return super().fit(pool, annotations, seed, progress)

    def _read_as(self, columns: Sequence[Column]) -> None:
        if tuple(columns) != self._code:
            self._code: tuple[Column, ...] = tuple(columns)
            self.source = ColumnSource(self._told, self._code)

    def state_dict(self) -> dict[str, Tensor]:
        """The head's state, and how columns are read, as the bytes of a JSON text."""
        text = json.dumps([asdict(c) for c in self._code], sort_keys=True).encode()
        return super().state_dict() | {CODE: torch.tensor(list(text), dtype=torch.uint8)}

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        """Brings a trained state back, on this source or another one with the same columns.

        Raises:
            ConfigError: when it is of other columns, another network or number of labels.
        """
        weights = dict(state)
        try:
            told = json.loads(bytes(weights.pop(CODE).tolist()))
            code = [Column(c["name"], tuple(c["values"]), c["mean"], c["deviation"]) for c in told]
        except (KeyError, TypeError, ValueError):
            raise ConfigError("the weights do not say how columns are read; they are of another learner") from None
        found = tuple(c.name for c in code)
        if found != self._names:
            asked = ", ".join(self._names)
            raise ConfigError(f"the weights read the columns {', '.join(found)}; the recipe names {asked}")
        self._read_as(code)
        super().load_state_dict(weights, seed)
