"""Where a campaign stands, read from its events alone: what `medal status` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medal.ledger import Event

NEXT_STEPS = ("ask", "answer", "train", "evaluate", "nothing")


@dataclass
class Standing:
    """A running summary; give it every event in order.

    Attributes:
        round: highest round that was begun; None before the first question.
        next: the step that comes next, one of `NEXT_STEPS`.
        spent: items and expert minutes of everything that was answered; a request answered in part counts in part.
        labelled: ids that were answered, without the validation arm.
        validation: ids that were answered for the validation arm.
        waiting: ids that were asked and not yet answered, in the order asked.
        retired: ids that cannot be labelled.
        trained: last round with weights.
        evaluated: last round with an evaluation.
        macro: means over the labels in the last evaluation.
        quarantined: number of files that could not be read.
        closed: reason of the end; None while the campaign goes on.
    """

    round: int | None = None
    next: str = "ask"
    spent: dict[str, float] = field(default_factory=lambda: {"items": 0.0, "minutes": 0.0})
    labelled: set[str] = field(default_factory=set)
    validation: set[str] = field(default_factory=set)
    waiting: dict[str, None] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    trained: int | None = None
    evaluated: int | None = None
    macro: dict[str, Any] = field(default_factory=dict)
    quarantined: int = 0
    closed: str | None = None
    _shares: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    _untrained: bool = field(default=False, repr=False)

    def add(self, event: Event) -> None:
        """Takes one event in; kinds that say nothing about the standing are passed over."""
        take = getattr(self, f"_on_{event.kind}", None)
        if take is not None:
            take(event.content)

    def _on_quarantined(self, content: dict[str, Any]) -> None:
        self.quarantined += len(content["items"])

    def _on_asked(self, content: dict[str, Any]) -> None:
        self.round = content["round"]
        share = {unit: amount / max(len(content["ids"]), 1) for unit, amount in content["cost"].items()}
        self._shares.update(dict.fromkeys(content["ids"], share))
        self.waiting.update(dict.fromkeys(content["ids"]))
        self.next = "answer"

    def _on_answered(self, content: dict[str, Any]) -> None:
        for name in content["ids"]:
            self.waiting.pop(name, None)
            for unit, amount in self._shares.pop(name, {}).items():
                self.spent[unit] = self.spent.get(unit, 0.0) + amount
        (self.validation if content["purpose"] == "validation" else self.labelled).update(content["ids"])
        self._untrained |= content["purpose"] != "validation"
        # labels that a clinic brings along can be trained with at any time, but the first question comes first
        self.next = "answer" if self.waiting else "train" if self._untrained and self.round is not None else "ask"

    def _on_retired(self, content: dict[str, Any]) -> None:
        for name in content["ids"]:
            self.waiting.pop(name, None)
            self.retired.add(name)
        if self.next == "answer" and not self.waiting:
            self.next = "train" if self._untrained else "ask"

    def _on_trained(self, content: dict[str, Any]) -> None:
        self.round = self.trained = content["round"]
        self._untrained = False
        self.next = "evaluate"

    def _on_evaluated(self, content: dict[str, Any]) -> None:
        self.round = self.evaluated = content["round"]
        self.macro = dict(content.get("macro", {}))
        self.next = "answer" if self.waiting else "ask"

    def _on_closed(self, content: dict[str, Any]) -> None:
        self.closed = str(content.get("reason", ""))
        self.next = "nothing"

    def as_dict(self) -> dict[str, Any]:
        """Plain values: counts instead of sets, `finished` instead of a reason alone."""
        return {
            "round": self.round,
            "next": self.next,
            # shares are fractions of a request; the sum of a whole request is whole again
            "spent": {unit: round(amount, 6) for unit, amount in self.spent.items()},
            "labelled": len(self.labelled),
            "validation": len(self.validation),
            "waiting": len(self.waiting),
            "retired": len(self.retired),
            "trained": self.trained,
            "evaluated": self.evaluated,
            "macro": self.macro,
            "quarantined": self.quarantined,
            "finished": self.closed is not None,
            "reason": self.closed,
        }


def as_it_is_now(
    opened: Mapping[str, Any], added: Sequence[Mapping[str, Any]], groups: int | None = None
) -> dict[str, Any]:
    """The content of the first event, with the data and the split as they are since images came in later.

    Args:
        opened: content of the first event.
        added: contents of the `added` events, in order.
        groups: patients now; None leaves out their number where images were added.

    Returns:
        A copy; `data` says under "later" how many of its rows came later.

    Example:
        >>> now = as_it_is_now({"data": {"rows": 4, "groups": 2}}, [{"ids": ["e", "f"], "rows": 6}], 3)
        >>> now["data"]
        {'rows': 6, 'groups': 3, 'later': 2}
    """
    if not added:
        return dict(opened)
    last = added[-1]
    later = sum(len(content.get("ids", ())) for content in added)
    data = {**opened.get("data", {}), "rows": last.get("rows"), "groups": groups, **last.get("data", {})}
    return {**opened, "data": {**data, "later": later}, "split": {**opened.get("split", {}), **last.get("split", {})}}


def standing(events: Iterable[Event]) -> Standing:
    """The standing after events, see `Standing`.

    Example:
        >>> standing([]).as_dict()["next"]
        'ask'
    """
    summary = Standing()
    for event in events:
        summary.add(event)
    return summary
