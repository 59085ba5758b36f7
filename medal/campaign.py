"""A campaign's state and its steps (survey, section 2): ask, record answers, train, evaluate; each step is one event.

Everything in memory is read from the journal, so that whoever opens the folder again stands where the last event left
it. Who decides which step comes next is another matter: `medal.loop` plays with a simulated expert, `medal.human`
waits for people.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from medal.budget import Allowance, CostModel
from medal.errors import BudgetError, StudyError
from medal.examine import measure_arm
from medal.learners.protocol import Learner
from medal.ledger import Event
from medal.outputs import Outputs
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent
from medal.strategy import Query, Strategy
from medal.study import Study
from medal.units import IMAGE

PURPOSES = ("validation", "start", "query", "relabel", "imported")
"""What answers are for; whole rows of every purpose but "query" are priced as images."""


class Examine(Protocol):
    """Measures predictions on the test split; it alone knows test labels."""

    def __call__(self, rows: Tensor, probabilities: Tensor, *, thorough: bool = False) -> Mapping[str, object]:
        """`labels` and `macro` of an evaluation; `subgroups` too when `thorough`.

        Args:
            rows: (T) positions.
            probabilities: (T, L).
            thorough: also what takes longer.
        """
        ...


@dataclass(kw_only=True)
class Campaign:
    """One campaign in one study folder.

    Args:
        study: where every step is written.
        source: pixels, without labels.
        pool: who is labelled; empty at first, brought up to date from the journal.
        learner: trained in each round.
        strategy: chooses what to annotate.
        cost: minutes for each kind of unit.
        seed: root of every generator.
        examine: measures the test split; None when there is no truth to measure with.
        progress: told during long work.
        previews: whether to keep small images of what is asked; where nobody looks at them they take longer than the
            training of a head.
    """

    study: Study
    source: Source
    pool: Pool
    learner: Learner
    strategy: Strategy
    cost: CostModel
    seed: Seed
    examine: Examine | None = None
    progress: Progress = silent
    previews: bool = True
    _measured: list[tuple[str, float]] = field(default_factory=list, repr=False)
    _spent: dict[str, float] = field(default_factory=lambda: {"items": 0.0, "minutes": 0.0}, repr=False)
    _trained: int = field(default=-1, repr=False)

    def __post_init__(self) -> None:
        self._test = self.pool.split.positions("test")
        for event in self.study.ledger.events():
            self._take(event)

    def _take(self, event: Event) -> None:
        """Brings the state up to date with one event."""
        content = event.content
        if event.kind == "asked":
            self.pool.round = content["round"]
            self._spent = {k: v + content["cost"][k] for k, v in self._spent.items()}
        elif event.kind == "answered":
            self._take_answers(content, event.aside or {})
        elif event.kind == "retired":
            self.pool.retire(content["ids"])
        elif event.kind == "trained":
            self._trained = content["round"]

    def _take_answers(self, content: Mapping[str, Any], aside: Mapping[str, Any]) -> None:
        kind, purpose = str(content["kind"]), str(content["purpose"])
        target = torch.tensor([[math.nan if v is None else v for v in row] for row in content["target"]])
        told = aside.get("seconds") or content["seconds"]  # people's times are no part of the content
        seconds = tuple(math.nan if s is None else float(s) for s in told)
        self.pool.answer(
            Annotations(tuple(content["ids"]), target, self.pool.units.kind, seconds, str(content["annotator"])),
            purpose,
        )
        if kind == self.pool.units.kind and purpose != "imported":
            self._measured += [(kind, s) for s in seconds]

    def _append(self, kind: str, content: Mapping[str, object], aside: Mapping[str, object] | None = None) -> Event:
        event = self.study.ledger.append(kind, content, aside)
        self._take(event)
        return event

    @property
    def trained(self) -> bool:
        """Whether there is a model."""
        return self._trained >= 0

    @property
    def prices(self) -> CostModel:
        """The cost model after everything that was measured so far."""
        return self.cost.refit(self._measured)

    @property
    def round_seed(self) -> Seed:
        """Root of the generators of the present round."""
        return self.seed / f"round {self.pool.round}"

    @cached_property
    def outputs(self) -> Outputs:
        """What the last model says, lazily; call `restore` first in a new process.

        Raises:
            StudyError: when nothing was trained yet.
        """
        last = self.study.ledger.last("trained")
        if last is None:
            raise StudyError("nothing was trained yet; run the campaign first")
        return self.learner.predict(self._cache_of(str(last.content["weights"])), self.progress)

    def _cache_of(self, weights: str) -> Path:
        """Rows are cached by position, so a cache is of one model and one list of rows."""
        rows = hashlib.sha256("\x1e".join((self.source.digest, *self.source.ids)).encode()).hexdigest()
        return self.study.outputs_path / f"{weights[:16]}-{rows[:8]}"

    def draw(self, part: str, count: int, purpose: str) -> Query:
        """A query about random whole rows; all units of a row are asked together at the price of an image.

        Args:
            part: "pool" or "validation"; rows that were answered or retired are left out.
            count: rows at most.
            purpose: names the generator.
        """
        rows = self._open_rows(part)
        order = torch.randperm(len(rows), generator=(self.seed / f"round {self.pool.round}" / purpose).torch())
        return self.query_rows(rows[order[: min(count, len(rows))]].sort().values, len(rows))

    def _open_rows(self, part: str) -> Tensor:
        rows = self.pool.split.positions(part)
        closed = torch.cat([self.pool.labelled(part), self.pool.units.positions(self.pool.retired)])
        return rows[~torch.isin(rows, self.pool.units.row[closed])]

    def query_rows(self, rows: Tensor, among: int) -> Query:
        """A query about given whole rows that were drawn with equal chances.

        Args:
            rows: (n) positions.
            among: from how many they were drawn.
        """
        units = self.pool.units.of_rows(rows)
        cost = {"items": float(len(rows)), "minutes": self.cost.of(IMAGE.name) * len(rows)}
        term = {"probability": len(rows) / max(among, 1), "candidates": float(among)}
        terms = tuple(dict(term) for _ in range(len(units)))
        return Query(tuple(self.pool.units.names(units)), (math.nan,) * len(units), terms, cost)

    def select(self, allowance: Allowance) -> tuple[Query, float]:
        """The strategy's query on the last model, and the seconds that it took; nothing is written."""
        started = time.perf_counter()
        query = self.strategy.query(self.outputs, self.pool, allowance, self.round_seed / "strategy")
        return query, time.perf_counter() - started

    def write_query(self, query: Query, purpose: str, strategy: str, aside: Mapping[str, object] | None = None) -> None:
        """Writes down what is asked, before anybody is asked."""
        content = {
            "round": self.pool.round,
            "purpose": purpose,
            "strategy": strategy,
            "ids": list(query.ids),
            "scores": list(query.scores),
            "terms": [dict(t) for t in query.terms],
            "cost": dict(query.cost),
        }
        self._append("asked", content, aside or {})

    def save_previews(self, ids: Sequence[str]) -> None:
        """Keeps a small image of each unit for the eyes of annotators and readers of the report."""
        if not self.previews:
            return
        positions = self.pool.units.positions(ids).tolist()
        rows = {name: int(self.pool.units.row[p]) for name, p in zip(ids, positions, strict=True)}
        self.study.save_previews({name: self.source.preview(row) for name, row in rows.items()})

    def record(self, answers: Annotations, purpose: str, kind: str, *, measured: bool = False) -> None:
        """Writes answers down and takes them in.

        Args:
            answers: of one annotator.
            purpose: one of `PURPOSES`.
            kind: of the units as they were read, for the price.
            measured: whether the times were measured on people; those stay out of the content hash.

        Raises:
            UnitError: when the pool cannot take them; nothing is written then.
        """
        self.pool.check(answers)  # what the journal holds must be replayable
        seconds = list(answers.seconds)
        content = {
            "round": self.pool.round,
            "purpose": purpose,
            "kind": kind,
            "ids": list(answers.ids),
            "target": answers.target.tolist(),
            "seconds": [None] * len(seconds) if measured else seconds,
            "annotator": answers.annotator,
        }
        self._append("answered", content, {"seconds": seconds} if measured else {})

    def retire(self, ids: Iterable[str], reason: str, annotator: str) -> None:
        """Takes units out for good, with the reason that was given.

        Raises:
            UnitError: on an unknown id.
        """
        names = list(ids)
        self.pool.units.positions(names)
        self._append("retired", {"ids": names, "reason": reason, "annotator": annotator})

    def train(self) -> None:
        """Trains on the paid labels and keeps the weights.

        Raises:
            BudgetError: when nothing was labelled yet.
        """
        if self.learner.warm and self.trained:
            self.restore()
        self._fit()
        self._forget_outputs()

    def _fit(self) -> None:
        table = self.pool.table()
        report = self.learner.fit(self.pool, table, self.round_seed / "learner", self.progress)
        weights = self.study.save_weights(self.pool.round, self.learner.state_dict())
        content = {
            "round": self.pool.round,
            "weights": weights,
            "rows": len(table),
            "steps": report.steps,
            "loss": report.loss,
            "extras": dict(report.extras),
        }
        known = self.study.ledger.last("trained")
        if known is None or known.content["round"] != self.pool.round or self._answered_since(known):
            self._append("trained", content, {"seconds": report.seconds})
        elif known.content["weights"] != weights:
            raise StudyError(
                f"training round {self.pool.round} again gave other weights than the journal has; "
                "go on where it was begun: the same versions, threads and kind of machine"
            )

    def _answered_since(self, event: Event) -> bool:
        later = (self.study.ledger.last(kind) for kind in ("answered", "retired", "added"))
        return any(e is not None and e.seq > event.seq for e in later)

    def evaluate(self, *, thorough: bool = False) -> None:
        """Measures the model on the test split, and on the paid random validation arm, and keeps the predictions.

        Args:
            thorough: also what takes longer, such as subgroups.
        """
        self.restore()
        measured: dict[str, object] = {"labels": {}, "macro": {}}
        kept: dict[str, str] = {}
        if self.examine is not None and len(self._test):
            probabilities = self._probabilities(self._test)
            measured |= self.examine(self._test, probabilities, thorough=thorough)
            kept["test"] = self._keep("test", self._test, probabilities)
        arm = self.pool.table("validation")
        if len(arm):
            probabilities = self._probabilities(arm.rows)
            measured["validation"] = measure_arm(probabilities, arm.target, self.pool.labels)
            kept["validation"] = self._keep("validation", arm.rows, probabilities)
        labelled = self.pool.labelled()
        content = {
            "round": self.pool.round,
            "spent": dict(self._spent),
            "labelled": {"items": len(labelled), "rows": len(torch.unique(self.pool.units.row[labelled]))},
            **measured,
            "predictions": kept,
        }
        self._append("evaluated", content)

    def _probabilities(self, rows: Tensor) -> Tensor:
        names = self.outputs.resolve({"prediction"}, "evaluation")
        return torch.cat([c.distribution().mean(1)[..., 1] for c in self.outputs.chunks(names, rows)])

    def _keep(self, part: str, rows: Tensor, probabilities: Tensor) -> str:
        ids = [self.pool.units.rows[r] for r in rows.tolist()]
        return self.study.save_predictions(self.pool.round, part, ids, probabilities.float().numpy())

    def restore(self) -> None:
        """Brings the last weights back when this process did not train them itself; trains again when they are lost."""
        if "outputs" in self.__dict__:
            return
        if not self.trained:
            raise StudyError("nothing was trained yet; run the campaign first")
        try:
            seed = self.seed / f"round {self._trained}" / "learner"
            self.learner.load_state_dict(self.study.load_weights(self._trained), seed)
        except StudyError:
            last = self.study.ledger.last("trained")
            if self._trained != self.pool.round or last is None or self._answered_since(last):
                raise
            self._fit()
        _ = self.outputs

    def _forget_outputs(self) -> None:
        self.__dict__.pop("outputs", None)
        last = self.study.ledger.last("trained")
        keep = self._cache_of(str(last.content["weights"])).name if last is not None else ""
        for folder in _subfolders(self.study.outputs_path):
            if folder.name != keep:
                shutil.rmtree(folder, ignore_errors=True)

    def start_rows(self) -> Tensor:
        """Rows of the pool, at least two.

        Raises:
            BudgetError: when there are fewer.
        """
        rows = self.pool.split.positions("pool")
        if len(rows) < 2:
            raise BudgetError(
                f"the pool has {len(rows)} images after splitting, expected at least 2; add data or lower the split"
            )
        return rows


def _subfolders(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.is_dir()] if folder.is_dir() else []
