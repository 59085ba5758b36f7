"""Small image files in a folder, and their cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medal.identity import PUBLIC_KEY
from modalities.chest_xray.image_source import ImageSource
from modalities.chest_xray.store import Item, Store, open_images

SIZE = 16
KILLED = """
import os, sys
from pathlib import Path
from medal.identity import PUBLIC_KEY
from modalities.chest_xray import store
real, store.SAVE_EVERY = store.read_all, 0.0
def dying(jobs, workers):
    for done, found in enumerate(real(jobs, 1)):
        if done == 6:
            os.kill(os.getpid(), 9)
        yield found
store.read_all = dying
items = [store.Item(path, path.name) for path in sorted(Path(sys.argv[1]).iterdir())]
store.open_images(items, Path(sys.argv[2]), 16, name="test", key=PUBLIC_KEY)
"""
"""Prepares a cache and is killed after six files."""


def draw(folder: Path, count: int, side: int = 24) -> list[Item]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return [Item(path, path.name) for path in sorted(folder.iterdir())]


def opened(items: list[Item], cache: Path, **kwargs) -> Store:
    return open_images(items, cache, SIZE, **{"name": "test", "key": PUBLIC_KEY, "workers": 1, **kwargs})


def pixels_of(store: Store) -> np.ndarray:
    """Every file's pixels in the order of the items, from whichever array they lie in."""
    arrays = {array: np.load(store.arrays[array]) for array, _ in store.places}
    return np.stack([arrays[array][row] for array, row in store.places])


def source_of(store: Store, **kwargs) -> ImageSource:
    rows = sorted((h.id, i) for i, h in enumerate(store.headers) if not h.reason)
    values = {
        "name": "test",
        "labels": ("Edema",),
        "ids": tuple(name for name, _ in rows),
        "groups": tuple(name for name, _ in rows),
        "splits": None,
        "meta": {},
        "quarantined": {},
        "digest": store.digest,
        "arrays": store.arrays,
        "places": [store.places[i] for _, i in rows],
        "paths": [str(store.items[i].path) for _, i in rows],
        "size": store.size,
    }
    return ImageSource(**{**values, **kwargs})
