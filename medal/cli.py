"""The command line: `medal run`, `resume`, `status`, `report`, `explain`, `predict`, `export` and what helps.

Further families of commands lie in `medal/commands`. Everything heavy is imported inside a command, so that help and
errors come at once.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from medal.commands import benchmark, hospital
from medal.commands.console import out, problems
from medal.errors import ConfigError, MedalError, StudyError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Active learning for medical imaging: choose what to label next, train on it, see when to stop.\n\n"
    "Begin with [bold]medal run chest_xray[/bold]; on your own images with [bold]medal init FOLDER[/bold].",
)
config_app = typer.Typer(no_args_is_help=True, help="Show recipes as they resolve, and the schema that checks them.")
ledger_app = typer.Typer(no_args_is_help=True, help="The journal of each study.")
app.add_typer(config_app, name="config")
app.add_typer(ledger_app, name="ledger")
RUNS = Path("runs")
Recipe = Annotated[str, typer.Argument(help="Name of a recipe (`medal list tasks`), or your own YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="group=name (data=nih, strategy=bald, with=[a,b]) and dotted values (learner.steps=300)."),
]
Folder = Annotated[Path | None, typer.Argument(help="A run or study folder; the newest below runs/ when left out.")]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="A tiny version of the recipe: everything runs once, nothing is learned.")
]


@app.command()
def run(
    recipe: Recipe,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; default runs/RECIPE.")] = None,
    smoke: Smoke = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do, buy and take; run nothing.")
    ] = False,
) -> None:
    """Play an annotation campaign with a simulated expert, beside its baselines, and write a report.

    [dim]medal run chest_xray learner.steps=300 strategy=entropy seeds=5[/dim]
    """
    from medal.recipe import load
    from medal.run import INDEX, plan

    resolved = load(recipe, overrides or [], smoke)
    target = folder or _free_folder(recipe)
    if (target / INDEX).exists():
        raise ConfigError(f"{target} holds a run already; go on with `medal resume {target}`, or give another --out")
    if not _is_free(target):
        raise ConfigError(f"{target} is a file or holds other files; give --out a new or empty folder")
    planned = plan(recipe, resolved, target)
    if dry_run:
        _tell_plan(planned)
        return
    _play(planned)


@app.command()
def resume(
    folder: Folder = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="Where the data lie now (data.root=PATH), or resources.processes=N."),
    ] = None,
) -> None:
    """Go on with a run that was stopped or killed; it ends as if it had never been."""
    from medal.run import load_run

    _play(load_run(_folder(folder), overrides or []))


@app.command()
def status(folder: Folder = None) -> None:
    """Show where each study stands and what was spent."""
    from medal.run import study_folders
    from medal.study import Study

    chosen = _folder(folder)
    table = Table("study", "round", "next", "labelled", "items", "minutes", "macro AUROC", title=str(chosen))
    for path in study_folders(chosen):
        with Study.open(path, write=False) as study:
            s = study.state()
        auroc = (s["macro"] or {}).get("auroc")
        table.add_row(
            path.name,
            str(s["round"]),
            "finished" if s["finished"] else s["next"],
            str(s["labelled"]),
            f"{s['spent']['items']:g}",
            f"{s['spent']['minutes']:.1f}",
            "-" if auroc is None else f"{auroc:.3f}",
        )
    out.print(table)


@app.command()
def report(
    folder: Folder = None,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the report; default RUN/report.")] = None,
    target: Annotated[
        float | None, typer.Option(min=0.5, max=1, help="Macro AUROC to reach: how many more labels would it take?")
    ] = None,
) -> None:
    """Write the report of a run again: one HTML page and its figures."""
    from medal.report import write_report

    out.print(f"report: {write_report(_folder(folder), to, target)}", soft_wrap=True)


@app.command()
def explain(
    unit: Annotated[str, typer.Argument(help="Id of a unit, as it stands in the report.")],
    folder: Folder = None,
) -> None:
    """Say why a unit was picked, when, and what was answered."""
    from medal.explain import explain as tell

    out.print(escape(tell(_folder(folder), unit)), highlight=False)


@app.command()
def predict(
    folder: Folder = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="Other data, such as data=folder or data.root=PATH; repeat it."),
    ] = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="CSV to write.")] = Path("predictions.csv"),
) -> None:
    """Write the last model's probabilities for every image, by pseudonym.

    [dim]medal predict runs/chest_xray -d data=folder -d data.root=/path/to/images[/dim]
    """
    from medal.deploy import cache_of, recipe_for
    from medal.deploy import predict as predict_rows
    from medal.screen import Screen

    chosen = _folder(folder)
    recipe = recipe_for(chosen, overrides or [])
    with Screen(out) as screen:
        rows = predict_rows(chosen, recipe, to, cache_of(chosen), screen.progress)
    out.print(f"{rows} images: {to}", soft_wrap=True)


@app.command()
def export(
    folder: Folder = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("export"),
) -> None:
    """Write the last model: weights as safetensors, a model card, and the recipe that rebuilds it."""
    from medal.deploy import export as write_model

    done = write_model(_folder(folder), to)
    out.print(f"model: {done} (model.safetensors, model_card.md, recipe.yaml, labels.json)", soft_wrap=True)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="works, tasks or data")] = "works",
) -> None:
    """List surveyed works, tasks (recipes) or data sets."""
    from medal.catalogue import tables

    out.print(tables(what))


@ledger_app.command()
def verify(folder: Folder = None) -> None:
    """Check the hash chain of every study; the head hash is the one that the report prints."""
    from medal.run import study_folders
    from medal.study import Study

    for path in study_folders(_folder(folder)):
        with Study.open(path, write=False) as study:
            found = study.ledger.verify()
            out.print(
                f"{path.name}: {found.events} events, head {study.ledger.head()}", highlight=False, soft_wrap=True
            )


@config_app.command()
def show(recipe: Recipe, overrides: Overrides = None, smoke: Smoke = False) -> None:
    """Print a recipe as it resolves, with every override laid on."""
    from medal.recipe import load
    from medal.recipe import show as as_yaml

    typer.echo(as_yaml(load(recipe, overrides or [], smoke)), nl=False)


@config_app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    import json

    from medal.recipe import schema as as_json

    typer.echo(json.dumps(as_json(), indent=2))


@app.command()
def doctor() -> None:
    """Look at device, disk, codecs and libraries, and say what to mend."""
    from medal.doctor import examine

    table = Table("", "found", "to mend")
    sick = False
    for finding in examine(Path.cwd()):
        sick |= bool(finding.mend)
        table.add_row(finding.what, escape(finding.found), escape(finding.mend), style="red" if finding.mend else "")
    out.print(table)
    if sick:
        raise typer.Exit(1)


hospital.register(app)
benchmark.register(app)


def _play(planned: object) -> None:
    from medal.report import write_report
    from medal.run import Run, execute
    from medal.screen import Screen

    if not isinstance(planned, Run):
        raise StudyError(f"expected a run, found {type(planned).__name__}")
    out.print(f"run: {planned.folder} ({len(planned.studies)} studies of {', '.join(planned.arms)})", soft_wrap=True)
    try:
        with Screen(out, len(planned.studies)) as screen:
            execute(planned, screen.notify)
    except KeyboardInterrupt:
        problems.print(f"\nstopped; nothing is lost: medal resume {planned.folder}", soft_wrap=True)
        raise typer.Exit(130) from None
    path = write_report(planned.folder)
    status(planned.folder)
    out.print(f"report: {path}", soft_wrap=True)


def _tell_plan(planned: object) -> None:
    from medal.estimate import estimate
    from medal.run import Run
    from medal.screen import Screen

    if not isinstance(planned, Run):
        raise StudyError(f"expected a run, found {type(planned).__name__}")
    with Screen(out) as screen:
        told = estimate(planned, planned.cache, screen.progress)
    table = Table("", "", show_header=False, title=f"{planned.name}: what a run would do")
    table.add_row("folder", str(planned.folder))
    table.add_row("arms", ", ".join(planned.arms))
    table.add_row("studies", f"{told.studies}, {told.at_a_time} at a time")
    table.add_row("images", f"{', '.join(f'{k} {v}' for k, v in told.rows.items())} ({told.patients} patients)")
    table.add_row("bought by each study", f"{told.items:g} items, {told.minutes:.0f} expert minutes")
    table.add_row("time on this machine", _duration(told.seconds))
    out.print(table)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _free_folder(recipe: str) -> Path:
    stem = Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe.replace("/", "-")
    numbered = (RUNS / (stem if n == 1 else f"{stem}-{n}") for n in range(1, 10_000))
    return next(path for path in numbered if _is_free(path))


def _is_free(folder: Path) -> bool:
    """Whether a run may be begun there: nothing, or nothing but the cache that a dry run or a failed one left."""
    return not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {"cache"})


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given
    runs = sorted(RUNS.glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise StudyError(f"no run below {RUNS}/; give a folder, or begin with `medal run chest_xray`")
    return runs[-1].parent


def main() -> None:
    """Runs the command line; a `MedalError` is one line and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    warnings.filterwarnings("ignore", module=r"(lightning|torch|monai)\b.*")
    try:
        from medal.resources import check_siblings

        check_siblings()
        app()
    except MedalError as error:
        problems.print(f"[bold red]error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
