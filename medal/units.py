"""Units of annotation: what an expert is asked about, as positions in one canonical order.

A unit is (row of the learner's output, index inside the row): one image is one row; its findings, slices or regions are
indices. Users meet ids; inside, everything is a position in the order of the sorted ids, so that ties and shuffled
input agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from medal.errors import UnitError, UnknownName

SEPARATOR = "#"
"""Between the row's id and the name inside the row."""


@dataclass(frozen=True)
class Kind:
    """One kind of unit.

    Args:
        name: the field's word, such as "image" or "finding".
        inner: True when several units lie in one row of the output.
        minutes: expert minutes for one unit before anything was measured.
    """

    name: str
    inner: bool
    minutes: float


_KINDS: dict[str, Kind] = {}


def register_kind(kind: Kind) -> Kind:
    """Makes a kind known; a modality calls this once for each kind that it brings.

    Raises:
        UnitError: if the name is taken by a different kind.
    """
    known = _KINDS.setdefault(kind.name, kind)
    if known != kind:
        raise UnitError(f"kind {kind.name!r} is registered as {known}, not {kind}; choose another name")
    return kind


def kind_of(name: str) -> Kind:
    """The registered kind of that name.

    Raises:
        UnknownName: with the nearest right name.
    """
    if name not in _KINDS:
        raise UnknownName.near("unit kind", name, _KINDS)
    return _KINDS[name]


IMAGE = register_kind(Kind("image", inner=False, minutes=1.0))
FINDING = register_kind(Kind("finding", inner=True, minutes=0.2))


@dataclass(frozen=True)
class Unit:
    """One unit as users meet it: its id, kind, row (parent), name inside the row and patient."""

    id: str
    kind: str
    parent: str
    inside: str | None
    group: str


@dataclass(frozen=True)
class Units:
    """All units of a pool in canonical order, column by column.

    Args:
        kind: registered name.
        rows: (R) ids of the output's rows, sorted.
        row_groups: (R) patient of each row.
        inner: names inside a row; empty when the whole row is the unit.
    """

    kind: str
    rows: tuple[str, ...]
    row_groups: tuple[str, ...]
    inner: tuple[str, ...] = ()
    row: Tensor = field(init=False, repr=False, compare=False)
    index: Tensor = field(init=False, repr=False, compare=False)
    ids: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind = kind_of(self.kind)
        if len(self.rows) != len(self.row_groups):
            raise UnitError(f"{len(self.rows)} rows but {len(self.row_groups)} groups; give one group for each row")
        if any(a >= b for a, b in pairwise(self.rows)):
            raise UnitError("rows must be sorted and distinct; sort the ids once where the data are read")
        if kind.inner != bool(self.inner):
            raise UnitError(f"kind {self.kind!r} {'needs' if kind.inner else 'has no'} names inside the row")
        if kind.inner:
            pairs = sorted(
                (f"{r}{SEPARATOR}{n}", i, j) for i, r in enumerate(self.rows) for j, n in enumerate(self.inner)
            )
            ids, row, index = zip(*pairs, strict=True) if pairs else ((), (), ())
        else:
            ids, row, index = self.rows, range(len(self.rows)), [0] * len(self.rows)
        if len(set(ids)) != len(ids):
            twice = next(a for a, b in pairwise(ids) if a == b)
            raise UnitError(
                f"two units have the id {twice!r}; rename rows or names so that row{SEPARATOR}name is distinct"
            )
        object.__setattr__(self, "ids", tuple(ids))
        object.__setattr__(self, "row", torch.tensor(list(row), dtype=torch.long))
        object.__setattr__(self, "index", torch.tensor(list(index), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Unit]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, position: int) -> Unit:
        row = int(self.row[position])
        inside = self.inner[int(self.index[position])] if self.inner else None
        return Unit(self.ids[position], self.kind, self.rows[row], inside, self.row_groups[row])

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.ids)}

    def positions(self, ids: Iterable[str]) -> Tensor:
        """Positions of ids, in the order given.

        Returns:
            (U,) int64.

        Raises:
            UnitError: on an unknown id.
        """
        try:
            return torch.tensor([self._position[i] for i in ids], dtype=torch.long)
        except KeyError as error:
            raise UnitError(f"unit {error.args[0]!r} is not in this pool; ids come from `ask` or `status`") from None

    def names(self, positions: Tensor | Sequence[int]) -> list[str]:
        """Ids at positions, in the order given."""
        return [self.ids[int(p)] for p in positions]

    def whole(self) -> Units:
        """The rows of this table as units of their own (kind image)."""
        return self if not self.inner else Units(IMAGE.name, self.rows, self.row_groups)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Positions of every unit that lies in the given rows, in canonical order."""
        wanted = torch.zeros(len(self.rows), dtype=torch.bool)
        wanted[rows] = True
        return torch.nonzero(wanted[self.row]).flatten()
