"""A hospital study on toy vectors: fast, with examinations of two images, opened again as a command would."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from toy import VectorSource, planted

from medal.budget import CostModel
from medal.consensus import Consensus
from medal.exchange.asking import Wish
from medal.exchange.joining import take_in, unit_rows
from medal.human import HumanCampaign
from medal.learners import Beta, Parts, Perceptron, Supervised
from medal.pool import Pool
from medal.recipe import load
from medal.sampling import TopK
from medal.seeding import Seed
from medal.source import Opened, Truth
from medal.split import split_by_group
from medal.strategy import Step, Strategy
from medal.study import Study
from medal.uncertainty import BetaEpistemic
from medal.units import Units

LABELS = ("left", "right")


def patients(count: int, seed: int = 5) -> tuple[VectorSource, Truth]:
    """Rows of two an exam and a patient; vectors that say their labels."""
    source, truth = planted(count, seed)
    source.meta = {"exam": tuple(f"e{i // 2:04d}" for i in range(count))}
    return source, truth


def first(source: VectorSource, count: int) -> VectorSource:
    """The folder before the last images came."""
    meta = {name: values[:count] for name, values in source.meta.items()}
    return VectorSource(
        source.vectors[:count],
        source.labels,
        source.ids[:count],
        source.groups[:count],
        meta=meta,
        digest=f"toy{count}",
    )


def clinic(
    folder: Path,
    source: VectorSource | None = None,
    known: Truth | None = None,
    *,
    kind: str = "image",
    arm: int = 8,
    readers: Consensus | None = None,
    steps: int = 30,
) -> HumanCampaign:
    """Begins a study, or opens it again.

    Args:
        folder: of the study.
        source: the images; 80 when left out.
        known: labels that the clinic has.
        kind: of the units.
        arm: images of the validation arm.
        readers: which labels train.
        steps: of training.
    """
    source = source or patients(80)[0]
    split = split_by_group(source.ids, source.groups, seed=0, test=0.0, validation=0.25)
    recipe = load("hospital/chest_xray")
    recipe = recipe.model_copy(update={"validation": recipe.validation.model_copy(update={"items": arm})})
    if Study.exists(folder):
        study, added = Study.open(folder), 0
        added = take_in(study, source, split)
    else:
        opened = {
            "task": "toy",
            "arm": "beta",
            "seed": 0,
            "data": {"digest": source.digest, "labels": list(source.labels), "shape": list(source.shape)},
            "split": {"hash": split.digest(), "counts": split.counts()},
        }
        study, added = Study.create(folder, opened, unit_rows(source, split)), 0
    units = Units(kind, source.ids, source.groups, source.labels if kind == "finding" else ())
    learner = Supervised(source, Perceptron(16, 0.0), Parts(head=Beta()), steps=steps, batch=16, lr=5e-3)
    campaign = HumanCampaign(
        study=study,
        source=source,
        pool=Pool(units, source.labels, split, readers or Consensus()),
        learner=learner,
        strategy=Strategy(Step(TopK(), BetaEpistemic()), name="beta_epistemic"),
        cost=CostModel(),
        seed=Seed(0),
        recipe=recipe,
        cache=folder.parent / "cache",
        added=added,
    )
    if known is not None:
        campaign.import_labels(Opened(source, known))
    return campaign


def fill(
    path: Path,
    truth: Mapping[str, Mapping[str, int]],
    reader: str = "R1",
    change: Callable[[dict[str, str], int], None] | None = None,
    to: Path | None = None,
) -> Path:
    """Fills in a work list as a perfect reader.

    Args:
        path: the list.
        truth: id -> label -> 0 or 1.
        reader: who answers.
        change: called with every row (column -> cell) and its number; may change it.
        to: where to write; the list itself when None.
    """
    with path.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    for number, row in enumerate(rows):
        row.update({name: str(value) for name, value in truth[row["id"]].items() if name in row})
        row |= {"reader": reader, "seconds": "30"}
        if change is not None:
            change(row, number)
    target = to or path
    with target.open("w", newline="", encoding="utf-8-sig") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def truth_of(source: VectorSource, truth: Truth) -> dict[str, dict[str, int]]:
    """Id -> label -> 0 or 1."""
    lines = truth.values.to(torch.int64).tolist()
    return {i: dict(zip(truth.labels, values, strict=True)) for i, values in zip(source.ids, lines, strict=True)}


def partly(truth: Truth, rows: range) -> Truth:
    """Labels of some rows alone."""
    values = torch.full_like(truth.values, torch.nan)
    values[list(rows)] = truth.values[list(rows)]
    return replace(truth, values=values)


def play(folder: Path, source: VectorSource, right: Mapping[str, Mapping[str, int]], step: int) -> None:
    """One command of six: ask, tell, train, twice; the answers lie beside the study. Each may be given again."""
    with (campaign := clinic(folder, source)).study:
        done = len(campaign.list_names()) > step // 3
        if step % 3 == 0:
            name = next(iter(campaign.open_lists()), "") or ("" if done else campaign.ask(Wish(6)))
            if name:
                answers = folder.with_name(f"{folder.name}_{name}.csv")
                fill(campaign.write_list(name).files[0], right, to=answers)
        elif step % 3 == 1:
            campaign.tell(folder.with_name(f"{folder.name}_ask_{step // 3 + 1:03d}.csv"))
        else:
            campaign.learn()


def killable(folder: Path, ready: Event) -> None:
    """Gives six commands one after the other, and those that were given already again, which changes nothing."""
    torch.set_num_threads(1)
    os.environ["MEDAL_PRIVATE"] = str(folder.parent / "private")
    source, truth = patients(80)
    right = truth_of(source, truth)
    ready.set()
    for step in range(6):
        play(folder, source, right, step)
