"""The result in plain sentences, with the stamps that it must carry."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medal.metrics.paired import BLOCKS_FOR_A_CLAIM, PairedDifference
from medal.report.arm import arm_curve
from medal.report.curves import at_round, compared, curve, difference_band, last_common, points
from medal.report.history import PARTS, POSITIVES_NEEDED, RANDOM, Round, RunHistory, StudyHistory
from medal.report.words import amount, counted, interval, number, p_value, signed, task_name

STUDIES_LISTED = 3
"""Unfinished studies that the head names; more are only counted."""


@dataclass(frozen=True)
class Headline:
    """What a reader should know first.

    Args:
        title: of the report.
        facts: (name, value): task, data, what was compared.
        sentences: the result.
        stamps: short warnings.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    stamps: tuple[str, ...]


def headline(run: RunHistory) -> Headline:
    """The head of the report."""
    titles = [str(study.opened.get("recipe", {}).get("report", {}).get("title") or "") for study in run.studies]
    title = next(filter(None, titles), f"{run.name}: active learning report")
    return Headline(title, facts(run), sentences(run), stamps(run))


def facts(run: RunHistory) -> tuple[tuple[str, str], ...]:
    """Task, data, split, arms, seeds and state, as far as known."""
    begun = [study for study in run.studies if study.opened]
    first = begun[0].opened if begun else {}
    data, counts = first.get("data", {}), first.get("split", {}).get("counts", {})
    seeds = sorted({study.seed for study in run.studies})
    found = [
        ("Task", task_name(str(first.get("task", run.name)))),
        ("Data", _data(data)),
        ("Split", ", ".join(f"{part} {amount(count)}" for part, count in counts.items() if count)),
        ("Strategy" if run.by_people else "Compared", ", ".join(run.title(arm) for arm in run.arms)),
        ("Seed" if len(seeds) == 1 else "Seeds", "" if run.by_people else ", ".join(map(str, seeds))),
        ("Paid for", _paid(run)),
        ("State", _state(run)),
    ]
    return tuple((name, value) for name, value in found if value)


def _data(data: dict[str, object]) -> str:
    if not data:
        return ""
    known = {key: int(str(data[key])) for key in ("rows", "later", "groups") if data.get(key)}
    parts = [counted(known["rows"], "image")] if "rows" in known else []
    parts += [f"of which {known['later']:,} came later"] if "later" in known else []
    parts += [counted(known["groups"], "patient")] if "groups" in known else []
    labels = data.get("labels")
    if isinstance(labels, list | tuple):
        parts.append(counted(len(labels), "label"))
    return f"{data.get('name', 'unnamed')}: {', '.join(parts)}"


def _paid(run: RunHistory) -> str:
    spent = [(study, study.rounds[-1]) for study in run.studies if study.rounds]
    if not spent:
        return ""
    study, most = max(spent, key=lambda pair: pair[1].items)
    text = f"{amount(most.items)} items ({_minutes(study, most)})"
    return f"up to {text} in each study" if len(run.studies) > 1 else text


def _minutes(study: StudyHistory, last: Round) -> str:
    """Minutes up to a round: of people as they were measured, else as the cost model planned them."""
    times = [a.seconds for a in study.answers if a.round <= last.number and math.isfinite(a.seconds)]
    if not study.people or not times:
        return f"{number(last.minutes, 1)} planned minutes"
    return f"{number(math.fsum(times) / 60, 1)} measured expert minutes, {number(last.minutes, 1)} planned"


def _state(run: RunHistory) -> str:
    open_studies = unfinished(run)
    if run.by_people and open_studies:
        return "; ".join(f"going on, {progress(study)}" for study in open_studies)
    if not open_studies:
        return f"all {counted(len(run.studies), 'study', 'studies')} finished" if run.studies else "no studies"
    text = f"{len(open_studies)} of {counted(len(run.studies), 'study', 'studies')} unfinished"
    if len(open_studies) > STUDIES_LISTED:
        return f"{text} (listed under Provenance)"
    return f"{text} ({'; '.join(f'{study.name}: {progress(study)}' for study in open_studies)})"


def unfinished(run: RunHistory) -> tuple[StudyHistory, ...]:
    """Studies without a `closed` event."""
    return tuple(study for study in run.studies if study.closed is None)


def progress(study: StudyHistory) -> str:
    """How far a study is, in words."""
    if study.closed is not None:
        return f"finished ({study.closed})" if study.closed else "finished"
    if not study.opened:
        return "not begun"
    if not study.rounds:
        return "nothing evaluated yet"
    return f"evaluated up to round {study.rounds[-1].number}"


def stamps(run: RunHistory) -> tuple[str, ...]:
    """Short warnings that must stand beside the result."""
    found = []
    counts = [result.blocks for result in compared(run, "auroc").values() if result.blocks]
    if counts and min(counts) < BLOCKS_FOR_A_CLAIM:
        found.append(f"underpowered: n = {min(counts)} < {BLOCKS_FOR_A_CLAIM} paired seeds")
    if run.part == "validation" and not run.by_people:
        found.append("measured on the validation arm: no test set")
    elif run.by_people and run.part == "validation" and any(r.validation for s in run.studies for r in s.rounds):
        found.append("measured on random images of this study, not on a separate test set")
    if RANDOM not in run.arms and not run.by_people:
        found.append("no random arm: no comparison")
    if unfinished(run) and not run.by_people:
        found.append("unfinished")
    found += [f"bound: {arm} reads the truth" for arm in run.arms if run.bound(arm)]
    return tuple(found)


def sentences(run: RunHistory) -> tuple[str, ...]:
    """The result, one or two sentences for each arm that is compared with random."""
    if not any(points(study, "auroc", "items") for study in run.studies):
        return (no_measures(run),)
    rivals = [arm for arm in run.arms if arm != RANDOM]
    if not rivals or RANDOM not in run.arms:
        said = [_on_arm(run, arm) if run.part == "validation" else _alone(run, arm) for arm in run.arms]
        if RANDOM not in run.arms and not run.by_people:
            said.append("This run has no random arm, so nothing can be said about the benefit of choosing.")
        return tuple(said)
    pairs = compared(run, "auroc")
    return tuple(_against_random(run, arm, pairs[arm]) for arm in rivals)


def no_measures(run: RunHistory) -> str:
    """Why there is nothing to draw, in one sentence."""
    rounds = [r for study in run.studies for r in study.rounds]
    if not rounds:
        return (
            "Nothing has been evaluated yet: measures begin when the start set is answered and the first model trained."
        )
    part = run.part
    counts: dict[str, int] = {}
    for measured in (r.on(part) for r in rounds):
        for name, label in measured.labels.items():
            counts[name] = max(counts.get(name, 0), min(label.positives, label.negatives))
    if not counts:
        if run.by_people:
            return "Nothing could be measured yet: no image of the random part is labelled."
        return "Nothing could be measured: there is no test set with labels and no validation arm that was paid for."
    most = max(counts, key=lambda name: counts[name])
    needed = f"{POSITIVES_NEEDED[part]} positives and {POSITIVES_NEEDED[part]} negatives in the {PARTS[part]}"
    return (
        f"There is no macro AUROC: no label has the {needed} that make it estimable. "
        f"{most} comes closest with {counts[most]}."
    )


def _alone(run: RunHistory, arm: str) -> str:
    n = last_common(run, [arm], "auroc")
    line = curve(run.of(arm), "auroc", "items")
    if n is None or line is None:
        return f"{run.title(arm)}: no macro AUROC yet."
    cost, value = at_round(line, n)
    who = f"{run.title(arm)}, {counted(value.count, 'seed')}"
    return f"At {amount(cost)} items, macro AUROC is {number(value.mean)} ({who})."


def _on_arm(run: RunHistory, arm: str) -> str:
    """The last measure of the first study of an arm on its validation arm, with its interval."""
    curves = ((study, arm_curve(study)) for study in run.of(arm))
    study, curve = next(((s, c) for s, c in curves if c is not None), (None, None))
    if study is None or curve is None:
        return f"{run.title(arm)}: no macro AUROC yet."
    last = curve.points[-1]
    text = f"Trained on {amount(last.labels)} labels, macro AUROC on the {PARTS['validation']} is "
    text += number(last.auroc.value)
    if not curve.names:
        return f"{text} ({run.title(arm)})." if run.by_people else f"{text} ({run.title(arm)}, seed {study.seed})."
    ends = f"95 % interval {interval(last.auroc.low, last.auroc.high)}"
    arm_size = f"{counted(last.images, 'image')} of {counted(curve.patients, 'patient')}"
    return f"{text} ({ends}; {arm_size}; mean over {', '.join(curve.names)})."


def _against_random(run: RunHistory, arm: str, pairs: PairedDifference) -> str:
    ours, theirs = (curve(run.of(name), "auroc", "items") for name in (arm, RANDOM))
    n = last_common(run, [arm, RANDOM], "auroc")
    if n is None or ours is None or theirs is None:
        return f"{run.title(arm)} and random have no evaluated round in common yet, so they are not compared."
    (cost, value), (other_cost, other) = at_round(ours, n), at_round(theirs, n)
    where = (
        f"At {amount(cost)} items"
        if cost == other_cost
        else f"After round {n} ({amount(cost)} and {amount(other_cost)} items)"
    )
    what = f"macro AUROC is {number(value.mean)} ({run.title(arm)}) against {number(other.mean)} (random)"
    return f"{where}, {what}; {_difference(pairs)}."


def _difference(pairs: PairedDifference) -> str:
    if not pairs.blocks:
        return "no pair of studies covers two budgets, so there is no paired difference yet"
    if pairs.blocks == 1:
        return f"paired AUBC difference {signed(pairs.differences[0])} (1 seed)"
    better = pairs.blocks - pairs.worse - sum(difference == 0 for difference in pairs.differences)
    low, high, name = difference_band(pairs)
    ends = interval(low, high, signed)
    return (
        f"paired AUBC difference {signed(pairs.mean)} [{ends}, {name} over {pairs.blocks} seeds; "
        f"sign-flip p {p_value(pairs.p)}], better than random in {better} of {pairs.blocks} pairs"
    )
