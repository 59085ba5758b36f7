"""Where the numbers come from: seeds, versions, digests, recipes, ledger heads, files that are not used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from medal.report.headline import progress
from medal.report.history import RunHistory, StudyHistory
from medal.report.tables import Table, cells
from medal.report.words import NOTHING, counted


@dataclass(frozen=True)
class Recipe:
    """The resolved recipe of one arm."""

    title: str
    text: str


def study_table(run: RunHistory) -> Table:
    """One row for each study: state and head of its ledger."""
    rows = [
        cells(f"{run.title(study.arm)}, seed {study.seed}", progress(study), study.head or NOTHING)
        for study in run.studies
    ]
    return Table(
        caption="Studies of this run. A head hash covers all that was asked, answered, trained and measured; noted "
        "elsewhere, it shows later changes.",
        columns=("Study", "State", "Head hash of the ledger"),
        rows=tuple(rows),
        text=frozenset({1, 2}),
        code=frozenset({2}),
    )


def facts(run: RunHistory) -> tuple[tuple[str, str], ...]:
    """(name, value) of what the studies should share; where they differ, each value names its studies."""
    begun = [study for study in run.studies if study.opened]
    readers: dict[str, Callable[[Mapping[str, Any]], object]] = {
        "Data digest": lambda opened: opened.get("data", {}).get("digest"),
        "Split hash": lambda opened: opened.get("split", {}).get("hash"),
        "medal": lambda opened: opened.get("medal"),
        "Ledger format": lambda opened: opened.get("format"),
        "Threads": lambda opened: opened.get("threads"),
    }
    found = [(name, _shared(begun, read)) for name, read in readers.items()]
    packages = dict.fromkeys(name for study in begun for name in study.opened.get("versions", {}))
    found += [(name, _shared(begun, lambda opened, name=name: opened["versions"].get(name))) for name in packages]
    found.append(("Start sets", _start_sets(begun)))
    return tuple((name, value) for name, value in found if value)


def _shared(studies: Sequence[StudyHistory], read: Callable[[Mapping[str, Any]], object]) -> str:
    values: dict[str, list[str]] = {}
    for study in studies:
        value = read(study.opened)
        if value not in (None, ""):
            values.setdefault(str(value), []).append(study.name)
    if len(values) <= 1:
        return next(iter(values), "")
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def _start_sets(studies: Sequence[StudyHistory]) -> str:
    """Whether studies with one seed began with the same units; empty when no seed has two studies."""
    by_seed: dict[int, list[tuple[str, ...]]] = {}
    for study in studies:
        units = tuple(pick.unit for batch in study.batches if batch.purpose != "query" for pick in batch.picks)
        if units:
            by_seed.setdefault(study.seed, []).append(units)
    several = {seed: sets for seed, sets in by_seed.items() if len(sets) > 1}
    if not several:
        return ""
    torn = [str(seed) for seed, sets in several.items() if len(set(sets)) > 1]
    return f"differ between arms for seed {', '.join(torn)}" if torn else "the same for all arms with the same seed"


def recipes(run: RunHistory) -> tuple[Recipe, ...]:
    """The resolved recipe of each arm, from its first study that has begun."""
    found = []
    for arm in run.arms:
        study = next((study for study in run.of(arm) if study.opened.get("recipe")), None)
        if study is not None:
            text = yaml.safe_dump(study.opened["recipe"], sort_keys=False, allow_unicode=True, width=100)
            found.append(Recipe(f"{run.title(arm)}, seed {study.seed}", text))
    return tuple(found)


def quarantine_table(run: RunHistory) -> Table | None:
    """Files that are not used, each with its reason; None when there is none."""
    reasons: dict[tuple[str, str], int] = {}
    for study in run.studies:
        for unit, reason in study.quarantined.items():
            reasons[unit, reason] = reasons.get((unit, reason), 0) + 1
    if not reasons:
        return None
    rows = [
        cells(unit, reason, counted(count, "study", "studies")) for (unit, reason), count in sorted(reasons.items())
    ]
    return Table(
        caption="Files that are not used. Ids are pseudonyms; a private table names them.",
        columns=("Id", "Reason", "In"),
        rows=tuple(rows),
        text=frozenset({1, 2}),
    )
