import hashlib
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medal.seeding import Seed


def test_integer_by_hand():
    digest = hashlib.sha256(b"7\x1fround 3\x1fstrategy").digest()
    assert (Seed(7) / "round 3" / "strategy").integer() == int.from_bytes(digest[:8], "big") // 2


def test_golden_draws():
    """A change here moves every pick of every study."""
    branch = Seed(0) / "round 1" / "strategy"
    assert branch.integer() == 6552488313550940620
    assert torch.randperm(10, generator=branch.torch()).tolist() == [3, 8, 0, 4, 9, 1, 6, 5, 7, 2]
    assert branch.numpy().integers(0, 1000, 5).tolist() == [179, 855, 903, 955, 712]


def test_the_same_branch_starts_anew_each_time():
    branch = Seed(3) / "start"
    assert torch.equal(torch.rand(5, generator=branch.torch()), torch.rand(5, generator=branch.torch()))
    assert np.array_equal(branch.numpy().random(5), branch.numpy().random(5))


@given(st.integers(), st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs"))), max_size=4))
def test_seeds_fit_both_libraries_and_depend_on_the_names_alone(root, path):
    branch = Seed(root)
    for name in path:
        branch = branch / name
    assert branch == Seed(root, tuple(path))
    assert 0 <= branch.integer() < 2**63
    branch.torch()
    branch.numpy()


def test_branches_differ():
    seeds = [
        Seed(r) / f"round {n}" / name for r in range(5) for n in range(20) for name in ("strategy", "learner", "oracle")
    ]
    seeds += [Seed(0) / "ab" / "c", Seed(0) / "a" / "bc", Seed(0) / "abc", Seed(0), Seed(0) / "", Seed(0) / "" / ""]
    assert len({s.integer() for s in seeds}) == len(seeds)


@pytest.mark.parametrize("a", [Seed(1) / "2", Seed(1) / "round" / 0])
def test_root_and_names_cannot_be_confused(a):
    assert a.integer() != Seed(12).integer()
    assert (Seed(1) / 2) == (Seed(1) / "2")  # a name is its text


def test_a_new_consumer_shifts_nobody():
    before = torch.rand(3, generator=(Seed(0) / "b").torch())
    torch.rand(3, generator=(Seed(0) / "a").torch())
    assert torch.equal(torch.rand(3, generator=(Seed(0) / "b").torch()), before)


def test_draws_are_spread_evenly():
    firsts = torch.stack([torch.rand(1, generator=(Seed(0) / i).torch())[0] for i in range(2000)])
    counts = torch.histc(firsts, bins=10, min=0, max=1)
    assert float(((counts - 200) ** 2 / 200).sum()) < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001


def test_global_state_is_neither_read_nor_changed():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr]  # noqa: NPY002
    branch = Seed(0) / "x"
    first = (torch.rand(2, generator=branch.torch()).tolist(), branch.numpy().random(2).tolist())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]  # noqa: NPY002
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    assert (torch.rand(2, generator=branch.torch()).tolist(), branch.numpy().random(2).tolist()) == first


def test_globally_seeds_the_block_and_gives_the_state_back():
    torch.manual_seed(1)
    untouched = torch.rand(2)
    torch.manual_seed(1)
    with Seed(0).globally():
        inside = torch.nn.Linear(3, 3).weight.detach().clone()
    assert torch.equal(torch.rand(2), untouched)
    with Seed(0).globally():
        assert torch.equal(torch.nn.Linear(3, 3).weight, inside)
    with (Seed(0) / "other").globally():
        assert not torch.equal(torch.nn.Linear(3, 3).weight, inside)


def test_globally_gives_the_state_back_after_an_error():
    def fails():
        with Seed(0).globally():
            torch.rand(1)
            raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        fails()
    assert torch.equal(torch.get_rng_state(), before)


def test_globally_nests():
    with Seed(0).globally():
        torch.rand(1)
        expected = torch.rand(1)
    with Seed(0).globally():
        torch.rand(1)
        with Seed(1).globally():
            torch.rand(5)
        assert torch.equal(torch.rand(1), expected)
