"""The file of a benchmark: what it may say, and one line for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmark import CONTENT, small

from medal.benchmark.schema import benchmarks, checked, read_benchmark
from medal.errors import ConfigError, UnknownName


def refused(**changes: object) -> str:
    with pytest.raises(ConfigError) as error:
        small(**changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_shipped_benchmark_can_be_read() -> None:
    assert {"smoke", "chest_xray_nih", "chest_xray_nih_small_net"} <= set(benchmarks())
    for name in benchmarks():
        file = read_benchmark(name)
        assert file.primary in file.measures


def test_with_lays_works_on_a_learner() -> None:
    file = small(learners={"teacher": {"with": ["mean_teacher"]}})
    assert file.learners["teacher"].works == ("mean_teacher",)


def test_an_unknown_key_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"small.yaml: unknown key 'block'; did you mean 'blocks'"):
        checked({**CONTENT, "block": 3}, "small.yaml")


def test_an_unknown_benchmark_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'smoke'"):
        read_benchmark("smokes")


def test_the_primary_measure_is_one_of_the_measures() -> None:
    assert "found 'other', expected one of effusion, by_view, brier" in refused(primary="other")


def test_the_primary_measure_is_of_all_test_rows() -> None:
    assert "'by_view' is split by a column" in refused(primary="by_view")


def test_what_is_left_out_needs_a_reason() -> None:
    assert "found no reason for shortcut" in refused(without={"shortcut": " "})


def test_only_what_is_always_drawn_can_be_left_out() -> None:
    assert "random" in refused(without={"random": "it is strong"})


def test_names_become_folders() -> None:
    assert "found the name 'a/b'" in refused(sets={"a/b": []})


def test_blocks_are_counted_from_one() -> None:
    assert "blocks: found 0, expected at least 1" in refused(blocks=0)


def test_a_users_own_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: .*missing"):
        read_benchmark(str(path))
