"""One radiograph of the phantom: healthy layers, findings, devices and noise, as 12-bit detector values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from modalities.chest_xray.anatomy import AIR, Body, Chest, Map, Pose, bones, place, tissue, vessels
from modalities.chest_xray.findings import DRAWN, combine

DEPTH = 4095
"""Largest value of a 12-bit detector."""


def radiograph(
    body: Body, pose: Pose, findings: Mapping[str, float], pixels: int, rng: Generator
) -> NDArray[np.uint16]:
    """Draws one image.

    Args:
        body: the patient.
        pose: how the patient stood.
        findings: name -> severity in (0, 1]; names of `findings.FINDINGS`.
        pixels: side of the square image.
        rng: noise and the shape of the findings.

    Returns:
        (pixels, pixels) uint16, 0 (air) to 4095 (metal): bright where the beam was weakened.
    """
    shape, film, bed = rng.spawn(3)  # so that noise and devices do not depend on the findings
    chest = place(body, pose, pixels, _ratio(body, findings), _raised(findings, shape))
    parts = [DRAWN[name](chest, severity, shape) for name, severity in sorted(findings.items()) if name in DRAWN]
    ill = combine(parts, chest.x.shape)
    air = chest.air * (1 - ill.filled)
    weakened = tissue(chest) + bones(chest) - AIR * air + ill.density
    weakened += 0.17 * vessels(chest) * ill.markings * air
    if pose.view == "AP":
        weakened += _devices(chest, bed)
    return _expose(weakened, pose, film)


def _ratio(body: Body, findings: Mapping[str, float]) -> float:
    """Readers call a heart large at about half of the chest's width; large healthy hearts and mild disease overlap."""
    return 0.455 + 0.16 * findings["Cardiomegaly"] if "Cardiomegaly" in findings else body.ratio


def _raised(findings: Mapping[str, float], rng: Generator) -> tuple[float, float]:
    lift = 0.10 * findings.get("Atelectasis", 0.0) * rng.uniform(0.3, 1.0)
    return (lift, 0.0) if rng.random() < 0.5 else (0.0, lift)


def _devices(chest: Chest, rng: Generator) -> Map:
    """Leads and catheters of a patient in bed, whatever the findings."""
    side = len(chest.x)
    canvas = Image.new("L", (2 * side, 2 * side))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0.15, 0.85) * 2 * side, rng.uniform(0.25, 0.75) * 2 * side
        radius = rng.uniform(0.010, 0.016) * 2 * side
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=200)
        away = [(x + t * rng.uniform(-0.5, 0.5) * side, y + t * 0.9 * side) for t in (0.0, 0.4, 0.8, 1.2)]
        pen.line(away, fill=130, width=max(1, side // 96), joint="curve")
    if rng.random() < 0.35:
        x = (0.5 + rng.normal(0.06, 0.02)) * 2 * side
        path = [(x + 0.22 * side, 0.22 * side), (x + 0.05 * side, 0.36 * side), (x - 0.10 * side, 0.60 * side)]
        pen.line([*path, (x - 0.12 * side, 0.92 * side)], fill=150, width=max(1, side // 80), joint="curve")
    small = canvas.resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255 * 0.28


def _expose(weakened: Map, pose: Pose, rng: Generator) -> NDArray[np.uint16]:
    """Scatter, quantum noise and the detector's curve; bedside images are noisier and flatter."""
    bedside = pose.view == "AP"
    sharp = gaussian_filter(weakened, 0.45 if not bedside else 0.65)
    scatter = gaussian_filter(weakened, len(weakened) / 12)
    share = rng.uniform(0.05, 0.15) + (0.10 if bedside else 0.0)
    mixed = np.clip((1 - share) * sharp + share * scatter, 0, None)
    quanta = rng.uniform(0.010, 0.022) * (1.5 if bedside else 1.0)
    noisy = mixed + rng.standard_normal(mixed.shape).astype(np.float32) * quanta * (0.4 + 0.8 * mixed)
    curve = 1 - np.exp(-rng.uniform(1.4, 2.0) * np.clip(noisy, 0, None))
    grey = 0.03 + rng.uniform(0.86, 0.97) * curve
    return np.clip(np.round(grey * DEPTH), 0, DEPTH).astype(np.uint16)
