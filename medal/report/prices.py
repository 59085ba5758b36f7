"""Whether the ranking of the arms hangs on the prices: each is halved and doubled."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medal.metrics.cost_stability import CostStability, Scenario, UnitCurve, cost_stability
from medal.report.curves import points
from medal.report.history import RunHistory, StudyHistory
from medal.report.tables import Table, cells
from medal.report.words import number

FACTOR_NAMES = {0.5: "halved", 2.0: "doubled"}


def price_stability(run: RunHistory) -> CostStability | None:
    """Ranking of the arms by area over minutes at changed prices; None with fewer than two arms to rank."""
    arms = [arm for arm in run.arms if any(points(study, "auroc", "items") for study in run.of(arm))]
    if len(arms) < 2:
        return None
    by_block: dict[str, dict[str, StudyHistory]] = {}
    for arm in arms:
        for study in run.of(arm):
            if points(study, "auroc", "items"):
                by_block.setdefault(study.block, {})[arm] = study
    blocks = [found for found in by_block.values() if len(found) == len(arms)]
    prices = _prices([study for found in blocks for study in found.values()])
    if not blocks or not prices:
        return None
    curves = {arm: [_unit_curve(found[arm]) for found in blocks] for arm in arms}
    found = cost_stability(curves, prices)
    return found if all(math.isfinite(area) for area in found.stated.areas.values()) else None


def _prices(studies: list[StudyHistory]) -> Mapping[str, float]:
    """Minutes that a unit of each kind was planned to cost."""
    items, minutes = {}, {}
    for batch in (b for study in studies for b in study.batches if b.items > 0 and b.minutes > 0):
        items[batch.kind] = items.get(batch.kind, 0.0) + batch.items
        minutes[batch.kind] = minutes.get(batch.kind, 0.0) + batch.minutes
    return {kind: minutes[kind] / items[kind] for kind in sorted(items)}


def _unit_curve(study: StudyHistory) -> UnitCurve:
    line = points(study, "auroc", "items")
    kinds = sorted({batch.kind for batch in study.batches if batch.items > 0 and batch.minutes > 0})
    counts = {
        kind: [math.fsum(b.items for b in study.batches if b.kind == kind and b.round <= n) for n, _, _ in line]
        for kind in kinds
    }
    return UnitCurve(counts, [value for _, _, value in line])


def price_sentence(found: CostStability) -> str:
    """Whether any price turns the order."""
    kinds = list(dict.fromkeys(s.kind for s in found.changed))
    what = f"the minutes for {'one ' + kinds[0] if len(kinds) == 1 else 'each of ' + ', '.join(kinds)}"
    order = ", ".join(found.stated.order)
    if found.stable:
        text = f"Halving and doubling {what} leaves the order of the arms as it is ({order})."
        return f"{text} With one kind of unit it cannot be otherwise." if len(kinds) == 1 else text
    turned = "; ".join(f"{s.kind} {FACTOR_NAMES.get(s.factor, f'times {s.factor:g}')}" for s in found.turned)
    return f"The order of the arms ({order}) hangs on the prices: it is another one with {turned}."


def price_table(run: RunHistory, found: CostStability) -> Table:
    """Area over minutes of every arm at every price."""
    arms = list(found.stated.areas)
    rows = [_row(scenario, arms) for scenario in (found.stated, *found.changed)]
    return Table(
        caption="Area under macro AUROC over expert minutes, divided by the span that all arms of a block cover, mean "
        "over blocks; with each kind's minutes halved and doubled alone.",
        columns=("Minutes", *(run.title(arm) for arm in arms), "Order"),
        rows=tuple(rows),
        text=frozenset({len(arms) + 1}),
    )


def _row(scenario: Scenario, arms: list[str]):  # noqa: ANN202 - a row of cells
    name = (
        f"{scenario.kind} {FACTOR_NAMES.get(scenario.factor, f'times {scenario.factor:g}')}"
        if scenario.kind
        else "as planned"
    )
    return cells(name, *(number(scenario.areas[arm], 4) for arm in arms), " > ".join(scenario.order))
