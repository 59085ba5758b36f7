"""Split: by patient, by that patient alone, and fixed by a hash."""

from __future__ import annotations

import pytest
import torch

from medal.errors import ConfigError, SplitOverlap
from medal.split import Split, split_by_group


def many(count: int) -> tuple[list[str], list[str]]:
    return [f"r{i:05d}" for i in range(count)], [f"p{i // 3:05d}" for i in range(count)]


def test_one_patient_in_two_parts_is_an_error():
    with pytest.raises(SplitOverlap, match=r"1 patient\(s\) stand in two splits \(first: p\)"):
        Split(("a", "b", "c"), ("p", "p", "q"), ("pool", "test", "pool"))


def test_an_unknown_part_is_named():
    with pytest.raises(ConfigError, match="unknown split 'train'; expected one of pool, validation, test"):
        Split(("a",), ("p",), ("train",))


def test_columns_of_different_length_are_an_error():
    with pytest.raises(ConfigError, match="2 rows, 1 patients, 2 parts"):
        Split(("a", "b"), ("p",), ("pool", "pool"))


def test_positions_and_counts():
    split = Split(("a", "b", "c"), ("p", "q", "r"), ("test", "pool", "test"))
    assert split.positions("test").tolist() == [0, 2]
    assert split.positions("validation").tolist() == []
    assert split.positions("validation").dtype == torch.long
    assert split.counts() == {"pool": 1, "validation": 0, "test": 2}


def test_no_patient_is_torn_and_shares_are_met():
    rows, groups = many(9000)
    split = split_by_group(rows, groups, seed=0, test=0.2, validation=0.1)
    parts = dict(zip(groups, split.parts, strict=True))
    assert all(parts[g] == p for g, p in zip(groups, split.parts, strict=True))
    # 3,000 patients: four standard deviations of a share of 0.2 are 0.03
    share = {k: v / 9000 for k, v in split.counts().items()}
    assert share["test"] == pytest.approx(0.2, abs=0.03)
    assert share["validation"] == pytest.approx(0.1, abs=0.03)


def test_adding_or_losing_rows_moves_nobody():
    rows, groups = many(300)
    whole = dict(zip(rows, split_by_group(rows, groups, seed=0).parts, strict=True))
    fewer = dict(zip(rows[::2], split_by_group(rows[::2], groups[::2], seed=0).parts, strict=True))
    assert fewer == {r: whole[r] for r in rows[::2]}


def test_a_larger_test_share_only_adds_to_the_test_part():
    rows, groups = many(300)
    small = split_by_group(rows, groups, seed=0, test=0.1).positions("test")
    large = split_by_group(rows, groups, seed=0, test=0.3).positions("test")
    assert set(small.tolist()) < set(large.tolist())


def test_another_seed_is_another_split():
    rows, groups = many(300)
    assert split_by_group(rows, groups, seed=0).parts != split_by_group(rows, groups, seed=1).parts


def test_digest_names_row_patient_and_part():
    one = Split(("a", "b"), ("p", "q"), ("pool", "test"))
    assert one.digest() == Split(("a", "b"), ("p", "q"), ("pool", "test")).digest()
    others = [
        Split(("a", "c"), ("p", "q"), ("pool", "test")),
        Split(("a", "b"), ("p", "r"), ("pool", "test")),
        Split(("a", "b"), ("p", "q"), ("pool", "pool")),
        Split(("a",), ("p",), ("pool",)),
    ]
    assert len({one.digest(), *(o.digest() for o in others)}) == 5
    # sha256("a\x1fp\x1fpool\n"), so that a stored hash stays good
    assert others[3].digest() == "16b800671df2d4d30006a68d79d361aff99a7c6989fcd365319e5743f2159e42"


@pytest.mark.parametrize(("test", "validation"), [(0.5, 0.5), (-0.1, 0.2), (0.2, -0.1), (1.0, 0.0)])
def test_shares_must_leave_a_pool(test: float, validation: float):
    with pytest.raises(ConfigError, match="both must be >= 0 and leave a pool"):
        split_by_group(["a"], ["p"], seed=0, test=test, validation=validation)


def test_no_test_and_no_validation_leaves_all_in_the_pool():
    rows, groups = many(30)
    assert split_by_group(rows, groups, seed=0, test=0, validation=0).counts()["pool"] == 30
