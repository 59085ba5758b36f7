"""Hand-made histories, and a run folder with real ledgers, as a campaign of chest X-rays would leave it."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medal.report.history import Round, RunHistory, StudyHistory
from medal.study import Study

LABELS = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
]
PREVALENCE = np.array([0.1, 0.025, 0.06, 0.05, 0.13, 0.02, 0.015, 0.004, 0.18, 0.06, 0.07, 0.035, 0.03, 0.025])


def history(
    arm: str, seed: int, values: Sequence[float], first: float = 100, step: float = 20, **more: Any
) -> StudyHistory:
    """A study whose macro AUROC takes the given values, round by round."""
    rounds = tuple(
        Round(n, first + step * n, 1.5 * (first + step * n), {"auroc": v, "auprc": v / 2, "ece": 0.1}, {})
        for n, v in enumerate(values)
    )
    opened = {"arm": arm, "seed": seed, "data": {"digest": "d", "labels": ["Effusion", "Mass"]}, "split": {"hash": "s"}}
    return StudyHistory(arm, seed, opened=more.pop("opened", opened), rounds=rounds, closed="played", **more)


@pytest.fixture
def pair() -> RunHistory:
    """Random and one other arm with three seeds; the differences are 0.01, 0.02 and -0.01 in every round."""
    studies = []
    for seed, (base, gain) in enumerate([(0.70, 0.01), (0.72, 0.02), (0.71, -0.01)]):
        studies.append(history("epistemic", seed, [base + gain + 0.02 * n for n in range(4)]))
        studies.append(history("random", seed, [base + 0.02 * n for n in range(4)]))
    return RunHistory("chest_xray", tuple(studies))


@pytest.fixture
def make_history() -> Callable[..., StudyHistory]:
    return history


@pytest.fixture
def make_run() -> Callable[..., Path]:
    return build_run


def build_run(
    folder: Path,
    arms: Sequence[str] = ("beta_epistemic", "random"),
    seeds: Sequence[int] = (0, 1, 2),
    rounds: int = 5,
    batch: int = 20,
    images: int = 1000,
    stop: dict[tuple[str, int], int] | None = None,
    labels: Sequence[str] = LABELS,
    quarantined: dict[str, str] | None = None,
    picture: Callable[[int], bytes] | None = None,
) -> Path:
    """Writes a run folder.

    Args:
        folder: new.
        arms: in the order of the index.
        seeds: of each arm.
        rounds: queries after round 0.
        batch: picks of each query.
        images: rows of the data.
        stop: (arm, seed) -> last evaluated round of a study that is not finished; -1 for one that has not begun,
            -2 for one that has only opened.
        labels: names.
        quarantined: id -> reason.
        picture: PNG of a row; plain grey when None.
    """
    folder.mkdir(parents=True)
    studies = [(arm, seed) for seed in seeds for arm in arms]
    index = [{"folder": f"studies/{k}", "arm": arm, "seed": seed} for k, (arm, seed) in enumerate(studies)]
    (folder / "run.json").write_text(json.dumps({"recipe": "chest_xray", "studies": index}))
    campaign = Campaign(images, labels, picture or (lambda row: grey(row % 200)))
    for entry, (arm, seed) in zip(index, studies, strict=True):
        last = (stop or {}).get((arm, seed), rounds)
        if last > -2 and last < 0:
            continue
        campaign.play(folder / str(entry["folder"]), arm, seed, last, last == rounds, batch, quarantined or {})
    return folder


def grey(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 48), level).save(buffer, "PNG")
    return buffer.getvalue()


class Campaign:
    """Data with planted prevalences, and a strategy that prefers images with rare findings."""

    def __init__(self, images: int, labels: Sequence[str], picture: Callable[[int], bytes]) -> None:
        rng = np.random.default_rng(7)
        self.labels, self.picture = list(labels), picture
        patients = np.sort(rng.integers(0, images * 2 // 3, images))
        self.truth = (rng.random((images, len(labels))) < np.resize(PREVALENCE, len(labels)) * 1.4).astype(float)
        self.ids = [f"I{hash_name(row)}" for row in range(images)]
        part = {p: rng.choice(["pool", "validation", "test"], p=[0.6, 0.15, 0.25]) for p in set(patients.tolist())}
        self.units = [
            {
                "id": self.ids[row],
                "group": f"P{hash_name(int(patients[row]) + 5000)}",
                "split": str(part[int(patients[row])]),
                "sex": "F" if rng.random() < 0.44 else "M",
                "age": str(int(np.clip(rng.normal(48, 18), 1, 94))),
                "view": "AP" if rng.random() < 0.4 + 0.3 * bool(self.truth[row].any()) else "PA",
                "follow_up": str(row),
            }
            for row in range(images)
        ]

    def rows(self, part: str) -> np.ndarray:
        return np.array([row for row, unit in enumerate(self.units) if unit["split"] == part])

    def play(
        self, folder: Path, arm: str, seed: int, last: int, closed: bool, batch: int, quarantined: dict[str, str]
    ) -> None:
        rng = np.random.default_rng([seed, len(arm)])
        start = np.random.default_rng(seed)
        with Study.create(folder, self.opened(arm, seed), self.units) as study:
            if quarantined:
                study.ledger.append("quarantined", {"items": quarantined})
            if last < 0:
                return
            spent = {"items": 0.0, "minutes": 0.0}
            left = list(map(int, start.permutation(self.rows("pool"))))
            chance = {"probability": 0.1, "candidates": 400}
            validation = list(map(int, start.permutation(self.rows("validation"))[:60]))
            for purpose, rows in (("validation", validation), ("start", left[:60])):
                unscored = [math.nan] * len(rows)
                self.ask(study, 0, purpose, "random", rows, unscored, [chance] * len(rows), spent, rng)
            left = left[60:]
            for n in range(last + 1):
                if n:
                    picks, scores, terms = self.choose(arm, left, batch, rng)
                    left = [row for row in left if row not in set(picks)]
                    self.ask(study, n, "query", arm, picks, scores, terms, spent, rng)
                    study.save_previews({self.ids[row]: self.picture(row) for row in picks})
                study.ledger.append(
                    "trained",
                    {"round": n, "weights": "0" * 64, "rows": 60, "steps": 300, "loss": 0.2, "extras": {}},
                    {"seconds": 20 + 3.0 * n},
                )
                study.ledger.append("evaluated", {"round": n, "spent": dict(spent), **self.measures(arm, n, rng)})
            if closed:
                study.ledger.append("closed", {"reason": f"{last} rounds were played"})

    def opened(self, arm: str, seed: int) -> dict[str, Any]:
        counts = {part: len(self.rows(part)) for part in ("pool", "validation", "test")}
        recipe = {
            "task": "chest_xray",
            "arm": arm,
            "bound": arm.startswith("oracle"),
            "seed": seed,
            "learner": {"use": "medal.learners.Supervised", "epochs": 20},
            "strategy": [{"sampler": {"use": "medal.sampling.TopK"}}],
            "budget": {"per_round": 20, "rounds": 5},
        }
        return {
            "medal": "0.1.0",
            "task": "chest_xray",
            "arm": arm,
            "seed": seed,
            "recipe": recipe,
            "data": {
                "name": "nih",
                "digest": "9f" * 32,
                "rows": len(self.ids),
                "groups": len({unit["group"] for unit in self.units}),
                "labels": self.labels,
            },
            "split": {"hash": "1b" * 32, "counts": counts},
            "versions": {"python": "3.11.2", "torch": "2.13.0"},
            "threads": 1,
        }

    def choose(
        self, arm: str, left: list[int], batch: int, rng: np.random.Generator
    ) -> tuple[list[int], list[float], list[dict[str, float]]]:
        if arm == "random":
            chance = {"probability": batch / len(left), "candidates": len(left)}
            return left[:batch], [math.nan] * batch, [chance] * batch
        local = rng.gamma(2.0, 0.02, (len(left), len(self.labels))) + 0.06 * self.truth[left] / (
            0.05 + PREVALENCE[: len(self.labels)]
        )
        score = local.mean(1)
        order = np.argsort(-score)[:batch]
        terms = [
            {"score": float(score[k]), "percentile": 100.0 * (1 - rank / (len(left) - 1)), "candidates": len(left)}
            | {f"label:{name}": float(v) for name, v in zip(self.labels, local[k], strict=True)}
            for rank, k in enumerate(order)
        ]
        return [left[k] for k in order], [float(score[k]) for k in order], terms

    def ask(
        self,
        study: Study,
        n: int,
        purpose: str,
        strategy: str,
        rows: list[int],
        scores: list[float],
        terms: Sequence[dict[str, float]],
        spent: dict[str, float],
        rng: np.random.Generator,
    ) -> None:
        cost = {"items": float(len(rows)), "minutes": float(len(rows)) * (1.0 + 0.02 * n)}
        ids = [self.ids[row] for row in rows]
        asked = {
            "round": n,
            "purpose": purpose,
            "strategy": strategy,
            "ids": ids,
            "scores": scores,
            "terms": list(terms),
        }
        study.ledger.append("asked", {**asked, "cost": cost}, {"seconds": 1.5} if purpose == "query" else {})
        seconds = [round(float(60 * rng.lognormal(0, 0.3)), 3) for _ in rows]
        target = self.truth[rows].tolist()
        answered = {"round": n, "purpose": purpose, "kind": "image", "ids": ids, "target": target, "seconds": seconds}
        study.ledger.append("answered", {**answered, "annotator": "simulated"})
        for key, value in cost.items():
            spent[key] += value

    def measures(self, arm: str, n: int, rng: np.random.Generator) -> dict[str, Any]:
        test = self.truth[self.rows("test")]
        found, gain = {}, 0.0 if arm == "random" else 0.012
        shift = 0.008 * rng.normal()
        for position, name in enumerate(self.labels):
            positives = int(test[:, position].sum())
            auroc = (
                0.6
                + 0.02 * (position % 5)
                + 0.17 * (1 - math.exp(-(n + 1) / 3))
                + gain * n / 3
                + shift
                + 0.012 * rng.normal()
            )
            found[name] = {
                "auroc": auroc if positives else None,
                "auprc": (0.3 + 0.02 * n + gain * n / 3) * (1 + 0.1 * rng.normal()) if positives else None,
                "ece": 0.02 + 0.05 * rng.random(),
                "brier": 0.05,
                "positives": positives,
                "negatives": len(test) - positives,
                "estimable": positives >= 20,
            }
        kept = [values for values in found.values() if values["estimable"]]
        macro = {m: float(np.mean([v[m] for v in kept])) if kept else None for m in ("auroc", "auprc", "ece")}
        return {"labelled": {"items": 60, "rows": 60}, "labels": found, "macro": {**macro, "estimable": len(kept)}}


def hash_name(value: int) -> str:
    """A pseudonym-like name."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    state, text = (value + 1) * 2654435761 % 2**61, ""
    for _ in range(12):
        state, rest = divmod(state * 6364136223846793005 % 2**61, 32)
        text += letters[rest]
    return text
