"""Every file in `configs`: it loads, its keys and arguments exist, it says where it comes from."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest

from medal import resources
from medal.build import check
from medal.overlay import read_work
from medal.recipe import CONTEXT, arms, load, with_strategy
from medal.strict_yaml import read

CONFIGS = resources.configs()
FILES = sorted(CONFIGS.rglob("*.yaml"))
WORKS = resources.works()
TABLE = Path(os.environ.get("MEDAL_DATA", resources.ROOT.parent / "shared" / "data")).parent / "works.tsv"
NEEDS_FOLDER = {"nih", "chexpert", "folder"}


def names(group: dict[str, Path]) -> list[str]:
    return list(group)


def test_the_folder_is_not_empty():
    assert len(FILES) >= 20
    assert {"chest_xray", "chest_xray/densenet"} <= set(resources.recipes())
    assert {
        "random", "stratified", "least_confidence", "entropy", "margin", "bald", "beta_total", "beta_aleatoric",
        "beta_epistemic", "beta_differential_entropy", "beta_vacuity", "beta_variance",
    } <= set(WORKS)  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_every_file_is_strict_yaml_under_a_comment(path):
    assert read(path)
    assert re.match(r"# \w", path.read_text(encoding="utf-8")), "says what it is in its first line"


def test_folders_have_names_that_survive_packaging():
    # setuptools passes over folders with a dot in their name
    assert all("." not in part for path in FILES for part in path.relative_to(CONFIGS).parent.parts)


@pytest.mark.parametrize("name", names(resources.recipes()))
@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
def test_every_recipe_loads(name, smoke):
    recipe = load(name, smoke=smoke)
    assert recipe.arm in WORKS
    assert [a.arm for a in arms(recipe)][1:] == list(recipe.baselines)
    if smoke:
        assert (recipe.seeds, recipe.budget.rounds) == (1, 2)


@pytest.mark.parametrize("name", names(resources.datasets()))
def test_every_data_set_can_be_chosen(name):
    overrides = [f"data={name}"] + (["data.root=/somewhere"] if name in NEEDS_FOLDER else [])
    assert load("chest_xray", overrides).data.use.startswith("modalities.chest_xray.")


@pytest.mark.parametrize("group", ["learner", "oracle"])
def test_every_choice_of_a_group_can_be_made(group):
    assert resources.group(group)
    for name, path in resources.group(group).items():
        check(read(path), group, context=CONTEXT[group])
        assert getattr(load("chest_xray", [f"{group}={name}"]), group).use == read(path)["use"]


@pytest.mark.parametrize("name", names(WORKS))
def test_every_work_can_be_laid_over_the_main_recipe(name):
    work = read_work(name)
    kind = "strategy" if work.content.strategy is not None else "with"
    recipe = load("chest_xray", [f"{kind}={name}"])
    for claim in work.claims:
        if claim.startswith("learner.parts."):
            assert claim.removeprefix("learner.parts.") in recipe.learner.model_dump()["parts"]
    if kind == "strategy":
        assert recipe.arm == name


@pytest.mark.parametrize("name", names(WORKS))
def test_every_work_cites_what_it_claims(name):
    header = "".join(line for line in WORKS[name].read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    work = read_work(name).content.work
    for claimed in work:
        author, _, year = claimed.partition(" ")
        assert author in header, f"the header does not cite {claimed}"
        assert year[:4] in header, f"the header does not cite {claimed}"
    assert re.search(r"survey.*section \d", header), "the header names the survey's section"


@pytest.mark.parametrize("name", names(WORKS))
def test_every_claimed_work_is_one_of_the_survey(name):
    if not TABLE.exists():
        pytest.skip("the table of surveyed works is not beside the real data (MEDAL_DATA)")
    with TABLE.open(encoding="utf-8", newline="") as handle:
        surveyed = {row[0] for row in csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE) if row}
    assert len(surveyed) > 200
    assert set(read_work(name).content.work) <= surveyed


def test_every_beta_score_can_stand_beside_the_main_arm():
    recipe = load("chest_xray")
    for name in WORKS:
        if name.startswith("beta_"):
            assert with_strategy(recipe, name).learner == recipe.learner


def test_finding_is_a_unit_of_the_main_recipe():
    assert load("chest_xray", ["unit=finding", "budget.unit=minutes"]).unit == "finding"
