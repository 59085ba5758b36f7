"""The patients of the phantom: who has which findings, how often, and together with what.

Rates lie between about 5 and 25 percent and hang together as on a ward: heart failure brings a large heart, edema and
effusions; effusions compress the lung beside them; sick patients are imaged in bed (AP). A patient's images share
anatomy and chronic findings, the others come and go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from numpy.random import Generator

from medal.seeding import Seed
from modalities.chest_xray.anatomy import Body, Pose


@dataclass(frozen=True)
class Visit:
    """One planned image.

    Args:
        patient: number of the patient, from 0.
        image: number of the image of this patient, from 0.
        body: the patient.
        pose: how the patient stood.
        findings: name -> severity in (0, 1].
    """

    patient: int
    image: int
    body: Body
    pose: Pose
    findings: Mapping[str, float]


def visits(patient: int, images: tuple[int, int], seed: Seed) -> list[Visit]:
    """The images of one patient; they depend on the seed and the patient's number alone.

    Args:
        patient: number of the patient.
        images: fewest and most images, both included.
        seed: branch of the phantom.
    """
    mine = seed / f"patient {patient}"
    rng = (mine / "history").numpy()
    body = Body.draw((mine / "body").numpy())
    failing, infected = rng.random() < 0.20 + 0.002 * (body.age - 58), rng.random() < 0.20
    bedside = rng.random() < (0.70 if failing else 0.50 if infected else 0.22)
    chronic: dict[str, float] = {}
    if rng.random() < (0.65 if failing else 0.09):
        chronic["Cardiomegaly"] = _severity(rng)
    if rng.random() < 0.13:
        chronic["Nodule"] = _severity(rng)
    out = []
    for image in range(int(rng.integers(images[0], images[1] + 1))):
        draw = (mine / f"image {image}").numpy()
        view = "AP" if draw.random() < (0.85 if bedside else 0.06) else "PA"
        acute = _acute(failing, infected, view == "AP", draw)
        out.append(Visit(patient, image, body, Pose.draw(draw, view), {**chronic, **acute}))
    return out


def _acute(failing: bool, infected: bool, bedside: bool, rng: Generator) -> dict[str, float]:
    out: dict[str, float] = {}

    def happens(name: str, rate: float) -> bool:
        drawn, severity = rng.random() < rate, _severity(rng)
        if drawn:
            out[name] = severity
        return drawn

    happens("Edema", 0.48 if failing else 0.03)
    wet = happens("Effusion", 0.55 if failing else 0.30 if infected else 0.10)
    happens("Atelectasis", 0.42 if wet else 0.12)
    happens("Consolidation", 0.50 if infected else 0.04)
    happens("Pneumothorax", 0.10 if bedside else 0.04)
    return out


def _severity(rng: Generator) -> float:
    """Many subtle cases, few gross ones."""
    return float(0.03 + 0.97 * rng.beta(1.2, 1.7))
