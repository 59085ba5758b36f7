"""From the journal to a work list: what is still open of it, in reading order, in words, with the model's opinion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from medal.exchange.reasons import SIBLING, reason
from medal.exchange.worklist import Item, WorkList

if TYPE_CHECKING:
    from medal.human import HumanCampaign


@dataclass(frozen=True)
class Listing:
    """A work list that was written.

    Args:
        worklist: its open questions.
        folder: of its files.
        files: the one to fill in first.
        key: the private table from pseudonym to file; None where there is none.
    """

    worklist: WorkList
    folder: Path
    files: tuple[Path, ...]
    key: Path | None


class Previews(Mapping[str, bytes]):
    """Previews that are drawn when somebody looks at them, once.

    Args:
        rows: id -> row.
        draw: row -> PNG.
    """

    def __init__(self, rows: Mapping[str, int], draw: Callable[[int], bytes]) -> None:
        self._rows = rows
        self._draw = draw
        self._drawn: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._drawn:
            self._drawn[name] = self._draw(self._rows[name])
        return self._drawn[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass
class _Line:
    """One image of the list while it is being put together; `asked` holds what is open of it."""

    row: int
    purpose: str
    terms: Mapping[str, float | None]
    open: bool = False
    asked: list[str] = field(default_factory=list)


def worklist_of(campaign: HumanCampaign, name: str) -> WorkList:
    """The open questions of a list; images of one examination stand together, at the place of the first of them.

    Args:
        campaign: brought up to date.
        name: of the list.
    """
    exams, every = _exams(campaign), len(campaign.pool.labels)
    numbered = list(enumerate(_lines(campaign, name), start=1))
    predicted = _predicted(campaign, [line.row for _, line in numbered if line.open and line.purpose != "validation"])
    leaders: dict[str, int] = {}
    for number, line in numbered:
        if SIBLING not in line.terms:
            leaders.setdefault(exams[line.row], number)
    items = tuple(
        Item(
            number,
            campaign.source.ids[line.row],
            exams[line.row],
            reason(line.purpose, line.terms, leaders.get(exams[line.row])),
            predicted.get(line.row, {}),
            tuple(line.asked) if 0 < len(line.asked) < every else (),
        )
        for number, line in numbered
        if line.open
    )
    return WorkList(name, campaign.pool.labels, items)


def numbers_of(campaign: HumanCampaign, name: str) -> dict[str, int]:
    """Id -> number of every image of a list, answered or not.

    Args:
        campaign: brought up to date.
        name: of the list.
    """
    return {campaign.source.ids[line.row]: n for n, line in enumerate(_lines(campaign, name), start=1)}


def _lines(campaign: HumanCampaign, name: str) -> list[_Line]:
    """Everything that the list has asked, answered or not, so that an image keeps its number."""
    units, exams = campaign.pool.units, _exams(campaign)
    lines: dict[int, _Line] = {}
    open_units = set(campaign.open_units(name))
    for content in campaign.asked_events(name):
        for unit, terms in zip(_texts(content["ids"]), _dicts(content["terms"]), strict=True):
            found = units[int(units.positions([unit])[0])]
            row = campaign.source.ids.index(found.parent)
            line = lines.setdefault(row, _Line(row, str(content["purpose"]), terms))
            if unit in open_units:
                line.open = True
                line.asked += [found.inside] if found.inside else []
    groups: dict[str, list[_Line]] = {}
    for line in lines.values():
        groups.setdefault(exams[line.row] or f"row {line.row}", []).append(line)
    return [line for group in groups.values() for line in group]


def _exams(campaign: HumanCampaign) -> Sequence[str]:
    return campaign.source.meta.get("exam") or ("",) * len(campaign.source.ids)


def _predicted(campaign: HumanCampaign, rows: list[int]) -> dict[int, dict[str, float]]:
    """The model's opinion; images that measure have none, so that it cannot lead the reader there."""
    if not campaign.trained or not rows:
        return {}
    told = campaign.probabilities(torch.tensor(rows))
    return {row: dict(zip(campaign.pool.labels, p, strict=True)) for row, p in zip(rows, told.tolist(), strict=True)}


def _texts(value: Any) -> list[str]:
    return [str(v) for v in value]


def _dicts(value: Any) -> list[dict[str, float | None]]:
    return [dict(v) for v in value]
