"""Places: taken out of what is shared, laid back where this machine knows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medal.assemble import shareable
from medal.places import find, keep, laid_back, taken_out, without_places
from medal.recipe import digest, load, validate

WHOLE = {
    "data": {"use": "d", "root": "/images", "labels": "/tables/labels.csv", "size": 32},
    "learner": {"init": "~/model.safetensors"},
    "strategy": [{"score": {"use": "a"}}, {"sampler": {"use": "b", "table": "/t/costs.csv"}}],
}
SHARED = {
    "data": {"use": "d", "labels": "labels.csv", "size": 32},
    "learner": {"init": "model.safetensors"},
    "strategy": [{"score": {"use": "a"}}, {"sampler": {"use": "b", "table": "costs.csv"}}],
}
PLACES = {
    "data.root": "/images",
    "data.labels": "/tables/labels.csv",
    "learner.init": "~/model.safetensors",
    "strategy.1.sampler.table": "/t/costs.csv",
}


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    return tmp_path / "private"


def test_what_was_taken_out_can_be_laid_back() -> None:
    assert taken_out(WHOLE, SHARED) == PLACES
    assert laid_back(SHARED, PLACES) == WHOLE
    assert "root" not in SHARED["data"]  # the shared version stays as it was
    assert taken_out({"data": {"root": None}}, {"data": {}}) == {}


@given(
    st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["/p", "q", 1])))
)
def test_laying_back_undoes_taking_out(whole: dict[str, dict[str, object]]) -> None:
    shared = {key: {k: v for k, v in inner.items() if v != "/p"} for key, inner in whole.items()}
    assert laid_back(shared, taken_out(whole, shared)) == whole


def test_places_are_kept_for_their_owner_alone(private: Path) -> None:
    token = keep({"main": PLACES})
    assert find(token) == {"main": PLACES}
    assert keep({"main": PLACES}, token) == token
    (file,) = (private / "places").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    # a copy of the run that is told other places does not move those of the first
    other = keep({"main": {"data.root": "/elsewhere"}}, token)
    assert other != token
    assert find(token) == {"main": PLACES}
    assert find(other) == {"main": {"data.root": "/elsewhere"}}


def test_an_unknown_or_hostile_token_has_no_places(private: Path) -> None:
    keep({"main": PLACES})
    (private / "secret.json").write_text(json.dumps({"main": PLACES}))
    for token in (None, "", "0" * 16, "../secret", f"{private}/secret"):
        assert find(token) == {}
    assert keep({"main": PLACES}, "../secret") != "../secret"


PRIVATE_WORDS = ("StMary", "Smith", "radiology")


@pytest.mark.parametrize(
    "override",
    [
        "data.root=StMary",
        "data.labels=StMary/Smith_1957.csv",
        "data.labels=/archive/StMary/Smith_1957.csv",
        "learner.init=Smith.safetensors",
        "learner.init=~/Smith.safetensors",
        "resources.address=radiology-ws7:6379",
        "oracle.table=/archive/Smith.csv",
        "oracle.tables=[/archive/Smith.csv, here]",
        "baselines=[random, /archive/Smith.yaml]",
    ],
)
def test_what_is_shared_holds_no_part_of_a_place(override: str) -> None:
    plain = load("hospital/chest_xray", ["data.root=images"])
    key, _, text = override.partition("=")
    *parents, last = key.split(".")
    content = plain.model_dump(mode="json")
    node = content[parents[0]] if parents else content
    node[last] = [item.strip() for item in text.strip("[]").split(",")] if text.startswith("[") else text
    whole = validate(content)
    shared = shareable(whole)
    assert not [word for word in PRIVATE_WORDS if word in json.dumps(shared)]
    back = validate(laid_back(shared, taken_out(content, shared)))
    assert back == whole
    # the file is no part of what decides, so that a recipe is the same with and without its places
    assert digest(validate(shareable(back))) == digest(validate(shared))


def test_the_default_table_and_a_recipe_without_places_stay_as_they_are() -> None:
    shared = shareable(load("hospital/chest_xray", ["data.root=images", "data.labels=labels.csv"]))
    assert shared["data"]["labels"] == "labels.csv"  # type: ignore[index]
    assert shared["resources"]["address"] is None  # type: ignore[index]
    assert without_places(shared) == shared
