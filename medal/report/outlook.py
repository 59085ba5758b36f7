"""How far a campaign is from its end: forecast and suggestion, from the paid random validation arm alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medal.errors import BudgetError
from medal.metrics.forecast import HORIZON, POINTS_NEEDED, Forecast, More, forecast
from medal.metrics.stopping import LOOK_AHEAD, Suggestion, prediction_stability, suggest
from medal.report.arm import ArmCurve, arm_curve
from medal.report.history import RunHistory, StudyHistory
from medal.report.tables import Cell, Table, cells
from medal.report.words import NOTHING, amount, counted, interval, number, signed
from medal.seeding import Seed

ARMS_SHOWN = 4
"""Arms whose forecast is drawn; each has a panel of its own."""


@dataclass(frozen=True)
class Outlook:
    """Where one study stands.

    Args:
        study: that is looked at.
        curve: of its validation arm.
        ahead: the fitted curve; None with too few rounds.
        suggestion: stop, go on or cannot tell.
    """

    study: StudyHistory
    curve: ArmCurve
    ahead: Forecast | None
    suggestion: Suggestion

    @property
    def target(self) -> float:
        """As the recipe states it; NaN when it states none."""
        return self.study.target


def outlooks(run: RunHistory) -> tuple[Outlook, ...]:
    """The outlook of the first study of each arm that was measured on a validation arm."""
    found = []
    for arm in run.arms:
        looked = ((study, arm_curve(study)) for study in run.of(arm))
        study, curve = next(((s, c) for s, c in looked if c is not None), (None, None))
        if study is not None and curve is not None:
            found.append(outlook(study, curve))
    return tuple(found)


def outlook(study: StudyHistory, curve: ArmCurve) -> Outlook:
    """Forecast and suggestion of one study.

    Args:
        study: with its target, when it has one.
        curve: of its arm.
    """
    ahead = _forecast(curve)
    target = study.target if math.isfinite(study.target) else None
    return Outlook(
        study, curve, ahead, suggest(ahead, current=curve.points[-1].auroc, target=target, stability=_stability(study))
    )


def _forecast(curve: ArmCurve) -> Forecast | None:
    points = [p for p in curve.points if p.labels > 0]
    if len(points) < POINTS_NEEDED:
        return None
    replicates = curve.replicates[:, len(curve.points) - len(points) :] if curve.replicates is not None else None
    try:
        return forecast(
            [p.labels for p in points],
            [p.auroc.value for p in points],
            Seed(0) / "report" / "forecast",
            replicates=replicates,
        )
    except BudgetError:  # no resample of the patients has every label in every round
        return None


def _stability(study: StudyHistory) -> float | None:
    """How little the decisions change from round to round, on the images that every round has predicted."""
    told = [study.arm_predictions[n] for n in sorted(study.arm_predictions)]
    if len(told) < 2:
        return None
    common = sorted(set.intersection(*(set(p.ids) for p in told)))
    lines = [{row: k for k, row in enumerate(p.ids)} for p in told]
    rounds = [p.probabilities[[line[row] for row in common]] for p, line in zip(told, lines, strict=True)]
    return prediction_stability([np.asarray(r) for r in rounds]) if common else None


def outlook_sentences(run: RunHistory, found: tuple[Outlook, ...]) -> tuple[str, ...]:
    """What the forecasts say, one paragraph an arm."""
    return tuple(
        f"{run.title(o.study.arm)}: {_verdict(o.suggestion)} {' '.join(o.suggestion.reasons)} {_needed(o)}".strip()
        for o in found
    )


def _verdict(suggestion: Suggestion) -> str:
    return {
        "stop": "the validation arm suggests to stop.",
        "go on": "the validation arm suggests to go on.",
        "cannot tell": "the validation arm cannot tell whether to go on.",
    }[suggestion.verdict]


def _needed(o: Outlook) -> str:
    if not math.isfinite(o.target) or o.ahead is None:
        return ""
    more = o.ahead.more(o.target)
    if more.labels == 0:
        return f"The fitted curve is at the target of {number(o.target)} already."
    return f"For the target of {number(o.target)}, {_more(o.ahead, more)}"


def _more(ahead: Forecast, more: More) -> str:
    far = HORIZON * ahead.labels[-1]
    if more.labels > far:
        limit = f"the limit of the fitted curve is {number(ahead.curve.asymptote)}"
        return f"no number of labels within {HORIZON} times those at hand is enough by the fitted curve ({limit})."
    return f"about {amount(round(more.labels))} more labels are needed ({_range(more, far)}, 95 % interval)."


def _range(more: More, far: float) -> str:
    high = f"{amount(round(more.high))}" if more.high <= far else "not reachable"
    low = f"{amount(round(more.low))}" if more.low <= far else "not reachable"
    return low if low == high else f"{low} to {high}"


def outlook_table(run: RunHistory, found: tuple[Outlook, ...]) -> Table:
    """Last measure, forecast and suggestion of each arm."""
    rows = []
    for o in found:
        last = o.curve.points[-1]
        rows.append(
            cells(
                Cell(run.title(o.study.arm), _seen(run, o)),
                amount(last.labels),
                Cell(number(last.auroc.value), _ends(last.auroc.low, last.auroc.high)),
                *_ahead(o),
                o.suggestion.verdict,
            )
        )
    whose = "" if run.by_people else "First study of each arm. "
    return Table(
        caption="Macro AUROC on the paid random validation arm, with its 95 % bootstrap interval over patients; gain "
        "by half as many labels again, limit of the curve, and labels still needed for the target, by the power law "
        f"y = a - b n^-c with its 95 % interval. {whose}Nothing here was taken from a test set.",
        columns=("Arm", "Labels", "AUROC on the arm", "Expected gain", "Limit", "Labels to the target", "Suggestion"),
        rows=tuple(rows),
        text=frozenset({6}),
    )


def _seen(run: RunHistory, o: Outlook) -> str:
    rounds = counted(len(o.curve.points), "round")
    return rounds if run.by_people else f"seed {o.study.seed}, {rounds}"


def _ends(low: float, high: float) -> str:
    return interval(low, high) if math.isfinite(low) else ""


def _ahead(o: Outlook) -> tuple[str | Cell, str | Cell, str | Cell]:
    if o.ahead is None:
        return NOTHING, NOTHING, NOTHING
    gain, limit = o.ahead.gain(LOOK_AHEAD * o.ahead.labels[-1]), o.ahead.asymptote
    cell = Cell(signed(gain.value), interval(gain.low, gain.high, signed))
    if not math.isfinite(o.target):
        return cell, Cell(number(limit.value), _ends(limit.low, limit.high)), Cell(NOTHING, "no target stated")
    more, far = o.ahead.more(o.target), HORIZON * o.ahead.labels[-1]
    text = amount(round(more.labels)) if more.labels <= far else "not reachable"
    ends = _range(more, far)
    return cell, Cell(number(limit.value), _ends(limit.low, limit.high)), Cell(text, ends if ends != text else "")
