"""A run's index: shared without places, resumed with them, and with nothing else changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medal.errors import ConfigError, StudyError
from medal.recipe import load
from medal.run import INDEX, Run, execute, load_run, plan
from medal.study import Study


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    return tmp_path / "private"


def written(folder: Path, *overrides: str) -> Run:
    recipe = load("chest_xray", ["data=nih", *overrides], smoke=True)
    run = plan("chest_xray", recipe, folder)
    run.write()
    return run


def root_of(run: Run) -> object:
    return run.main.data.model_dump()["root"]


def test_an_index_holds_no_place_and_a_moved_run_keeps_its_own(tmp_path: Path) -> None:
    run = written(tmp_path / "a", "data.root=/hospital/smith/images")
    text = (tmp_path / "a" / INDEX).read_text()
    assert "smith" not in text
    assert load_run(tmp_path / "a") == run
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert root_of(load_run(tmp_path / "b")) == "/hospital/smith/images"
    token = json.loads(text)["token"]
    load_run(tmp_path / "b").write()
    assert json.loads((tmp_path / "b" / INDEX).read_text())["token"] == token


def test_a_run_on_another_machine_is_read_but_has_to_be_told_where_the_data_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "run", "data.root=/hospital/smith/images")
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other machine"))
    run = load_run(tmp_path / "run")
    assert run.unplaced == ("data.root",)
    with pytest.raises(
        StudyError, match=r"does not know where data.root of the run lies; go on with `medal resume .* -d"
    ):
        execute(run)
    placed = load_run(tmp_path / "run", ["data.root=/mnt/images"])
    assert placed.unplaced == ()
    placed.write()
    assert root_of(load_run(tmp_path / "run")) == "/mnt/images"
    assert "/mnt" not in (tmp_path / "run" / INDEX).read_text()


def test_resuming_may_change_places_and_resources_of_every_arm_and_nothing_else(tmp_path: Path) -> None:
    run = written(tmp_path / "run", "data.root=/images")
    moved = load_run(tmp_path / "run", ["data.root=/moved", "resources.processes=7", "engine=ray"])
    for arm, recipe in moved.arms.items():
        assert recipe.data.model_dump()["root"] == "/moved"
        assert recipe.resources.processes == 7
        assert recipe.resources.engine == "ray"
        assert recipe.strategy == run.arms[arm].strategy
    for override in ("learner.steps=5", "data.size=64", "resources.threads=2", "data=phantom", "seed=3"):
        with pytest.raises(ConfigError, match=r"expected places of the same data \(data.root=PATH\) or resources"):
            load_run(tmp_path / "run", [override])


def test_an_index_of_before_places_is_read(tmp_path: Path) -> None:
    run = written(tmp_path / "run", "data.root=/images")
    index = json.loads((tmp_path / "run" / INDEX).read_text())
    del index["token"], index["places"]
    for recipe in index["arms"].values():
        recipe["data"]["root"] = "/images"
    (tmp_path / "run" / INDEX).write_text(json.dumps(index))
    assert load_run(tmp_path / "run") == run


def test_a_journal_does_not_tell_the_engine(tmp_path: Path) -> None:
    heads = []
    for name, processes in (("one", "1"), ("auto", "auto")):
        words = [f"resources.processes={processes}", "baselines=[]", "budget.rounds=0"]
        run = plan("chest_xray", load("chest_xray", words, smoke=True), tmp_path / name)
        execute(run)
        with Study.open(run.path(run.studies[0]), write=False) as study:
            heads.append(study.ledger.head())
    assert heads[0] == heads[1]


def test_a_table_and_weights_come_back_and_their_names_stay_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load(
        "hospital/chest_xray",
        [
            "data.root=/archive/x",
            "data.findings=[Edema]",
            "data.labels=StMary/Smith_1957.csv",
            "learner.init=Jones.safetensors",
            "resources.engine=ray",
            "resources.address=radiology-ws7:6379",
        ],
    )
    run = plan("chest_xray", recipe, tmp_path / "run")
    run.write()
    text = (tmp_path / "run" / INDEX).read_text()
    assert not [word for word in ("StMary", "Smith", "Jones", "radiology") if word in text]
    assert load_run(tmp_path / "run") == run
    with pytest.raises(ConfigError, match=r"expected places of the same data"):
        load_run(tmp_path / "run", ["learner.init=/mnt/Others.safetensors"])
    assert load_run(tmp_path / "run", ["learner.init=/mnt/Jones.safetensors"]).unplaced == ()
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other machine"))
    # a cluster is no part of a study: elsewhere, nobody has to name one
    assert load_run(tmp_path / "run").unplaced == ("data.labels", "data.root", "learner.init")
