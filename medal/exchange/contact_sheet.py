"""Contact sheets: the images of a work list at a glance, with their numbers, ids and reasons, as PNG pages to print."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medal.exchange.worklist import Item, WorkList
from medal.storage import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

PER_PAGE = 30
COLUMNS = 5
THUMB, GAP, TEXT_LINES = 240, 16, 4
_LINE = 17
_HEAD = 44
_SHORT = 6
"""Characters of an id that are printed under its number; the whole id stands in the table."""


def contact_sheets(worklist: WorkList, previews: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Writes the pages that are missing: `contact_sheet.png`, or `contact_sheet_1.png` and so on above 30 images.

    Args:
        worklist: what is asked.
        previews: id -> PNG; an image without one is left dark.
        folder: of the list.

    Returns:
        Every page.
    """
    items = worklist.items
    pages = [items[start : start + PER_PAGE] for start in range(0, len(items), PER_PAGE)]
    paths = []
    for number, chosen in enumerate(pages, start=1):
        path = folder / ("contact_sheet.png" if len(pages) == 1 else f"contact_sheet_{number}.png")
        if not path.exists():
            title = worklist.name + (f", page {number} of {len(pages)}" if len(pages) > 1 else "")
            write_bytes(path, _draw(title, chosen, previews))
        paths.append(path)
    return paths


def _draw(title: str, items: tuple[Item, ...], previews: Mapping[str, bytes]) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    cell = (THUMB + GAP, THUMB + GAP + TEXT_LINES * _LINE)
    columns = min(COLUMNS, len(items))
    rows = -(-len(items) // columns)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + _HEAD + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(13), ImageFont.load_default(18)
    draw.text((GAP, GAP), f"{title}: {len(items)} images", fill="black", font=large)
    for k, item in enumerate(items):
        left, top = GAP + (k % columns) * cell[0], _HEAD + (k // columns) * cell[1]
        draw.rectangle((left, top, left + THUMB - 1, top + THUMB - 1), fill=(24, 24, 24))
        if item.id in previews:
            thumb = _thumbnail(previews[item.id])
            sheet.paste(thumb, (left + (THUMB - thumb.width) // 2, top + (THUMB - thumb.height) // 2))
        draw.text((left, top + THUMB + 2), f"{item.number}   {short(item.id)}", fill="black", font=small)
        for line, words in enumerate(_wrapped(draw, item.reason, small, TEXT_LINES - 1), start=1):
            draw.text((left, top + THUMB + 2 + line * _LINE), words, fill=(70, 70, 70), font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def short(unit: str) -> str:
    """The first characters of an id."""
    return unit[: _SHORT + 1]


def _thumbnail(png: bytes) -> Image:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((THUMB, THUMB))
    return image


def _wrapped(draw: ImageDraw, text: str, font: FreeTypeFont | ImageFont, lines: int) -> list[str]:
    """The text in at most `lines` lines of a thumbnail's width; what does not fit ends in an ellipsis."""
    out: list[str] = []
    for word in text.split():
        longer = f"{out[-1]} {word}" if out else word
        if out and draw.textlength(longer, font=font) <= THUMB:
            out[-1] = longer
        else:
            out.append(word)
    if len(out) <= lines:
        return out
    last = out[lines - 1]
    while last and draw.textlength(last + " ...", font=font) > THUMB:
        last = last[:-1]
    return [*out[: lines - 1], last.rstrip() + " ..."]
