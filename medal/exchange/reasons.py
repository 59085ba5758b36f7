"""Why an image is asked, in the words of a work list: short, plain, without the names of formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping

LABEL, DISPUTED, GIVEN, MODEL = "label:", "disputed:", "given:", "model:"
"""Prefixes of terms that speak of one label: its score, a dispute of readers, the label given, the model's opinion."""
SIBLING, TYPICAL = "same_exam", "typical"
_MEASURING = "at random, for measuring"


def reason(purpose: str, terms: Mapping[str, float | None], number: int | None = None) -> str:
    """One line for one image.

    Args:
        purpose: of the question, as in the journal.
        terms: breakdown of the pick, as in the journal.
        number: on the list, of the image of the same examination for which this one came along.

    Example:
        >>> reason("query", {"score": 0.31, "percentile": 98.2, "label:Edema": 0.1, "label:Effusion": 0.4})
        'unsure about Effusion (score .31, 98th percentile)'
        >>> reason("relabel", {"given:Edema": 0.0, "model:Edema": 0.91})
        'was labelled Edema 0, the model says .91'
    """
    known = {name: value for name, value in terms.items() if value is not None and math.isfinite(value)}
    if purpose == "validation":
        return _MEASURING
    if SIBLING in known:
        return f"same exam as no. {number}" if number else "same exam as another image of the list"
    if purpose == "relabel":
        return _doubt(known)
    if TYPICAL in known:
        return "unlike anything labelled, and typical of many others"
    if "score" not in known:
        return "at random, to begin with" if purpose == "start" else "at random"
    return f"{_unsure(known)} ({_place(known)})"


def _doubt(terms: Mapping[str, float]) -> str:
    disputed = [name.removeprefix(DISPUTED) for name in terms if name.startswith(DISPUTED)]
    if disputed:
        return f"readers disagree about {_listed(disputed)}"
    for name, value in terms.items():
        if name.startswith(GIVEN):
            label = name.removeprefix(GIVEN)
            return f"was labelled {label} {value:.0f}, the model says {_short(terms.get(MODEL + label, math.nan))}"
    return "for a second look"


def _unsure(terms: Mapping[str, float]) -> str:
    local = {name.removeprefix(LABEL): value for name, value in terms.items() if name.startswith(LABEL)}
    return f"unsure about {max(local, key=lambda name: local[name])}" if local else "much to learn from"


def _place(terms: Mapping[str, float]) -> str:
    score = f"score {_short(terms['score'])}"
    percentile = terms.get("percentile", math.nan)
    if not math.isfinite(percentile):
        return score
    if percentile >= 100:
        return f"{score}, the highest"
    whole = math.floor(percentile)
    ending = "th" if 10 <= whole % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(whole % 10, "th")
    return f"{score}, {whole}{ending} percentile"


def _short(value: float) -> str:
    """Two figures, no zero before the point: .31, 1.20, .0042."""
    if not math.isfinite(value):
        return "nothing"
    text = f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.2g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
