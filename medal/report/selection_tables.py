"""The tables about what was selected."""

from __future__ import annotations

from medal.report.history import RunHistory
from medal.report.selection import Comparison, findings_in_each, random_answers, spread
from medal.report.tables import Cell, Table, cells
from medal.report.words import amount, interval, number, percent


def label_share_table(run: RunHistory, comparison: Comparison) -> Table:
    """Prevalence of each label among what each arm's queries paid for, beside the estimate for the pool."""
    arms = [arm for arm in run.arms if arm in comparison.arms]
    rows = []
    for position, label in enumerate(comparison.categories):
        pool = comparison.pool[position]
        estimate = Cell(percent(pool.share), interval(*pool.wilson(), percent) if pool.count else "")
        rows.append(cells(label, estimate, *(percent(comparison.arms[arm][position].share) for arm in arms)))
    drawn = max((pool.count for pool in comparison.pool), default=0)
    return Table(
        caption="Prevalence among paid answers to queries, all seeds of an arm together. Pool: estimated from "
        f"{drawn:,} units drawn at random (validation sets, random start sets and the random arm), below it the 95 % "
        "Wilson interval, which takes images of one patient as independent.",
        columns=("Label", "Pool (estimate)", *(run.title(arm) for arm in arms)),
        rows=tuple(rows),
    )


def spread_table(run: RunHistory) -> Table | None:
    """How the queries of each arm spread over patients and findings; None before any query."""
    rows = []
    for arm in run.arms:
        found = spread(run, arm)
        if found is not None:
            each = number(found.patients / found.picks, 2)
            rows.append(
                cells(
                    run.title(arm),
                    amount(found.picks),
                    amount(found.patients),
                    each,
                    str(found.most),
                    number(found.findings, 2),
                )
            )
    if not rows:
        return None
    usual = number(findings_in_each(random_answers(run).values()), 2)
    return Table(
        caption="Spread of the queries, mean over seeds; the most picks from one patient are the most in any study. "
        f"Units drawn at random have {usual} findings per image.",
        columns=(
            "Arm",
            "Picks",
            "Distinct patients",
            "Patients per pick",
            "Most picks from one patient",
            "Findings per image",
        ),
        rows=tuple(rows),
    )
