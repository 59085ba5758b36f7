"""Throughput of the chest X-ray reader against bare decoding, as ratios of one run.

Bare is what a script of three lines does: `pydicom.dcmread(path).pixel_array`, made float32 and resized. It is run with
our own resampler, so that the ratio is the price of everything else (guards, display chain, border,
text), and with Pillow's antialiased resize, which most scripts use. The files are generated: real 512-pixel radiographs
enlarged to 1024 with noise where `--images` names a folder of them, else a smooth pattern; 12 bits in 16 with a window.

    python benchmarks/dicom_reader.py --images FOLDER

Both sides are interleaved file by file and the median over the repeats of each file is taken, in processor time for one
process and in wall time for worker processes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from modalities.chest_xray.pixels import fit_square
from modalities.chest_xray.reader import read_xray

SIZE = 224
SIDE = 1024
SYNTAXES = {
    "uncompressed": uid.ExplicitVRLittleEndian,
    "JPEG 2000 lossless": uid.JPEG2000Lossless,
    "RLE lossless": uid.RLELossless,
}


def picture(source: Path | None, rng: np.random.Generator) -> np.ndarray:
    if source is None:
        y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
        smooth = 0.5 + 0.2 * np.sin(9 * y + rng.uniform(0, 6)) + 0.2 * np.cos(7 * x)
    else:
        smooth = np.asarray(Image.open(source).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
    return np.clip(smooth * 4095 + rng.normal(0, 6, smooth.shape), 0, 4095).astype(np.uint16)


def write(path: Path, pixels: np.ndarray, syntax: uid.UID, sigmoid: bool) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    file = FileDataset(str(path), Dataset(), bytes(128), meta)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.BodyPartExamined, file.ViewPosition = "CR", "CHEST", "PA"
    file.PatientID, file.PatientSex, file.PatientAge, file.StudyInstanceUID = "1", "F", "050Y", uid.generate_uid()
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.WindowCenter, file.WindowWidth = 2000, 3800
    if sigmoid:
        file.VOILUTFunction = "SIGMOID"
    file.PixelData = pixels.astype("<u2").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if syntax != uid.ExplicitVRLittleEndian:
            file.compress(syntax)
        file.save_as(path, enforce_file_format=True)


def ours(path: Path) -> np.ndarray:
    return read_xray(path, SIZE).pixels


@dataclass(frozen=True)
class Plain:
    """Decoded pixels without a display chain."""

    pixels: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.pixels.shape
        return rows, columns

    def rows(self, first: int, end: int, out: np.ndarray | None = None) -> np.ndarray:
        return self.pixels[first:end]


def bare(path: Path) -> np.ndarray:
    return fit_square(Plain(pydicom.dcmread(path).pixel_array.astype(np.float32)), SIZE)


def bare_pillow(path: Path) -> np.ndarray:
    pixels = Image.fromarray(pydicom.dcmread(path).pixel_array.astype(np.float32))
    return np.asarray(pixels.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


READERS: dict[str, Callable[[Path], np.ndarray]] = {"ours": ours, "bare": bare, "bare, Pillow": bare_pillow}


def one_process(paths: list[Path], repeats: int) -> dict[str, float]:
    """Milliseconds of processor time a file: mean over files of the median over repeats."""
    taken = {name: np.zeros((repeats, len(paths))) for name in READERS}
    for path in paths:  # warms caches, imports and the files' pages
        for reader in READERS.values():
            reader(path)
    for repeat in range(repeats):
        for column, path in enumerate(paths):
            for name, reader in READERS.items():
                start = time.process_time_ns()
                reader(path)
                taken[name][repeat, column] = time.process_time_ns() - start
    return {name: float(np.median(values, axis=0).mean()) / 1e6 for name, values in taken.items()}


def workers(paths: list[Path], repeats: int, most: int) -> dict[tuple[str, int], float]:
    """Files a second of wall time with 1 to `most` worker processes: median over interleaved repeats."""
    rates: dict[tuple[str, int], list[float]] = {}
    pools = {count: ProcessPoolExecutor(count) for count in range(1, most + 1)}
    many = paths * max(1, 64 // len(paths))
    for repeat in range(repeats + 1):
        for count, pool in pools.items():
            for name in ("ours", "bare"):
                start = time.perf_counter()
                for _ in pool.map(READERS[name], many, chunksize=4):
                    pass
                if repeat:  # the first starts the processes
                    rates.setdefault((name, count), []).append(len(many) / (time.perf_counter() - start))
    for pool in pools.values():
        pool.shutdown()
    return {key: float(np.median(values)) for key, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=Path, help="folder of real radiographs (JPEG or PNG) to make the files from")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    found = sorted(options.images.glob("*.jpg")) + sorted(options.images.glob("*.png")) if options.images else []
    sources = (
        [found[i * len(found) // options.files] for i in range(options.files)] if found else [None] * options.files
    )
    pictures = [picture(source, rng) for source in sources]
    kind = "real" if found else "smooth"
    print(f"{options.files} files of {SIDE} x {SIDE}, 12 bits, {kind} pictures, to {SIZE} x {SIZE}")
    print("\nOne process, milliseconds of processor time a file; ratio = bare / ours, above 1 we are faster\n")
    print("| files | ours | bare | bare, Pillow | ratio | ratio to Pillow |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        groups = {}
        for label, syntax in [*SYNTAXES.items(), ("uncompressed, sigmoid", uid.ExplicitVRLittleEndian)]:
            paths = [Path(folder) / f"{label}{number}.dcm" for number in range(len(pictures))]
            for path, pixels in zip(paths, pictures, strict=True):
                write(path, pixels, syntax, label.endswith("sigmoid"))
            groups[label] = paths
            quick = max(3, options.repeats // 5) if syntax == uid.JPEG2000Lossless else options.repeats
            ms = one_process(paths, quick)
            print(
                f"| {label} | {ms['ours']:.2f} | {ms['bare']:.2f} | {ms['bare, Pillow']:.2f} "
                f"| {ms['bare'] / ms['ours']:.2f} | {ms['bare, Pillow'] / ms['ours']:.2f} |"
            )
        print("\nWorker processes, files a second of wall time; scaling = against one worker\n")
        print("| files | workers | ours | bare | ratio | scaling of ours | scaling of bare |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for label in "uncompressed", "JPEG 2000 lossless":
            rates = workers(groups[label], 3 if "JPEG" in label else 7, options.workers)
            for count in range(1, options.workers + 1):
                mine, theirs = rates["ours", count], rates["bare", count]
                print(
                    f"| {label} | {count} | {mine:.0f} | {theirs:.0f} | {mine / theirs:.2f} "
                    f"| {mine / rates['ours', 1]:.2f} | {theirs / rates['bare', 1]:.2f} |"
                )


if __name__ == "__main__":
    main()
