"""Where a study's images lie is known to this machine and to nobody that is handed the study."""

from __future__ import annotations

from pathlib import Path

import pytest

from medal.assemble import shareable
from medal.errors import ConfigError, StudyError
from medal.exchange.place import is_known, recall, remember, study_token
from medal.recipe import load


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    (tmp_path / "Zyxwold").mkdir()
    return tmp_path / "Zyxwold"


def opened(recipe, digest: str = "d") -> dict:
    shared = shareable(recipe)
    return {"task": "t", "seed": 0, "recipe": shared, "data": {"digest": digest}, "split": {"hash": "h"}}


def test_it_comes_back_whole(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images.parent)
    recipe = load("hospital/chest_xray", ["data.root=Zyxwold", f"data.labels={images}/table.csv"])
    begun = opened(recipe)
    assert "Zyxwold" not in str(begun)
    assert not is_known(begun)
    with pytest.raises(StudyError, match="say it once: --data FOLDER"):
        recall(begun)
    remember(begun, recipe)
    assert is_known(begun)
    monkeypatch.chdir("/")
    found = recall(begun).data.model_dump()
    assert (found["root"], found["labels"]) == (str(images), f"{images}/table.csv")
    (file,) = (images.parent / "private" / "studies").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert file.stem == study_token(begun) != study_token(opened(recipe, "other"))


def test_images_that_moved(images: Path) -> None:
    recipe = load("hospital/chest_xray", [f"data.root={images}"])
    begun = opened(recipe)
    remember(begun, recipe)
    moved = images.rename(images.with_name("moved"))
    with pytest.raises(StudyError, match=r"lay in .*Zyxwold, which is not there; say where they are: --data FOLDER"):
        recall(begun)
    with pytest.raises(ConfigError, match="does not exist; give --data"):
        recall(begun, images)
    remember(begun, recall(begun, moved))
    assert recall(begun).data.model_dump()["root"] == str(moved)


def test_a_study_has_a_token_of_its_own(images: Path) -> None:
    recipe = load("hospital/chest_xray", [f"data.root={images}"])
    begun = {**opened(recipe), "token": "0123456789abcdef"}
    assert study_token(begun) == "0123456789abcdef"
    for strange in ("../../x", "", 7, "0123456789ABCDEF"):
        assert study_token({**begun, "token": strange}) == study_token(opened(recipe)), "names files: nothing strange"


def test_relative_files_are_found_from_anywhere(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images.parent)
    for name in ("Zyxwold_1957.csv", "Zyxwold.safetensors", "Zyxwold/own.csv", "own.csv"):
        Path(name).touch()
    given = ["data.root=Zyxwold", "data.labels=Zyxwold_1957.csv", "learner.init=Zyxwold.safetensors"]
    recipe = load("hospital/chest_xray", given)
    begun = opened(recipe)
    assert "Zyxwold" not in str(begun)
    remember(begun, recipe)
    monkeypatch.chdir("/")
    found = recall(begun)
    assert found.data.model_dump()["labels"] == str(images.parent / "Zyxwold_1957.csv")
    assert found.learner.model_dump()["init"] == str(images.parent / "Zyxwold.safetensors")
    monkeypatch.chdir(images.parent)
    remember(begun, load("hospital/chest_xray", ["data.root=Zyxwold", "data.labels=own.csv"]))
    assert recall(begun).data.model_dump()["labels"] == "own.csv", "below the images, it moves with them"
