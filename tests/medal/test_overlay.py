from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from medal import resources
from medal.errors import ConfigError, UnknownName
from medal.overlay import compose, merge, read_work, set_value, split_overrides

FILES = {
    "xray/default.yaml": """
        task: tasks.xray
        seeds: 3
        data: drawn
        start: {items: 4}
        budget: {per_round: 2, rounds: 8}
        oracle: honest
        learner: {use: m.Learner, steps: 100, network: {use: m.Small, width: 8}, parts: {calibration: {use: m.T}}}
        strategy: unsure
        """,
    "xray/large.yaml": """
        extends: xray
        data: {size: 224}
        learner: {network: {use: m.Large}, lr: 0.1}
        """,
    "xray/own_steps.yaml": """
        extends: xray
        strategy: [{sampler: {use: m.Random}}]
        """,
    "xray/too_deep.yaml": "extends: xray/large",
    "data/drawn.yaml": "{use: d.Drawn, patients: 50, size: 64}",
    "data/real.yaml": "{use: d.Real}",
    "oracle/honest.yaml": "use: o.Honest",
    "learner/tiny.yaml": "{use: m.Tiny, parts: {head: {use: m.TinyHead}}}",
    "smoke/xray.yaml": """
        seeds: 1
        data: {use: d.Drawn, patients: 5}
        learner: {use: m.Learner, steps: 2, network: {use: m.Small, width: 1}}
        """,
    "works/a/unsure.yaml": """
        work: [Some 2001]
        learner: {parts: {head: {use: m.Beta, fit: brier}}}
        strategy: [{score: {use: s.Unsure}, sampler: {use: s.Top}}]
        """,
    "works/a/disagree.yaml": """
        work: []
        learner: {parts: {members: {use: m.Draws}}, dropout: 0.5}
        strategy: [{score: {use: s.Bald}, sampler: {use: s.Top}}]
        """,
    "works/b/teacher.yaml": "{work: [], learner: {parts: {consistency: {use: m.Teacher}}}}",
    "works/b/other_head.yaml": "{work: [], learner: {parts: {head: {use: m.Other}}}}",
    "works/b/more_dropout.yaml": "{work: [], learner: {dropout: 0.9}}",
    "works/b/liar.yaml": "{work: [], oracle: {use: o.Liar, miss: 0.3}}",
    "works/b/greedy.yaml": "{work: [], bound: true, strategy: [{sampler: {use: s.Greedy}}]}",
    "works/b/typo.yaml": "{work: [], learnr: {}}",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.setattr(resources, "ROOT", tmp_path)
    return tmp_path


def test_texts_under_groups_are_filled_in_and_the_work_names_the_arm():
    recipe = compose("xray")
    assert recipe["data"] == {"use": "d.Drawn", "patients": 50, "size": 64}
    assert recipe["oracle"] == {"use": "o.Honest"}
    assert recipe["arm"] == "unsure"
    assert recipe["strategy"] == [{"score": {"use": "s.Unsure"}, "sampler": {"use": "s.Top"}}]
    assert recipe["learner"]["parts"] == {"calibration": {"use": "m.T"}, "head": {"use": "m.Beta", "fit": "brier"}}


def test_extends_merges_one_level():
    recipe = compose("xray/large")
    assert recipe["data"] == {"use": "d.Drawn", "patients": 50, "size": 224}
    assert recipe["learner"]["network"] == {"use": "m.Large"}
    assert recipe["learner"]["steps"] == 100
    assert recipe["learner"]["lr"] == 0.1
    assert "extends" not in recipe
    with pytest.raises(
        ConfigError, match=r"too_deep.yaml extends xray/large, which extends xray; extend xray directly"
    ):
        compose("xray/too_deep")


def test_own_steps_replace_a_named_strategy_and_leave_its_parts_out():
    recipe = compose("xray/own_steps")
    assert recipe["strategy"] == [{"sampler": {"use": "m.Random"}}]
    assert "arm" not in recipe
    assert set(recipe["learner"]["parts"]) == {"calibration"}


def test_a_users_own_file_extends_by_name_or_by_path(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extends: xray\nseeds: 9\narm: mine\n")
    assert (compose(str(own))["seeds"], compose(str(own))["arm"]) == (9, "mine")
    assert compose(str(own), ["strategy=disagree"])["arm"] == "disagree"
    second = tmp_path / "second.yaml"
    (tmp_path / "first.yaml").write_text("task: tasks.first\n")
    second.write_text("extends: first.yaml\nseed: 1\n")
    assert compose(str(second)) == {"task": "tasks.first", "seed": 1}
    second.write_text("extends: [a]\n")
    with pytest.raises(ConfigError, match=r"second.yaml: extends: found \['a'\], expected the name of a recipe"):
        compose(str(second))


def test_a_mistyped_key_names_the_file(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extend: xray\n")
    with pytest.raises(UnknownName, match=r"own.yaml: unknown key 'extend'; did you mean 'extends'\?"):
        compose(str(own))


def test_groups_replace():
    recipe = compose("xray", ["data=real", "strategy=disagree"])
    assert recipe["data"] == {"use": "d.Real"}
    assert recipe["arm"] == "disagree"
    assert recipe["learner"]["dropout"] == 0.5
    assert recipe["learner"]["parts"] == {"calibration": {"use": "m.T"}, "members": {"use": "m.Draws"}}


def test_a_learner_is_replaced_under_its_parts():
    learner = compose("xray", ["learner=tiny"])["learner"]
    assert learner == {
        "use": "m.Tiny",
        "parts": {"calibration": {"use": "m.T"}, "head": {"use": "m.Beta", "fit": "brier"}},
    }


def test_further_works_lie_on_top():
    recipe = compose("xray", ["with=[teacher, liar]"])
    assert recipe["learner"]["parts"]["consistency"] == {"use": "m.Teacher"}
    assert recipe["oracle"] == {"use": "o.Liar", "miss": 0.3}
    assert recipe["arm"] == "unsure"
    assert compose("xray", ["with=teacher"])["learner"]["parts"]["consistency"] == {"use": "m.Teacher"}


def test_a_recipe_may_lay_works_itself_and_the_command_line_replaces_them(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extends: xray\nwith: [teacher]\n")
    assert "consistency" in compose(str(own))["learner"]["parts"]
    assert "consistency" not in compose(str(own), ["with=[]"])["learner"]["parts"]


def test_a_further_work_may_bring_the_strategy_where_none_is_named():
    recipe = compose("xray/own_steps", ["with=[disagree]"])
    assert recipe["arm"] == "disagree"
    assert recipe["strategy"][0]["score"] == {"use": "s.Bald"}


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["with=[other_head]"], "learner.parts.head: the works 'unsure' and 'other_head' both set it; lay one of them"),
        (["with=[disagree]"], "strategy: the works 'unsure' and 'disagree' both set it"),
        (
            ["strategy=disagree", "with=[more_dropout]"],
            "learner.dropout: the works 'disagree' and 'more_dropout' both set it",
        ),
        (["with=[liar, liar]"], "oracle: the works 'liar' and 'liar' both set it"),
        (["strategy=teacher"], "the work 'teacher' has no steps of its own; lay it on with with="),
        (["strategy=unsur"], "unknown work 'unsur'; did you mean 'unsure'"),
        (["with=[teachr]"], "unknown work 'teachr'; did you mean 'teacher'"),
        (["with=3"], "with: found 3, expected names of works"),
        (["data=reel"], "unknown data set 'reel'; did you mean 'real'"),
        (["learner=tny"], "unknown learner 'tny'; did you mean 'tiny'"),
        (["oracle=honst"], "unknown oracle 'honst'; did you mean 'honest'"),
        (["strategy=typo"], r"typo.yaml: unknown key 'learnr'; did you mean 'learner'"),
        (["seed"], "override 'seed': expected KEY=VALUE"),
        (["=3"], "override '=3': expected KEY=VALUE"),
        (["seed=[1"], r"override 'seed=\[1', line 1: "),
        (["seed.x=1"], "seed.x: 'seed' is the single value 0 and has no keys; set seed=VALUE"),
        (["strategy.5.keep=1"], "strategy.5: found '5', expected a number from 0 to 0"),
        (["strategy.x=1"], "strategy.x: found 'x', expected a number from 0 to 0"),
        (["learner..x=1"], "found an empty key"),
    ],
)
def test_overrides_that_cannot_be_laid(overrides, match):
    with pytest.raises(ConfigError, match=match) as caught:
        compose("xray", ["seed=0", *overrides])
    assert "\n" not in str(caught.value)


def test_dotted_values_come_last_whatever_their_place():
    recipe = compose(
        "xray", ["learner.parts.head.fit=type2", "data.size=9", "learner.lr=1e-3", "data=drawn", "strategy=unsure"]
    )
    assert recipe["learner"]["parts"]["head"] == {"use": "m.Beta", "fit": "type2"}
    assert recipe["data"]["size"] == 9
    assert recipe["learner"]["lr"] == 0.001


def test_dotted_values_reach_into_lists_make_mappings_and_take_nodes():
    recipe = compose(
        "xray",
        ["strategy.0.keep=3", "split.test=0.1", "data={use: d.Own, n: [1, 2]}", "learner.parts.calibration=null"],
    )
    assert recipe["strategy"][0]["keep"] == 3
    assert recipe["split"] == {"test": 0.1}
    assert recipe["data"] == {"use": "d.Own", "n": [1, 2]}
    assert recipe["learner"]["parts"]["calibration"] is None


def test_a_null_on_the_way_becomes_a_mapping():
    place = {"a": None}
    set_value(place, "a.b.c", 1)
    assert place == {"a": {"b": {"c": 1}}}


def test_smoke_shrinks_only_the_nodes_that_it_means():
    recipe = compose("xray", smoke=True)
    assert recipe["seeds"] == 1
    assert recipe["data"] == {"use": "d.Drawn", "patients": 5, "size": 64}
    assert (recipe["learner"]["steps"], recipe["learner"]["network"]["width"]) == (2, 1)
    other = compose("xray/large", ["data=real", "learner.steps=7"], smoke=True)
    assert other["data"] == {"use": "d.Real"}
    assert other["learner"]["network"] == {"use": "m.Large"}
    assert other["learner"]["steps"] == 7
    own = resources.ROOT / "own.yaml"
    own.write_text("task: tasks.ray\n")
    with pytest.raises(UnknownName, match="unknown smoke setting 'ray'; did you mean 'xray'"):
        compose(str(own), smoke=True)


def test_a_bound_is_stamped():
    assert compose("xray", ["strategy=greedy"])["bound"] is True
    assert "bound" not in compose("xray")


def test_a_work_can_be_the_users_own_file(tmp_path):
    own = tmp_path / "ours.yaml"
    own.write_text("work: []\nstrategy: [{sampler: {use: h.Ours}}]\n")
    recipe = compose("xray", [f"strategy={own}"])
    assert (recipe["arm"], recipe["strategy"]) == ("ours", [{"sampler": {"use": "h.Ours"}}])
    own.write_text("strategy: []\n")
    with pytest.raises(ConfigError, match=r"ours.yaml: work: missing"):
        read_work(str(own))


def test_merge_leaves_what_it_was_given_alone():
    base, over = {"a": {"use": "x", "n": {"k": 1}}}, {"a": {"n": {"k": 2}}}
    assert merge(base, over) == {"a": {"use": "x", "n": {"k": 2}}}
    assert (base, over) == ({"a": {"use": "x", "n": {"k": 1}}}, {"a": {"n": {"k": 2}}})


def test_the_last_of_two_overrides_wins():
    assert split_overrides(["data=a", "data=b"])[0] == {"data": "b"}
    assert compose("xray", ["seed=1", "seed=2"])["seed"] == 2
