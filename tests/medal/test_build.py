from __future__ import annotations

from pathlib import Path
from typing import Any

import hospital
import pytest

from medal.build import build, build_strategy, check, check_strategy
from medal.errors import ConfigError, StrategyFault, UnknownName
from medal.reducers import LabelMean, LabelTopMean
from medal.sampling import RandomSampler, TopK
from medal.schema import LearnerNode, Node, StepNodes
from medal.uncertainty import Entropy

HOSPITAL = {"hospital"}
COAT = {"use": "hospital.WhiteCoat", "size": 3}


def make(node: Any, where: str = "", **context: Any) -> Any:
    return build(node, where, registered=HOSPITAL, **context)


def inspect(node: Any, where: str = "learner", **options: Any) -> None:
    check(node, where, registered=HOSPITAL, **options)


def test_arguments_arrive_in_the_type_of_their_hint():
    ward = make(
        {"use": "hospital.Ward", "beds": "3", "rate": 1, "root": "a", "open": "true", "shape": [2, 3], "mode": "night"}
    )
    assert ward == hospital.Ward(3, 1.0, Path("a"), True, (2, 3), "night")
    assert isinstance(ward.rate, float)


def test_nested_nodes_and_lists_of_nodes_are_built_first():
    ward = make({"use": "hospital.Ward", "coat": COAT, "coats": [COAT, {"use": "hospital.coat"}]})
    assert ward.coat == hospital.WhiteCoat(3)
    assert ward.coats == [hospital.WhiteCoat(3), hospital.WhiteCoat(1)]


def test_mappings_keep_their_keys_around_nodes():
    clinic = make(
        {"use": "hospital.Clinic", "source": 1, "ward": {"use": "hospital.Ward"}, "staff": {"a": COAT, "n": 3}}
    )
    assert clinic.options == {"staff": {"a": hospital.WhiteCoat(3), "n": 3}}


def test_a_mapping_for_a_dataclass_needs_no_use():
    clinic = make({"use": "hospital.Clinic", "ward": {"beds": 2}, "slots": {"second": COAT}}, source="s")
    assert clinic.ward == hospital.Ward(2)
    assert clinic.slots == hospital.Slots(None, hospital.WhiteCoat(3))
    with pytest.raises(UnknownName, match=r"unknown key 'learner.slots.secnd'; did you mean 'second'"):
        inspect({"use": "hospital.Clinic", "ward": {}, "slots": {"secnd": COAT}})


def test_context_fills_what_the_recipe_leaves_out_also_in_nested_nodes():
    inner = {"use": "hospital.Clinic", "ward": {}}
    clinic = make({"use": "hospital.Clinic", "ward": {}, "inner": inner, "source": "mine"}, source="given", unused=3)
    assert clinic.source == "mine"
    assert clinic.options["inner"].source == "given"


def test_a_missing_argument_is_said_before_the_call():
    with pytest.raises(ConfigError, match=r"learner.source: missing, Model needs it; add learner.source=VALUE"):
        make({"use": "hospital.Model"}, "learner")
    with pytest.raises(ConfigError, match=r"learner.source: missing"):
        inspect({"use": "hospital.Model"}, context=())
    inspect({"use": "hospital.Model"}, context=("source",))
    inspect({"use": "hospital.Model"})


@pytest.mark.parametrize(
    ("node", "match"),
    [
        ({"use": "hospital.Ward", "bedds": 3}, "unknown key 'learner.bedds'; did you mean 'beds'"),
        ({"use": "hospital.Ward", "beds": "many"}, "learner.beds: found 'many', expected an integer"),
        ({"use": "hospital.Ward", "shape": [1, 2, 3]}, "learner.shape: found .*expected"),
        ({"use": "hospital.Ward", "coat": {"use": "hospital.WhiteCoat", "sise": 1}}, "unknown key 'learner.coat.sise'"),
        (
            {"use": "hospital.Ward", "coat": {"use": "hospital.Slots"}},
            "learner.coat: found the class Slots, expected a Coat",
        ),
        (
            {"use": "hospital.Ward", "coats": [COAT, {"use": "os.system"}]},
            "learner.coats.1.use: os.system: a recipe may not",
        ),
        (
            {"use": "hospital.Ward", "strange": {"deep": [{"use": "os.system"}]}},
            "learner.strange.deep.0.use: os.system",
        ),
        ({"use": "hospital.Abstract"}, "learner.use: Abstract is abstract"),
        ({"beds": 3}, "learner: found {'beds': 3}, expected a mapping with 'use'"),
        (3, "learner: found 3, expected a mapping with 'use'"),
    ],
)
def test_check_and_build_refuse_the_same(node, match):
    for action in (inspect, lambda n: make(n, "learner")):
        with pytest.raises(ConfigError, match=match) as caught:
            action(node)
        assert "\n" not in str(caught.value)


def test_check_builds_nothing(monkeypatch):
    def refuse(self):
        raise AssertionError("was built")

    monkeypatch.setattr(hospital.WhiteCoat, "__init__", lambda self, size=40: refuse(self))
    inspect({"use": "hospital.Ward", "coat": COAT})


def test_a_third_partys_refusal_is_one_line_with_the_path():
    with pytest.raises(ConfigError, match=r"^oracle: found -1, expected at least 0$"):
        make({"use": "hospital.Refusing", "age": -1}, "oracle")


def test_our_own_refusals_pass_as_they_are():
    with pytest.raises(ConfigError, match=r"LabelTopMean.m: found 0, expected at least 1"):
        build({"use": "medal.reducers.LabelTopMean", "m": 0})


def test_models_are_nodes_too():
    assert build(Node.model_validate({"use": "medal.reducers.LabelTopMean", "m": 2})) == LabelTopMean(2)
    learner = LearnerNode.model_validate({"use": "hospital.Model", "parts": {"head": COAT}})
    assert make(learner, source=1).parts == hospital.Slotted(head=hospital.WhiteCoat(3))
    plain = LearnerNode.model_validate({"use": "hospital.PlainModel", "steps": 2})
    assert make(plain, source=1).steps == 2


def test_strategy_from_steps():
    steps = [
        StepNodes.model_validate({"sampler": {"use": "medal.sampling.RandomSampler"}, "keep": 5}),
        {"score": {"use": "medal.uncertainty.Entropy"}, "sampler": {"use": "medal.sampling.TopK"}},
    ]
    strategy = build_strategy(steps, "mine")
    assert strategy.name == "mine"
    first, second = strategy.steps
    assert (first.score, first.reducer, first.sampler, first.keep) == (None, None, RandomSampler(), 5)
    assert (second.score, second.sampler, second.keep) == (Entropy(), TopK(), None)
    by_default = StepNodes.model_validate({"score": {"use": "medal.uncertainty.Entropy"}, "sampler": COAT})
    assert by_default.reducer == Node(use="medal.reducers.LabelMean")
    assert by_default.reducer is not None
    assert build(by_default.reducer) == LabelMean()
    with pytest.raises(StrategyFault, match="mine: every step but the last"):
        build_strategy(steps[:1], "mine")


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (
            {"sampler": {"use": "medal.uncertainty.Entropy"}},
            "strategy.0.sampler: found the class Entropy, expected a Sampler",
        ),
        (
            {"score": {"use": "medal.sampling.TopK"}, "sampler": {"use": "medal.sampling.TopK"}},
            "strategy.0.score: found the class TopK, expected a Score",
        ),
        ({"sampler": {"use": "medal.sampling.TopK", "k": 3}}, "unknown key 'strategy.0.sampler.k'"),
        ({"sampler": {"use": "medal.sampling.TopKK"}}, "strategy.0.sampler.use: .* did you mean 'TopK'"),
        (
            {"scor": COAT, "sampler": {"use": "medal.sampling.TopK"}},
            "unknown key 'strategy.0.scor'; did you mean 'score'",
        ),
    ],
)
def test_steps_are_checked_at_load(step, match):
    with pytest.raises(ConfigError, match=match):
        check_strategy([step])
