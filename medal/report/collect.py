"""Reads a run folder, or a single study folder, into a `RunHistory`. Nothing is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medal.errors import StudyError
from medal.ledger import Event
from medal.report.history import (
    MEASURES,
    Answer,
    Batch,
    LabelMeasures,
    Measures,
    Pick,
    Predictions,
    Retired,
    Round,
    RunHistory,
    StudyHistory,
    Subgroup,
)
from medal.report.words import task_name
from medal.standing import as_it_is_now
from medal.study import Study
from medal.units import SEPARATOR

INDEX = "run.json"
LEDGER = "ledger.db"
IMAGE = "image"
KINDS = ("quarantined", "asked", "answered", "retired", "added", "trained", "evaluated", "closed")


def collect(folder: Path) -> RunHistory:
    """The history of every study below a folder.

    Args:
        folder: a run folder (with `run.json`) or a study folder (with `ledger.db`).

    Returns:
        Studies in the order of the index; one that has not begun has no `opened` event.

    Raises:
        StudyError: if the folder is neither, or its index cannot be read.
    """
    if (folder / INDEX).is_file():
        recipe, entries = _index(folder / INDEX)
        return RunHistory(recipe, tuple(_indexed(folder, entry) for entry in entries))
    if (folder / LEDGER).is_file():
        study = collect_study(folder)
        return RunHistory(task_name(str(study.opened.get("task", study.arm))), (study,))
    raise StudyError(f"{folder}: found neither {INDEX} nor {LEDGER}; give the folder of a run or of a study")


def _index(path: Path) -> tuple[str, list[Mapping[str, Any]]]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return str(index["recipe"]), [
            {"arm": str(e["arm"]), "seed": int(e["seed"]), "folder": str(e["folder"])} for e in index["studies"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path}: the index of the run cannot be read ({error!r}); start the run again, it resumes"
        ) from None


def _indexed(run: Path, entry: Mapping[str, Any]) -> StudyHistory:
    folder = run / entry["folder"]
    if not (folder / LEDGER).is_file():
        return StudyHistory(entry["arm"], entry["seed"])
    return collect_study(folder, entry["arm"], entry["seed"])


def collect_study(folder: Path, arm: str = "", seed: int = 0) -> StudyHistory:
    """The history of one study.

    Args:
        folder: study folder.
        arm: name in the run's index; empty to take it from the ledger.
        seed: in the run's index.

    Raises:
        StudyError: as `Study.open`.
        LedgerBroken: if the journal does not verify; nothing is reported from a changed one.
    """
    with Study.open(folder, write=False) as study:
        study.ledger.verify()
        journal = list(study.ledger.events())
        events: dict[str, list[Event]] = {kind: [e for e in journal if e.kind == kind] for kind in KINDS}
        units = {row["id"]: row for row in study.read_units()} if study.units_path.is_file() else {}
        later = [event.content for event in events["added"]]
        opened = as_it_is_now(study.opened, later, len({row["group"] for row in units.values()}) or None)
        labels = tuple(opened.get("data", {}).get("labels", ()))
        unit = str(opened.get("recipe", {}).get("unit", IMAGE))
        closed = next((str(event.content.get("reason", "")) for event in reversed(events["closed"])), None)
        rounds = {int(e.content["round"]): _round(e.content, labels) for e in events["evaluated"]}
        kinds = {(int(e.content["round"]), str(e.content["purpose"])): _kind(e.content) for e in events["answered"]}
        return StudyHistory(
            arm=arm or str(opened.get("arm", "")),
            seed=int(opened.get("seed", seed)),
            opened=opened,
            rounds=tuple(rounds[n] for n in sorted(rounds)),
            batches=tuple(_batch(event.content, event.aside, kinds, unit) for event in events["asked"]),
            answers=tuple(a for event in events["answered"] for a in _answers(event.content, event.aside, labels)),
            training_seconds=_seconds_by_round(events["trained"]),
            quarantined={str(i): str(r) for e in events["quarantined"] for i, r in e.content["items"].items()},
            retired=_retired(events["retired"] + events["answered"]),
            added=tuple(_added(journal)),
            arm_predictions=_arm_predictions(study, rounds),
            people="token" in opened or any(e.kind == "told" or (e.aside or {}).get("list") for e in journal),
            closed=closed,
            head=journal[-1].hash,
            units=units,
            previews=study.previews_path,
        )


def _number(value: Any) -> float:
    """A number of the ledger, where null stands for NaN."""
    return math.nan if value is None else float(value)


def _batch(
    content: Mapping[str, Any], aside: Mapping[str, Any], kinds: Mapping[tuple[int, str], str], unit: str = IMAGE
) -> Batch:
    terms: Sequence[Mapping[str, Any]] = content.get("terms") or [{}] * len(content["ids"])
    picks = zip(content["ids"], content["scores"], terms, strict=True)
    cost = content.get("cost", {})
    return Batch(
        round=int(content["round"]),
        purpose=str(content["purpose"]),
        strategy=str(content["strategy"]),
        picks=tuple(Pick(str(i), _number(s), {str(k): _number(v) for k, v in t.items()}) for i, s, t in picks),
        items=_number(cost.get("items")),
        minutes=_number(cost.get("minutes")),
        seconds=_number((aside or {}).get("seconds")),
        kind=kinds.get(
            (int(content["round"]), str(content["purpose"])), unit if content["purpose"] == "query" else IMAGE
        ),
    )


def _kind(content: Mapping[str, Any]) -> str:
    return str(content.get("kind", IMAGE))


def _answers(content: Mapping[str, Any], aside: Mapping[str, Any], labels: Sequence[str]) -> Iterable[Answer]:
    # people's times are measured and therefore no part of the content
    seconds = (aside or {}).get("seconds") or content.get("seconds") or [None] * len(content["ids"])
    for unit, target, spent in zip(content["ids"], content["target"], seconds, strict=True):
        yield Answer(
            unit=str(unit),
            round=int(content["round"]),
            purpose=str(content["purpose"]),
            target=whole_row(str(unit), [_number(value) for value in target], labels),
            seconds=_number(spent),
            annotator=str(content.get("annotator", "")),
        )


def whole_row(unit: str, target: Sequence[float], labels: Sequence[str]) -> tuple[float, ...]:
    """An answer about a whole row or about one of its findings as one value for each label.

    Args:
        unit: id; "row#Finding" for a finding.
        target: (L) for a whole row, (1) for a finding.
        labels: (L) names.

    Example:
        >>> whole_row("I1#Mass", [1.0], ["Effusion", "Mass"])
        (nan, 1.0)
    """
    inside = unit.partition(SEPARATOR)[2]
    if inside in labels and len(target) == 1:
        return tuple(target[0] if name == inside else math.nan for name in labels)
    return tuple(target)


def _round(content: Mapping[str, Any], labels: Sequence[str]) -> Round:
    test, arm = _measures(content), _measures(content.get("validation") or {})
    return Round(
        number=int(content["round"]),
        items=_number(content["spent"]["items"]),
        minutes=_number(content["spent"]["minutes"]),
        macro=test.macro,
        labels=test.labels,
        validation=arm,
        trained_on=_number((content.get("labelled") or {}).get("items")),
        subgroups={
            str(column): {str(value): _subgroup(found, labels) for value, found in values.items()}
            for column, values in (content.get("subgroups") or {}).items()
        },
    )


def _measures(content: Mapping[str, Any]) -> Measures:
    macro = content.get("macro") or {}
    return Measures(
        macro={measure: _number(macro.get(measure)) for measure in MEASURES},
        labels={str(name): _label(values) for name, values in (content.get("labels") or {}).items()},
    )


def _subgroup(found: Mapping[str, Any], labels: Sequence[str]) -> Subgroup:
    which = found.get("which") or ()
    return Subgroup(
        patients=int(found.get("patients") or 0),
        auroc=_number(found.get("auroc")),
        low=_number(found.get("low")),
        high=_number(found.get("high")),
        labels=tuple(str(labels[int(k)]) for k in which if int(k) < len(labels)),
        count=int(found.get("labels") or 0),
    )


def _retired(events: Iterable[Event]) -> tuple[Retired, ...]:
    """Units that are out at the end: a later answer brings a unit back."""
    out: dict[str, Retired] = {}
    for event in sorted(events, key=lambda e: e.seq):
        for unit in map(str, event.content["ids"]):
            out.pop(unit, None)
            if event.kind == "retired":
                reason, who = event.content.get("reason", ""), event.content.get("annotator", "")
                out[unit] = Retired(unit, str(reason), str(who))
    return tuple(out.values())


def _added(journal: Iterable[Event]) -> Iterable[tuple[int, int]]:
    """(last round before, images) of each time that images came in."""
    now = 0
    for event in journal:
        now = int(event.content.get("round", now)) if event.kind in ("asked", "trained") else now
        if event.kind == "added":
            yield now, len(event.content.get("ids", ()))


def _arm_predictions(study: Study, rounds: Iterable[int]) -> dict[int, Predictions]:
    """Stored predictions of the validation arm; a round whose file is lost or damaged is drawn without an interval."""
    found = {}
    for number in sorted(rounds):
        try:
            ids, probabilities = study.load_predictions(number, "validation")
        except StudyError:
            continue
        found[number] = Predictions(ids, probabilities.astype(np.float64))
    return found


def _label(values: Mapping[str, Any]) -> LabelMeasures:
    return LabelMeasures(
        auroc=_number(values.get("auroc")),
        auprc=_number(values.get("auprc")),
        ece=_number(values.get("ece")),
        brier=_number(values.get("brier")),
        positives=int(values.get("positives") or 0),
        negatives=int(values.get("negatives") or 0),
        estimable=bool(values.get("estimable")),
    )


def _seconds_by_round(events: Iterable[Event]) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for event in events:
        measured = _number((event.aside or {}).get("seconds"))
        if math.isfinite(measured):
            seconds[int(event.content["round"])] = seconds.get(int(event.content["round"]), 0.0) + measured
    return seconds
