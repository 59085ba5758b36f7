import json
import math
from enum import StrEnum

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medal.canonical import canonical, plain
from medal.errors import StudyError

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(leaves, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20)


def without_nonfinite(value):
    """Independent statement of what may be lost: NaN and infinities, nothing else."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: without_nonfinite(v) for k, v in value.items()}
    return [without_nonfinite(v) for v in value] if isinstance(value, list) else value


def test_known_text_by_hand():
    value = {"ü": True, "a": [1, 1.0, -0.5, 1e-07, float("nan"), float("-inf")], "B": {}}
    assert canonical(value) == '{"B":{},"a":[1,1.0,-0.5,1e-07,null,null],"\\u00fc":true}'


@given(values)
def test_reading_back_gives_the_value(value):
    assert json.loads(canonical(value)) == without_nonfinite(value)


@given(values)
def test_canonical_of_what_was_read_is_the_same_text(value):
    text = canonical(value)
    assert canonical(json.loads(text)) == text
    assert text.isascii()
    assert "\n" not in text


@given(st.dictionaries(st.text(), leaves, min_size=2))
def test_order_of_keys_does_not_count(value):
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_bit_for_bit(x):
    back = json.loads(canonical([x]))[0]
    assert back.hex() == x.hex()


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        (np.float64(0.1), "0.1"),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (np.bool_(True), "true"),
        (np.float32("nan"), "null"),
        (torch.tensor(2.5, requires_grad=True), "2.5"),
        (torch.tensor(3), "3"),
        (torch.tensor(float("inf")), "null"),
        (StrEnum("Colour", ["RED"]).RED, '"red"'),
    ],
)
def test_scalars_of_numpy_and_torch_become_numbers(scalar, expected):
    assert canonical(scalar) == expected


def test_lone_surrogates_do_not_break_the_text():
    assert json.loads(canonical("\udc80")) == "\udc80"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"scores": [0.1, torch.zeros(3)]}, r"value\.scores\[1\] is a Tensor of shape \(3,\).*\.tolist\(\)"),
        ({"scores": np.zeros((2, 2))}, r"ndarray of shape \(2, 2\)"),
        ({"when": {1, 2}}, r"value\.when is a set, which JSON cannot hold"),
        ({"raw": b"x"}, "is a bytes"),
        ({"z": 1j}, "is a complex"),
        ({"a": {3: "x"}}, r"value\.a has the key 3 of type int; expected text keys: use str\(\)"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_place(value, message):
    with pytest.raises(StudyError, match=message):
        canonical(value)


def test_a_value_that_holds_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(StudyError, match="holds itself"):
        canonical(value)


def test_plain_gives_new_containers():
    inner = [1]
    copy = plain({"a": inner})
    inner.append(2)
    assert copy == {"a": [1]}
