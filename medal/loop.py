"""The campaign: query, annotate, train, evaluate (survey, section 2), one transaction a step.

The loop keeps nothing in memory that its journal does not hold: killed at any instruction, it reads the journal again,
finds the next step, and takes it with the same named generators, so that the picks are the same.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medal.budget import Allowance, Budget, CostModel
from medal.errors import BudgetError, StudyError, UnitError
from medal.learners.protocol import Learner
from medal.oracle.protocol import Oracle
from medal.outputs import Outputs
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent
from medal.strategy import Query, Strategy
from medal.study import Study
from medal.units import IMAGE

Examine = Callable[[Tensor, Tensor], Mapping[str, object]]
"""examine(rows, probabilities (len(rows), L)) -> `labels` and `macro` of an evaluation; it alone knows test labels."""
STEPS = ("asked", "answered", "trained", "evaluated")


@dataclass
class ActiveLoop:
    """One campaign in one study folder.

    Args:
        study: where every step is written.
        source: pixels, without labels.
        pool: who is labelled; empty at first, brought up to date from the journal.
        learner: trained in each round.
        strategy: chooses what to annotate.
        oracle: answers.
        budget: what a round may cost.
        cost: minutes for each kind of unit.
        validation: rows of the paid random validation arm.
        start: rows of the random start set.
        seed: root of every generator.
        examine: measures the test split; None when there is no truth to measure with.
        progress: told during long work.
    """

    study: Study
    source: Source
    pool: Pool
    learner: Learner
    strategy: Strategy
    oracle: Oracle
    budget: Budget
    cost: CostModel
    validation: int
    start: int
    seed: Seed
    examine: Examine | None = None
    progress: Progress = silent
    _measured: list[tuple[str, float]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._test = self.pool.split.positions("test")
        self._spent = {"items": 0.0, "minutes": 0.0}
        self._trained = -1
        self._replay()

    def run(self) -> str:
        """Takes steps until the budget of rounds is spent or no candidate is left.

        Returns:
            Why it ended.
        """
        while (end := self.study.ledger.last("closed")) is None:
            self.step()
        if self._trained >= 0:
            self._restore()  # trains the last round again when its weights were lost since
        return str(end.content["reason"])

    @property
    def finished(self) -> bool:
        """Whether the campaign was closed."""
        return self.study.ledger.last("closed") is not None

    @property
    def steps_total(self) -> int:
        """Steps of the whole campaign if the pool lasts: four a round, and two for the validation arm."""
        return 4 * (self.budget.rounds + 1) + 2 * self._has_validation

    @property
    def steps_done(self) -> int:
        """Steps that the journal holds."""
        return sum(1 for e in self.study.ledger.events() if e.kind in STEPS)

    def step(self) -> None:
        """Takes the one step that follows the last event of the journal."""
        last = None
        for kind in STEPS:
            event = self.study.ledger.last(kind)
            if event is not None and (last is None or event.seq > last.seq):
                last = event
        if last is None:
            self._ask_rows(*(("validation", self.validation) if self._has_validation else ("start", self.start)))
        elif last.kind == "asked":
            self._answer(last.content)
        elif last.kind == "answered" and last.content["purpose"] == "validation":
            self._ask_rows("start", self.start)
        elif last.kind == "answered":
            self._train()
        elif last.kind == "trained":
            self._evaluate()
        elif self.pool.round >= self.budget.rounds:
            self._close(f"{self.budget.rounds} rounds were played")
        else:
            self._ask()

    def _replay(self) -> None:
        for event in self.study.ledger.events():
            content = event.content
            if event.kind == "asked":
                self.pool.round = content["round"]
                self._spent = {k: v + content["cost"][k] for k, v in self._spent.items()}
            elif event.kind == "answered":
                self._take_in(content)
            elif event.kind == "trained":
                self._trained = content["round"]

    def _take_in(self, content: Mapping[str, Any]) -> None:
        ids, kind = tuple(content["ids"]), str(content["kind"])
        target = torch.tensor([[math.nan if v is None else v for v in row] for row in content["target"]])
        seconds = tuple(math.nan if s is None else float(s) for s in content["seconds"])
        self.pool.answer(Annotations(ids, target, self.pool.units.kind, seconds, str(content["annotator"])))
        if kind == self.pool.units.kind:
            self._measured += [(kind, s) for s in seconds]

    @property
    def _has_validation(self) -> bool:
        return self.validation > 0 and len(self.pool.split.positions("validation")) > 0

    def _ask_rows(self, purpose: str, count: int) -> None:
        """Asks about random whole rows of one part; all units of a row are paid together at the price of an image."""
        part = "validation" if purpose == "validation" else "pool"
        rows = self.pool.split.positions(part)
        if purpose == "start" and len(rows) < 2:
            raise BudgetError(
                f"the pool has {len(rows)} images after splitting, expected at least 2; add data or lower the split"
            )
        order = torch.randperm(len(rows), generator=(self.seed / "round 0" / purpose).torch())
        chosen = rows[order[: min(count, len(rows))]].sort().values
        units = self.pool.units.of_rows(chosen)
        chance = len(chosen) / max(len(rows), 1)
        cost = {"items": float(len(chosen)), "minutes": self.cost.of(IMAGE.name) * len(chosen)}
        terms = tuple({"probability": chance, "candidates": float(len(rows))} for _ in range(len(units)))
        query = Query(tuple(self.pool.units.names(units)), (math.nan,) * len(units), terms, cost)
        self._write_query(query, purpose, "random", {})

    def _ask(self) -> None:
        self._restore()
        self.pool.round += 1
        allowance = Allowance(self.budget.per_round, self.budget.unit, self.pool.units, self.prices)
        started = time.perf_counter()
        try:
            query = self.strategy.query(self._outputs, self.pool, allowance, self._round_seed / "strategy")
        except BudgetError as error:
            self.pool.round -= 1
            self._close(str(error) if len(self.pool.candidates()) else "every candidate was labelled")
            return
        self.study.save_previews({i: self.source.preview(int(self.pool.units.row[p])) for i, p in self._rows_of(query)})
        self._write_query(query, "query", self.strategy.name, {"seconds": time.perf_counter() - started})

    def _rows_of(self, query: Query) -> list[tuple[str, int]]:
        return list(zip(query.ids, self.pool.units.positions(query.ids).tolist(), strict=True))

    def _write_query(self, query: Query, purpose: str, strategy: str, aside: dict[str, object]) -> None:
        content = {
            "round": self.pool.round,
            "purpose": purpose,
            "strategy": strategy,
            "ids": list(query.ids),
            "scores": list(query.scores),
            "terms": [dict(t) for t in query.terms],
            "cost": dict(query.cost),
        }
        self.study.ledger.append("asked", content, aside)
        self._spent = {k: v + query.cost[k] for k, v in self._spent.items()}

    def _answer(self, asked: Mapping[str, Any]) -> None:
        ids = tuple(asked["ids"])
        terms = tuple(asked["terms"])
        query = Query(ids, (math.nan,) * len(ids), terms, asked["cost"])
        purpose = str(asked["purpose"])
        answers = self.oracle.annotate(query, self.pool.units.kind, self.seed / "oracle")
        if answers.ids != ids:
            raise UnitError(f"{type(self.oracle).__name__} answered other units than were asked, or in another order")
        self.pool.check(answers)  # what the journal holds must be replayable
        content = {
            "round": asked["round"],
            "purpose": purpose,
            # whole rows of a campaign on inner units are read as images, so their times say nothing about one finding
            "kind": self.pool.units.kind if purpose == "query" else IMAGE.name,
            "ids": list(answers.ids),
            "target": answers.target.tolist(),
            "seconds": list(answers.seconds),
            "annotator": answers.annotator,
        }
        event = self.study.ledger.append("answered", content)
        self._take_in(event.content)

    def _train(self) -> None:
        if self.learner.warm and self._trained >= 0:
            self._restore()
        self._fit()
        self._trained = self.pool.round
        self._forget_outputs()

    def _fit(self) -> None:
        table = self.pool.table()
        report = self.learner.fit(self.pool, table, self._round_seed / "learner", self.progress)
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
        if known is None or known.content["round"] != self.pool.round:
            self.study.ledger.append("trained", content, {"seconds": report.seconds})
        elif known.content["weights"] != weights:
            raise StudyError(
                f"training round {self.pool.round} again gave other weights than the journal has; "
                "go on where it was begun: the same versions, threads and kind of machine"
            )

    def _evaluate(self) -> None:
        self._restore()
        measured: Mapping[str, object] = {"labels": {}, "macro": {}}
        if self.examine is not None and len(self._test):
            probabilities = torch.cat(
                [c.distribution().mean(1)[..., 1] for c in self._outputs.chunks(self._prediction, self._test)]
            )
            measured = self.examine(self._test, probabilities)
        labelled = self.pool.labelled()
        content = {
            "round": self.pool.round,
            "spent": dict(self._spent),
            "labelled": {"items": len(labelled), "rows": len(torch.unique(self.pool.units.row[labelled]))},
            **measured,
        }
        self.study.ledger.append("evaluated", content)

    def _close(self, reason: str) -> None:
        self.study.ledger.append("closed", {"reason": reason})

    @property
    def prices(self) -> CostModel:
        """The cost model after everything that was measured so far."""
        return self.cost.refit(self._measured)

    @property
    def _round_seed(self) -> Seed:
        return self.seed / f"round {self.pool.round}"

    @cached_property
    def _outputs(self) -> Outputs:
        last = self.study.ledger.last("trained")
        if last is None:
            raise StudyError("nothing was trained yet; run the campaign first")
        return self.learner.predict(self.study.outputs_path / str(last.content["weights"])[:16], self.progress)

    @property
    def _prediction(self) -> frozenset[str]:
        return self._outputs.resolve({"prediction"}, "evaluation")

    def _restore(self) -> None:
        """Brings the last weights back when this process did not train them itself; trains again when they are lost."""
        if "_outputs" in self.__dict__:
            return
        try:
            seed = self.seed / f"round {self._trained}" / "learner"
            self.learner.load_state_dict(self.study.load_weights(self._trained), seed)
        except StudyError:
            if self._trained != self.pool.round:
                raise
            self._fit()
        _ = self._outputs

    def _forget_outputs(self) -> None:
        self.__dict__.pop("_outputs", None)
        last = self.study.ledger.last("trained")
        keep = str(last.content["weights"])[:16] if last is not None else ""
        for folder in _subfolders(self.study.outputs_path):
            if folder.name != keep:
                shutil.rmtree(folder, ignore_errors=True)


def _subfolders(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.is_dir()] if folder.is_dir() else []
