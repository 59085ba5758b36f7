"""What a table of the report is, and the tables about performance; one macro of the template draws them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medal.metrics.paired import BLOCKS_FOR_A_CLAIM, PairedDifference
from medal.metrics.seed_summary import Summary, band_name, summary
from medal.report.curves import AXES, area, at_round, compared, curve, difference_band, points
from medal.report.history import PARTS, POSITIVES_NEEDED, RANDOM, LabelMeasures, RunHistory, StudyHistory
from medal.report.words import NOTHING, amount, interval, number, p_value, signed

NOT_ESTIMABLE = "not estimable"
ARMS_ABREAST = 2
"""Arms for which all measures fit into one table side by side."""
LONG = {"auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE"}


@dataclass(frozen=True)
class Cell:
    """Text of one cell, a note that is set smaller below it, and the number of columns that it covers."""

    text: str
    note: str = ""
    span: int = 1


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        caption: what it shows.
        columns: headings; the first column names the row.
        rows: cells that cover all columns.
        groups: (name, span) of headings above the columns, covering all of them; empty for none.
        text: columns that hold words and are set flush left (the first always is).
        code: columns that hold hashes and are set in a fixed width.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    text: frozenset[int] = frozenset()
    code: frozenset[int] = frozenset()


def cells(*values: str | Cell) -> tuple[Cell, ...]:
    """A row of cells, most of them plain text."""
    return tuple(value if isinstance(value, Cell) else Cell(value) for value in values)


def banded(values: Summary | Sequence[float], write: Callable[[float], str] = number) -> Cell:
    """Mean over seeds, noted with its band; no note for a single seed."""
    result = values if isinstance(values, Summary) else summary(values)
    return Cell(write(result.mean), interval(result.low, result.high, write) if result.count > 1 else "")


def comparison_table(run: RunHistory) -> Table:
    """Area under the budget curve of each arm, and its paired difference to random."""
    rows, pairs = [], compared(run, "auroc")
    for arm in run.arms:
        line = curve(run.of(arm), "auroc", "items")
        if line is None or not line.rounds:
            rows.append(cells(run.title(arm), "0", *[NOTHING] * 3, *_rival(run, arm, pairs)))
            continue
        # Only rounds that all seeds have reached: a study that lags behind must not count as a study that is worse.
        areas = [area([p for p in points(s, "auroc", "items") if p[0] in line.rounds]) for s in run.of(arm)]
        reached = f"{line.rounds[0]} to {line.rounds[-1]}"
        rows.append(
            cells(run.title(arm), str(line.seeds), reached, banded(areas), banded(line.y[-1]), *_rival(run, arm, pairs))
        )
    bands = f"Mean over seeds, in small print {_bands(run)}. " if run.over_seeds else ""
    return Table(
        caption="Area under the budget curve (AUBC: macro AUROC over items, divided by the span) and last value. "
        f"{bands}Differences are taken within pairs that share seed, data, "
        "split and learner, over the budgets that both have covered; in small print their 95 % bootstrap interval over "
        f"the pairs, below {BLOCKS_FOR_A_CLAIM} pairs minimum to maximum. p: exact sign-flip test, in small "
        "print after Holm over the arms.",
        columns=(
            "Arm",
            "Seeds",
            "Rounds",
            "AUBC",
            "Last macro AUROC",
            "AUBC difference to random",
            "Pairs",
            "p",
            "Worse than random",
        ),
        rows=tuple(rows),
    )


def _rival(run: RunHistory, arm: str, pairs: Mapping[str, PairedDifference]) -> tuple[str | Cell, ...]:
    if RANDOM not in run.arms:
        return NOTHING, NOTHING, NOTHING, NOTHING
    if arm == RANDOM:
        return "reference", NOTHING, NOTHING, NOTHING
    found = pairs[arm]
    if not found.blocks:
        return NOTHING, "0", NOTHING, NOTHING
    low, high, _ = difference_band(found)
    ends = interval(low, high, signed) if found.blocks > 1 else ""
    worse = Cell(f"{found.worse} of {found.blocks}", f"at worst {signed(found.worst)}" if found.worse else "")
    p = Cell(p_value(found.p), p_value(found.adjusted) if found.adjusted != found.p else "")
    return Cell(signed(found.mean), ends), str(found.blocks), p, worse


def _bands(run: RunHistory) -> str:
    return " or ".join(dict.fromkeys(band_name(len(run.of(arm))) for arm in run.arms))


def curve_table(run: RunHistory) -> Table:
    """Every point of the learning curves."""
    rows = []
    for arm in run.arms:
        lines = {(m, axis): curve(run.of(arm), m, axis) for m in LONG for axis in AXES}
        numbers = sorted({n for line in lines.values() if line is not None for n in line.rounds})
        for n in numbers:
            known = {key: at_round(line, n) for key, line in lines.items() if line is not None and n in line.rounds}
            cost = {axis: next((x for (_, a), (x, _) in known.items() if a == axis), math.nan) for axis in AXES}
            values = [banded(known[m, "items"][1]) if (m, "items") in known else NOTHING for m in LONG]
            rows.append(
                cells(f"{run.title(arm)}, round {n}", amount(cost["items"]), number(cost["minutes"], 1), *values)
            )
    return Table(
        caption=f"Points of the learning curves: means over seeds, in small print {_bands(run)}; "
        "the rounds that every evaluated seed of an arm has reached."
        if run.over_seeds
        else "Points of the learning curves.",
        columns=("Arm and round", "Items", "Planned minutes", "Macro AUROC", "Macro AUPRC", "Macro ECE"),
        rows=tuple(rows),
    )


def label_tables(run: RunHistory, number_of_round: int) -> tuple[Table, ...]:
    """Measures of each label in one round: one table for few arms, one table for each measure when they are many."""
    arms = [arm for arm in run.arms if _evaluated(run.of(arm), number_of_round, run.part)]
    if len(arms) <= ARMS_ABREAST:
        return (_label_table(run, number_of_round, arms, tuple(LONG)),)
    return tuple(_label_table(run, number_of_round, arms, (measure,)) for measure in LONG)


def rounds_evaluated(run: RunHistory) -> tuple[int, ...]:
    """Numbers of the rounds in which any study has measured labels, the last first."""
    return tuple(
        sorted({r.number for study in run.studies for r in study.rounds if r.on(run.part).labels}, reverse=True)
    )


def _evaluated(studies: Sequence[StudyHistory], n: int, part: str) -> list[dict[str, LabelMeasures]]:
    return [dict(r.on(part).labels) for study in studies for r in study.rounds if r.number == n]


def _label_table(run: RunHistory, n: int, arms: Sequence[str], measures: Sequence[str]) -> Table:
    measured = {arm: _evaluated(run.of(arm), n, run.part) for arm in arms}
    names = run.labels or tuple(dict.fromkeys(name for m in measured.values() for labels in m for name in labels))
    rows = []
    for name in names:
        of_arm = {arm: [labels[name] for labels in measured[arm] if name in labels] for arm in arms}
        row = [_label_cell(of_arm[arm], measure) for measure in measures for arm in arms]
        if all(cell.text == NOT_ESTIMABLE for cell in row):
            row = [Cell(NOT_ESTIMABLE, span=len(row))]
        positives = sorted({label.positives for found in of_arm.values() for label in found})
        rows.append(cells(name, _range(positives), *row))
    titles = tuple(run.title(arm) for arm in arms)
    counts = ", ".join(f"{run.title(arm)} {len(measured[arm])}" for arm in arms)
    seeds = f"{run.over_seeds} ({counts})" if run.over_seeds else ""
    return Table(
        caption=f"Round {n}: measures of each label on the {PARTS[run.part]}{seeds}"
        f"{f', in small print {_bands(run)}' if max(map(len, measured.values()), default=0) > 1 else ''}. Labels with "
        f"fewer than {POSITIVES_NEEDED[run.part]} positives (or negatives) there are not estimable and are left out of "
        "the macro mean.",
        columns=("Label", "Positives", *titles * len(measures)),
        rows=tuple(rows),
        groups=(
            ("", 1),
            ("Test set" if run.part == "test" else "Validation", 1),
            *((LONG[measure], len(arms)) for measure in measures),
        ),
    )


def _label_cell(found: Sequence[LabelMeasures], measure: str) -> Cell:
    estimable = [label for label in found if label.estimable]
    if not estimable:
        return Cell(NOT_ESTIMABLE if found else NOTHING)
    result = banded([getattr(label, measure) for label in estimable])
    if len(estimable) < len(found):
        return Cell(result.text, f"{result.note} ({len(estimable)} of {len(found)} seeds)".strip())
    return result


def _range(counts: Sequence[int]) -> str:
    if not counts:
        return NOTHING
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
