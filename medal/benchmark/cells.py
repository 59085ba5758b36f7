"""A finished cell, read from its journal and its stored predictions; the data set is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medal.benchmark.plan import Cell
from medal.errors import StudyError
from medal.study import Study


@dataclass(frozen=True)
class Query:
    """What was asked at once: the units in the order of their rank, and what they cost in items."""

    round: int
    purpose: str
    strategy: str
    ids: tuple[str, ...]
    items: float = 0.0


@dataclass(frozen=True)
class Evaluation:
    """One round as it was measured.

    Args:
        round: from 0.
        items: items paid for so far.
        minutes: expert minutes paid for so far.
        ids: (T) test rows.
        probabilities: (T, L) as stored.
        measured: what the journal holds: `labels` and `macro` of the test split, `validation` of the paid arm.
    """

    round: int
    items: float
    minutes: float
    ids: tuple[str, ...]
    probabilities: NDArray[np.float64]
    measured: Mapping[str, Any]


@dataclass(frozen=True)
class CellResult:
    """One study of a benchmark.

    Args:
        cell: which one.
        head: hash of the journal's last event.
        opened: content of its first event.
        queries: validation arm, start set and every round.
        evaluations: in the order of rounds.
        query_seconds: computing time of each round's selection.
        training_seconds: of each training.
        reason: why it ended; "" for one that is not finished.
    """

    cell: Cell
    head: str
    opened: Mapping[str, Any]
    queries: tuple[Query, ...]
    evaluations: tuple[Evaluation, ...]
    query_seconds: tuple[float, ...]
    training_seconds: tuple[float, ...]
    reason: str

    @property
    def split(self) -> str:
        """Hash of the split."""
        return str(self.opened["split"]["hash"])

    def asked(self, purpose: str) -> frozenset[str]:
        """Units that were asked for a purpose, such as "start"."""
        return frozenset(i for query in self.queries if query.purpose == purpose for i in query.ids)


def read_cell(path: Path, cell: Cell) -> CellResult | None:
    """Reads one cell; None when it was not finished.

    Args:
        path: the study's folder.
        cell: which one it is.

    Raises:
        StudyError: when predictions are missing or other ones than the journal names.
        LedgerBroken: when the journal cannot be read.
    """
    if not Study.exists(path):
        return None
    with Study.open(path, write=False) as study:
        end = study.ledger.last("closed")
        if end is None:
            return None
        asked = list(study.ledger.events("asked"))
        return CellResult(
            cell=cell,
            head=study.ledger.head(),
            opened=study.opened,
            queries=tuple(_query(e.content) for e in asked),
            evaluations=tuple(_evaluation(study, e.content) for e in study.ledger.events("evaluated")),
            query_seconds=tuple(float(e.aside["seconds"]) for e in asked if e.aside.get("seconds") is not None),
            training_seconds=tuple(
                float(e.aside["seconds"]) for e in study.ledger.events("trained") if e.aside.get("seconds") is not None
            ),
            reason=str(end.content["reason"]),
        )


def _query(content: Mapping[str, Any]) -> Query:
    return Query(
        round=content["round"],
        purpose=content["purpose"],
        strategy=content["strategy"],
        ids=tuple(content["ids"]),
        items=float(content["cost"]["items"]),
    )


def _evaluation(study: Study, content: Mapping[str, Any]) -> Evaluation:
    number = int(content["round"])
    if "test" not in content.get("predictions", {}):
        raise StudyError(f"{study.folder}: round {number} has no stored predictions of the test split; play it again")
    ids, probabilities = study.load_predictions(number, "test")
    return Evaluation(
        round=number,
        items=float(content["spent"]["items"]),
        minutes=float(content["spent"]["minutes"]),
        ids=tuple(ids),
        probabilities=np.asarray(probabilities, dtype=np.float64),
        measured=content,
    )
