from __future__ import annotations

import math

import pytest

from medal.report import words
from medal.report.history import Batch, Pick

NAN = math.nan


def batch(pick: Pick, purpose: str = "query", strategy: str = "epistemic") -> Batch:
    return Batch(1, purpose, strategy, (pick,), 1, 1.0)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.8125, 3, "0.812"),
        (-0.0004, 3, "0.000"),
        (-0.0006, 3, "−0.001"),
        (1234.5, 0, "1,234"),
        (NAN, 3, "–"),
        (math.inf, 1, "–"),
    ],
)
def test_numbers_have_fixed_digits_and_no_negative_zero(value, digits, text):
    assert words.number(value, digits) == text


def test_signed_zero_carries_no_sign_and_large_values_keep_theirs():
    assert [words.signed(v) for v in (0.0004, -0.0004, 10.0, -10.0)] == ["0.000", "0.000", "+10.000", "−10.000"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (0.0999, "10.0 %"), (0.1, "10 %"), (1.0, "100 %"), (0.004, "0.4 %")]
)
def test_shares_keep_a_digit_where_it_matters(value, text):
    assert words.percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0.4 s"), (99.6, "100 s"), (100, "1.7 min"), (6000, "1.7 h"), (NAN, "–")]
)
def test_durations_change_unit(seconds, text):
    assert words.duration(seconds) == text


def test_reason_names_score_place_and_highest_findings_in_order():
    terms = {"label:A": 0.1, "label:B": 0.3, "label:C": 0.2, "percentile": 99.76, "candidates": 412, "score": 0.143}
    pick = Pick("I1", 0.143, terms)
    assert (
        words.reason(batch(pick), pick)
        == "epistemic 0.143 (99th percentile of 412 candidates); highest: B 0.30, C 0.20"
    )


def test_only_the_top_is_called_highest():
    top, next_ = Pick("a", 1.0, {"percentile": 100.0, "candidates": 5}), Pick("b", 1.0, {"percentile": 99.99})
    assert words.among(top) == "highest of 5 candidates"
    assert words.among(next_) == "99th percentile"


def test_random_draws_give_their_probability_even_when_a_score_was_noted():
    pick = Pick("I1", 0.7, {"probability": 0.05, "candidates": 400})
    assert (
        words.reason(batch(pick, strategy="random"), pick)
        == "drawn at random with probability 0.050 from 400 candidates"
    )
    assert words.reason(batch(pick, "validation", "x"), pick).startswith("drawn at random for validation")


def test_a_scored_draw_says_both_and_foreign_terms_are_kept():
    pick = Pick("I1", 0.7, {"probability": 0.05, "diversity": 2.5})
    assert words.reason(batch(pick), pick) == "epistemic 0.700; drawn with probability 0.050; diversity 2.500"


def test_findings_that_tie_keep_their_order_and_nan_is_left_out():
    pick = Pick("I1", 1.0, {"label:B": 0.5, "label:A": 0.5, "label:C": NAN})
    assert words.findings(pick) == [("B", 0.5), ("A", 0.5)]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ((1, 1, 0, 0), "present: A, B; absent: 2 others"),
        ((1, NAN, NAN, NAN), "present: A"),
        ((NAN, 0, NAN, NAN), "absent: B"),
        ((0, 0, 0, 0), "none of the 4 findings"),
        ((-1, 0.25, NAN, 0), "uncertain: A; rated: B 0.25; absent: 1 other"),
        ((NAN, NAN, NAN, NAN), "no answer"),
    ],
)
def test_answers_in_words(target, text):
    assert words.answer(target, ["A", "B", "C", "D"]) == text


def test_answers_without_names_are_numbered():
    assert words.answer([1, 1, 0], ["A"]) == "present: A, label 2; absent: 1 other"


def test_the_lowest_is_no_percentile():
    assert words.among(Pick("a", 0.0, {"percentile": 0.0, "candidates": 30})) == "lowest of 30 candidates"
    assert words.among(Pick("a", 0.0, {"percentile": 0.4})) == "among the lowest 1 %"
    assert words.among(Pick("a", 0.0, {"percentile": 1.0})) == "1st percentile"
