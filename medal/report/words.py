"""Numbers and breakdowns in words, the same in the report and in `medal explain`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from medal.report.history import Batch, Pick

NOTHING = "–"
FINDING = "label:"
"""Prefix of the terms that hold the score of one finding."""
KNOWN_TERMS = frozenset({"score", "percentile", "candidates", "probability"})


def number(value: float, digits: int = 3) -> str:
    """A value with fixed digits and a true minus sign; a dash when there is none.

    Example:
        >>> number(0.81234), number(-2.5, 1), number(float("nan"))
        ('0.812', '−2.5', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign.

    Example:
        >>> signed(0.0123), signed(-0.0123), signed(0.0)
        ('+0.012', '−0.012', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if math.isfinite(value) and value > 0 and text.strip("0.") else text


def amount(value: float) -> str:
    """A count: whole when it is whole, else with one digit.

    Example:
        >>> amount(1200.0), amount(13.25), amount(float("nan"))
        ('1,200', '13.2', '–')
    """
    return number(value, 0 if not math.isfinite(value) or float(value).is_integer() else 1)


def percent(value: float) -> str:
    """A share in per cent; one digit below 10 %.

    Example:
        >>> percent(0.034), percent(0.5), percent(float("nan"))
        ('3.4 %', '50 %', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    return f"{value * 100:.{1 if 0 < value < 0.1 else 0}f} %"


def interval(low: float, high: float, write: Callable[[float], str] = number) -> str:
    """A range, both ends written by `write`.

    Example:
        >>> interval(0.79, 0.83), interval(-0.01, 0.02, signed)
        ('0.790 to 0.830', '−0.010 to +0.020')
    """
    return f"{write(low)} to {write(high)}"


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    Example:
        >>> duration(42.4), duration(150), duration(8100)
        ('42 s', '2.5 min', '2.2 h')
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def p_value(value: float) -> str:
    """A p-value with two digits that count; a dash when nothing was tested.

    Example:
        >>> p_value(0.25), p_value(0.0432), p_value(0.001953), p_value(1.0), p_value(0.00001)
        ('0.25', '0.043', '0.0020', '1.00', '< 0.0001')
    """
    if not math.isfinite(value):
        return NOTHING
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.{2 if value >= 0.1 else 3 if value >= 0.01 else 4}f}"


def task_name(task: str) -> str:
    """A task as a reader knows it, without the folder of its module.

    Example:
        >>> task_name("tasks.chest_xray"), task_name("chest_xray")
        ('chest X-ray', 'chest X-ray')
    """
    words = task.removeprefix("tasks.").replace("_", " ")
    return words.replace("xray", "X-ray")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    Example:
        >>> counted(1, "study", "studies"), counted(2, "seed")
        ('1 study', '2 seeds')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, 4th.

    Example:
        >>> [ordinal(n) for n in (1, 2, 3, 11, 22, 99)]
        ['1st', '2nd', '3rd', '11th', '22nd', '99th']
    """
    ending = "th" if 10 <= value % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def findings(pick: Pick) -> list[tuple[str, float]]:
    """The scores of a pick for each finding, highest first; ties stay in the order of the ledger."""
    local = [(name[len(FINDING) :], value) for name, value in pick.terms.items() if name.startswith(FINDING)]
    return sorted(((name, value) for name, value in local if math.isfinite(value)), key=lambda term: -term[1])


def among(pick: Pick) -> str:
    """Where a pick stood among the candidates, in words; empty when its terms do not say."""
    percentile, candidates = pick.terms.get("percentile", math.nan), pick.terms.get("candidates", math.nan)
    crowd = f" of {amount(candidates)} candidates" if math.isfinite(candidates) else ""
    if not math.isfinite(percentile):
        return crowd.removeprefix(" of ")
    if percentile >= 100:
        return f"highest{crowd}"
    if percentile < 1:
        return f"lowest{crowd}" if percentile <= 0 else f"among the lowest 1 %{crowd}"
    # Rounding down: nothing below the top may read as the 100th percentile.
    return f"{ordinal(math.floor(percentile))} percentile{crowd}"


def reason(batch: Batch, pick: Pick, top: int = 2) -> str:
    """Why a unit was picked, in one line.

    Args:
        batch: the batch of the pick.
        pick: with its terms.
        top: how many findings are named.

    Example:
        >>> terms = {"percentile": 99.4, "candidates": 412, "label:Nodule": 0.18, "label:Effusion": 0.21}
        >>> pick = Pick("I1", 0.143, terms)
        >>> reason(Batch(1, "query", "epistemic", (pick,), 1, 1.0), pick)
        'epistemic 0.143 (99th percentile of 412 candidates); highest: Effusion 0.21, Nodule 0.18'
    """
    parts = []
    probability = pick.terms.get("probability", math.nan)
    place = among(pick)
    if batch.at_random or (math.isfinite(probability) and not math.isfinite(pick.score)):
        parts.append(_drawn(batch, pick, probability))
    else:
        parts.append(f"{batch.strategy} {number(pick.score)}" + (f" ({place})" if place else ""))
        if math.isfinite(probability):
            parts.append(f"drawn with probability {number(probability)}")
    if highest := findings(pick)[:top]:
        parts.append("highest: " + ", ".join(f"{name} {number(value, 2)}" for name, value in highest))
    others = [(k, v) for k, v in pick.terms.items() if k not in KNOWN_TERMS and not k.startswith(FINDING)]
    parts += [f"{name} {number(value)}" for name, value in others if math.isfinite(value)]
    return "; ".join(parts)


def _drawn(batch: Batch, pick: Pick, probability: float) -> str:
    text = "drawn at random" + (" for validation" if batch.purpose == "validation" else "")
    if math.isfinite(probability):
        text += f" with probability {number(probability)}"
    candidates = pick.terms.get("candidates", math.nan)
    return text + (f" from {amount(candidates)} candidates" if math.isfinite(candidates) else "")


def answer(target: Sequence[float], labels: Sequence[str]) -> str:
    """What an expert said about one unit, in words.

    Args:
        target: (L) 1 present, 0 absent, NaN not answered, -1 uncertain, values between for soft answers.
        labels: (L) names.

    Example:
        >>> answer([1.0, 0.0, -1.0], ["Effusion", "Mass", "Nodule"])
        'present: Effusion; uncertain: Nodule; absent: 1 other'
        >>> answer([0.0, 0.0], ["Effusion", "Mass"])
        'none of the 2 findings'
    """
    names = [*labels, *(f"label {k + 1}" for k in range(len(labels), len(target)))]
    pairs = list(zip(names, target, strict=False))
    present = [name for name, value in pairs if value == 1]
    uncertain = [name for name, value in pairs if value == -1]
    soft = [f"{name} {number(value, 2)}" for name, value in pairs if 0 < value < 1]
    absent = [name for name, value in pairs if value == 0]
    if not present and not uncertain and not soft:
        if not absent:
            return "no answer"
        return f"absent: {absent[0]}" if len(absent) == 1 else f"none of the {len(absent)} findings"
    parts = [f"present: {', '.join(present)}"] if present else []
    parts += [f"uncertain: {', '.join(uncertain)}"] if uncertain else []
    parts += [f"rated: {', '.join(soft)}"] if soft else []
    parts += [f"absent: {counted(len(absent), 'other')}"] if absent else []
    return "; ".join(parts)
