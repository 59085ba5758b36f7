from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medal.deploy import export, model_card, recipe_for
from medal.errors import StudyError
from medal.exchange.place import remember
from medal.recipe import load
from medal.run import INDEX
from medal.study import Study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hospital study that asks about the columns of its table and has trained nothing."""
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    (tmp_path / "images").mkdir()
    recipe = load("hospital/chest_xray", [f"data.root={tmp_path / 'images'}", "data.size=32"])
    content = recipe.model_dump(mode="json")
    data = {"name": "folder", "digest": "d" * 64, "rows": 4, "groups": 2, "labels": ["Edema"], "shape": [1, 32, 32]}
    opened = {
        "task": recipe.task,
        "arm": recipe.arm,
        "seed": 0,
        "recipe": {**content, "data": {**content["data"], "root": None}},
        "data": data,
    }
    opened |= {"split": {"hash": "h" * 64, "counts": {"pool": 4}}, "versions": {"python": "3.11"}, "medal": "0"}
    with Study.create(tmp_path / "study", opened, [{"id": "I1", "group": "P1", "split": "pool"}]) as made:
        remember(made.opened, recipe)
    return tmp_path / "study"


def arguments(folder: Path, *overrides: str) -> dict[str, Any]:
    return recipe_for(folder, overrides).model_dump(mode="json")["data"]


def test_predicting_on_another_folder_needs_no_labels(study: Path, tmp_path: Path):
    own, other = arguments(study), arguments(study, f"data.root={tmp_path}")
    assert own["root"] == str(tmp_path / "images")
    assert own.get("labels", "labels.csv") == "labels.csv"
    assert (other["root"], other["labels"], other["findings"], other["size"]) == (str(tmp_path), None, ["Edema"], 32)
    whole = arguments(study, "data=folder", f"data.root={tmp_path}")
    assert (whole["labels"], whole["findings"], whole["size"]) == (None, ["Edema"], 32)


def test_a_table_that_is_named_is_read(study: Path, tmp_path: Path):
    named = arguments(study, f"data.root={tmp_path}", "data.labels=mine.csv", "data.findings=[Mass]")
    assert (named["labels"], named["findings"]) == ("mine.csv", ["Mass"])


def test_a_study_with_people_is_sent_to_training_and_one_of_a_run_is_played_on(study: Path, tmp_path: Path):
    with pytest.raises(StudyError, match="study has no trained model yet; run `medal train`"):
        export(study, tmp_path / "out")
    (tmp_path / "run" / "studies").mkdir(parents=True)
    study.rename(tmp_path / "run" / "studies" / "0")
    (tmp_path / "run" / INDEX).write_text("{}")
    with pytest.raises(StudyError, match="0 has no trained model yet; run `medal resume`"):
        export(tmp_path / "run" / "studies" / "0", tmp_path / "out")


def test_the_card_has_the_present_numbers_and_plain_words(study: Path):
    with Study.open(study, write=False) as opened:
        content = dict(opened.opened)
    trained = {"rows": 3, "round": 1, "weights": "w"}
    assert "folder: 4 images of 2 patients, `" in model_card(content, trained, None, "head")
    now = {**content, "data": {**content["data"], "rows": 9, "groups": 5, "later": 5}}
    card = model_card(now, trained, None, "head")
    assert card.startswith("# Model card: chest X-ray, ")
    assert "folder: 9 images of 5 patients, 5 of them came later, `" in card
    assert "rows pool 4 |" in card
