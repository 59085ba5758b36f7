"""A work list as one HTML page that needs nothing else: images, reasons, and a form that gives the table back.

The page works without a network and sends nothing anywhere; what was entered stays in the browser until it is saved as
CSV. It measures how long each image took.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

from medal.exchange.worklist import WorkList

SIDE = 640
"""Longest side of the images in the page, in pixels."""
_QUALITY = 88


def page(worklist: WorkList, previews: Mapping[str, bytes]) -> str:
    """The page; every value is escaped, because names of labels come from users.

    Args:
        worklist: what is asked.
        previews: id -> PNG.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = {item.id: _picture(previews[item.id]) for item in worklist.items if item.id in previews}
    return environment.get_template("page.html").render(worklist=worklist, pictures=pictures)


def _picture(png: bytes) -> str:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
