from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from medal import import_paths, recipe, resources
from medal.build import build
from medal.errors import ConfigError, UnknownName
from medal.recipe import arms, digest, load, schema, show, with_strategy

OWN = """
    task: tasks.ours
    data: {use: hospital.Dataset, root: /somewhere}
    start: {items: 4}
    budget: {per_round: 2, rounds: 3}
    oracle: {use: hospital.Expert}
    learner: {use: hospital.Model, steps: 5, parts: {head: {use: hospital.WhiteCoat, size: 2}}}
    strategy: entropy
    """


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """A hospital's own recipe, task and package beside the works that come with medal."""
    monkeypatch.setattr(import_paths, "registered_packages", lambda: frozenset({"hospital"}))
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("ours", "hospital_tasks.family", "medal.tasks")]
    (tmp_path / "hospital_tasks").mkdir()
    (tmp_path / "hospital_tasks" / "family.py").touch()
    monkeypatch.setattr(recipe, "entry_points", lambda group: points)
    path = tmp_path / "own.yaml"
    path.write_text(textwrap.dedent(OWN).replace("tasks.ours", "hospital_tasks.family"))
    return str(path)


def test_a_recipe_of_somebody_else_loads_and_builds(own):
    loaded = load(own)
    assert loaded.arm == "entropy"
    learner = build(loaded.learner, "learner", source="pixels")
    assert learner.parts.head.size == 2
    assert build(loaded.data, "data").root == Path("/somewhere")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["learner.epoch=3"], "unknown key 'learner.epoch'; did you mean 'epochs'?"),
        (["learner.parts.head.sise=3"], "unknown key 'learner.parts.head.sise'; did you mean 'size'?"),
        (["learner.parts.headd.use=hospital.WhiteCoat"], "unknown key 'learner.parts.headd'; did you mean 'head'?"),
        (["budget.rounds=many"], "budget.rounds: found 'many', expected an integer"),
        (["budgt.rounds=3"], "unknown key 'budgt'; did you mean 'budget'?"),
        (["learner.steps=many"], "learner.steps: found 'many', expected an integer"),
        (["data.root=3"], "data.root: found 3, expected a path"),
        (["data.sizes=3"], "unknown key 'data.sizes'; did you mean 'size'?"),
        (
            ["data={use: hospital.Dataset}"],
            "data.root: missing, Dataset needs it; add data.root=VALUE or write it in the recipe",
        ),
        (["oracle.mis=0.1"], "unknown key 'oracle.mis'; did you mean 'miss'?"),
        (["unit=findng"], "unknown unit kind 'findng'; did you mean 'finding'?"),
        (["cost.imge=1"], "unknown unit kind 'imge'; did you mean 'image'?"),
        (["baselines=[randm]"], "unknown work 'randm'; did you mean 'random'?"),
        (
            ["strategy.0.score.use=medal.uncertainty.Entrpy"],
            "strategy.0.score.use: medal.uncertainty.Entrpy: medal.uncertainty has no 'Entrpy'; "
            "did you mean 'Entropy'?",
        ),
        (
            ["strategy.0.sampler.use=medal.uncertainty.Entropy"],
            "strategy.0.sampler: found the class Entropy, expected a Sampler (it has no 'stops_early')",
        ),
        (
            ["data={use: os.system, command: ls}"],
            "data.use: os.system: a recipe may not name 'os', "
            "expected one of hospital, medal, modalities, pretrained, tasks; "
            "register other packages under the entry-point group medal.packages",
        ),
        (["task=os.path"], "task: 'os.path' is not registered under medal.tasks; known: hospital_tasks.family"),
        (["task=tasks.nowhere"], None),
        (["baselines=[bald]"], None),
    ],
)
def test_every_mistake_is_told_at_load_in_one_line(own, overrides, text):
    with pytest.raises(ConfigError) as caught:
        load(own, overrides)
    assert "\n" not in str(caught.value)
    if text is not None:
        assert str(caught.value) == text


def test_an_unknown_task_is_named(own):
    with pytest.raises(UnknownName, match=r"^task: tasks.nowhere: tasks has no 'nowhere'"):
        load(own, ["task=tasks.nowhere"])


@pytest.mark.parametrize(
    "use", ["os.system", "medal.recipe.yaml.load", "builtins.exec", "medal.build.build", "hospital.os.system"]
)
@pytest.mark.parametrize(
    "place", ["data.use", "learner.use", "oracle.use", "strategy.0.score.use", "learner.parts.head.use"]
)
def test_a_recipe_cannot_run_code(own, use, place):
    with pytest.raises(ConfigError, match=r"a recipe may not name|holds no parts of a recipe|has no submodule"):
        load(own, [f"{place}={use}"])


def test_baselines_share_the_learner(own):
    main, *others = arms(load(own, ["baselines=[random, stratified, entropy, random]"]))
    assert main.arm == "entropy"
    assert [o.arm for o in others] == ["random", "stratified"]
    for other in others:
        assert other.learner == main.learner
        assert other.model_copy(update={"arm": main.arm, "strategy": main.strategy}) == main
    assert others[0].strategy[0].sampler.use == "medal.sampling.RandomSampler"


def test_a_baseline_that_needs_another_learner_is_refused(own):
    loaded = load(own)
    with pytest.raises(
        ConfigError, match=r"baselines: 'bald' needs its own learner.parts.members, .* run strategy=bald by itself"
    ):
        with_strategy(loaded, "bald")


def test_a_baseline_needs_steps(own, tmp_path):
    (tmp_path / "part.yaml").write_text("work: []\nlearner: {parts: {head: {use: hospital.WhiteCoat, size: 2}}}\n")
    with pytest.raises(ConfigError, match="has no steps; name a work with a strategy, such as random"):
        with_strategy(load(own), str(tmp_path / "part.yaml"))


def test_show_is_read_back_to_the_same_recipe(own, tmp_path):
    loaded = load(
        own, ["learner.steps=7", "strategy.0.reducer={use: medal.reducers.LabelTopMean, m: 2}", "report.title='1e-3'"]
    )
    (tmp_path / "shown.yaml").write_text(show(loaded))
    again = load(str(tmp_path / "shown.yaml"))
    assert again == loaded
    assert show(again) == show(loaded)
    assert digest(again) == digest(loaded)


def test_digest_leaves_out_where_and_how_many_at_a_time_and_nothing_else(own):
    first = digest(load(own))
    assert len(first) == 64
    assert digest(load(own, ["data.root=/elsewhere", "resources.processes=3", "engine=ray"])) == first
    changes = [
        "seed=1",
        "seeds=2",
        "learner.steps=6",
        "resources.threads=2",
        "budget.rounds=4",
        "data.size=33",
        "unit=finding",
    ]
    changes += ["baselines=[]", "cost.image=2", "split.test=0.3", "strategy=margin", "report.title=x", "arm=x"]
    digests = {digest(load(own, [c])) for c in changes}
    assert first not in digests
    assert len(digests) == len(changes)


def test_digest_is_the_same_on_every_machine(own):
    content = {
        "arm": "x", "baselines": [], "bound": False, "budget": {"per_round": 2.0, "rounds": 3, "unit": "items"},
        "cost": {"finding": 0.2, "image": 1.0}, "data": {"use": "hospital.Dataset"},
        "learner": {"use": "hospital.Model"}, "oracle": {"use": "hospital.Expert"},
        "readers": {"reader": None, "rule": "majority"}, "report": {"target": None, "title": ""},
        "resources": {"threads": 1}, "seed": 0, "seeds": 1,
        "split": {"by": "source", "test": 0.2, "validation": 0.2}, "start": {"items": 4},
        "strategy": [{"keep": None, "reducer": None, "sampler": {"use": "s.S"}, "score": None}], "task": "t",
        "unit": "image", "validation": {"items": 0},
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert digest(recipe.validate(content)) == hashlib.sha256(text.encode()).hexdigest()


def test_schema_is_plain_json_and_closed():
    found = json.loads(json.dumps(schema()))
    assert set(found["required"]) == {"task", "data", "start", "budget", "oracle", "learner", "strategy"}
    assert found["additionalProperties"] is False
    assert set(found["$defs"]["Parts"]["properties"]) >= {"members", "head", "calibration"}


def test_importing_recipes_loads_no_torch():
    code = (
        "import sys; import medal.recipe as r; r.schema(); from medal.overlay import compose; "
        "r.show(r.validate(compose('chest_xray', ['strategy=bald', 'data=nih', 'learner.steps=3']))); "
        "print([m for m in ('torch', 'numpy', 'monai', 'pydicom', 'omegaconf') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(resources.ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_an_unknown_recipe_and_a_missing_file_are_told():
    with pytest.raises(UnknownName, match="unknown recipe 'chest_xry'; did you mean 'chest_xray'"):
        load("chest_xry")
    with pytest.raises(ConfigError, match=r"none.yaml: there is no such file"):
        load("none.yaml")
