"""The tables of a benchmark: CSV for programs, computed from stored cells and truth alone.

All tables but `timing.csv` and `timing.md` are the same bytes for a benchmark that was killed and resumed and for one
that never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medal.benchmark.analysis import SHARES, Analysis, FigureAnalysis, analyse, compared_with_random, times, worst
from medal.benchmark.compare import Comparison
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.markdown import markdown_page, timing_page
from medal.benchmark.outlook_tables import outlook_tables
from medal.benchmark.plan import Cell
from medal.benchmark.results import Results, collect
from medal.benchmark.table import Table, Value, table_of
from medal.split import PARTS
from medal.storage import write_bytes

ARM = ("set", "learner", "strategy")


def write_tables(folder: BenchmarkFolder) -> Analysis:
    """Computes every table from what is stored, and writes them.

    Returns:
        What the report page is drawn from.

    Raises:
        StudyError: when truth or predictions are missing or changed.
    """
    analysis = analyse(collect(folder))
    for name, data in files(analysis).items():
        write_bytes(folder.tables / name, data)
    return analysis


def files(analysis: Analysis) -> dict[str, bytes]:
    """Name -> content of every file in the folder of tables."""
    results = analysis.results
    made = [
        cell_table(results),
        split_table(results),
        count_table(results),
        curve_table(results),
        summary_table(analysis),
        difference_table(analysis),
        block_table(analysis),
        rank_table(analysis),
        stability_table(analysis),
        penalty_table(analysis),
        *outlook_tables(analysis),
        timing_table(results),
    ]
    found = {f"{table.name}.csv": table.csv() for table in made}
    return {**found, "tables.md": markdown_page(analysis).encode(), "timing.md": timing_page(results).encode()}


def _arm(cell: Cell) -> dict[str, Value]:
    return {"set": cell.set, "learner": cell.learner, "strategy": cell.strategy, "block": cell.block}


def cell_table(results: Results) -> Table:
    """Every planned cell: digest of its recipe, hash of its split, head of its journal, how it ended."""
    plan, rows = results.folder.plan, []
    for cell in plan.cells:
        row: dict[str, Value] = {**_arm(cell), "digest": plan.digest(cell)}
        if cell in results.cells:
            found = results.cells[cell]
            row |= {"split": found.split, "head": found.head, "rounds": len(found.evaluations) - 1, "end": found.reason}
        rows.append(row)
    return table_of("cells", [*ARM, "block", "digest", "split", "head", "rounds", "end"], rows)


def split_table(results: Results) -> Table:
    """Rows and patients of each part of each block's split."""
    rows: list[Mapping[str, Value]] = [
        {"set": s, "block": b, "part": part, "rows": record.rows[part], "patients": record.patients[part]}
        for s in results.folder.plan.sets
        for b, record in sorted(results.folder.splits[s].items())
        for part in PARTS
        if b in results.blocks
    ]
    return table_of("splits", ["set", "block", "part", "rows", "patients"], rows)


def count_table(results: Results) -> Table:
    """Positives and negatives of every label: what the figures rest on, and why some labels have none."""
    rows: list[Mapping[str, Value]] = [
        _count(s, b, part, label, record.labels[part][label])
        for s in results.folder.plan.sets
        for b, record in sorted(results.folder.splits[s].items())
        for part in PARTS
        for label in results.truths[s][b].labels
        if b in results.blocks
    ]
    return table_of("counts", ["set", "block", "part", "label", "positives", "negatives"], rows)


def _count(set_name: str, block: int, part: str, label: str, counts: Sequence[int]) -> dict[str, Value]:
    where: dict[str, Value] = {"set": set_name, "block": block, "part": part, "label": label}
    return where | {"positives": counts[0], "negatives": counts[1]}


def curve_table(results: Results) -> Table:
    """Every evaluation of every cell; all that follows is computed from these lines and the stored predictions."""
    keys = list(dict.fromkeys(figure.key for found in results.figures.values() for figure in found))
    rows: list[Mapping[str, Value]] = []
    for cell, found in results.cells.items():
        for n, evaluation in enumerate(found.evaluations):
            values = {k: float(results.curves[(cell, k)][n]) for k in keys if (cell, k) in results.curves}
            spent = {"round": evaluation.round, "items": evaluation.items, "minutes": evaluation.minutes}
            rows.append({**_arm(cell), **spent, **values})
    return table_of("curves", [*ARM, "block", "round", "items", "minutes", *keys], rows)


def summary_table(analysis: Analysis) -> Table:
    """Means over blocks."""
    rows: list[Mapping[str, Value]] = []
    for part in analysis.figures:
        for s in part.summaries:
            reach = {f"reach_{share * 100:.0f}": s.reach[share] for share in SHARES}
            areas: dict[str, Value] = {"aubc": s.area, "aubc_log": s.log_area}
            arm: dict[str, Value] = {"set": part.set, "learner": s.learner, "strategy": s.strategy}
            figure: dict[str, Value] = {"figure": part.figure.key, "blocks": s.blocks, "saturated": int(s.saturated)}
            rows.append({**arm, **figure, "final": s.final, "final_sd": s.spread, **areas, **reach})
    reached = [f"reach_{share * 100:.0f}" for share in SHARES]
    columns = ["figure", "blocks", "final", "final_sd", "aubc", "aubc_log", *reached, "saturated"]
    return table_of("summary", [*ARM, *columns], rows)


def difference_table(analysis: Analysis) -> Table:
    """Differences to random within learner, set and block; positive is better."""
    rows = [_difference(part, c) for part in analysis.figures for c in part.comparisons]
    columns = ["figure", "blocks", "aubc", "blocks_low", "blocks_high", "patients_low", "patients_high", "p", "p_holm"]
    return table_of("differences", [*ARM, *columns, "worse", "worst", "aubc_log", "final", "underpowered"], rows)


def _difference(part: FigureAnalysis, c: Comparison) -> dict[str, Value]:
    arm: dict[str, Value] = {"set": part.set, "learner": c.learner, "strategy": c.strategy, "figure": part.figure.key}
    return arm | {
        "blocks": c.area.blocks,
        "aubc": c.area.mean,
        "blocks_low": c.area.low,
        "blocks_high": c.area.high,
        "patients_low": c.patients.low,
        "patients_high": c.patients.high,
        "p": c.area.p,
        "p_holm": c.area.adjusted,
        "worse": c.area.worse,
        "worst": worst(c),
        "aubc_log": c.log_area,
        "final": c.final,
        "underpowered": int(c.area.underpowered),
    }


def block_table(analysis: Analysis) -> Table:
    """The area of every cell, and its difference to random, block by block."""
    results, rows = analysis.results, []
    for part in analysis.figures:
        for cell in results.cells:
            if cell.set != part.set or not part.figure.labels or len(results.cells[cell].evaluations) < 2:
                continue
            row: dict[str, Value] = {**_arm(cell), "figure": part.figure.key}
            row |= {"aubc": results.area(cell, part.figure.key), "final": results.final(cell, part.figure.key)}
            if compared_with_random(cell.strategy):
                row["gain"] = results.gain(cell, results.reference(cell), part.figure.key)
            rows.append(row)
    return table_of("blocks", [*ARM, "block", "figure", "aubc", "final", "gain"], rows)


def rank_table(analysis: Analysis) -> Table:
    """Mean ranks by the primary measure, 1 the best."""
    rows: list[Mapping[str, Value]] = []
    for s in analysis.standings:
        shared: dict[str, Value] = {"learner": s.learner, "over": s.over, "settings": s.ranking.settings}
        shared |= {"critical_difference": s.ranking.critical_difference, "kendall_w": s.ranking.kendall_w}
        shared |= {"friedman_p": s.ranking.p}
        for name, rank in zip(s.ranking.methods, s.ranking.mean_ranks, strict=True):
            rows.append({**shared, "strategy": name, "mean_rank": rank})
    columns = ["learner", "over", "settings", "strategy", "mean_rank", "critical_difference", "kendall_w", "friedman_p"]
    return table_of("ranks", columns, rows)


def stability_table(analysis: Analysis) -> Table:
    """The order without each set or block."""
    rows: list[Mapping[str, Value]] = [
        {
            "learner": s.learner,
            "over": s.over,
            "without": left.setting,
            "order": " > ".join(left.order),
            "tau": left.tau,
        }
        for s in analysis.standings
        if s.stability is not None
        for left in s.stability.without
    ]
    return table_of("leave_one_out", ["learner", "over", "without", "order", "tau"], rows)


def penalty_table(analysis: Analysis) -> Table:
    """Wins of the row's strategy over the other, in settings."""
    rows: list[Mapping[str, Value]] = []
    for p in analysis.penalties:
        for form, matrix in (("area", p.by_area), ("budget", p.by_budget)):
            for ours, line in zip(matrix.methods, matrix.wins, strict=True):
                for theirs, wins in zip(matrix.methods, line, strict=True):
                    pair: dict[str, Value] = {"strategy": ours, "over": theirs, "wins": float(wins)}
                    rows.append({"learner": p.learner, "form": form, **pair, "settings": matrix.settings})
    return table_of("penalty", ["learner", "form", "strategy", "over", "wins", "settings"], rows)


def timing_table(results: Results) -> Table:
    """Median seconds of a query and of a training."""
    rows: list[Mapping[str, Value]] = [
        {
            "set": t.set,
            "learner": t.learner,
            "strategy": t.strategy,
            "cells": t.cells,
            "query": t.query,
            "training": t.training,
        }
        for t in times(results)
    ]
    return table_of("timing", [*ARM, "cells", "query", "training"], rows)
