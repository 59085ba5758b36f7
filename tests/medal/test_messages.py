from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from medal.errors import ConfigError, UnknownName
from medal.messages import invalid, join, mismatch, shown, unknown_key
from medal.schema import Strict


class Inner(Strict):
    count: int = Field(default=1, ge=1, le=9)
    share: float = Field(default=0.5, gt=0, lt=1)
    mode: Literal["a", "b"] = "a"
    either: int | Literal["auto"] = "auto"
    on: bool = True
    text: str = "x"
    several: tuple[int, ...] = Field(default=(1,), min_length=1)


class Outer(Strict):
    inner: Inner
    table: dict[str, int] = Field(default_factory=dict)


def message(value: object, model: type[BaseModel] = Outer, where: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return str(invalid(caught.value, value, where))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"inner": {"count": "many"}}, "inner.count: found 'many', expected an integer"),
        ({"inner": {"count": 2.5}}, "inner.count: found 2.5, expected an integer"),
        ({"inner": {"count": 0}}, "inner.count: found 0, expected at least 1"),
        ({"inner": {"count": 10}}, "inner.count: found 10, expected at most 9"),
        ({"inner": {"share": 0}}, "inner.share: found 0, expected more than 0"),
        ({"inner": {"share": 1}}, "inner.share: found 1, expected less than 1"),
        ({"inner": {"share": "x"}}, "inner.share: found 'x', expected a number"),
        ({"inner": {"mode": "c"}}, "inner.mode: found 'c', expected 'a' or 'b'"),
        ({"inner": {"either": "x"}}, "inner.either: found 'x', expected an integer or 'auto'"),
        ({"inner": {"on": "maybe"}}, "inner.on: found 'maybe', expected true or false"),
        ({"inner": {"text": 3}}, "inner.text: found 3, expected text"),
        ({"inner": {"several": 3}}, "inner.several: found 3, expected a list"),
        ({"inner": {"several": []}}, "inner.several: found [], expected at least 1 entries"),
        ({"inner": {"several": [1, "x"]}}, "inner.several.1: found 'x', expected an integer"),
        ({"inner": 3}, "inner: found 3, expected a mapping"),
        ({"inner": {}, "table": {"k": "x"}}, "table.k: found 'x', expected an integer"),
        ({}, "inner: missing, expected a value; add it"),
        ({"inner": {"cuont": 3}}, "unknown key 'inner.cuont'; did you mean 'count'?"),
        ({"iner": {}}, "unknown key 'iner'; did you mean 'inner'?"),
    ],
)
def test_every_kind_of_error_is_one_line_with_its_path(value, expected):
    assert message(value) == expected


def test_a_mistyped_key_comes_before_what_it_left_missing():
    assert "did you mean 'inner'" in message({"innner": {}})


def test_the_place_of_the_value_stands_before_the_path():
    assert message({"count": "x"}, Inner, "a.b").startswith("a.b.count: ")


def test_unknown_key_without_a_near_one_lists_what_is_known():
    assert str(unknown_key("a", "zzz", ["one", "two"])) == "unknown key 'a.zzz'; known: one, two"
    assert isinstance(unknown_key("a", "zzz", []), UnknownName)


def test_long_values_are_cut():
    assert len(shown("x" * 500)) == 60
    assert shown("x" * 500).endswith("...")
    assert isinstance(mismatch("a", "x", "y"), ConfigError)


def test_join_leaves_empty_parts_out():
    assert join("", "a", "", 0) == "a.0"
