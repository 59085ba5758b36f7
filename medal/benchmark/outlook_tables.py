"""Subgroups, forecasts and prices as tables, for programs and for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from medal.benchmark.analysis import Analysis
from medal.benchmark.outlook import Outlook, Prices, Subgroup
from medal.benchmark.table import GAP, Table, Value, interval, number, signed, table_of
from medal.metrics.cluster_bootstrap import Interval

Sections = list[tuple[str, str, list[str], list[list[str]]]]
"""Heading, sentence, heads of columns, lines."""


def outlook_tables(analysis: Analysis) -> tuple[Table, ...]:
    """`subgroups`, `forecast` and `prices`, with no rows where there is nothing to say."""
    ends = ["final", "low", "high", "gain"]
    groups = ["set", "learner", "strategy", "column", "value", "patients_min", "patients_max", *ends]
    ahead = ["asymptote", "asymptote_low", "asymptote_high", "more", "gain", "gain_low", "gain_high", "verdict"]
    forecasts = ["set", "learner", "labels", "validation_auroc", *ahead]
    return (
        table_of("subgroups", groups, [_subgroup(s) for s in analysis.subgroups]),
        table_of("forecast", forecasts, [_outlook(o) for o in analysis.outlooks]),
        table_of(
            "prices",
            ["set", "learner", "price", "factor", "order", "turned"],
            [row for p in analysis.prices for row in _prices(p)],
        ),
    )


def _subgroup(s: Subgroup) -> Mapping[str, Value]:
    arm: dict[str, Value] = {"set": s.set, "learner": s.learner, "strategy": s.strategy}
    group: dict[str, Value] = {"column": s.column, "value": s.value}
    size: dict[str, Value] = {"patients_min": s.patients[0], "patients_max": s.patients[1]}
    return {**arm, **group, **size, "final": s.final.value, "low": s.final.low, "high": s.final.high, "gain": s.gain}


def _outlook(o: Outlook) -> Mapping[str, Value]:
    line: dict[str, Value] = {"set": o.set, "learner": o.learner, "labels": o.labels, "validation_auroc": o.last}
    line |= {"asymptote": o.asymptote.value, "asymptote_low": o.asymptote.low, "asymptote_high": o.asymptote.high}
    line |= {"more": o.more, "gain": o.gain.value, "gain_low": o.gain.low, "gain_high": o.gain.high}
    return {**line, "verdict": o.verdict}


def _prices(p: Prices) -> list[Mapping[str, Value]]:
    rows: list[Mapping[str, Value]] = []
    for scenario in (p.stability.stated, *p.stability.changed):
        turned = int(scenario.order != p.stability.stated.order)
        price: dict[str, Value] = {"price": scenario.kind or "as stated", "factor": scenario.factor}
        rows.append(
            {"set": p.set, "learner": p.learner, **price, "order": " > ".join(scenario.order), "turned": turned}
        )
    return rows


def outlook_sections(analysis: Analysis) -> Sections:
    """The same for a page; what was not computed has no section."""
    found: Sections = []
    if analysis.subgroups:
        found.append(
            (
                "Subgroups",
                f"{analysis.primary} after the last round in each subgroup that is estimable in every block: mean over "
                "blocks, its 95 % bootstrap interval over blocks, and the mean difference to random. In the heads: "
                "test patients in a block.",
                *_subgroup_lines(analysis.subgroups),
            )
        )
    if analysis.outlooks:
        found.append(
            (
                "Forecast",
                "From the paid random validation arms of the random line alone, never from test rows or picks: a power "
                "law through their macro AUROC, what half as many labels again would add, and a suggestion.",
                ["learner", "labels", "AUROC on the arms", "limit", "further labels", "expected gain", "suggestion"],
                [_outlook_line(o) for o in analysis.outlooks],
            )
        )
    if analysis.prices:
        found.append(
            (
                "Prices",
                "Order of the strategies by area over expert minutes, and whether it turns when one price is halved or "
                "doubled.",
                ["learner", "order at the stated prices", "turns when"],
                [_price_line(p) for p in analysis.prices],
            )
        )
    return found


def _subgroup_lines(found: Sequence[Subgroup]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines: an arm a line, a subgroup a column."""
    groups = {(s.column, s.value): s.patients for s in found}
    heads = [f"{column} {value} ({_span(*patients)})" for (column, value), patients in groups.items()]
    lines: dict[str, dict[tuple[str, str], str]] = {}
    for s in found:
        gain = f", {signed(s.gain)}" if math.isfinite(s.gain) else ""
        cell = f"{number(s.final.value)} ({_ends(s.final)}){gain}"
        lines.setdefault(f"{s.set}: {s.learner} / {s.strategy}", {})[(s.column, s.value)] = cell
    return ["learner / strategy", *heads], [[arm, *(of.get(g, GAP) for g in groups)] for arm, of in lines.items()]


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _outlook_line(o: Outlook) -> list[str]:
    limit = f"{number(o.asymptote.value)} ({_ends(o.asymptote)})"
    gain = f"{signed(o.gain.value)} ({interval(o.gain.low, o.gain.high)})"
    return [
        f"{o.set}: {o.learner}",
        f"{o.labels:.0f}",
        number(o.last),
        limit,
        f"{o.more:.0f}",
        gain,
        f"{o.verdict}: {o.reason}",
    ]


def _price_line(p: Prices) -> list[str]:
    turned = ", ".join(f"{s.kind} x {s.factor:g}" for s in p.stability.turned) or "never"
    return [f"{p.set}: {p.learner}", ", ".join(p.stability.stated.order), turned]


def _ends(found: Interval) -> str:
    low, high = number(found.low), number(found.high)
    return GAP if GAP in (low, high) else f"{low} to {high}"
