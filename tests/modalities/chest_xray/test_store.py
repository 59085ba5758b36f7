from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_images import KILLED, SIZE, draw, opened, pixels_of, source_of
from PIL import Image

from medal.errors import ConfigError, EmptySource, StorageFull, StudyError, UnitError
from medal.identity import PUBLIC_KEY
from medal.source import Source
from modalities.chest_xray import store as module
from modalities.chest_xray.image_source import PREVIEW
from modalities.chest_xray.reader import read_xray
from modalities.chest_xray.reading import CRASHED, Job, read_all
from modalities.chest_xray.store import Item, Store, open_images

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


def test_the_cache_holds_what_the_reader_gives_in_float16(tmp_path: Path):
    store = opened(draw(tmp_path / "in", 5), tmp_path / "cache")
    array = pixels_of(store)
    assert array.dtype == np.float16
    assert array.shape == (5, SIZE, SIZE)
    for row, item in zip(array, store.items, strict=True):
        assert np.array_equal(row, read_xray(item.path, SIZE).pixels.astype(np.float16))


def test_a_second_opening_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 5)
    first = opened(items, tmp_path / "cache")

    def refuse(*_: object) -> None:
        raise RuntimeError("a file was read again")

    monkeypatch.setattr(module, "read_all", refuse)
    again = opened(items, tmp_path / "cache")
    assert again.headers == first.headers
    assert again.digest == first.digest


def test_order_of_the_files_changes_nothing(tmp_path: Path):
    items = draw(tmp_path / "in", 9)
    first = opened(items, tmp_path / "one")
    second = opened(items[::-1], tmp_path / "two")
    assert (first.headers, first.digest) == (second.headers, second.digest)
    assert np.array_equal(pixels_of(first), pixels_of(second))


def test_the_digest_follows_content_and_settings_but_not_dates(tmp_path: Path):
    items = draw(tmp_path / "in", 3)
    cache = tmp_path / "cache"
    first = opened(items, cache).digest
    os.utime(items[0].path, (1, 1))
    assert opened(items, cache).digest == first
    assert open_images(items, cache, SIZE + 1, name="test", key=PUBLIC_KEY).digest != first
    assert opened(items, cache, body_parts=("CHEST",)).digest != first
    Image.new("L", (30, 30), 9).save(items[0].path)
    assert opened(items, cache).digest != first


def test_workers_give_the_same_result_as_one_process(tmp_path: Path):
    items = draw(tmp_path / "in", 70)
    items[3].path.write_bytes(b"broken")
    alone, together = opened(items, tmp_path / "one"), opened(items, tmp_path / "two", workers=2)
    assert alone.headers == together.headers
    assert np.array_equal(pixels_of(alone), pixels_of(together))


class Poison:
    """Ends the process that unpickles it, as a crashing decoder would."""

    def __reduce__(self) -> tuple:
        return os._exit, (1,)


@pytest.mark.slow
def test_a_file_that_kills_its_worker_costs_only_itself(tmp_path: Path):
    items = draw(tmp_path / "in", 70)
    jobs = [Job(item.path, SIZE, None) for item in items]
    jobs[20] = Job(Poison(), SIZE, None)  # type: ignore[arg-type]
    readings = dict(read_all(jobs, workers=2))
    assert sorted(readings) == list(range(70))
    assert [i for i, reading in readings.items() if reading.reason] == [20]
    assert readings[20].reason == CRASHED


UNGUARDED = """
import sys
from pathlib import Path
from medal.identity import PUBLIC_KEY
from modalities.chest_xray.store import Item, open_images
items = [Item(path, path.name) for path in sorted(Path(sys.argv[1]).iterdir())]
store = open_images(items, Path(sys.argv[2]), 16, name="test", key=PUBLIC_KEY, workers=2)
print(sum(not header.reason for header in store.headers))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_read_in_one_process(tmp_path: Path):
    draw(tmp_path / "in", 70)
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "in"), str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "70"
    assert "put its code under" in done.stderr


def test_broken_files_are_quarantined_and_the_others_stand(tmp_path: Path, private: Path):
    items = draw(tmp_path / "in", 4)
    items[1].path.write_bytes(b"")
    items[2].path.unlink()
    pipe = tmp_path / "in" / "pipe.png"
    os.mkfifo(pipe)
    store = opened([*items, Item(pipe, "pipe.png")], tmp_path / "cache")
    reasons = {item.name: header.reason for item, header in zip(store.items, store.headers, strict=True)}
    assert sorted(name for name, reason in reasons.items() if not reason) == ["000.png", "003.png"]
    assert "empty" in reasons["001.png"]
    assert "does not exist" in reasons["002.png"]
    assert "pipe" in reasons["pipe.png"]
    table = (private / f"test-{store.digest[:16]}.csv").read_text()
    assert str(items[1].path) in table, "the private table leads back to the file"


def test_a_second_file_of_one_image_is_quarantined(tmp_path: Path, write_dicom, film: np.ndarray):
    paths = [write_dicom(film, name=name, SOPInstanceUID="1.2.3.4") for name in ("a.dcm", "b.dcm")]
    store = opened([Item(path, path.name) for path in paths], tmp_path / "cache")
    assert sorted(bool(header.reason) for header in store.headers) == [False, True]
    assert any("same SOPInstanceUID" in header.reason for header in store.headers)
    assert len({header.id for header in store.headers}) == 2


def test_a_killed_preparation_goes_on_where_it_was(tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 10)
    whole = opened(items, tmp_path / "whole")
    table = (private / f"test-{whole.digest[:16]}.csv").read_text()
    (private / f"test-{whole.digest[:16]}.csv").unlink()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "cut")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    read: list[Path] = []
    real = module.read_all

    def counted(jobs, workers):
        read.extend(job.path for job in jobs)
        return real(jobs, workers)

    monkeypatch.setattr(module, "read_all", counted)
    resumed = opened(items, tmp_path / "cut")
    assert len(read) == 4, "the six files that were saved are not read again"
    assert resumed.headers == whole.headers
    assert np.array_equal(pixels_of(resumed), pixels_of(whole))
    assert (private / f"test-{whole.digest[:16]}.csv").read_text() == table, "no link of the killed run is lost"


def test_two_at_once_read_every_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 12)
    read: list[Path] = []
    real = module.read_all

    def counted(jobs, workers):
        read.extend(job.path for job in jobs)
        return real(jobs, workers)

    monkeypatch.setattr(module, "read_all", counted)
    found: list[Store] = []
    threads = [threading.Thread(target=lambda: found.append(opened(items, tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 12
    assert found[0].headers == found[1].headers


def test_a_disk_that_is_too_small_is_seen_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(
        StorageFull, match="3 images need 0 MiB and 64 MiB to spare, the disk of the cache has 0 MiB free"
    ):
        opened(draw(tmp_path / "in", 3), tmp_path / "cache")


def test_a_disk_that_fills_up_is_a_typed_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    items = draw(tmp_path / "in", 3)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageFull, match="what was stored before is whole"):
            opened(items, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy")) + list((tmp_path / "cache").glob("*.part"))
    assert not any(header.reason for header in opened(items, tmp_path / "cache").headers)


def test_file_systems_that_cannot_reserve_space_get_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = draw(tmp_path / "in", 3)

    def unsupported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    one = opened(items, tmp_path / "one")
    monkeypatch.undo()
    assert np.array_equal(pixels_of(one), pixels_of(opened(items, tmp_path / "two", table=False)))


@pytest.mark.parametrize("damage", ["npy", "json"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture):
    items = draw(tmp_path / "in", 3)
    first = opened(items, tmp_path / "cache")
    before = pixels_of(first)
    file = first.arrays[0].with_suffix(f".{damage}")
    file.write_bytes(file.read_bytes()[:50])
    second = opened(items, tmp_path / "cache")
    assert "damaged" in caplog.text
    assert np.array_equal(pixels_of(second), before)
    assert second.headers == first.headers


@pytest.mark.parametrize("size", [7, 5000, "64", True])
def test_sizes_without_sense_are_refused(tmp_path: Path, size: object):
    with pytest.raises(ConfigError, match="expected a number of pixels from 8 to 4096"):
        open_images(draw(tmp_path / "in", 1), tmp_path, size, name="t", key=PUBLIC_KEY)  # type: ignore[arg-type]


def test_no_file_is_an_error(tmp_path: Path):
    with pytest.raises(EmptySource, match="no image to read"):
        opened([], tmp_path)


def test_the_source_gives_rows_as_asked(tmp_path: Path):
    source = source_of(opened(draw(tmp_path / "in", 6), tmp_path / "cache"))
    assert isinstance(source, Source)
    every = source.images(range(6))
    assert every.dtype == torch.float32
    assert tuple(every.shape) == (6, *source.shape) == (6, 1, SIZE, SIZE)
    assert torch.equal(source.images(torch.tensor([4, 1, 4])), every[[4, 1, 4]])
    assert tuple(source.images([]).shape) == (0, 1, SIZE, SIZE)
    every.zero_()
    assert source.images([0]).sum() > 0, "what was handed out is a copy"
    with pytest.raises(UnitError, match="rows 0 to 5"):
        source.images([6])
    with pytest.raises(UnitError, match="rows 0 to 5"):
        source.images([-1])


def test_the_source_maps_its_cache_and_travels_to_another_process(tmp_path: Path):
    source = source_of(opened(draw(tmp_path / "in", 6), tmp_path / "cache"))
    every = source.images(range(6))
    assert isinstance(source._maps[0], np.memmap)
    packed = pickle.dumps(source)
    assert len(packed) < 6 * SIZE * SIZE * 2, "the pixels stay on disk"
    assert torch.equal(pickle.loads(packed).images(range(6)), every)


def test_previews_come_from_the_file_and_else_from_the_cache(tmp_path: Path):
    store = opened(draw(tmp_path / "in", 2), tmp_path / "cache")
    source = source_of(store)
    shown = Image.open(io.BytesIO(source.preview(0)))
    assert (shown.mode, shown.size) == ("L", (PREVIEW, PREVIEW))
    hidden = source_of(store, paths=["", ""])
    cached = Image.open(io.BytesIO(hidden.preview(0)))
    assert cached.size == (SIZE, SIZE)
    assert np.array_equal(np.asarray(cached), np.round(source.images([0])[0, 0].numpy() * 255).astype(np.uint8))
    for item in store.items:
        item.path.unlink()
    assert source.preview(0) == hidden.preview(0)


def test_a_cache_that_is_gone_is_a_typed_error(tmp_path: Path):
    store = opened(draw(tmp_path / "in", 2), tmp_path / "cache")
    store.arrays[0].unlink()
    with pytest.raises(StudyError, match="open the data set again"):
        source_of(store).images([0])


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StudyError, match="cannot write in"):
        opened(draw(tmp_path / "in", 1), tmp_path / "file")
