"""A cache that grows: what is read when files are added, changed, moved or gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_images import KILLED, SIZE, draw, opened, pixels_of, source_of
from PIL import Image

from medal.identity import PUBLIC_KEY
from modalities.chest_xray import store as module
from modalities.chest_xray.store import Item, Store, open_images

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from now on."""
    read: list[str] = []
    real = module.read_all

    def counted(jobs, workers):
        read.extend(job.path.name for job in jobs)
        return real(jobs, workers)

    monkeypatch.setattr(module, "read_all", counted)
    return read


def same(one: Store, other: Store) -> bool:
    return (one.digest, one.headers) == (other.digest, other.headers) and np.array_equal(
        pixels_of(one), pixels_of(other)
    )


def test_added_files_alone_are_read_and_the_result_is_that_of_a_fresh_opening(
    tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch
):
    items = draw(tmp_path / "in", 12)
    opened(items[:8], tmp_path / "cache")
    read = counting(monkeypatch)
    grown = opened(items[:10], tmp_path / "cache")
    again = opened(items, tmp_path / "cache")
    assert sorted(read) == ["008.png", "009.png", "010.png", "011.png"]
    sizes = sorted(len(np.load(path)) for path in again.arrays)
    assert sizes == [2, 2, 8], "no row is stored twice"
    fresh = opened(items, tmp_path / "fresh")
    assert same(again, fresh)
    assert not same(grown, fresh)
    table = (private / f"test-{fresh.digest[:16]}.csv").read_text()
    assert all(str(item.path) in table for item in items), "the new private table leads back to the old files too"


def test_what_is_read_twice_after_a_change_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 6)
    items[5].path.write_bytes(items[5].path.read_bytes()[:200])  # the reader's own words go to the private table
    opened(items, tmp_path / "cache")
    read = counting(monkeypatch)
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (24, 24), dtype=np.uint8)).save(items[0].path)
    os.utime(items[1].path, (1, 1))  # another date of the same content
    moved = Item(items[2].path.rename(tmp_path / "in" / "moved.png"), "moved.png")
    items[3].path.unlink()
    now = [items[0], items[1], moved, items[4], items[5]]
    changed = opened(now, tmp_path / "cache")
    assert sorted(read) == ["000.png", "005.png"]
    assert same(changed, opened(now, tmp_path / "fresh"))


def test_only_caches_with_the_same_settings_lend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 4)
    opened(items, tmp_path / "cache")
    read = counting(monkeypatch)
    for change in ({"name": "other"}, {"key": b"another key"}, {"body_parts": ("CHEST",)}):
        opened(items, tmp_path / "cache", **change)
        assert len(read) == 4, change
        read.clear()
    open_images(items, tmp_path / "cache", SIZE + 1, name="test", key=PUBLIC_KEY)
    assert len(read) == 4


def test_a_lender_without_its_private_table_is_not_believed(
    tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch, write_dicom, film: np.ndarray
):
    paths = [
        write_dicom(np.roll(film, i), name=f"{i}.dcm", SOPInstanceUID=f"1.2.{i}", PatientID=f"MRN{i}") for i in range(4)
    ]
    items = [Item(path, path.name) for path in paths]
    first = opened(items[:3], tmp_path / "cache")
    (private / f"test-{first.digest[:16]}.csv").unlink()
    read = counting(monkeypatch)
    second = opened(items, tmp_path / "cache")
    assert len(read) == 4
    (private / f"test-{second.digest[:16]}.csv").unlink()
    assert same(opened(items, tmp_path / "cache"), second)
    assert len(read) == 8, "the same cache is filled again where the way back is lost"
    table = (private / f"test-{second.digest[:16]}.csv").read_text()
    assert all(f"MRN{i}" in table for i in range(4))


def test_the_private_table_follows_a_file_that_moves(
    tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch, write_dicom, film: np.ndarray
):
    paths = [write_dicom(np.roll(film, i), name=f"{i}.dcm", SOPInstanceUID=f"1.2.{i}") for i in range(2)]
    before = opened([Item(path, path.name) for path in paths], tmp_path / "cache")
    paths[0] = paths[0].rename(tmp_path / "moved.dcm")
    read = counting(monkeypatch)
    after = opened([Item(path, path.name) for path in paths], tmp_path / "cache")
    assert read == []
    assert {header.id for header in after.headers} == {header.id for header in before.headers}
    table = (private / f"test-{after.digest[:16]}.csv").read_text()
    assert all(str(path) in table for path in paths)


def test_a_lender_that_is_gone_costs_a_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 5)
    first = opened(items[:3], tmp_path / "cache")
    whole = opened(items, tmp_path / "cache")
    before = pixels_of(whole)
    first.arrays[0].unlink()
    read = counting(monkeypatch)
    again = opened(items, tmp_path / "cache")
    assert len(read) == 5
    assert np.array_equal(pixels_of(again), before)


def test_fewer_files_need_no_array_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 5)
    opened(items, tmp_path / "cache")
    read = counting(monkeypatch)
    fewer = opened(items[1:4], tmp_path / "cache")
    assert read == []
    assert not fewer.arrays[0].exists()
    assert same(fewer, opened(items[1:4], tmp_path / "fresh"))
    assert torch.equal(
        source_of(fewer).images([0, 1, 2]), source_of(opened(items[1:4], tmp_path / "fresh")).images([0, 1, 2])
    )


def test_a_killed_addition_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 14)
    kept = [item for item in items if item.path.name < "004"]
    opened(kept, tmp_path / "cut")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "cut")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    read = counting(monkeypatch)
    resumed = opened(items, tmp_path / "cut")
    assert len(read) == 14 - 4 - 6
    assert same(resumed, opened(items, tmp_path / "whole"))
