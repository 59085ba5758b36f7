from __future__ import annotations

import pytest
from pydantic import ValidationError

from medal.messages import invalid
from medal.recipe import Recipe
from medal.schema import LearnerNode, Node, Parts, StepNodes, Strict, Work

NODE = {"use": "hospital.WhiteCoat"}


def content(**changes):
    base = {
        "task": "tasks.chest_xray",
        "data": NODE,
        "start": {"items": 4},
        "budget": {"per_round": 2, "rounds": 3},
        "oracle": NODE,
        "learner": NODE,
        "strategy": [{"sampler": NODE}],
    }
    return {**base, **changes}


def said(model, value) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return str(invalid(caught.value, value))


def test_defaults():
    recipe = Recipe.model_validate(content())
    assert (recipe.seed, recipe.seeds, recipe.unit, recipe.arm, recipe.bound) == (0, 1, "image", "custom", False)
    assert (recipe.split.test, recipe.split.validation, recipe.split.by) == (0.2, 0.2, "source")
    assert recipe.validation.items == 0
    assert recipe.budget.unit == "items"
    assert recipe.cost == {"image": 1.0, "finding": 0.2}
    assert recipe.baselines == ("random",)
    assert (recipe.resources.threads, recipe.resources.processes) == (1, "auto")


def test_one_stated_cost_keeps_the_others():
    assert Recipe.model_validate(content(cost={"finding": 0.5})).cost == {"image": 1.0, "finding": 0.5}


def test_models_are_frozen():
    recipe = Recipe.model_validate(content())
    for model, field in ((recipe, "seed"), (recipe.data, "use"), (recipe.budget, "rounds")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, "x")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": -1}, "seed: found -1, expected at least 0"),
        ({"seeds": 0}, "seeds: found 0, expected at least 1"),
        ({"seeds": "many"}, "seeds: found 'many', expected an integer"),
        ({"sead": 1}, "unknown key 'sead'; did you mean 'seed'?"),
        ({"budget": {"per_round": 0, "rounds": 1}}, "budget.per_round: found 0, expected more than 0"),
        ({"budget": {"per_round": 2, "round": 1}}, "unknown key 'budget.round'; did you mean 'rounds'?"),
        (
            {"budget": {"per_round": 2.5, "rounds": 1}},
            "budget: found 2.5 items per round, expected a whole number; or set budget.unit=minutes",
        ),
        (
            {"budget": {"per_round": 1, "rounds": 1, "unit": "hours"}},
            "budget.unit: found 'hours', expected 'items' or 'minutes'",
        ),
        ({"split": {"by": "luck"}}, "split.by: found 'luck', expected 'source' or 'hash'"),
        (
            {"split": {"test": 0.6, "validation": 0.4}},
            "split: found test 0.6 + validation 0.4, expected a sum below 1; leave a pool",
        ),
        ({"cost": {"image": 0}}, "cost.image: found 0, expected more than 0"),
        ({"resources": {"processes": "all"}}, "resources.processes: found 'all', expected an integer or 'auto'"),
        ({"resources": {"processes": 0}}, "resources: found processes 0, expected at least 1 or auto"),
        ({"arm": "../x"}, "arm: found '../x', expected text that matches ^[A-Za-z0-9][A-Za-z0-9_.+-]*$"),
        ({"data": 3}, "data: found 3, expected a mapping"),
        ({"data": {"n": 3}}, "data.use: missing, expected an import path such as medal.sampling.TopK; add it"),
        ({"learner": {**NODE, "parts": {"heads": NODE}}}, "unknown key 'learner.parts.heads'; did you mean 'head'?"),
        ({"learner": {**NODE, "parts": {"head": 3}}}, "learner.parts.head: found 3, expected a mapping"),
        ({"strategy": []}, "strategy: found [], expected at least 1 entries"),
        ({"strategy": [{"score": NODE}]}, "strategy.0.sampler: missing, expected a value; add it"),
        (
            {"strategy": [{"sampler": NODE, "keep": 3}]},
            "strategy.0: found keep 3, expected 'keep' on every step but the last",
        ),
        (
            {"strategy": [{"sampler": NODE}, {"sampler": NODE}]},
            "strategy.0: found no 'keep', expected 'keep' on every step but the last",
        ),
        ({"start": {"items": 0}}, "start.items: found 0, expected at least 1"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, text):
    assert said(Recipe, content(**changes)) == text


@pytest.mark.parametrize("key", ["task", "data", "start", "budget", "oracle", "learner", "strategy"])
def test_what_must_be_stated(key):
    value = content()
    value.pop(key)
    assert said(Recipe, value).startswith(f"{key}: missing")


def test_a_step_with_a_score_takes_the_mean_over_labels():
    step = StepNodes.model_validate({"score": NODE, "sampler": NODE})
    assert step.reducer == Node(use="medal.reducers.LabelMean")
    assert StepNodes.model_validate({"score": None, "sampler": NODE}).reducer is None
    assert StepNodes.model_validate({"score": NODE, "reducer": None, "sampler": NODE}).reducer is None


def test_empty_slots_are_not_written_out():
    learner = LearnerNode.model_validate({**NODE, "steps": 3, "parts": {"head": NODE, "members": None}})
    assert learner.model_dump() == {"use": NODE["use"], "steps": 3, "parts": {"head": NODE}}
    assert LearnerNode.model_validate(NODE).model_dump() == NODE
    assert set(Parts.model_fields) == {
        "members", "head", "auxiliary", "consistency", "pseudo", "domain", "generative", "calibration"
    }  # fmt: skip


def test_a_dumped_recipe_validates_to_itself():
    recipe = Recipe.model_validate(content(strategy=[{"score": NODE, "reducer": None, "sampler": NODE}]))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_work_says_whom_it_implements():
    assert said(Work, {"strategy": []}) == "work: missing, expected a value; add it"
    assert said(Work, {"work": [], "stratgy": []}) == "unknown key 'stratgy'; did you mean 'strategy'?"
    assert issubclass(Work, Strict)
