"""The folder of a hospital study as people leave it: no test set, a validation arm that grows, readers who differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medal.examine import measure_arm
from medal.study import Study

LABELS = ("Edema", "Effusion", "Pneumonia", "Hernia")
PREVALENCE = np.array([0.35, 0.45, 0.25, 0.01])


class PeopleStudy:
    """Writes one study with real events and stored predictions.

    Args:
        folder: new.
        rounds: trainings.
        arm: images of the validation arm at the end; it begins with half of them.
        images: of the pool.
        skill: how well the last model tells positives, in standard deviations.
        target: stated in the recipe; None for none.
        second: share of images that a second reader reads too.
    """

    def __init__(
        self,
        folder: Path,
        rounds: int = 5,
        arm: int = 80,
        images: int = 400,
        skill: float = 1.6,
        target: float | None = None,
        second: float = 0.3,
    ) -> None:
        self.rng = np.random.default_rng(3)
        count = images + arm
        self.truth = (self.rng.random((count, len(LABELS))) < PREVALENCE).astype(float)
        self.ids = [f"I{k:04d}" for k in range(count)]
        self.arm = list(range(images, count))
        self.units = [
            {
                "id": name,
                "group": f"P{k // 2:04d}",
                "split": "validation" if k >= images else "pool",
                "sex": "FM"[k // 2 % 2],
                "age": str(25 + (k // 2 * 7) % 65),
                "view": "AP" if k % 3 else "PA",
            }
            for k, name in enumerate(self.ids)
        ]
        self.spent = {"items": 0.0, "minutes": 0.0}
        self.skill, self.second, self.labelled = skill, second, 0
        self.told = 0
        with Study.create(folder, self._opened(target), self.units) as study:
            self.study = study
            self._play(rounds)

    def _opened(self, target: float | None) -> dict[str, Any]:
        recipe: dict[str, Any] = {"task": "chest_xray", "arm": "beta_epistemic", "seed": 0, "unit": "image"}
        recipe |= {"readers": {"rule": "first", "reader": None}, "baselines": []}
        recipe |= {"report": {"title": "", "target": target}}
        counts = {"pool": len(self.units) - len(self.arm), "validation": len(self.arm), "test": 0}
        data = {"name": "folder", "digest": "d" * 64, "rows": len(self.ids), "groups": len(self.ids) // 2}
        return {
            "medal": "0.2.0",
            "task": "chest_xray",
            "arm": "beta_epistemic",
            "seed": 0,
            "recipe": recipe,
            "data": {**data, "labels": list(LABELS)},
            "split": {"hash": "e" * 64, "counts": counts},
            "versions": {"python": "3.11"},
            "threads": 1,
        }

    def _play(self, rounds: int) -> None:
        self._answer(0, "imported", [0, 1, 2], "clinic")
        self.labelled = 3
        pool = list(range(3, len(self.units) - len(self.arm)))
        half = len(self.arm) // 2
        for n in range(rounds):
            # the first list begins the arm, the second completes it
            for measured in {0: [self.arm[:half]], 1: [self.arm[half:]]}.get(n, []):
                self._ask(n, "validation", "random", measured)
                self._read(n, "validation", measured)
            batch, pool = pool[:30], pool[30:]
            purpose = "query" if n else "start"
            self._ask(n, purpose, "beta_epistemic" if n else "cold start", batch)
            self._read(n, purpose, batch[1:] if n == 1 else batch)
            if n == 1:
                out = {"ids": [self.ids[batch[0]]], "reason": "lateral view <b>", "annotator": "Dr A"}
                self.study.ledger.append("retired", out)
            self.labelled += len(batch) - (n == 1)
            self._learn(n)
            if n == 2:
                self.study.ledger.append("added", {"ids": ["N1", "N2"], "parts": ["pool", "pool"], "rows": 482})

    def _ask(self, n: int, purpose: str, strategy: str, rows: list[int]) -> None:
        cost = {"items": float(len(rows)), "minutes": float(len(rows))}
        drawn = strategy == "random"
        asked = {
            "round": n,
            "purpose": purpose,
            "strategy": strategy,
            "ids": [self.ids[k] for k in rows],
            "scores": [math.nan if drawn else 0.5] * len(rows),
            "terms": [{"probability": 0.1, "candidates": 400.0} if drawn else {"score": 0.5}] * len(rows),
        }
        self.study.ledger.append("asked", {**asked, "cost": cost}, {"list": f"ask_{n + 1:03d}"})
        self.spent = {key: value + cost[key] for key, value in self.spent.items()}

    def _read(self, n: int, purpose: str, rows: list[int]) -> None:
        self._answer(n, purpose, rows, "Dr A")
        twice = rows[: round(self.second * len(rows))]
        if twice:
            self._answer(n, purpose, twice, "Dr B", flips=0.12)
        self.told += 1
        self.study.ledger.append("told", {"file": f"{self.told:064d}", "taken": len(rows), "refused": 0})

    def _answer(self, n: int, purpose: str, rows: list[int], reader: str, flips: float = 0.0) -> None:
        said = self.truth[rows]
        said = np.where(self.rng.random(said.shape) < flips, 1 - said, said)
        content = {"round": n, "purpose": purpose, "kind": "image", "ids": [self.ids[k] for k in rows]}
        content |= {"target": said.tolist(), "seconds": [None] * len(rows), "annotator": reader}
        self.study.ledger.append("answered", content, {"seconds": [30.0] * len(rows)})

    def _learn(self, n: int) -> None:
        trained = {"round": n, "weights": "0" * 64, "rows": self.labelled, "steps": 300, "loss": 0.2, "extras": {}}
        self.study.ledger.append("trained", trained, {"seconds": 20.0})
        arm = self.arm if n else self.arm[: len(self.arm) // 2]
        truth = self.truth[arm]
        ahead = self.skill * (1 - 0.8 * (30.0 / self.labelled) ** 0.7)
        noise = np.random.default_rng(9).normal(size=self.truth.shape)[arm] + 0.1 * self.rng.normal(size=truth.shape)
        told = (1 / (1 + np.exp(-(ahead * truth + noise - 1)))).astype(np.float32)
        kept = self.study.save_predictions(n, "validation", [self.ids[k] for k in arm], told)
        measured = measure_arm(torch.tensor(told), torch.tensor(truth), LABELS)
        content = {"round": n, "spent": dict(self.spent), "labelled": {"items": self.labelled, "rows": self.labelled}}
        content |= {"labels": {}, "macro": {}, "validation": measured, "predictions": {"validation": kept}}
        self.study.ledger.append("evaluated", content)
