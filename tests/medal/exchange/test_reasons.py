"""Why an image is asked, in words."""

from __future__ import annotations

import pytest

from medal.exchange.reasons import reason

BOTH = "unsure about b (score .31, 98th percentile)"


@pytest.mark.parametrize(
    ("purpose", "terms", "words"),
    [
        ("validation", {"probability": 0.2}, "at random, for measuring"),
        ("start", {"typical": 1.0}, "unlike anything labelled, and typical of many others"),
        ("start", {"probability": 0.2}, "at random, to begin with"),
        ("query", {"probability": 0.2}, "at random"),
        ("query", {"same_exam": 1.0}, "same exam as no. 4"),
        ("query", {"score": 0.31, "percentile": 98.7, "label:a": 0.1, "label:b": 0.5}, BOTH),
        ("query", {"score": 1.234, "percentile": 100.0, "label:a": 0.1}, "unsure about a (score 1.23, the highest)"),
        ("query", {"score": 0.0042, "percentile": 91.0}, "much to learn from (score .0042, 91st percentile)"),
        ("query", {"score": -0.5, "percentile": 12.0}, "much to learn from (score -.50, 12th percentile)"),
        ("relabel", {"disputed:a": 1.0, "given:b": 1.0, "model:b": 0.2}, "readers disagree about a"),
        ("relabel", {"disputed:a": 1.0, "disputed:b": 1.0, "disputed:c": 1.0}, "readers disagree about a, b and c"),
        ("relabel", {"given:b": 1.0, "model:b": 0.08}, "was labelled b 1, the model says .08"),
        ("relabel", {}, "for a second look"),
        ("query", {"score": None, "label:a": None}, "at random"),
    ],
)  # fmt: skip
def test_words(purpose: str, terms: dict[str, float | None], words: str) -> None:
    assert reason(purpose, terms, 4) == words
