"""What is exchanged with the people who label: a work list goes out, answers come back (survey, section 2).

A format decides in which files: tables here, outlines of slides or label volumes in a modality's own format. A format
only writes and reads; what an answer means for the study, and whether it is taken, is decided elsewhere
(`medal.exchange.intake`), so that every format has the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Item:
    """One image of a work list.

    Args:
        number: short number on this list, from 1.
        id: pseudonym.
        exam: pseudonym of the examination; "" when unknown.
        reason: why it is asked, in plain words.
        predicted: label -> probability of the last model; empty where the reader should not be led.
        asked: labels that are asked; empty for all of the list.
    """

    number: int
    id: str
    exam: str
    reason: str
    predicted: Mapping[str, float] = field(default_factory=dict)
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkList:
    """What one `medal ask` asks.

    Args:
        name: such as "ask_001".
        labels: (L) names of what is asked about each image.
        items: images, in the order in which they should be read.
    """

    name: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class AnswerRow:
    """One row of a file of answers, as far as it could be read.

    Args:
        line: where it stands in the file, from 1.
        id: what names the image.
        values: label -> 1, 0 or -1; what is blank is left out.
        ask: name of the work list that the row belongs to; "" when it does not say.
        reader: who answered; "" when the row does not say.
        seconds: working time, NaN when not given.
        cannot_label: why the image cannot be labelled; "" when it can.
        comment: free text, which may name somebody.
        problems: what is wrong with the row; empty when it can be used.
    """

    line: int
    id: str
    values: Mapping[str, float] = field(default_factory=dict)
    ask: str = ""
    reader: str = ""
    seconds: float = math.nan
    cannot_label: str = ""
    comment: str = ""
    problems: tuple[str, ...] = ()

    @property
    def blank(self) -> bool:
        """Whether the row answers nothing."""
        return not (self.values or self.cannot_label or self.problems)


@dataclass(frozen=True)
class Reading:
    """A file of answers.

    Args:
        name: of the file, for messages.
        rows: in the order of the file.
        ignored: columns or parts that were left alone.
    """

    name: str
    rows: tuple[AnswerRow, ...]
    ignored: tuple[str, ...] = ()


@runtime_checkable
class ExchangeFormat(Protocol):
    """How work lists are written and answers read."""

    def write(self, worklist: WorkList, previews: Mapping[str, bytes], folder: Path) -> Sequence[Path]:
        """Writes the files of a work list that are not there yet, and returns all of them, the one to fill in first.

        Args:
            worklist: what is asked.
            previews: id -> PNG.
            folder: of this list; files that lie there may hold a reader's work and are left as they are.
        """
        ...

    def read(self, path: Path, labels: Sequence[str]) -> Reading:
        """Reads answers.

        Args:
            path: a file that was filled in.
            labels: (L) names that the study asks about.

        Raises:
            BadTable: when nothing of the file can be used.
        """
        ...
