from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import hospital
import pytest
import torch
from jaxtyping import Float

from medal.arguments import check_kind, coerce, members, record_of, signature_of
from medal.errors import ConfigError, UnknownName
from medal.reducers import Reducer
from medal.strategy import Sampler, Score
from medal.uncertainty import Entropy


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        ("3", int, 3),
        (3.0, int, 3),
        ("0.5", float, 0.5),
        (1, float, 1.0),
        ("1e-3", float, 0.001),
        ("a/b", Path, Path("a/b")),
        ("true", bool, True),
        ("yes", bool, True),
        ([1, 2], tuple[int, int], (1, 2)),
        (["a"], tuple[str, ...], ("a",)),
        (None, int | None, None),
        ("auto", Literal["auto"] | int, "auto"),
        ([1.5], list[float], [1.5]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ("anything", Any, "anything"),
        ("anything", None, "anything"),
        ([1.0], Float[torch.Tensor, " l"], [1.0]),
        ("cpu", torch.device, "cpu"),
    ],
)
def test_values_become_what_the_hint_asks_for(value, hint, result):
    found = coerce(value, hint, "x")
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "text"),
    [
        ("many", int, "a.b: found 'many', expected an integer"),
        (2.5, int, "a.b: found 2.5, expected an integer"),
        (True, int, "a.b: found True, expected a number"),
        (True, float, "a.b: found True, expected a number"),
        ("x", float, "a.b: found 'x', expected a number"),
        (3, str, "a.b: found 3, expected text"),
        (3, Path, "a.b: found 3, expected a path"),
        ("perhaps", bool, "a.b: found 'perhaps', expected true or false"),
        ([1, "x"], tuple[int, int], "a.b.1: found 'x', expected an integer"),
        (None, int, "a.b: found None, expected an integer"),
        ("x", Literal["day", "night"], "a.b: found 'x', expected 'day' or 'night'"),
        ("x", int | None, "a.b: found 'x', expected an integer"),
        ({"k": "x"}, dict[str, int], "a.b.k: found 'x', expected an integer"),
        ("abc", list[str], "a.b: found 'abc', expected a list"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(value, hint, text):
    with pytest.raises(ConfigError) as caught:
        coerce(value, hint, "a.b")
    assert str(caught.value) == text


def test_hints_are_resolved_one_by_one():
    hints = signature_of(hospital.Ward, "").hints
    assert hints["root"] is Path
    assert hints["shape"] == tuple[int, int]
    assert "strange" not in hints


def test_inherited_hints_are_read_in_their_own_module(tmp_path, monkeypatch):
    (tmp_path / "heir.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport hospital\n"
        "@dataclass(frozen=True)\nclass Heir(hospital.Ward):\n    more: int = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import heir  # type: ignore[import-not-found]

    assert signature_of(heir.Heir, "").hints["root"] is Path


def test_names_and_completeness():
    signature = signature_of(hospital.Model, "learner")
    assert signature.required == ("source",)
    with pytest.raises(UnknownName, match=r"unknown key 'learner.epoch'; did you mean 'epochs'\?"):
        signature.check_names(["epoch"], "learner")
    with pytest.raises(ConfigError, match=r"learner.source: missing, Model needs it; add learner.source=VALUE"):
        signature.check_complete([], "learner")
    assert signature_of(hospital.Clinic, "").open
    signature_of(hospital.Clinic, "").check_names(["whatever"], "")


@pytest.mark.parametrize("target", [hospital.Abstract, hospital.Coat])
def test_an_abstract_class_cannot_be_named(target):
    with pytest.raises(ConfigError, match=f"learner.use: {target.__name__} is abstract"):
        signature_of(target, "learner")


def test_members_of_unions():
    assert list(members(int | None)) == [int]
    assert list(members(None)) == []
    assert record_of(hospital.Slots | None) is hospital.Slots
    assert record_of(hospital.Slots | hospital.Ward) is None
    assert record_of(hospital.Coat) is None
    assert record_of(dict[str, int]) is None


def test_a_class_in_the_wrong_place_is_refused():
    check_kind(Entropy, Score, "x")
    check_kind(hospital.WhiteCoat, hospital.Coat | None, "x")
    check_kind(hospital.coat, hospital.Coat, "x")
    check_kind(hospital.Ward, None, "x")
    check_kind(hospital.Ward, list[int], "x")
    with pytest.raises(
        ConfigError, match=r"x: found the class Entropy, expected a Sampler \(it has no 'stops_early'\)"
    ):
        check_kind(Entropy, Sampler, "x")
    with pytest.raises(ConfigError, match=r"found the class Ward, expected a Reducer \(it has no '__call__'\)"):
        check_kind(hospital.Ward, Reducer, "x")
    with pytest.raises(ConfigError, match=r"found the class Ward, expected a str or int \(it is none\)"):
        check_kind(hospital.Ward, str | int | None, "x")
