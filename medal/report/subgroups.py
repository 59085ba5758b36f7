"""Performance by subgroup: from the test set where there is one, else from the paid random validation arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medal.examine import SUBGROUPS
from medal.metrics.subgroups import MIN_PATIENTS, subgroup_measures
from medal.report.arm import arm_truth
from medal.report.history import PARTS, POSITIVES_NEEDED, RunHistory, StudyHistory, Subgroup
from medal.report.style import Drawing, draw, pens, shown
from medal.report.tables import NOT_ESTIMABLE, Cell, Table, cells
from medal.report.words import NOTHING, amount, counted, interval, number
from medal.seeding import Seed

Groups = Mapping[str, Mapping[str, Subgroup]]
ROW, GAP = 0.34, 0.6


@dataclass(frozen=True)
class SubgroupMeasures:
    """Subgroups of one study of each arm.

    Args:
        part: "test" or "validation".
        arms: arm -> (seed, round, column -> value -> measure).
    """

    part: str
    arms: Mapping[str, tuple[int, int, Groups]]

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """(column, value), in the order in which they are shown."""
        return tuple(
            dict.fromkeys((c, v) for _, _, groups in self.arms.values() for c, values in groups.items() for v in values)
        )

    def of(self, arm: str, column: str, value: str) -> Subgroup | None:
        """One subgroup of one arm; None when that arm has no such subgroup."""
        return self.arms[arm][2].get(column, {}).get(value)


def subgroup_comparison(run: RunHistory) -> SubgroupMeasures | None:
    """Subgroups of the first study of each arm that has them, in its last measured round; None without any."""
    part = run.part
    arms = {}
    for arm in run.arms:
        looked = (_of_test(study) if part == "test" else _of_arm(study) for study in run.of(arm))
        found = next((f for f in looked if f is not None), None)
        if found is not None:
            arms[arm] = found
    return SubgroupMeasures(part, arms) if arms else None


def _of_test(study: StudyHistory) -> tuple[int, int, Groups] | None:
    measured = [r for r in study.rounds if r.subgroups]
    return (study.seed, measured[-1].number, measured[-1].subgroups) if measured else None


def _of_arm(study: StudyHistory) -> tuple[int, int, Groups] | None:
    ids, truth = arm_truth(study)
    if not study.arm_predictions or not ids:
        return None
    last = max(study.arm_predictions)
    told = study.arm_predictions[last]
    place = {row: k for k, row in enumerate(ids)}
    kept = [k for k, row in enumerate(told.ids) if row in place]
    rows = [study.row(told.ids[k]) for k in kept]
    names = dict.fromkeys(name for row in rows for name in row if name in SUBGROUPS)
    found = subgroup_measures(
        told.probabilities[kept],
        truth[[place[told.ids[k]] for k in kept]],
        [str(row.get("group", told.ids[k])) for k, row in zip(kept, rows, strict=True)],
        {name: [str(row.get(name) or "") for row in rows] for name in names},
        Seed(0) / "subgroups",
        POSITIVES_NEEDED["validation"],
    )
    groups = {c: {v: _subgroup(m, study.labels) for v, m in values.items()} for c, values in found.items()}
    return (study.seed, last, groups) if groups else None


def _subgroup(found: Mapping[str, object], labels: Sequence[str]) -> Subgroup:
    def value(key: str) -> float:
        given = found[key]
        return float(given) if isinstance(given, int | float) else math.nan

    which = found["which"]
    names = tuple(str(labels[int(k)]) for k in which) if isinstance(which, list) else ()
    return Subgroup(int(value("patients")), value("auroc"), value("low"), value("high"), names, len(names))


def subgroup_sentence(run: RunHistory, found: SubgroupMeasures) -> str:
    """The widest gap between two subgroups of one column that can be compared."""
    gaps = []
    for arm in found.arms:
        for column in dict.fromkeys(c for c, _ in found.rows):
            known = [(v, g) for c, v in found.rows if c == column and (g := found.of(arm, c, v)) is not None]
            known = [(v, g) for v, g in known if math.isfinite(g.auroc)]
            for k, (v, g) in enumerate(known):
                gaps += [
                    (abs(g.auroc - h.auroc), arm, column, (v, g), (w, h)) for w, h in known[k + 1 :] if _same(g, h)
                ]
    needed = f"{MIN_PATIENTS} patients and {POSITIVES_NEEDED[found.part]} positives and negatives of the same label"
    if not gaps:
        return f"No two subgroups can be compared: each would need {needed}."
    _, arm, column, (v, g), (w, h) = max(gaps, key=lambda gap: gap[0])
    if g.auroc < h.auroc:
        (v, g), (w, h) = (w, h), (v, g)
    apart = "do not overlap" if g.low > h.high else "overlap, so that chance may explain it"
    return (
        f"The widest of {counted(len(gaps), 'gap')} is in {_column(column)} ({run.title(arm)}): {v} {number(g.auroc)} "
        f"[{interval(g.low, g.high)}] against {w} {number(h.auroc)} [{interval(h.low, h.high)}]; the intervals {apart}."
    )


def _same(one: Subgroup, other: Subgroup) -> bool:
    """Means over different labels are no comparison."""
    return one.labels == other.labels and one.count == other.count


def subgroup_table(run: RunHistory, found: SubgroupMeasures) -> Table:
    """Macro AUROC of every subgroup."""
    rows = []
    for column, value in found.rows:
        groups = [found.of(arm, column, value) for arm in found.arms]
        patients = sorted({g.patients for g in groups if g is not None})
        labels = sorted({g.count for g in groups if g is not None and math.isfinite(g.auroc)})
        rows.append(
            cells(
                f"{_column(column)}: {value}",
                " to ".join(amount(n) for n in dict.fromkeys((patients[0], patients[-1]))),
                " to ".join(str(n) for n in dict.fromkeys((labels[0], labels[-1]))) if labels else NOTHING,
                *(_cell(group) for group in groups),
            )
        )
    seeds = ", ".join(
        f"{run.title(arm)}: {'' if run.by_people else f'seed {seed}, '}round {n}"
        for arm, (seed, n, _) in found.arms.items()
    )
    return Table(
        caption=f"Macro AUROC on the {PARTS[found.part]} by subgroup, in small print its 95 % bootstrap interval over "
        f"patients ({seeds}). A subgroup with fewer than {MIN_PATIENTS} patients, or without a label of "
        f"{POSITIVES_NEEDED[found.part]} positives and negatives, is not estimable. Means over different numbers of "
        "labels are not to be compared.",
        columns=("Subgroup", "Patients", "Labels in the mean", *(run.title(arm) for arm in found.arms)),
        rows=tuple(rows),
    )


def _cell(group: Subgroup | None) -> str | Cell:
    if group is None:
        return NOTHING
    if not math.isfinite(group.auroc):
        return NOT_ESTIMABLE
    return Cell(number(group.auroc), interval(group.low, group.high))


def subgroup_figure(run: RunHistory, found: SubgroupMeasures) -> Drawing | None:
    """Macro AUROC of every estimable subgroup with its interval; None when none is estimable."""
    rows = [
        (c, v)
        for c, v in found.rows
        if any((g := found.of(arm, c, v)) is not None and math.isfinite(g.auroc) for arm in found.arms)
    ]
    if not rows:
        return None
    styles, arms = pens(run), list(found.arms)
    columns = list(dict.fromkeys(c for c, _ in rows))

    def paint(figure: Figure, axes: Sequence[Axes]) -> None:
        panel, ticks = axes[0], []
        for position, (column, value) in enumerate(rows):
            y = position + GAP * columns.index(column)
            ticks.append((y, shown(f"{_column(column)}: {value}")))
            for step, arm in enumerate(arms):
                group, pen = found.of(arm, column, value), styles[arm]
                if group is None or not math.isfinite(group.auroc):
                    continue
                at = y + (step - (len(arms) - 1) / 2) * min(0.26, 0.62 / len(arms))
                panel.plot([group.low, group.high], [at, at], color=pen.colour, linewidth=1.4, zorder=2)
                panel.plot(group.auroc, at, pen.marker, color=pen.colour, markersize=5.5, zorder=3)
        panel.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        panel.set_ylim(ticks[-1][0] + 0.7, -0.7)
        panel.set_xlabel(f"Macro AUROC ({'test' if found.part == 'test' else 'validation arm'})")
        panel.tick_params(axis="y", length=0)
        if len(arms) > 1:
            handles = [
                Line2D(
                    [], [], color=styles[a].colour, marker=styles[a].marker, markersize=5.5, label=shown(run.title(a))
                )
                for a in arms
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), handlelength=2)

    said = [
        f"{_column(c)} {v}: "
        + ", ".join(
            f"{run.title(a)} {number(g.auroc)} ({interval(g.low, g.high)})"
            for a in arms
            if (g := found.of(a, c, v)) is not None and math.isfinite(g.auroc)
        )
        for c, v in rows
    ]
    whose = "" if run.by_people else " of each arm's first study"
    caption = (
        f"Macro AUROC on the {PARTS[found.part]} by subgroup, in the last measured round{whose}. "
        "Bars: 95 % bootstrap interval over patients."
    )
    height = 1.1 + ROW * (len(rows) + GAP * (len(columns) - 1))
    return draw("subgroups", (9.2, height), (1, 1), paint, alt=f"{caption} {'; '.join(said)}.", caption=caption)


def _column(name: str) -> str:
    return name.replace("_", " ").capitalize()
