"""Which labels train when readers differ."""

from __future__ import annotations

import math

import pytest
import torch

from medal.consensus import CLINIC, Consensus, latest
from medal.errors import ConfigError, UnknownName

NAN = math.nan


def opinions(*values: list[float]) -> dict[str, torch.Tensor]:
    return {f"R{i + 1}": torch.tensor(v) for i, v in enumerate(values)}


def shown(values: torch.Tensor) -> list[float | None]:
    return [None if math.isnan(v) else round(v, 4) for v in values.tolist()]


# columns: both say yes, tie, one is uncertain, all are uncertain, nobody answered, one answered
FIRST = [1.0, 1.0, -1.0, -1.0, NAN, NAN]
SECOND = [1.0, 0.0, 1.0, -1.0, NAN, 0.0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("majority", [1.0, None, 1.0, -1.0, None, 0.0]),
        ("soft", [1.0, 0.5, 0.75, -1.0, None, 0.0]),
        ("first", [1.0, 1.0, -1.0, -1.0, None, 0.0]),
    ],
)
def test_rules_label_by_label(rule, expected):
    assert shown(Consensus(rule).of(opinions(FIRST, SECOND))) == expected


def test_majority_does_not_depend_on_the_order_of_readers():
    votes = opinions([1.0], [0.0], [1.0])
    assert shown(Consensus().of(votes)) == [1.0]
    assert shown(Consensus().of(dict(reversed(votes.items())))) == [1.0]


def test_one_reader_counts_alone_when_named():
    rule = Consensus("reader", "R2")
    assert shown(rule.of(opinions(FIRST, SECOND))) == shown(torch.tensor(SECOND))
    assert shown(rule.of(opinions(FIRST))) == [None] * 6


@pytest.mark.parametrize("rule", ["majority", "soft", "first"])
def test_a_single_reader_is_taken_as_given(rule):
    values = [1.0, 0.0, -1.0, NAN, 0.3]
    assert shown(Consensus(rule).of(opinions(values))) == shown(torch.tensor(values))


def test_a_later_answer_corrects_what_it_names_and_keeps_the_rest():
    told = [
        ("R1", torch.tensor([1.0, 0.0])),
        ("R2", torch.tensor([0.0, 0.0])),
        ("R1", torch.tensor([NAN, 1.0])),
    ]
    found = latest(told)
    assert list(found) == ["R1", "R2"]
    assert found["R1"].tolist() == [1.0, 1.0]
    assert found["R2"].tolist() == [0.0, 0.0]


def test_wrong_rules_are_told_with_the_mend():
    with pytest.raises(UnknownName, match="did you mean 'majority'"):
        Consensus("majorty")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="name a reader exactly for the rule 'reader'"):
        Consensus("reader")
    with pytest.raises(ConfigError, match="name a reader exactly for the rule 'reader'"):
        Consensus("soft", "R1")


@pytest.mark.parametrize("rule", ["majority", "soft", "first"])
def test_labels_of_the_clinic_give_way_to_readers_label_by_label(rule):
    told = {CLINIC: torch.tensor([1.0, 1.0, 0.0, -1.0]), "R1": torch.tensor([0.0, NAN, -1.0, 1.0])}
    assert shown(Consensus(rule).of(told)) == [0.0, 1.0, -1.0, 1.0]
    assert shown(Consensus(rule).of(dict(reversed(told.items())))) == [0.0, 1.0, -1.0, 1.0]
    assert shown(Consensus("reader", CLINIC).of(told)) == [1.0, 1.0, 0.0, -1.0]
    assert shown(told[CLINIC]) == [1.0, 1.0, 0.0, -1.0], "what was told stays as it is"
