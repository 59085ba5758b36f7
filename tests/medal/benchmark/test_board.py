"""What a running benchmark shows where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from medal.benchmark import board
from medal.benchmark.board import Board


def test_lines_name_the_cell_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: clock[0])
    text = io.StringIO()
    with Board(Console(file=text, width=120), {"a": 4, "b": 4}) as shown:
        assert shown.left is None
        clock[0] = 30
        shown.notify("a", "round 0", 2, 4)
        assert text.getvalue() == ""
        assert shown.left == 90  # 2 of 8 steps took 30 s
        clock[0] = 80
        shown.notify("a", "training", 1, 300)
        shown.notify("", "reading images", 1, 9)
        shown.notify("a", "round 1", 4, 4)
        assert text.getvalue() == "a: round 1; 1 of 2 cells, 80 s left\n"
        clock[0] = 1000
        shown.notify("b", "round 0", 1, 4)
        assert text.getvalue().endswith("b: round 0; 1 of 2 cells, 10 min left\n")


def test_a_cell_that_ends_early_counts_no_more_than_its_steps() -> None:
    with Board(Console(file=io.StringIO()), {"a": 2}) as shown:
        shown.notify("a", "round 0", 9, 9)
        assert shown.left == 0
