"""Performance by subgroup of patients: sex, age band, view, site, with intervals over patients.

Under-diagnosis of subgroups is known from chest X-ray classifiers (Seyyed-Kalantari et al., Nature Medicine 2021), and
a strategy that moves the paid labels towards one group can cause it. A subgroup is small by nature, so each has an
interval, and one with too few patients or positives is stated as not estimable instead of being drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import OutputError
from medal.metrics.cluster_bootstrap import RESAMPLES, estimable_labels, macro_interval
from medal.seeding import Seed

AGE = "age"
"""Column that is banded."""
AGE_BANDS = ((0, 40, "<40"), (40, 60, "40-59"), (60, 80, "60-79"), (80, 151, ">=80"))
"""Years, from and below."""
UNKNOWN = "unknown"
VALUES_SHOWN = 12
"""Columns with more distinct values are no categories (follow-up numbers, dates) and are left out."""
MIN_PATIENTS = 10


def subgroup_measures(
    probabilities: ArrayLike,
    truth: ArrayLike,
    groups: Sequence[Hashable],
    columns: Mapping[str, Sequence[str]],
    seed: Seed,
    min_positives: int = 10,
    *,
    min_patients: int = MIN_PATIENTS,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Macro AUROC of each subgroup with its bootstrap interval over patients.

    Args:
        probabilities: (T, L) in [0, 1].
        truth: (T, L) of 1, 0, NaN unknown and -1 uncertain.
        groups: (T) patient of each image.
        columns: name -> (T) values; "" is unknown, ages are banded (<40, 40-59, 60-79, >=80 years).
        seed: of the bootstrap.
        min_positives: positives, and negatives, that a label needs inside the subgroup.
        min_patients: patients below which a subgroup is not estimable.
        resamples: of the patients.

    Returns:
        {column: {value: {"patients": n, "auroc": x | None, "low": x | None, "high": x | None, "labels": k,
        "which": [positions of these labels]}}}, plain numbers for JSON. None where the subgroup is not estimable.
        Subgroups may be means over different labels; `which` tells. Columns with one value or more than twelve are
        left out.

    Raises:
        OutputError: when lengths do not fit.

    Example:
        >>> p, y = [[0.9], [0.8], [0.3], [0.1]], [[1], [1], [0], [0]]
        >>> found = subgroup_measures(p, y, "abcd", {"sex": "FFFM"}, Seed(0), 1, min_patients=3)
        >>> found["sex"]["F"]["auroc"], found["sex"]["M"]["auroc"], found["sex"]["M"]["patients"]
        (1.0, None, 1)
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    lengths = {len(p), len(y), len(groups), *(len(values) for values in columns.values())}
    if p.ndim != 2 or p.shape != y.shape or len(lengths) != 1:
        raise OutputError(f"subgroups: found {p.shape}, {y.shape} and lengths {sorted(lengths)}; expected one a row")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, values in columns.items():
        categories = [category(name, value) for value in values]
        distinct = in_order(set(categories))
        if not 2 <= len(distinct) <= VALUES_SHOWN:
            continue
        found[name] = {}
        for value in distinct:
            rows = np.array([c == value for c in categories])
            patients = [group for group, row in zip(groups, rows, strict=True) if row]
            found[name][value] = _measured(
                p[rows], y[rows], patients, seed / name / value, min_positives, min_patients, resamples
            )
    return found


def _measured(
    p: np.ndarray,
    y: np.ndarray,
    patients: Sequence[Hashable],
    seed: Seed,
    min_positives: int,
    min_patients: int,
    resamples: int,
) -> dict[str, Any]:
    count = len(set(patients))
    which = estimable_labels(y, min_positives) if count >= min_patients else ()
    result: dict[str, Any] = {"patients": count, "auroc": None, "low": None, "high": None, "labels": len(which)}
    if which:
        chosen = list(which)
        interval = macro_interval(p[:, chosen], y[:, chosen], patients, seed, min_positives=1, resamples=resamples)
        result |= {"auroc": _plain(interval.value), "low": _plain(interval.low), "high": _plain(interval.high)}
    return result | {"which": list(which)}


def category(column: str, text: str) -> str:
    """The subgroup of one value: ages as a band, empty values as unknown.

    Example:
        >>> category("age", "058Y"), category("view", " PA "), category("sex", "")
        ('40-59', 'PA', 'unknown')
    """
    plain = str(text or "").strip()
    return age_band(plain) if column == AGE else plain or UNKNOWN


def age_band(text: str) -> str:
    """The band of an age as a data set or a DICOM header writes it.

    Example:
        >>> age_band("58"), age_band("006M"), age_band("80"), age_band("")
        ('40-59', '<40', '>=80', 'unknown')
    """
    years = age_in_years(text)
    return next((name for low, high, name in AGE_BANDS if low <= years < high), UNKNOWN)


def age_in_years(text: str) -> float:
    """An age in years, from a number or a DICOM age string; NaN when it is neither.

    Example:
        >>> age_in_years("58"), age_in_years("058Y"), age_in_years("006M"), age_in_years("old")
        (58.0, 58.0, 0.5, nan)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWDymwd]?)\s*", text)
    if not match:
        return math.nan
    return float(match[1]) / {"M": 12, "W": 52, "D": 365}.get(match[2].upper(), 1)


def in_order(values: set[str]) -> list[str]:
    """Values as they are shown: age bands by age, others by name, unknown last."""
    bands = [name for _, _, name in AGE_BANDS]
    return sorted(values, key=lambda v: (v == UNKNOWN, bands.index(v) if v in bands else 0, v))


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
