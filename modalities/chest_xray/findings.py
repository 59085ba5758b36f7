"""What disease adds to the phantom's chest: one function for each finding (survey, section 5.1.1).

Names follow NIH ChestX-ray14. Each function takes the chest, a severity in (0, 1] and a generator, and says which
fraction of the air is filled, what weakens the beam besides, and how far vessels stay visible. Cardiomegaly and
collapse change the geometry instead and are told to `anatomy.place`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, zoom

from modalities.chest_xray.anatomy import Chest, Map, soft

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Nodule", "Pneumothorax")


@dataclass(frozen=True)
class Overlay:
    """Change by one finding; maps of the image's shape.

    Args:
        filled: fraction of the air that is replaced by water, 0 to 1.
        density: weakening added (or taken away) besides.
        markings: factor on the vessels.
    """

    filled: Map
    density: Map
    markings: Map


def combine(parts: list[Overlay], shape: tuple[int, int]) -> Overlay:
    """All findings of one image together: what one fills, another cannot fill again."""
    left, density, markings = (np.full(shape, v, dtype=np.float32) for v in (1, 0, 1))
    for part in parts:
        left, density, markings = left * (1 - part.filled), density + part.density, markings * part.markings
    return Overlay(1 - left, density, markings)


def clouds(shape: tuple[int, int], grain: float, rng: Generator) -> Map:
    """Smooth noise with mean 0 and standard deviation 1; `grain` is its size in pixels."""
    coarse = rng.standard_normal([max(4, int(np.ceil(n / grain)) + 3) for n in shape]).astype(np.float32)
    fine = zoom(coarse, grain, order=1)[: shape[0], : shape[1]]
    out = gaussian_filter(fine, grain / 2)
    return (out - out.mean()) / (out.std() + 1e-6)


def _sides(rng: Generator, both: float) -> tuple[float, ...]:
    """Which lungs are ill: -1 is the patient's right."""
    return (-1.0, 1.0) if rng.random() < both else (float(rng.choice([-1, 1])),)


def _spot(chest: Chest, rng: Generator, low: float, high: float) -> tuple[float, float]:
    """A place inside a lung, between two relative heights (0 apex, 1 diaphragm)."""
    side = float(rng.choice([-1, 1]))
    floor = chest.body.floor + chest.pose.inspiration
    y = chest.body.apex + rng.uniform(low, high) * (floor - chest.body.apex)
    row = int(np.argmin(np.abs(chest.y[:, len(chest.x) // 2] - y)))
    inner, outer = np.median(chest.medial[row]) + 0.05, np.median(chest.lateral[row]) - 0.05
    return side * float(rng.uniform(inner, max(outer, inner + 0.02))), y


def effusion(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """Fluid: from a blunted costophrenic angle to half a lung, with a meniscus that climbs the lateral wall."""
    filled = np.zeros_like(chest.x)
    angle = chest.dome[chest.lung > 0.5].max(initial=0.4)
    for side in _sides(rng, 0.35):
        amount = severity * rng.uniform(0.75, 1.1)
        surface = angle - 0.06 - 0.52 * amount
        climb = np.clip((chest.u - 0.55 * chest.lateral) / (0.45 * chest.lateral), 0, 1)
        level = surface + 0.05 - (0.05 + 0.12 * amount) * climb**2
        edge = 0.02 + (0.05 if chest.pose.view == "AP" else 0.0)
        filled = np.maximum(filled, soft(chest.y - level, edge) * (chest.side == side))
    veil = 0.94 * filled * (0.75 if chest.pose.view == "AP" else 1.0)
    return Overlay(veil, np.zeros_like(veil), 1 - 0.8 * filled)


def pneumothorax(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """Air outside the lung: a rim without vessels along the wall, above a fine pleural line."""
    side = float(rng.choice([-1, 1]))
    gap = (0.035 + 0.30 * severity) * (0.55 + 0.45 * soft(0.05 - chest.y, 0.18))
    inside = np.minimum(chest.lateral - chest.u, 1.25 * (chest.y - chest.body.apex)) - gap
    here = (chest.side == side) * chest.lung
    out = soft(-inside, 0.006) * here
    line = np.exp(-((inside / 0.008) ** 2)) * here
    squeezed = 0.25 * severity * soft(inside, 0.02) * here
    return Overlay(squeezed, (0.05 * line - 0.05 * out).astype(np.float32), (1 - out).astype(np.float32))


def nodule(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """Round opacities of 9 to 32 mm; the small ones hide among vessels and ribs."""
    density = np.zeros_like(chest.x)
    for _ in range(1 if rng.random() < 0.75 else int(rng.integers(2, 4))):
        x, y = _spot(chest, rng, 0.12, 0.9)
        radius = 0.032 + 0.052 * severity * rng.uniform(0.7, 1.0)
        stretch, turn = rng.uniform(0.85, 1.18), rng.uniform(0, np.pi)
        a = (chest.x - x) * np.cos(turn) + (chest.y - y) * np.sin(turn)
        b = (chest.y - y) * np.cos(turn) - (chest.x - x) * np.sin(turn)
        ball = np.sqrt(np.clip(1 - (a * stretch / radius) ** 2 - (b / radius / stretch) ** 2, 0, 1))
        density = np.maximum(density, ball * (0.15 + 0.27 * severity))
    blurred = gaussian_filter(density, 0.5).astype(np.float32)
    return Overlay(np.zeros_like(blurred), blurred, np.ones_like(blurred))


def consolidation(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """A patch of filled air spaces with a torn edge and open bronchi; hides the border it touches."""
    x, y = _spot(chest, rng, 0.25, 0.95)
    wide, tall = (0.11 + 0.17 * severity) * rng.uniform(0.8, 1.25, 2)
    torn = clouds(chest.x.shape, 12, rng)
    depth = 1 - np.sqrt(((chest.x - x) / wide) ** 2 + ((chest.y - y) / tall) ** 2) + 0.22 * torn
    patch = soft(depth, 0.14) * (chest.side == np.sign(x)) * chest.lung
    bronchi = np.clip(clouds(chest.x.shape, 4, rng) - 0.9, 0, 1)
    filled = patch * (0.30 + 0.45 * severity) * (1 - 0.5 * bronchi)
    return Overlay(filled.astype(np.float32), np.zeros_like(filled), (1 - 0.7 * patch).astype(np.float32))


def edema(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """Water on both sides around the hila, thick upper vessels, fine lines at the bases."""
    centre = np.exp(-(((chest.u - 0.20) / 0.24) ** 2 + ((chest.y + 0.02) / 0.34) ** 2))
    haze = centre * (1 + 0.35 * clouds(chest.x.shape, 10, rng)) + 0.25
    mesh = np.clip(clouds(chest.x.shape, 3, rng), -1.5, 1.5)
    bases = soft(chest.y - chest.body.floor + 0.45, 0.12)
    filled = np.clip((0.04 + 0.38 * severity) * haze * (1 + 0.25 * mesh), 0, 0.85) * chest.lung
    kerley = (
        0.05
        * severity
        * bases
        * np.clip(np.sin((chest.y + 0.3 * chest.u) * 150), 0, 1)
        * soft(chest.u - chest.lateral + 0.1, 0.02)
    )
    upper = 1 + 0.9 * severity * soft(-0.05 - chest.y, 0.1)
    return Overlay(filled.astype(np.float32), (kerley * chest.lung).astype(np.float32), upper.astype(np.float32))


def atelectasis(chest: Chest, severity: float, rng: Generator) -> Overlay:
    """Collapse: plates above a diaphragm that was pulled up, or a dense wedge behind the heart."""
    density, filled = np.zeros_like(chest.x), np.zeros_like(chest.x)
    for side in _sides(rng, 0.3):
        for _ in range(int(rng.integers(1, 4))):
            height = chest.body.floor + chest.pose.inspiration - rng.uniform(0.05, 0.28)
            tilt = rng.normal(0.0, 0.22)
            line = chest.y - height - side * tilt * (chest.x - side * 0.33)
            start, reach = rng.uniform(0.16, 0.35), rng.uniform(0.12, 0.30)
            span = soft(chest.u - start, 0.03) * soft(start + reach - chest.u, 0.03) * (chest.side == side)
            plate = np.exp(-((line / (0.010 + 0.012 * severity)) ** 2)) * span
            density = np.maximum(density, (0.09 + 0.16 * severity) * plate)
        base = soft(chest.y - chest.dome + 0.05 + 0.16 * severity, 0.05) * (chest.side == side)
        filled = np.maximum(filled, (0.10 + 0.35 * severity) * base)
    return Overlay(
        (filled * chest.lung).astype(np.float32), (density * chest.lung).astype(np.float32), np.ones_like(chest.x)
    )


DRAWN: Mapping[str, Callable[[Chest, float, Generator], Overlay]] = {
    "Atelectasis": atelectasis,
    "Consolidation": consolidation,
    "Edema": edema,
    "Effusion": effusion,
    "Nodule": nodule,
    "Pneumothorax": pneumothorax,
}
