"""The campaign with a simulated expert: query, annotate, train, evaluate (survey, section 2), one transaction a step.

The loop keeps nothing in memory that its journal does not hold: killed at any instruction, it reads the journal again,
finds the next step, and takes it with the same named generators, so that the picks are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medal.budget import Allowance, Budget
from medal.campaign import Campaign
from medal.errors import BudgetError, UnitError
from medal.oracle.protocol import Oracle
from medal.strategy import Query
from medal.units import IMAGE

STEPS = ("asked", "answered", "trained", "evaluated")


@dataclass(kw_only=True)
class ActiveLoop(Campaign):
    """A campaign that plays itself.

    Args:
        oracle: answers.
        budget: what a round may cost.
        validation: rows of the paid random validation arm.
        start: rows of the random start set.
    """

    oracle: Oracle
    budget: Budget
    validation: int
    start: int

    def run(self) -> str:
        """Takes steps until the budget of rounds is spent or no candidate is left.

        Returns:
            Why it ended.
        """
        while (end := self.study.ledger.last("closed")) is None:
            self.step()
        if self.trained:
            self.restore()  # trains the last round again when its weights were lost since
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
        if last is None and self._has_validation:
            self.write_query(self.draw("validation", self.validation, "validation"), "validation", "random")
        elif last is None or (last.kind == "answered" and last.content["purpose"] == "validation"):
            self.start_rows()
            self.write_query(self.draw("pool", self.start, "start"), "start", "random")
        elif last.kind == "asked":
            self._answer(last.content)
        elif last.kind == "answered":
            self.train()
        elif last.kind == "trained":
            self.evaluate(thorough=self.pool.round >= self.budget.rounds)
        elif self.pool.round >= self.budget.rounds:
            self._close(f"{self.budget.rounds} rounds were played")
        else:
            self._ask()

    @property
    def _has_validation(self) -> bool:
        return self.validation > 0 and len(self.pool.split.positions("validation")) > 0

    def _ask(self) -> None:
        self.restore()
        self.pool.round += 1
        allowance = Allowance(self.budget.per_round, self.budget.unit, self.pool.units, self.prices)
        try:
            query, seconds = self.select(allowance)
        except BudgetError as error:
            self.pool.round -= 1
            self._close(str(error) if len(self.pool.candidates()) else "every candidate was labelled")
            return
        self.save_previews(query.ids)
        self.write_query(query, "query", self.strategy.name, {"seconds": seconds})

    def _answer(self, asked: Mapping[str, Any]) -> None:
        ids = tuple(asked["ids"])
        query = Query(ids, (math.nan,) * len(ids), tuple(asked["terms"]), asked["cost"])
        purpose = str(asked["purpose"])
        answers = self.oracle.annotate(query, self.pool.units.kind, self.seed / "oracle")
        if answers.ids != ids:
            raise UnitError(f"{type(self.oracle).__name__} answered other units than were asked, or in another order")
        # whole rows of a campaign on inner units are read as images, so their times say nothing about one finding
        self.record(answers, purpose, self.pool.units.kind if purpose == "query" else IMAGE.name)

    def _close(self, reason: str) -> None:
        self.study.ledger.append("closed", {"reason": reason})
