"""The tables about what was selected."""

from __future__ import annotations

from medal.report.history import RunHistory
from medal.report.selection import Comparison, findings_in_each, random_answers, spread
from medal.report.tables import Cell, Table, cells
from medal.report.words import amount, interval, number, percent

RANDOM_DRAWS = {
    True: "images that measure, and lists that were asked for at random",
    False: "validation sets, random start sets and the random arm",
}
"""What was drawn at random, by whether people answer."""
PURPOSES = {"validation": "to measure", "start": "to begin", "query": "to learn from", "relabel": "second look"}


def asked_table(run: RunHistory) -> Table | None:
    """What people were asked, batch by batch, and by which strategy; None without people or questions.

    A list may have been asked for by another strategy than the recipe's.
    """
    rows = []
    for study in run.studies if run.by_people else ():
        answered = {(a.purpose, a.unit) for a in study.answers}
        for batch in study.batches:
            back = sum((batch.purpose, pick.unit) in answered for pick in batch.picks)
            purpose = PURPOSES.get(batch.purpose, batch.purpose)
            rows.append(cells(str(batch.round), purpose, batch.strategy, amount(len(batch.picks)), amount(back)))
    if not rows:
        return None
    return Table(
        caption="What was asked, in order. The strategy is the one that chose this batch, also where a list was asked "
        "for by another than the recipe's.",
        columns=("Round", "Purpose", "Strategy", "Asked", "Answered"),
        rows=tuple(rows),
        text=frozenset({1, 2}),
    )


def label_share_table(run: RunHistory, comparison: Comparison) -> Table:
    """Prevalence of each label among what each arm's queries paid for, beside the estimate for the pool."""
    arms = [arm for arm in run.arms if arm in comparison.arms]
    rows = []
    for position, label in enumerate(comparison.categories):
        pool = comparison.pool[position]
        estimate = Cell(percent(pool.share), interval(*pool.wilson(), percent) if pool.count else "")
        rows.append(cells(label, estimate, *(percent(comparison.arms[arm][position].share) for arm in arms)))
    seeds = ", all seeds of an arm together" if run.over_seeds else ""
    drawn = max((pool.count for pool in comparison.pool), default=0)
    return Table(
        caption=f"Prevalence among paid answers to queries{seeds}. Pool: estimated "
        f"from {drawn:,} units drawn at random ({RANDOM_DRAWS[run.by_people]}), below it the 95 % "
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
        caption=f"Spread of the queries{run.over_seeds}; the most picks from one patient are the most in any study. "
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
