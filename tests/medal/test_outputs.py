"""Outputs: the same blocks with and without a cache, no half rows, no more than a block in memory."""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medal.errors import MissingOutput, OutputTooLarge, StorageFull
from medal.outputs import Chunk, OutputCache, Outputs

ROWS = 23


class Producer:
    """Made-up outputs that notes what it was asked."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        self.made: Mapping[str, Tensor] = {
            "marginals": torch.rand(ROWS, 1, 3, generator=g),
            "draws": torch.rand(ROWS, 4, 3, generator=g),
            "features": torch.randn(ROWS, 5, generator=g),
        }
        self.calls: list[tuple[list[int], list[str]]] = []

    def __call__(self, rows: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
        self.calls.append((rows.tolist(), sorted(names)))
        return {n: self.made[n][rows] for n in names}


def outputs_of(producer: Producer, folder: Path | None = None, batch: int = 4) -> Outputs:
    cache = OutputCache(folder, ROWS) if folder is not None else None
    return Outputs(producer.made, producer, cache, batch)


BOTH = frozenset({"marginals", "features"})


# ---- chunks and cache


@pytest.mark.parametrize("rows", [list(range(ROWS)), [20, 3, 4, 5, 11, 0], [7]])
def test_cached_and_uncached_blocks_are_equal_bit_for_bit(tmp_path: Path, rows: list[int]):
    wanted = torch.tensor(rows)
    plain = list(outputs_of(Producer()).chunks(BOTH, wanted))
    first = list(outputs_of(Producer(), tmp_path).chunks(BOTH, wanted))
    spy = Producer()
    again = list(outputs_of(spy, tmp_path).chunks(BOTH, wanted))
    assert spy.calls == []
    for blocks in (first, again):
        for a, b in zip(plain, blocks, strict=True):
            assert torch.equal(a.rows, b.rows)
            assert a.data.keys() == b.data.keys() == BOTH
            assert all(torch.equal(a.data[n], b.data[n]) for n in BOTH)


def test_only_what_is_needed_is_computed_and_only_once(tmp_path: Path):
    spy = Producer()
    outputs = outputs_of(spy, tmp_path)
    list(outputs.chunks(frozenset({"features"}), torch.arange(8)))
    list(outputs.chunks(BOTH, torch.arange(8)))
    assert spy.calls == [
        ([0, 1, 2, 3], ["features"]),
        ([4, 5, 6, 7], ["features"]),
        ([0, 1, 2, 3], ["marginals"]),
        ([4, 5, 6, 7], ["marginals"]),
    ]


def test_cached_rows_serve_blocks_of_another_shape(tmp_path: Path):
    spy = Producer()
    list(outputs_of(spy, tmp_path, batch=4).chunks(BOTH, torch.arange(ROWS)))
    spy.calls.clear()
    found = outputs_of(spy, tmp_path, batch=7).get("features", torch.tensor([22, 1, 9]))
    assert torch.equal(found, spy.made["features"][[22, 1, 9]])
    assert spy.calls == []


def test_reading_in_blocks_holds_no_more_than_a_block():
    alive: list[weakref.ref[Tensor]] = []
    most = 0
    for chunk in outputs_of(Producer(), batch=2).chunks(BOTH, torch.arange(ROWS)):
        assert len(chunk.rows) <= 2
        alive.append(weakref.ref(chunk.data["features"]))
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 12
    # the block in the loop's hand, and the one that takes its place
    assert most <= 2


def test_progress_is_told_after_each_block():
    told: list[tuple[str, int, int]] = []
    spy = Producer()
    outputs = Outputs(spy.made, spy, batch=10, progress=lambda *a: told.append(a))
    list(outputs.chunks(BOTH, torch.arange(ROWS)))
    assert [(done, total) for _, done, total in told] == [(10, 23), (20, 23), (23, 23)]


def test_outputs_are_float32_on_the_cpu_without_gradient():
    def produce(rows: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
        return {"features": torch.ones(len(rows), 2, dtype=torch.float64, requires_grad=True)}

    found = Outputs({"features"}, produce).get("features", torch.arange(3))
    assert (found.dtype, found.requires_grad, found.device.type) == (torch.float32, False, "cpu")


def test_an_interrupted_write_leaves_no_half_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The process dies after the values of a block, before their checksums: the rows are computed again."""
    spy = Producer()
    list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(4)))
    real = Path.open

    def dying(self: Path, *args, **kwargs):
        if self.name == "features.sums.npy":
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", dying)
    with pytest.raises(KeyboardInterrupt):
        list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(4, 8)))
    monkeypatch.undo()
    spy.calls.clear()
    found = outputs_of(spy, tmp_path).get("features", torch.arange(12))
    assert torch.equal(found, spy.made["features"][:12])
    assert [rows for rows, _ in spy.calls] == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_row_whose_pages_were_lost_is_computed_again(tmp_path: Path):
    """After a power cut, a checksum may have reached the disk and its row not."""
    spy = Producer()
    list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(ROWS)))
    values = np.lib.format.open_memmap(tmp_path / "features.npy", mode="r+")
    values[5] = 0
    values.flush()
    del values
    spy.calls.clear()
    assert torch.equal(outputs_of(spy, tmp_path).get("features", torch.arange(ROWS)), spy.made["features"])
    assert spy.calls == [([4, 5, 6, 7], ["features"])]


@pytest.mark.parametrize("harm", ["truncate", "garbage", "no sums", "other length"])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, harm: str):
    spy = Producer()
    list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(ROWS)))
    path = tmp_path / "features.npy"
    if harm == "truncate":
        path.write_bytes(path.read_bytes()[:-40])
    elif harm == "garbage":
        path.write_bytes(b"no table")
    elif harm == "no sums":
        (tmp_path / "features.sums.npy").unlink()
    else:
        np.save(path, np.zeros((ROWS - 1, 5), np.float32))
    for _ in range(2):
        found = outputs_of(spy, tmp_path).get("features", torch.arange(ROWS))
        assert torch.equal(found, spy.made["features"])


def test_a_row_of_zeros_is_a_row(tmp_path: Path):
    calls = []

    def produce(rows: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
        calls.append(rows.tolist())
        return {"features": torch.zeros(len(rows), 2)}

    for _ in range(2):
        outputs = Outputs({"features"}, produce, OutputCache(tmp_path, 4))
        assert torch.equal(outputs.get("features", torch.arange(4)), torch.zeros(4, 2))
    assert calls == [[0, 1, 2, 3]]


def test_a_row_whose_checksum_is_zero_is_a_row(tmp_path: Path):
    # the checksum of these four bytes is 0, which in the table stands for a row that was not written
    value = torch.from_numpy(np.frombuffer(bytes.fromhex("9d0ad96d"), dtype=np.float32).copy())
    cache = OutputCache(tmp_path, 1)
    assert cache.read("features", torch.tensor([0])) is None
    cache.write("features", torch.tensor([0]), value[None])
    found = OutputCache(tmp_path, 1).read("features", torch.tensor([0]))
    assert found is not None
    assert torch.equal(found, value[None])


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spy = Producer()
    list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(4)))

    def full(self: Path, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageFull, match="no space left"):
        list(outputs_of(spy, tmp_path).chunks(BOTH, torch.arange(4, 8)))


# ---- get


def test_get_gives_all_rows_in_the_order_asked():
    spy = Producer()
    rows = torch.tensor([5, 22, 0, 1, 9, 8])
    assert torch.equal(outputs_of(spy).get("features", rows), spy.made["features"][rows])
    assert torch.equal(outputs_of(spy).get("prediction", rows), spy.made["marginals"][rows])


def test_get_refuses_a_result_above_the_cap_before_it_holds_two_blocks():
    spy = Producer()
    size = 4 * ROWS * 5
    outputs = Outputs(spy.made, spy, batch=4, cap=size - 1)
    with pytest.raises(OutputTooLarge, match=r"'features' of shape \(23, 5\) takes .* go through `chunks` and reduce"):
        outputs.get("features", torch.arange(ROWS))
    assert len(spy.calls) == 1
    assert Outputs(spy.made, spy, batch=4, cap=size).get("features", torch.arange(ROWS)).shape == (ROWS, 5)


# ---- names


@pytest.mark.parametrize(
    ("available", "needs", "message"),
    [
        ({"marginals"}, "draws", "bald needs 'draws'; the learner gives marginals; .*use: medal.learners.MCDropout"),
        ({"marginals"}, "evidence", "bald needs 'evidence'; .*use: medal.learners.Beta"),
        ({"marginals"}, "gradients", "take a learner that gives 'gradients'"),
        ({"features"}, "prediction", "needs 'prediction'; the learner gives features"),
        (set(), "features", "the learner gives nothing"),
    ],
)
def test_what_is_missing_is_named_with_what_to_add(available: set[str], needs: str, message: str):
    outputs = Outputs(available, lambda *_: {})
    with pytest.raises(MissingOutput, match=message):
        outputs.resolve({needs}, "bald")


@pytest.mark.parametrize("kind", ["marginals", "probs", "evidence"])
def test_prediction_is_the_learners_own_kind(kind: str):
    outputs = Outputs({kind, "features"}, lambda *_: {})
    assert outputs.resolve({"prediction", "features"}, "x") == {kind, "features"}


def test_the_marginals_of_an_evidential_learner_are_its_prediction():
    assert Outputs({"marginals", "evidence"}, lambda *_: {}).resolve({"prediction"}, "x") == {"marginals"}


def test_a_learner_that_does_not_give_what_it_offers_is_told():
    outputs = Outputs({"features", "draws"}, lambda rows, names: {"features": torch.zeros(len(rows), 1)})
    with pytest.raises(MissingOutput, match=r"gave \['features'\] when asked for \['draws'\]"):
        outputs.get("draws", torch.arange(2))


def test_an_output_that_was_not_asked_for_is_not_in_the_chunk():
    chunk = next(outputs_of(Producer()).chunks(frozenset({"features"}), torch.arange(2)))
    with pytest.raises(
        MissingOutput, match=r"'draws' was not computed, only \['features'\]; add it to the score's `needs`"
    ):
        chunk.get("draws")
    with pytest.raises(MissingOutput, match="no prediction was computed"):
        chunk.distribution()


# ---- distributions


def chunk(**data: Tensor) -> Chunk:
    return Chunk(torch.arange(len(next(iter(data.values())))), data)


def test_a_label_is_a_distribution_over_absent_and_present():
    p = torch.tensor([[[0.25, 1.0]]])
    assert chunk(marginals=p).distribution().tolist() == [[[[0.75, 0.25], [0.0, 1.0]]]]


def test_draws_take_the_place_of_the_one_prediction():
    p, draws = torch.rand(2, 1, 3), torch.rand(2, 7, 3)
    found = chunk(marginals=p, draws=draws).distribution()
    assert found.shape == (2, 7, 3, 2)
    assert torch.equal(found[..., 1], draws)
    assert chunk(marginals=p).distribution().shape == (2, 1, 3, 2)


def test_classes_of_a_map_move_to_the_last_axis():
    probs = torch.softmax(torch.randn(2, 1, 5, 4, 3), 2)
    found = chunk(probs=probs).distribution()
    assert found.shape == (2, 1, 4, 3, 5)
    assert torch.equal(found[1, 0, 2, 1], probs[1, 0, :, 2, 1])
    draws = torch.softmax(torch.randn(2, 6, 5, 4, 3), 2)
    assert chunk(probs=probs, draws=draws).distribution().shape == (2, 6, 4, 3, 5)


def test_classes_without_a_map():
    assert chunk(probs=torch.full((2, 1, 4), 0.25)).distribution().shape == (2, 1, 4)


def test_evidence_alone_stands_for_its_mean():
    # Beta(3, 1) has the mean 0.75
    found = chunk(evidence=torch.tensor([[[3.0, 1.0]]])).distribution()
    assert found.tolist() == [[[[0.25, 0.75]]]]


def test_draws_alone_do_not_say_what_they_are_of():
    with pytest.raises(MissingOutput, match="add 'prediction' to `needs`"):
        chunk(draws=torch.rand(2, 7, 3)).distribution()


def test_blocks_from_elsewhere_are_the_same_blocks_and_only_the_missing_ones(tmp_path: Path) -> None:
    asked: list[tuple[list[int], list[str]]] = []
    here: list[list[int]] = []

    def produce(rows: Tensor, names: frozenset[str]) -> dict[str, Tensor]:
        here.append(rows.tolist())
        return {n: rows[:, None].float() * (2 if n == "a" else 3) for n in names}

    def elsewhere(work: Sequence[tuple[Tensor, frozenset[str]]]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        asked.extend((rows.tolist(), sorted(names)) for rows, names in work)
        for rows, names in list(work)[:0:-1]:  # in another order, and the first does not come
            yield rows, {n: rows[:, None].float() * (2 if n == "a" else 3) for n in names}

    outputs = Outputs({"a", "b"}, produce, OutputCache(tmp_path / "o", 10), batch=3)
    list(outputs.chunks(frozenset({"a"}), torch.arange(3)))
    here.clear()
    outputs.elsewhere = elsewhere
    chunks = list(outputs.chunks(frozenset({"a", "b"}), torch.arange(10)))
    assert asked == [([0, 1, 2], ["b"]), ([3, 4, 5], ["a", "b"]), ([6, 7, 8], ["a", "b"]), ([9], ["a", "b"])]
    assert here == [[0, 1, 2]]
    assert [c.rows.tolist() for c in chunks] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert torch.equal(torch.cat([c.get("b") for c in chunks]).flatten(), 3.0 * torch.arange(10))
    asked.clear()
    list(outputs.chunks(frozenset({"a", "b"}), torch.arange(10)))  # nothing is missing any more
    assert asked == []
    fresh = Outputs({"a", "b"}, produce, OutputCache(tmp_path / "p", 10), batch=3)
    list(fresh.chunks(frozenset({"a"}), torch.arange(6)))
    fresh.elsewhere = elsewhere
    list(fresh.chunks(frozenset({"a"}), torch.arange(9)))  # one missing block is not worth the way
    assert asked == []


def test_nobody_elsewhere_is_asked_without_a_cache() -> None:
    outputs = Outputs({"a"}, lambda rows, _: {"a": rows[:, None].float()}, batch=2)
    outputs.elsewhere = lambda work: pytest.fail("nothing could be kept")
    assert outputs.get("a", torch.arange(5)).flatten().tolist() == [0, 1, 2, 3, 4]
