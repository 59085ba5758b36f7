"""A benchmark's index: shared without places of this machine, opened again with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_benchmark import CONTENT, small

from medal.benchmark.folder import make_folder, open_folder, placed
from medal.benchmark.plan import Plan, plan
from medal.errors import ConfigError
from medal.recipe import digest, validate

INIT = (
    "learner={use: medal.learners.Supervised, network: {use: modalities.chest_xray.SmallNet, width: 4}, "
    "init: /archive/Jones.safetensors, steps: 4, batch: 4}"
)
PRIVATE = ("StMary", "Smith", "Jones", "radiology", "archive")


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))


def hospital(**sets: list[str]) -> Plan:
    data = (
        "data={use: modalities.chest_xray.Folder, root: /archive/StMary, labels: StMary/Smith.csv, findings: [Edema]}"
    )
    content = {
        "overrides": [*CONTENT["overrides"][1:], data, "resources.address=radiology-ws7:6379"],
        "sets": sets
        or {
            "ours": ["data.root=/archive/StMary_Hospital/Smith", "data.labels=/archive/StMary_Hospital/Smith.csv"],
            "theirs": ["data.root=~/StMary", "data.labels=labels.csv"],
        },
        "learners": {
            "plain": {"overrides": ["learner.init=Jones.safetensors"], "strategies": ["entropy"]},
            "again": {"overrides": [INIT], "strategies": []},
        },
        "measures": {"edema": {"labels": ["Edema"]}},
        "primary": "edema",
    }
    return plan("hospital", small(**content), ["resources.engine=ray"])


def test_the_index_names_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = hospital()
    folder = make_folder(tmp_path / "b", planned)
    text = (tmp_path / "b" / "index.json").read_text()
    assert not [word for word in (*PRIVATE, str(tmp_path), str(Path.home())) if word in text]
    assert "learner={" in text
    found = open_folder(tmp_path / "b")
    assert found.unplaced == ()
    recipe = found.plan.arms[("ours", "plain", "entropy")]
    assert recipe.data.model_dump()["labels"] == "/archive/StMary_Hospital/Smith.csv"
    assert recipe.learner.model_dump()["init"] == "Jones.safetensors"
    assert recipe.resources.address == "radiology-ws7:6379"
    assert found.plan.arms[("theirs", "plain", "random")].data.model_dump()["labels"] == "labels.csv"
    assert [found.plan.digest(c) for c in found.plan.cells] == [folder.plan.digest(c) for c in planned.cells]
    found.write()
    assert (tmp_path / "b" / "index.json").read_text() == text
    make_folder(tmp_path / "b", planned)
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other machine"))
    elsewhere = open_folder(tmp_path / "b")
    assert elsewhere.unplaced == ("data.labels", "data.root", "learner.init")
    assert elsewhere.plan.cells == planned.cells


def test_a_table_of_another_name_is_no_place_of_the_same_data(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "b", hospital(ours=[]))
    moved = placed(folder, ["data.labels=/mnt/Smith.csv"])
    assert moved.plan.arms[("ours", "plain", "random")].data.model_dump()["labels"] == "/mnt/Smith.csv"
    with pytest.raises(ConfigError, match="expected places of the same data"):
        placed(folder, ["learner.init=/mnt/Brown.safetensors"])


def test_an_index_of_before_whole_places_were_taken_out_is_read(tmp_path: Path) -> None:
    """It kept the last name of an absolute path, the whole of a relative one, and the file word by word."""
    planned = hospital(ours=["data.root=/archive/StMary", "data.labels=/archive/Smith.csv"])
    make_folder(tmp_path / "b", planned)
    path = tmp_path / "b" / "index.json"
    index = json.loads(path.read_text())
    before = {}
    for *arm, shared in index["arms"]:
        shared["data"]["labels"], shared["learner"]["init"] = "Smith.csv", "Jones.safetensors"
        for cell in (c for c in planned.cells if [*c.arm] == arm):
            split = {**shared["split"], "by": "hash"}
            before[cell.folder] = digest(validate({**shared, "seed": cell.block, "seeds": 1, "split": split}))
    assert before != index["cells"]
    path.write_text(json.dumps({**index, "cells": before}))
    found = open_folder(tmp_path / "b")
    assert found.plan.arms[("ours", "plain", "random")].data.model_dump()["labels"] == "/archive/Smith.csv"
    assert make_folder(tmp_path / "b", planned).plan.cells == planned.cells
    assert not [word for word in PRIVATE if word in path.read_text()]
