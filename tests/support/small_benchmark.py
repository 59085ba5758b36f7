"""A benchmark that ends in seconds, and shorter words for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medal.benchmark.execution import execute
from medal.benchmark.folder import BenchmarkFolder, make_folder
from medal.benchmark.plan import Plan, plan
from medal.benchmark.schema import Benchmark, checked
from medal.benchmark.tables import write_tables
from medal.strict_yaml import dump

CONTENT: Mapping[str, Any] = {
    "title": "Small",
    "recipe": "chest_xray",
    "overrides": [
        "data={use: modalities.chest_xray.Phantom, patients: 24, images: 1, size: 16, pixels: 64, workers: 1}",
        "split={test: 0.5, validation: 0.1, by: hash}",
        "validation={items: 2}",
        "start={items: 4}",
        "budget={per_round: 3, rounds: 2, unit: items}",
        "learner={use: medal.learners.Supervised, network: {use: modalities.chest_xray.SmallNet, width: 4}, "
        "steps: 3, batch: 4}",
        "resources={threads: 1, processes: 1}",
    ],
    "sets": {"drawn": []},
    "learners": {"sigmoid": {"strategies": ["entropy"]}},
    "blocks": 2,
    "measures": {
        "effusion": {"labels": ["Effusion"], "measure": "auroc", "min_positives": 1},
        "by_view": {"labels": ["Effusion"], "measure": "auprc", "by": "view", "min_positives": 1},
        "brier": {"labels": ["Effusion"], "measure": "brier", "min_positives": 1},
    },
    "primary": "effusion",
    "draws": 200,
    "without": {"self_supervised": "a test", "shortcut": "a test"},
}


def small(**changes: Any) -> Benchmark:
    return checked({**CONTENT, **changes}, "small.yaml")


def small_plan(**changes: Any) -> Plan:
    return plan("small", small(**changes))


def played(path: Path, **changes: Any) -> BenchmarkFolder:
    folder = make_folder(path, small_plan(**changes))
    assert execute(folder) == []
    write_tables(folder)
    return folder


def write_file(path: Path, **changes: Any) -> Path:
    path.write_text("# a benchmark\n" + dump({**CONTENT, **changes}))
    return path


def tables_of(path: Path) -> dict[str, bytes]:
    """Name -> bytes of every table that must not depend on when and where it was played."""
    return {p.name: p.read_bytes() for p in sorted((path / "tables").iterdir()) if not p.name.startswith("timing")}
