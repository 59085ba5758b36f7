"""`medal init`, `ask`, `tell`, `train`: a study with people over a folder of images; `practice` makes one to try."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medal.commands.console import out
from medal.commands.hospital_screen import (
    DEFAULT,
    images,
    named,
    say,
    tell_intake,
    tell_list,
    tell_measures,
    tell_opened,
)
from medal.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from medal.human import HumanCampaign
    from medal.schema import Recipe

RECIPES = "hospital"
"""Folder of `configs` whose recipes are meant for data without a simulated expert."""
Study = Annotated[Path | None, typer.Argument(help="The study folder; ./study when left out.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the images, where it has moved.")]


def register(app: typer.Typer) -> None:
    """Puts the commands on the application."""
    for command in (init, ask, tell, train, practice):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder of images, such as an export of the archive.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes of the recipe, such as learner=frozen or split.validation=0.1.")
    ] = None,
    study: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; it holds no identity.")] = DEFAULT,
    recipe: Annotated[str, typer.Option(help="A recipe for hospital data, or your own YAML file.")] = "chest_xray",
    findings: Annotated[str | None, typer.Option(help="What to ask about, such as Edema,Effusion.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table of labels that you have; FOLDER/labels.csv if it is there.")
    ] = None,
) -> None:
    """Begin a study over a folder of images, with the labels that you have, or none.

    [dim]medal init /archive/chest --out study --findings Edema,Effusion[/dim]
    """
    from medal.exchange.place import cache_folder, remember
    from medal.human import HumanCampaign
    from medal.run import settle
    from medal.screen import Screen

    resolved = _recipe(recipe, folder, findings, labels, overrides or [])
    settle(resolved)
    with Screen(out) as screen, _quiet():
        campaign = HumanCampaign.create(resolved, study, cache_folder(), screen.progress)
    with campaign.study:
        remember(campaign.study.opened, resolved)
        tell_opened(campaign)
        say(f"study: {study}")
        say(f"next: medal ask {named(study)}-n {resolved.budget.per_round:g}")


def ask(
    study: Study = None,
    count: Annotated[int | None, typer.Option("-n", help="How many images; the recipe's budget when left out.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of a reader instead of a number.")] = None,
    relabel: Annotated[int, typer.Option(help="How many of them are doubtful labels for a second look.")] = 0,
    measure: Annotated[int | None, typer.Option(help="How many of them are random images that measure.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Another strategy, such as entropy or random.")] = None,
    more: Annotated[bool, typer.Option("--more", help="Ask for more although questions are open.")] = False,
    data: Data = None,
) -> None:
    """Write the next work list: what to label, and why.

    [dim]medal ask -n 20[/dim]
    """
    with _opened(study, data) as (campaign, recipe):
        names = tuple(campaign.open_lists())
        if names and not more:
            for name in names:
                tell_list(campaign, campaign.write_list(name))
            open_now = sum(campaign.open_lists().values())
            say(f"{images(open_now)} still open: label them and bring them in, or ask for others with --more")
            return
        wish = _wish(campaign, recipe, count, minutes, relabel, measure, strategy)
        tell_list(campaign, campaign.write_list(campaign.ask(wish)))


def tell(
    answers: Annotated[Path, typer.Argument(help="A work list that was filled in, or any CSV with ids and findings.")],
    study: Study = None,
    reader: Annotated[str, typer.Option(help="Who answered, where the file does not say; better R1 than a name.")] = "",
    extra: Annotated[bool, typer.Option("--extra", help="Take labels that nobody asked for too.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Take old answers again that were corrected since.")] = False,
    data: Data = None,
) -> None:
    """Bring labels in: good rows are kept, bad rows are listed, nothing is half applied.

    [dim]medal tell study/worklists/ask_001/worklist.csv --reader R1[/dim]
    """
    with _opened(study, data) as (campaign, _):
        intake = campaign.tell(answers, reader, extra, back)
        tell_intake(campaign, answers, intake)
    if intake.refused:
        raise typer.Exit(1)


def train(study: Study = None, data: Data = None) -> None:
    """Train on every label so far, and measure on the random images.

    [dim]medal train[/dim]
    """
    from medal.screen import Screen

    with _opened(study, data) as (campaign, _):
        with Screen(out) as screen:
            campaign.progress = screen.progress
            done = campaign.learn()
        tell_measures(campaign)
        if not done:
            say("nothing was labelled since the last training; it stands")
        from medal.report import write_report

        folder = campaign.study.folder
    say(f"report: {write_report(folder)}")
    say(f"next: medal ask {named(folder)}".rstrip())


def practice(
    folder: Annotated[
        Path | None, typer.Argument(help="Where drawn patients go, written as a hospital's DICOM.")
    ] = None,
    answer: Annotated[
        Path | None, typer.Option(help="Fill in this work list, as a reader of the practice data would.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the filled list here instead, as another reader would.")
    ] = None,
    reader: Annotated[str, typer.Option(help="Name of that reader.")] = "R1",
    patients: Annotated[int, typer.Option(help="How many patients are drawn.")] = 36,
    errors: Annotated[float, typer.Option(help="Share of the reader's answers that are wrong.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed draws other patients.")] = 0,
    recipe: Annotated[str, typer.Option(help="A recipe for hospital data.")] = "chest_xray",
) -> None:
    """Make data to try a hospital study on, and readers to answer it.

    [dim]medal practice hospital && medal init hospital[/dim]
    """
    from medal.recipe import load, task_module

    if (folder is None) == (answer is None):
        raise ConfigError(
            "found neither a folder nor a work list, or both; expected `medal practice FOLDER`, or --answer FILE"
        )
    maker: Any = getattr(task_module(load(_hospital(recipe)).task), "practice", None)
    if maker is None:
        raise ConfigError(f"the task of {recipe!r} draws no practice data; use a folder of your own")
    if folder is not None:
        say(maker.write(folder, patients, seed))
    if answer is not None:
        say(maker.answer(answer, reader, errors, to))


def _hospital(name: str) -> str:
    from medal.resources import recipes

    return f"{RECIPES}/{name}" if f"{RECIPES}/{name}" in recipes() else name


def _recipe(name: str, folder: Path, findings: str | None, labels: Path | None, overrides: list[str]) -> Recipe:
    from medal.recipe import load

    if not folder.is_dir():
        raise ConfigError(f"the folder {str(folder)!r} does not exist; give the folder of the images")
    given = [f"data.root={_yaml(str(folder.absolute()))}"]
    if labels is not None:
        if not labels.is_file():
            raise ConfigError(f"the table {str(labels)!r} does not exist; check the path of --labels")
        given.append(f"data.labels={_yaml(str(labels.absolute()))}")
    if findings is not None:
        names = [part.strip() for part in findings.split(",") if part.strip()]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"--findings {findings!r}: expected different names, such as Edema,Effusion")
        given.append(f"data.findings={_yaml(names)}")
    return load(_hospital(name), [*given, *overrides])


def _yaml(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _study(given: Path | None) -> Path:
    from medal.study import Study as Folder

    if given is not None:
        return given
    if Folder.exists(DEFAULT) or not Folder.exists(Path()):
        return DEFAULT
    return Path()


@contextmanager
def _opened(given: Path | None, data: Path | None) -> Iterator[tuple[HumanCampaign, Recipe]]:
    """A study open for writing, with what came in since the last time told."""
    from medal.exchange.place import cache_folder, recall, remember
    from medal.recipe import task_module
    from medal.run import settle
    from medal.screen import Screen
    from medal.study import Study as Folder

    folder = _study(given)
    if not Folder.exists(folder):
        raise StudyError(f"no study at {folder}; begin one with `medal init FOLDER --out {folder}`, or give its folder")
    with Folder.open(folder, write=False) as reading:
        opened = reading.opened
    recipe = recall(opened, data)
    settle(recipe)
    with Screen(out) as screen, _quiet():
        campaign: HumanCampaign = task_module(recipe.task).human(recipe, folder, cache_folder(), screen.progress)
    with campaign.study:
        remember(opened, recipe)
        if campaign.added:
            say(f"{campaign.added} new images in the folder were added to the study")
        yield campaign, recipe


@contextmanager
def _quiet() -> Iterator[None]:
    """What is odd about the data is told by `init`, and need not be said by every command."""
    logger = logging.getLogger("modalities")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _wish(
    campaign: HumanCampaign,
    recipe: Recipe,
    count: int | None,
    minutes: float | None,
    relabel: int,
    measure: int | None,
    strategy: str | None,
) -> Any:
    from medal.build import build_strategy
    from medal.exchange.asking import Wish
    from medal.recipe import with_strategy

    if count is not None and minutes is not None:
        raise ConfigError("found -n and --minutes, expected one of them")
    price = campaign.prices.of(campaign.pool.units.kind)
    if minutes is None and count is None and recipe.budget.unit == "minutes":
        minutes = recipe.budget.per_round
    if minutes is not None:
        count = int(minutes / price)
        if count < 1:
            raise ConfigError(
                f"{minutes:g} minutes pay for no {campaign.pool.units.kind} of {price:.2g} minutes; give more"
            )
    other = with_strategy(recipe, strategy) if strategy else None
    built = build_strategy(other.strategy, other.arm) if other else None
    return Wish(int(recipe.budget.per_round) if count is None else count, relabel, measure, built)
