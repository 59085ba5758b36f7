"""The healthy chest of the phantom: geometry of one patient, and the layers of one radiograph (survey, section 5.1.1).

A radiograph is a map of how much the beam was weakened. Layers add: the trunk, bone, vessels; air in the lungs
subtracts. What fills air spaces is a fraction of the air, so that fluid beside the diaphragm hides its edge (the
silhouette sign) by itself.

Coordinates: x to the image's right (the patient's left) and y downwards, both in half fields of view (about 19 cm); x =
0 is the midline. `u` is the distance from the midline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Map = NDArray[np.floating[Any]]
AIR = 0.56
"""Weakening that full air takes away."""


@dataclass(frozen=True)
class Body:
    """What stays the same over the images of one patient; lengths in half fields of view."""

    female: bool
    age: int
    width: float
    apex: float
    floor: float
    lift: float
    ratio: float
    fat: float
    spacing: float
    slope: float
    knob: float
    trees: tuple[NDArray[np.float64], ...]

    @classmethod
    def draw(cls, rng: Generator) -> Body:
        """One patient of a hospital's mix of ages and builds."""
        female = bool(rng.random() < 0.46)
        age = int(rng.triangular(18, 62, 95))
        return cls(
            female=female,
            age=age,
            width=float(rng.normal(0.66 if female else 0.70, 0.035)),
            apex=float(rng.normal(-0.70, 0.03)),
            floor=float(rng.normal(0.36, 0.06)),
            lift=float(rng.normal(0.05, 0.02)),
            ratio=float(np.clip(rng.normal(0.435 + 0.0006 * (age - 58), 0.035), 0.34, 0.515)),
            fat=float(np.clip(rng.gamma(4.0, 0.05), 0.06, 0.5)),
            spacing=float(rng.normal(0.128, 0.006)),
            slope=float(rng.normal(0.30, 0.06)),
            knob=float(np.clip(rng.normal(0.035 + 0.0006 * (age - 58), 0.012), 0.005, 0.09)),
            trees=tuple(_tree(rng, side) for side in (-1, 1)),
        )


def _tree(rng: Generator, side: int) -> NDArray[np.float64]:
    """Vessels of one lung as segments (x0, y0, x1, y1, width), from the hilum outwards."""
    segments: list[tuple[float, float, float, float, float]] = []
    hilum = np.array([0.17, -0.10 if side > 0 else -0.06])
    ends: list[tuple[NDArray[np.float64], float, float, int]] = [
        (hilum + rng.normal(0, 0.015, 2), np.deg2rad(a + rng.normal(0, 8)), 0.030 if a > 20 else 0.022, 0)
        for a in (-78, -48, -18, 12, 40, 62, 82)
    ]
    while ends:
        start, angle, width, depth = ends.pop()
        length = rng.uniform(0.10, 0.19) * 0.86**depth
        stop = start + length * np.array([np.cos(angle), np.sin(angle)])
        segments.append((side * start[0], start[1], side * stop[0], stop[1], width))
        if depth < 4:
            bend = rng.uniform(0.12, 0.42)
            ends.append((stop, angle + bend, width * 0.70, depth + 1))
            ends.append((stop, angle - rng.uniform(0.12, 0.42), width * 0.66, depth + 1))
    return np.array(segments)


@dataclass(frozen=True)
class Pose:
    """How the patient stood for one image."""

    view: str
    angle: float
    shift: tuple[float, float]
    scale: float
    inspiration: float
    turn: float

    @classmethod
    def draw(cls, rng: Generator, view: str) -> Pose:
        """PA: upright, breathed in; AP: in bed, tilted, poorer inspiration, larger on the detector."""
        loose = 1.0 if view == "PA" else 1.8
        return cls(
            view=view,
            angle=float(np.deg2rad(rng.normal(0, 1.5 * loose))),
            shift=(float(rng.normal(0, 0.03 * loose)), float(rng.normal(0, 0.04 * loose))),
            scale=float(np.clip(rng.normal(1.0 if view == "PA" else 1.05, 0.06), 0.85, 1.2)),
            inspiration=float(rng.normal(0.0 if view == "PA" else -0.07, 0.035)),
            turn=float(rng.normal(0, 0.012 * loose)),
        )

    @property
    def heart(self) -> float:
        """The heart lies away from the detector in AP views and is drawn larger."""
        return 1.0 if self.view == "PA" else 1.09


@dataclass(frozen=True)
class Chest:
    """Geometry of one image on its grid: coordinates, borders of the lungs, soft masks."""

    body: Body
    pose: Pose
    x: Map
    y: Map
    side: Map
    u: Map
    lateral: Map
    medial: Map
    dome: Map
    lung: Map
    heart: Map
    air: Map

    @property
    def pixel(self) -> float:
        """Size of one pixel."""
        return 2 / len(self.x) / self.pose.scale


def soft(distance: Map, edge: float = 0.012) -> Map:
    """1 well inside, 0 well outside, over an edge of that width."""
    return (1 / (1 + np.exp(np.clip(-distance / edge, -30, 30)))).astype(np.float32)


def place(body: Body, pose: Pose, pixels: int, ratio: float, raised: tuple[float, float] = (0.0, 0.0)) -> Chest:
    """Lays the borders of one image.

    Args:
        body: the patient.
        pose: how the patient stood.
        pixels: side of the square image.
        ratio: width of the heart over the inner width of the chest, before magnification.
        raised: how far each hemidiaphragm (right, left of the patient) is pulled up by collapsed lung.

    Returns:
        The chest with maps of shape (pixels, pixels).
    """
    axis = (np.arange(pixels, dtype=np.float32) + 0.5) * 2 / pixels - 1
    column, row = np.meshgrid(axis - pose.shift[0], axis - pose.shift[1])
    cosine, sine = np.cos(pose.angle) / pose.scale, np.sin(pose.angle) / pose.scale
    x = (cosine * column + sine * row).astype(np.float32)
    y = (cosine * row - sine * column).astype(np.float32)
    side = np.where(x < 0, -1, 1).astype(np.float32)
    left = side > 0
    u = np.abs(x)
    reach = np.clip((y - body.apex) / (0.22 - body.apex), 0, 1)
    opening = np.sqrt(np.clip(1 - (1 - reach) ** 2.3, 0, 1))
    lateral = 0.26 + (body.width - 0.26) * opening - 0.10 * np.clip(y - 0.22, 0, 1) ** 2
    root = np.where(left, 0.115 + body.knob * np.exp(-(((y + 0.30) / 0.07) ** 2)), 0.115) - side * pose.turn
    medial = 0.26 - (0.26 - root) * opening
    top = body.floor + pose.inspiration + np.where(left, body.lift - raised[1], -raised[0])
    outward = (u - 0.36) / (body.width - 0.36)
    dome = top + np.where(outward > 0, 0.17 * np.clip(outward, 0, 2) ** 2.2, 0.05 * outward**2)
    lung = soft(lateral - u) * soft(u - medial) * soft(dome - y, 0.010) * soft(y - body.apex, 0.03)
    depth = np.clip((lateral - u) * (u - medial + 0.06) / (0.25 * (lateral - medial + 0.06) ** 2 + 1e-3), 0, 1)
    heart = _heart(x, y, body, pose, ratio, top=float(body.floor + pose.inspiration))
    air = lung * (0.52 + 0.48 * np.sqrt(depth)) * (1 - 0.72 * heart)
    return Chest(body, pose, x, y, side, u, lateral, medial, dome, lung, heart, air.astype(np.float32))


def _heart(x: Map, y: Map, body: Body, pose: Pose, ratio: float, top: float) -> Map:
    """Two thirds of the heart lie to the patient's left; its foot rests on the diaphragm."""
    full = 2 * body.width * ratio * pose.heart
    right, left = 0.34 * full, 0.66 * full
    tall = 0.36 + 0.25 * (full - 0.55)
    middle = top + 0.03 - 0.55 * tall
    lean = (y - middle) * 0.42
    across = np.where(x < lean * 0.3, (x - lean * 0.3) / right, (x - lean) / (left - 0.10))
    ventricles = 1 - np.sqrt(across**2 + np.abs((y - middle) / tall) ** 2.4)
    outflow = 1 - np.sqrt(((x - 0.05 - pose.turn) / 0.135) ** 2 + ((y - middle + 0.30) / 0.34) ** 2)
    return np.maximum(soft(ventricles, 0.035), 0.75 * soft(outflow, 0.06))


def _trunk(chest: Chest) -> Map:
    return chest.body.width + 0.08 + 0.35 * chest.body.fat + 0.05 * np.clip(chest.y, 0, 1)


def outline(chest: Chest) -> Map:
    """Half width of the patient's silhouette: neck, shoulders, trunk."""
    body, y, u = chest.body, chest.y, chest.u
    arms = np.where(y < -0.48, 1.0, np.exp(-((np.clip(y + 0.48, 0, 2) / (0.24 + 0.3 * body.fat)) ** 2)))
    neck = 0.25 + 0.10 * body.fat + 0.9 * np.clip(y - body.apex + 0.12, 0, 2) ** 1.15 / 0.35
    fall = 0.9 * soft(y - body.apex - 0.03 - 0.10 * u, 0.06)
    return np.minimum(_trunk(chest) + 0.62 * arms, neck + fall).astype(np.float32)


def tissue(chest: Chest) -> Map:
    """Trunk, neck, shoulders, mediastinum, breasts and belly."""
    x, y, u, body = chest.x, chest.y, chest.u, chest.body
    trunk, edge = _trunk(chest), outline(chest)
    round_ = np.sqrt(np.clip(1 - (u / edge) ** 2, 0, 1)) ** 0.8
    depth = 0.60 + 0.34 * soft(y + 0.35, 0.16) + 0.5 * (body.fat - 0.2)
    out = depth * round_
    out += 0.16 * np.exp(-((u / 0.17) ** 4)) * soft(y + 0.95, 0.05)
    out -= 0.15 * np.exp(-(((x - chest.pose.turn) / 0.045) ** 4)) * soft(-0.16 - y, 0.05) * soft(y + 1.0, 0.05)
    out += 0.14 * chest.heart + 0.10 * soft(y - chest.dome, 0.02) * (u < edge)
    if body.female:
        size = 0.18 + 0.25 * body.fat
        across = (u - 0.36 - 0.15 * body.fat) / (size * 1.35)
        down = (y - 0.20 - 0.35 * body.fat) / size
        out += (0.10 + 0.16 * body.fat) * soft(1 - np.sqrt(across**2 + down**2), 0.10) * (0.5 + soft(down, 0.3))
    if chest.pose.view == "AP":  # arms beside the trunk
        arm = np.clip(1 - ((u - trunk - 0.16) / 0.14) ** 2, 0, 1) * soft(y + 0.45, 0.08)
        out = np.maximum(out, 0.42 * np.sqrt(arm))
    bubble = 1 - np.sqrt(((x - 0.33) / 0.13) ** 2 + ((y - chest.dome - 0.075) / 0.05) ** 2)
    return out - (0.16 * soft(bubble, 0.15)).astype(np.float32)


def bones(chest: Chest) -> Map:
    """Ribs front and back, clavicles, shoulder blades and spine."""
    body, x, y, u = chest.body, chest.x, chest.y, chest.u
    cage = soft(chest.lateral + 0.035 - u) * soft(y - body.apex + 0.02, 0.02) * soft(u - 0.07, 0.02)
    cage *= soft(0.62 - y, 0.05)
    across = u / body.width
    back = (y + 0.06 * np.sin(np.pi * np.clip(across, 0, 1)) - body.slope * 0.8 * across**2.6 + 0.02) / body.spacing
    front = (y + 0.55 * body.slope * (across - 0.5) - 0.42 * across**4 * body.slope) / (body.spacing * 1.12) + 0.4
    out = 0.105 * _bands(back, 0.25) * cage
    out += 0.060 * _bands(front, 0.30) * cage * soft(across - 0.42, 0.05) * soft(0.36 - y, 0.04)
    wall = np.exp(-(((u - chest.lateral - 0.012) / 0.02) ** 2)) * (0.4 + 0.6 * _bands(back, 0.3))
    out += 0.13 * wall * soft(y - body.apex - 0.1, 0.03) * soft(0.6 - y, 0.05)
    line = y - body.apex - 0.16 + 0.20 * (u - 0.10) - 0.035 * np.sin(6.5 * (u - 0.10))
    thick = 0.026 + 0.012 * np.abs(u - 0.35)
    out += 0.15 * _cortex(np.abs(line) / thick) * soft(u - 0.08, 0.01) * soft(0.72 - u, 0.02)
    blade = 1 - np.sqrt(
        ((u - 0.80 - (0.06 if chest.pose.view == "PA" else -0.05)) / 0.19) ** 2 + ((y + 0.34) / 0.34) ** 2
    )
    out += 0.09 * soft(blade, 0.05)
    joint = 1 - np.sqrt(((u - 0.97) / 0.10) ** 2 + ((y - body.apex - 0.02) / 0.10) ** 2)
    out += 0.16 * soft(joint, 0.08)
    level = np.abs(((y + 0.03) / 0.105) % 1 - 0.5) * 2
    spine = np.exp(-(((x - 0.4 * chest.pose.turn) / 0.085) ** 6))
    out += spine * (0.085 + 0.05 * soft(0.86 - level, 0.06))
    return (out * soft(outline(chest) - u, 0.02)).astype(np.float32)


def _bands(phase: Map, half: float) -> Map:
    """One rib at every whole number: flat inside, brighter at its cortex."""
    away = np.abs(phase - np.round(phase)) / half
    return _cortex(away)


def _cortex(away: Map) -> Map:
    return soft(1 - away, 0.10) * (0.62 + 0.5 * np.clip(away, 0, 1.1) ** 4)


def vessels(chest: Chest) -> Map:
    """Lung vessels, drawn at twice the grid and reduced; in units where a hilar artery is about 1."""
    side = len(chest.x)
    canvas = Image.new("L", (2 * side, 2 * side))
    pen = ImageDraw.Draw(canvas)
    for tree in chest.body.trees:
        for points, width in _on_grid(chest.pose, tree, 2 * side):
            level = int(np.clip(60 + 195 * width / 0.03, 60, 255))
            pen.line(points, fill=level, width=max(1, round(width * side * chest.pose.scale)))
    small = canvas.resize((side, side), Image.Resampling.BOX)
    return gaussian_filter(np.asarray(small, dtype=np.float32) / 255, 0.6)


def _on_grid(pose: Pose, tree: NDArray[np.float64], side: int) -> Iterator[tuple[list[float], float]]:
    cosine, sine = np.cos(pose.angle) * pose.scale, np.sin(pose.angle) * pose.scale
    for x0, y0, x1, y1, width in tree:
        ends = []
        for x, y in ((x0, y0 + 0.5 * pose.inspiration), (x1, y1 + 0.5 * pose.inspiration)):
            column = cosine * x - sine * y + pose.shift[0]
            row = sine * x + cosine * y + pose.shift[1]
            ends += [(column + 1) * side / 2, (row + 1) * side / 2]
        yield ends, float(width)
