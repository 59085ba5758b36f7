"""What the commands of a hospital study say: what was found, what is asked, what was taken, how good the model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from medal.commands.console import out

if TYPE_CHECKING:
    from medal.exchange.intake import Intake
    from medal.exchange.listing import Listing
    from medal.human import HumanCampaign

DEFAULT = Path("study")
"""The study of commands that are told none."""
FEW_TO_MEASURE = 20
"""Images kept for measuring below which `init` says that they are few."""
SHOWN_REFUSALS = 10


def say(text: str) -> None:
    """One line, however long: paths must be copied whole."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def named(folder: Path) -> str:
    """A study as an argument; nothing where commands find it without being told."""
    return "" if folder == DEFAULT else f"{folder} "


def tell_opened(campaign: HumanCampaign) -> None:
    """What `medal init` found in a folder."""
    source, split = campaign.source, campaign.pool.split
    exams = {exam for exam in source.meta.get("exam", ()) if exam}
    facts = f"{images(len(source.ids))} of {len(set(source.groups))} patients"
    say(facts + (f" in {len(exams)} exams" if exams else ""))
    counts = split.counts()
    measuring = f"{counts['pool']} to choose from, {counts['validation']} kept for measuring"
    say(measuring)
    if counts["validation"] < FEW_TO_MEASURE:
        say(
            f"note: with {images(counts['validation'])} kept for measuring little can be said about the model; "
            "begin anew with a larger split.validation, or add images"
        )
    say(f"asks about {', '.join(campaign.pool.labels)}")
    _tell_reasons("left out", getattr(source, "left_out", {}))
    _tell_reasons("not used", source.quarantined)
    for note in getattr(source, "notes", ()):
        say(f"note: {note}")
    imported = len(campaign.pool.labelled())
    if imported:
        cells = int((~campaign.pool.table().target.isnan()).sum())
        say(f"{images(len(campaign.pool.table()))} have labels of yours, {cells} in all; they train")
        if counts["validation"]:
            say("labels of the images kept for measuring are left aside: they were not drawn at random")
    else:
        say("no labels were found; the first work list begins from nothing")


def _tell_reasons(what: str, reasons: Mapping[str, str]) -> None:
    for text, number in sorted(Counter(reasons.values()).items(), key=lambda pair: (-pair[1], pair[0])):
        say(f"{what}: {images(number)}: {text}")


def tell_list(campaign: HumanCampaign, listing: Listing) -> None:
    """Where a work list lies, and what is on it."""
    items = listing.worklist.items
    purposes = Counter(item.reason.partition(" (")[0] for item in items)
    say(f"{listing.worklist.name}: {images(len(items))} to label")
    measuring = sum(number for text, number in purposes.items() if "for measuring" in text)
    if measuring:
        arm, whole = len(campaign.arm_rows()), len(campaign.pool.split.positions("validation"))
        wanted = min(campaign.recipe.validation.items, whole)
        say(f"  {measuring} at random, for measuring: {arm} of {wanted} asked so far, out of {whole}")
        say(f"  {len(items) - measuring} to learn from")
    for path in listing.files:
        say(f"  {path}")
    if listing.key is not None:
        say(f"  which file is which (private, keep it here): {listing.key}")
    first = listing.files[0]
    say(f"next: fill in the list, then: medal tell {first} {named(campaign.study.folder)}".rstrip())


def tell_intake(campaign: HumanCampaign, path: Path, intake: Intake) -> None:
    """What of a file was taken, and what is wrong with the rest."""
    from medal.exchange.refusals import rejected_path

    told = [f"{number} {kind}" for kind, number in intake.counts.items() if number]
    say(f"{path.name}: {', '.join(told) if told else 'nothing new'}")
    if intake.unchanged:
        say(f"  {intake.unchanged} rows were known already")
    if intake.overtaken:
        lines = ", ".join(map(str, intake.overtaken[:SHOWN_REFUSALS]))
        say(f"  {len(intake.overtaken)} rows were corrected since and stay so (lines {lines}); --back takes them again")
    if intake.blank:
        say(f"  {intake.blank} rows are blank and stay open")
    for line, _, what in intake.refused[:SHOWN_REFUSALS]:
        say(f"  line {line}: {what}")
    if intake.refused:
        more = len(intake.refused) - SHOWN_REFUSALS
        rest = f", {more} of them not shown" if more > 0 else ""
        say(f"  {len(intake.refused)} rows were not taken{rest}: {rejected_path(path)}")
    open_now = sum(campaign.open_lists().values())
    step = "medal train" if len(campaign.pool.table()) else "medal ask"
    say(f"{images(open_now)} open; next: {step} {named(campaign.study.folder)}".rstrip())


def tell_measures(campaign: HumanCampaign) -> None:
    """Labels and AUROC of every finding, and what would make the figures firmer."""
    from medal.exchange.measures import measures

    found = measures(campaign)
    table = Table("finding", "labels +", "-", "random +", "-", "AUROC (95 %)")
    table.title = f"trained on {images(found.trained)}, measured on {found.measured} random ones"
    for row in found.rows:
        auroc = "too few" if row.auroc is None else f"{row.auroc:.2f} ({row.low:.2f} to {row.high:.2f})"
        table.add_row(row.label, *map(str, (row.present, row.absent, row.arm_present, row.arm_absent)), auroc)
    out.print(table)
    if any(row.auroc is None for row in found.rows):
        say(f"too few: a figure needs {found.needed} random images with the finding and {found.needed} without")
    whole = min(campaign.recipe.validation.items, len(campaign.pool.split.positions("validation")))
    if len(campaign.arm_rows()) < whole:
        say(f"{len(campaign.arm_rows())} of {whole} random images were asked so far; the next lists bring the others")


def images(number: int) -> str:
    """A number of images in words."""
    return f"{number} image" if number == 1 else f"{number} images"
