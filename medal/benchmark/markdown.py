"""The tables of a benchmark as one Markdown page, made to be included in a page of results."""

from __future__ import annotations

from collections.abc import Sequence

from medal.benchmark.analysis import SHARES, Analysis, FigureAnalysis, Summary, rare_labels, times, worst
from medal.benchmark.compare import Comparison
from medal.benchmark.outlook_tables import outlook_sections
from medal.benchmark.results import Results
from medal.benchmark.schema import FULL
from medal.benchmark.table import GAP, interval, markdown, number, signed
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM
from medal.report.words import counted


def markdown_page(analysis: Analysis) -> str:
    """Everything but the seconds; the same for a resumed benchmark and for one that was not stopped."""
    file = analysis.results.folder.plan.file
    parts = [f"# {file.title}", *_stamps(analysis), _what(analysis.results), "## Labels", *_labels(analysis.results)]
    for part in analysis.figures:
        parts += [f"## {part.set}: {part.figure.key}", *figure_section(part, file.cost)]
    parts += _standings(analysis)
    for title, text, columns, rows in outlook_sections(analysis):
        parts += [f"## {title}", text, markdown(columns, rows)]
    return "\n\n".join(p for p in parts if p) + "\n"


def timing_page(results: Results) -> str:
    """Median seconds of each arm on the machines that played it."""
    rows = [
        [f"{t.set} / {t.learner} / {t.strategy}", str(t.cells), number(t.query, 2), number(t.training, 2)]
        for t in times(results)
    ]
    return markdown(["arm", "cells", "seconds of a query (median)", "seconds of a training (median)"], rows) + "\n"


def _stamps(analysis: Analysis) -> list[str]:
    stamps = []
    if analysis.underpowered:
        stamps.append(f"**Underpowered:** some arms have fewer than {BLOCKS_FOR_A_CLAIM} finished blocks.")
    missing = len(analysis.results.missing)
    if missing:
        stamps.append(f"**Unfinished:** {missing} of {len(analysis.results.folder.plan.cells)} cells are missing.")
    stamps += [f"Not drawn: {name} ({reason})." for name, reason in analysis.results.folder.plan.file.without.items()]
    return stamps


def _what(results: Results) -> str:
    plan = results.folder.plan
    learners = {le: plan.strategies(s, le) for s in plan.sets for le in plan.learners(s)}
    arms = "; ".join(f"{le} ({', '.join(strategies)})" for le, strategies in learners.items())
    blocks = counted(plan.file.blocks, "block")
    return (
        f"{blocks}, each with its own split by patient and its own random start set, the same for every cell of the "
        f"block. Learners and strategies: {arms}. Differences are taken to random with the same learner in the same "
        f"block; positive is better. AUBC: area under the curve over {plan.file.cost}, divided by its span. Intervals: "
        "95 % bootstrap over blocks, and over test patients and blocks. p: exact sign flips of the AUBC differences, "
        "after Holm over all methods of the table."
    )


def _labels(results: Results) -> list[str]:
    parts = []
    for set_name in results.folder.plan.sets:
        parts.append(f"Positives of each label in a block of {set_name}:")
        parts.append(markdown(*label_rows(results, set_name)))
        rare = rare_labels(results, set_name)
        if rare:
            parts.append(f"Given as counts only: {', '.join(rare)}.")
    return parts


def label_rows(results: Results, set_name: str) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table of counts: smallest and largest number of positives over blocks."""
    records = [r for b, r in sorted(results.folder.splits[set_name].items()) if b in results.blocks]
    names = results.truths[set_name][min(results.truths[set_name])].labels

    def line(name: str, counts: Sequence[Sequence[int]]) -> list[str]:
        return [name, *(f"{min(c)}" if min(c) == max(c) else f"{min(c)} to {max(c)}" for c in counts)]

    parts = ("pool", "test")
    rows = [line(name, [[r.labels[part][name][0] for r in records] for part in parts]) for name in names]
    rows.append(line("rows", [[r.rows[part] for r in records] for part in parts]))
    rows.append(line("patients", [[r.patients[part] for r in records] for part in parts]))
    return ["label", *parts], rows


def figure_section(part: FigureAnalysis, cost: str) -> list[str]:
    """The table of one figure, and what it leaves out."""
    figure = part.figure
    if not figure.labels:
        return [f"No figure: too few positives or negatives of {', '.join(figure.rare)} in a block's test rows."]
    left_out = f" Too rare in some block, and left out: {', '.join(figure.rare)}." if figure.rare else ""
    better = "" if figure.sign > 0 else " Smaller is better."
    rows = summary_rows(part)
    return [f"{figure.title}.{left_out}{better}", markdown(summary_columns(cost), rows), *_saturation(part.summaries)]


def summary_columns(cost: str) -> list[str]:
    """Heads of the columns of `summary_rows`."""
    reach = [f"{cost} to {share:.0%} of full" for share in SHARES]
    return [
        "learner / strategy", "blocks", "final (sd)", "AUBC", "AUBC, log", *reach, "AUBC - random", "over blocks",
        "over patients", "p (Holm)", "worse", "worst", "log AUBC - random",
    ]  # fmt: skip


def summary_rows(part: FigureAnalysis) -> list[list[str]]:
    """One line an arm."""
    found = {(c.learner, c.strategy): c for c in part.comparisons}
    return [_line(s, found.get((s.learner, s.strategy))) for s in part.summaries]


def _line(s: Summary, c: Comparison | None) -> list[str]:
    spread = f" ({number(s.spread)})" if s.blocks > 1 else ""
    reach = [_cost(s.reach[share], s) for share in SHARES]
    line = [
        f"{s.learner} / {s.strategy}",
        str(s.blocks),
        f"{number(s.final)}{spread}",
        number(s.area),
        number(s.log_area),
    ]
    line += reach
    if c is None or not c.area.blocks:
        return line + [GAP] * 7
    ends = [interval(c.area.low, c.area.high), interval(c.patients.low, c.patients.high)]
    tested = [number(c.area.adjusted), f"{c.area.worse} of {c.area.blocks}", signed(worst(c))]
    return [*line, signed(c.area.mean), *ends, *tested, signed(c.log_area)]


def _cost(value: float | None, s: Summary) -> str:
    if value is not None:
        return f"{value:.0f}"
    return GAP if s.strategy == FULL or not s.blocks else "not reached"


def _saturation(summaries: Sequence[Summary]) -> list[str]:
    flagged = list(dict.fromkeys(s.learner for s in summaries if s.saturated))
    if not flagged:
        return []
    return [f"Saturated: random reaches 99 % of the full-data line with {', '.join(flagged)}; not ranked over sets."]


def rank_columns() -> list[str]:
    """Heads of the columns of `rank_rows`."""
    return ["learner", "mean ranks", "settings", "critical difference", "Kendall's W", "same best without one"]


def rank_rows(analysis: Analysis) -> list[list[str]]:
    """One line for each learner and kind of setting."""
    rows = []
    for s in analysis.standings:
        ranking = s.ranking
        rank = dict(zip(ranking.methods, ranking.mean_ranks, strict=True))
        order = ", ".join(f"{name} {number(rank[name], 2)}" for name in ranking.order)
        stable = GAP if s.stability is None else f"{s.stability.same_best} of {len(s.stability.without)}"
        where = [f"{s.learner}, over {s.over}", order, str(ranking.settings)]
        rows.append([*where, number(ranking.critical_difference, 2), number(ranking.kendall_w, 2), stable])
    return rows


def _standings(analysis: Analysis) -> list[str]:
    if not analysis.standings:
        return []
    parts = [f"## Ranks by {analysis.primary}", markdown(rank_columns(), rank_rows(analysis))]
    for p in analysis.penalties:
        names = [*p.by_area.methods]
        by_area = [[n, *(f"{w:g}" for w in line)] for n, line in zip(names, p.by_area.wins, strict=True)]
        by_budget = [[n, *(number(w, 2) for w in line)] for n, line in zip(names, p.by_budget.wins, strict=True)]
        parts.append(
            f"Penalty matrix of {p.learner}: sets in which the row beats the column, by the exact test on AUBC."
        )
        parts.append(markdown(["", *names], by_area))
        parts.append("The same by a t-test at every budget, in parts of a set, as in the literature.")
        parts.append(markdown(["", *names], by_budget))
    return parts
