"""Contact sheets and the page: what a reader sees."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

from PIL import Image

from medal.exchange import Item, WorkList
from medal.exchange.contact_sheet import PER_PAGE, THUMB, contact_sheets
from medal.exchange.page import page


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (700, 500), shade).save(buffer, "PNG")
    return buffer.getvalue()


def worklist(count: int, label: str = "Edema") -> WorkList:
    items = tuple(Item(n, f"I{n:04d}", "E1", "unsure " * 40, {label: 0.25}) for n in range(1, count + 1))
    return WorkList("ask_003", (label,), items)


def test_one_page_or_several(tmp_path: Path) -> None:
    (single,) = contact_sheets(worklist(3), {"I0001": png(200)}, tmp_path / "one")
    assert single.name == "contact_sheet.png"
    with Image.open(single) as sheet:
        assert sheet.width > 3 * THUMB
        # the first thumbnail is light, the one without a preview is dark
        assert sheet.getpixel((16 + THUMB // 2, 44 + THUMB // 2)) == (200, 200, 200)
        assert sheet.getpixel((16 + THUMB + 16 + THUMB // 2, 44 + THUMB // 2)) == (24, 24, 24)
    several = contact_sheets(worklist(PER_PAGE + 1), {}, tmp_path / "many")
    assert [path.name for path in several] == ["contact_sheet_1.png", "contact_sheet_2.png"]
    before = several[0].read_bytes()
    several[1].unlink()
    contact_sheets(worklist(PER_PAGE + 1), {}, tmp_path / "many")
    assert several[1].exists()
    assert several[0].read_bytes() == before


def test_the_page_needs_nothing_else_and_trusts_nobody() -> None:
    nasty = '</script><script>alert("x")</script>'
    text = page(worklist(2, nasty), {"I0001": png(90)})
    assert text.count("data:image/jpeg;base64,") == 1
    assert nasty not in text
    assert text.count("</script>") == 1
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text), "nothing is loaded from elsewhere"
    assert html.escape(nasty) in text or "&lt;/script&gt;" in text
    assert "model 0.25" in text


def test_pages_of_single_findings_ask_about_those_alone() -> None:
    item = Item(1, "Ia", "", "why", {}, ("Edema",))
    text = page(WorkList("ask_001", ("Edema", "Nodule"), (item,)), {})
    assert 'data-label="Edema"' in text
    assert 'data-label="Nodule"' not in text
