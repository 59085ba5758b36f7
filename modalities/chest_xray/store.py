"""Fills the cache of decoded radiographs: every file is read once, whatever happens in between.

Under the cache folder lie, for each digest: `<digest>.npy` (files, size, size) float16, `<digest>.json` with one record
for each file that is done (pseudonyms and harmless columns only), and `<digest>.lock`. A preparation that was killed
goes on where its records end; a second process waits for the first. Float16 is what the cache holds, so a first and a
later opening give the same numbers.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medal.errors import ConfigError, EmptySource, StorageFull
from medal.identity import Pseudonyms
from medal.source import Progress, silent
from modalities.chest_xray.lock import exclusive, on_disk, write_whole
from modalities.chest_xray.reading import Job, Reading, read_all
from modalities.chest_xray.register import Register

log = logging.getLogger(__name__)
FORMAT = 1
"""Raise it when the reader's numbers change, so that older caches are not taken for new ones."""
SAVE_EVERY = 10.0
"""Seconds between two saves; at most this much work is lost when the process is killed."""
SPARE = 64 * 2**20
"""Bytes left free on the disk."""


@dataclass(frozen=True)
class Item:
    """One file of a data set.

    Args:
        path: where it lies.
        name: what identifies a raster image, such as its path under the root; distinct within a data set.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class Header:
    """What is kept of one file besides its pixels: pseudonyms and harmless columns.

    Args:
        id: pseudonym of the image.
        patient: pseudonym of the patient, "" where the file does not say.
        sex: "F", "M", "O" or "".
        age: years, or "".
        view: "PA", "AP", ... or "".
        burned_in: whether writing may be burned into the pixels.
        reason: why the file cannot be read; "" when it can.
    """

    id: str
    patient: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    burned_in: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Store:
    """A filled cache.

    Args:
        digest: hash of the content of all files and of the reading settings.
        pixels: the array of decoded images.
        size: side of an image.
        items: (n) files in the order of the array.
        headers: (n) what is known about each.
        register: the private table, for pseudonyms that are still to come.
        private: whether the identities must be hidden.
    """

    digest: str
    pixels: Path
    size: int
    items: tuple[Item, ...]
    headers: tuple[Header, ...]
    register: Register
    private: bool


def open_images(
    items: Sequence[Item],
    cache: Path,
    size: int,
    *,
    name: str,
    key: bytes,
    private: bool = True,
    table: bool = True,
    body_parts: tuple[str, ...] | None = None,
    progress: Progress = silent,
    workers: int | None = None,
) -> Store:
    """Reads what is not yet in the cache.

    Args:
        items: the files, in any order; the result does not depend on it.
        cache: folder of caches; made when missing.
        size: side of the decoded images in pixels.
        name: short name of the data set, part of the private table's name.
        key: secret of the pseudonyms.
        private: whether identities must be hidden.
        table: keep the private table from pseudonym to file, beside the key.
        body_parts: accepted body parts, as for `reader.read_xray`.
        progress: called while files are read.
        workers: processes, as for `reading.read_all`.

    Returns:
        The filled cache.

    Raises:
        ConfigError: if the size is not sensible.
        EmptySource: if there is no file.
        StorageFull: if the disk cannot hold the decoded images.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 4096:
        raise ConfigError(f"size {size!r}: expected a number of pixels from 8 to 4096, such as 224")
    if not items:
        raise EmptySource("there is no image to read; check the root of the data set")
    cache = Path(cache)
    with on_disk():
        cache.mkdir(parents=True, exist_ok=True)
    tags = Pseudonyms(key)
    ordered = sorted(items, key=lambda item: tags.of("F", item.name))
    settings = json.dumps([FORMAT, size, sorted(body_parts) if body_parts is not None else None])
    total = hashlib.blake2b(settings.encode(), digest_size=16)
    with on_disk():
        for item, content in zip(ordered, _contents(ordered, cache, key, progress), strict=True):
            total.update(f"\n{tags.of('F', item.name)} {content}".encode())
    digest = total.hexdigest()
    with exclusive(cache / f"{digest}.lock", lambda: progress("waiting for another process", 0, len(items))):
        register = Register(key, f"{name}-{digest[:16]}" if table else None)
        headers = _fill(ordered, cache / digest, size, body_parts, register, progress, workers)
    return Store(digest, cache / f"{digest}.npy", size, tuple(ordered), headers, register, private)


def _contents(items: Sequence[Item], cache: Path, key: bytes, progress: Progress) -> list[str]:
    """A hash of each file; files whose size and times have not changed are not read again."""
    tags = Pseudonyms(key)
    known: dict[str, list[int | str]] = {}
    store = cache / "contents.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}

    unreadable: list[int | str] = [0, 0, 0, "unreadable"]

    def content(item: Item) -> tuple[str, list[int | str]]:
        tag = tags.of("F", str(item.path.absolute()))
        try:
            state = item.path.stat()
            times: list[int | str] = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
            old = known.get(tag)
            if isinstance(old, list) and old[:3] == times:
                return tag, old
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
                return tag, unreadable
            with item.path.open("rb") as handle:
                return tag, [*times, hashlib.file_digest(handle, "blake2b").hexdigest()[:32]]
        except OSError:
            return tag, unreadable

    out, changed = [], False
    with ThreadPoolExecutor(4) as threads:
        for done, (tag, entry) in enumerate(threads.map(content, items), 1):
            out.append(str(entry[3]))
            if known.get(tag) != entry and entry[3] != "unreadable":
                known[tag], changed = entry, True
            if done % 64 == 0 or done == len(items):
                progress("checking files", done, len(items))
    if changed:
        write_whole(store, json.dumps(known))
    return out


def _fill(
    items: Sequence[Item],
    stem: Path,
    size: int,
    body_parts: tuple[str, ...] | None,
    register: Register,
    progress: Progress,
    workers: int | None,
) -> tuple[Header, ...]:
    records = _records(stem, len(items), size)
    todo = [i for i, record in enumerate(records) if record is None]
    if todo:
        _room(stem, len(items), size)
        done = len(items) - len(todo)
        progress("reading images", done, len(items))
        pixels = np.lib.format.open_memmap(stem.with_suffix(".npy"), mode="r+")
        saved = time.monotonic()
        jobs = [Job(items[i].path, size, body_parts) for i in todo]
        try:
            for position, reading in read_all(jobs, workers):
                i, done = todo[position], done + 1
                if reading.pixels is not None:
                    pixels[i] = reading.pixels
                records[i] = _header(items[i], reading, register)
                progress("reading images", done, len(items))
                if time.monotonic() - saved > SAVE_EVERY:
                    _save(pixels, records, stem, register)
                    saved = time.monotonic()
        finally:
            _save(pixels, records, stem, register)
    return _distinct(items, [record for record in records if record is not None], register)


def _header(item: Item, reading: Reading, register: Register) -> Header:
    if reading.reason:
        note = " | ".join(part for part in (str(item.path), reading.detail) if part)
        return Header(register.of("I", item.name, note), reason=reading.reason)
    return Header(
        id=register.of("I", reading.uid or item.name, str(item.path)),
        patient=register.of("P", reading.patient) if reading.patient else "",
        sex=reading.sex,
        age=reading.age,
        view=reading.view,
        burned_in=reading.burned_in,
    )


def _distinct(items: Sequence[Item], headers: Sequence[Header], register: Register) -> tuple[Header, ...]:
    """Of several files with one unique identifier the first stands; the others are quarantined."""
    seen: set[str] = set()
    out = []
    for item, header in zip(items, headers, strict=True):
        if header.id in seen:
            name = register.of("I", item.name, str(item.path))
            header = Header(name, reason="another file has the same SOPInstanceUID; keep one of them")
        seen.add(header.id)
        out.append(header)
    return tuple(out)


def _records(stem: Path, count: int, size: int) -> list[Header | None]:
    """What an earlier run has done, as far as array and records fit together."""
    try:
        stored = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if pixels.shape == (count, size, size) and pixels.dtype == np.float16 and len(stored) == count:
            return [None if record is None else Header(**record) for record in stored]
    except FileNotFoundError:
        return [None] * count
    except (OSError, ValueError, TypeError):
        pass
    log.warning("the cache of decoded images is damaged; reading the files again")
    stem.with_suffix(".json").unlink(missing_ok=True)
    stem.with_suffix(".npy").unlink(missing_ok=True)
    return [None] * count


def _room(stem: Path, count: int, size: int) -> None:
    """Takes the whole array from the disk beforehand: a full disk would kill a writer of mapped memory.

    Raises:
        StorageFull: with what is needed and what is free.
    """
    path = stem.with_suffix(".npy")
    if path.exists():
        return
    need, free = count * size * size * 2, shutil.disk_usage(stem.parent).free
    if need + SPARE > free:
        raise StorageFull(
            f"{count:,} images need {need / 2**20:,.0f} MiB and {SPARE / 2**20:,.0f} MiB to spare, "
            f"the disk of the cache has {free / 2**20:,.0f} MiB free; "
            "free space, choose another cache folder, or a smaller size"
        )
    stem.with_suffix(".json").unlink(missing_ok=True)
    draft = path.with_suffix(".part")
    try:
        with on_disk(), draft.open("wb") as handle:
            header = {"descr": "<f2", "fortran_order": False, "shape": (count, size, size)}
            np.lib.format.write_array_header_1_0(handle, header)
            handle.flush()
            _reserve(handle, need)
    except StorageFull:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(path)


def _reserve(handle: BinaryIO, need: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle.fileno(), handle.tell(), need)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    block = bytes(2**20)
    for start in range(0, need, len(block)):
        handle.write(block[: need - start])


def _save(pixels: np.memmap, records: Sequence[Header | None], stem: Path, register: Register) -> None:
    """Pixels first, then the links, then the records that declare both done."""
    with on_disk():
        pixels.flush()
        register.save()
        write_whole(
            stem.with_suffix(".json"),
            json.dumps([None if record is None else dataclasses.asdict(record) for record in records]),
        )
