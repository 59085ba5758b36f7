"""What leaves a study: predictions on any data, and the weights with a card that says what they are good for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medal import assemble
from medal.arguments import signature_of
from medal.errors import StudyError
from medal.exchange.place import cache_folder, is_known, recall
from medal.import_paths import resolve
from medal.learners.protocol import Learner
from medal.recipe import Recipe, change
from medal.report.words import task_name
from medal.run import INDEX, load_run, settle
from medal.seeding import Seed
from medal.source import Progress, Source, silent
from medal.standing import as_it_is_now
from medal.storage import write_bytes, write_json
from medal.study import Study


def choose_study(folder: Path) -> Path:
    """The study that a folder stands for: itself, or the main arm's first seed of a run.

    Raises:
        StudyError: if it was not begun.
    """
    if Study.exists(folder):
        return folder
    run = load_run(folder)
    arm = run.main.arm
    entry = next((e for e in run.studies if e.arm == arm and Study.exists(run.path(e))), None)
    if entry is None:
        raise StudyError(f"{folder}: no study of {arm!r} was begun; run `medal resume` first")
    return run.path(entry)


def recipe_of(folder: Path) -> Recipe:
    """The recipe of the study that a folder stands for, with the place of its data where a run knows it."""
    chosen = choose_study(folder)
    run_folder = chosen.parent.parent
    if (run_folder / INDEX).is_file():
        run = load_run(run_folder)
        arm = next((e.arm for e in run.studies if run.path(e) == chosen), None)
        if arm is not None:
            return run.arms[arm]
    with Study.open(chosen, write=False) as study:
        return recall(study.opened) if is_known(study.opened) else Recipe.model_validate(study.opened["recipe"])


def cache_of(folder: Path) -> Path:
    """Where decoded images of a run or study are kept."""
    if (folder / INDEX).is_file():
        return load_run(folder).cache
    run = folder.parent.parent
    return run / "cache" if (run / INDEX).is_file() else cache_folder()


def recipe_for(folder: Path, overrides: Sequence[str]) -> Recipe:
    """The recipe of a study with other data; what they leave open is taken from the study.

    Args:
        folder: study or run.
        overrides: such as `data=folder` and `data.root=PATH`. A data set that takes `findings` and `size` gets those
            that the model was trained with, unless they are given. Predicting needs no labels: a data set that takes
            `findings` and `labels` reads no table of labels in another `data.root`, unless `data.labels` names one; a
            column `patient_id` of such a table is then lost, so that a prediction may stand under another patient.
    """
    recipe, keys = recipe_of(folder), {o.partition("=")[0].strip() for o in overrides}
    if not keys & {"data", "data.root"}:
        return change(recipe, overrides)
    with Study.open(choose_study(folder), write=False) as study:
        data = study.opened["data"]
    chosen = change(recipe, overrides)
    takes = signature_of(resolve(chosen.data.use, "data.use"), "data").names
    known: dict[str, object] = {"findings": data["labels"]}
    if "data" in keys:
        known["size"] = data["shape"][-1]
    if "data.root" in keys and "findings" in takes:
        known["labels"] = None
    like = [f"data.{k}={json.dumps(v)}" for k, v in known.items() if k in takes and f"data.{k}" not in keys]
    return change(recipe, [*(o for o in overrides if o.startswith("data=")), *like, *_after(overrides)])


def _after(overrides: Sequence[str]) -> list[str]:
    return [o for o in overrides if not o.startswith("data=")]


def trained_learner(
    study: Study, recipe: Recipe, source: Source, cache: Path, progress: Progress
) -> tuple[Learner, int]:
    """The learner with the weights of the last round, and the round.

    Raises:
        StudyError: if nothing was trained yet, or the source asks about other labels or has images of another size.
    """
    event = study.ledger.last("trained")
    if event is None:
        raise _untrained(study)
    labels = study.opened["data"]["labels"]
    if list(source.labels) != labels:
        raise StudyError(
            f"the model answers {', '.join(labels)}; the data ask {', '.join(source.labels)}; set data.findings"
        )
    known, found = (" x ".join(map(str, s)) for s in (study.opened["data"].get("shape", source.shape), source.shape))
    if known != found:  # a convolutional network would answer all the same, and wrongly
        raise StudyError(f"the model was trained on images of {known}, the data give {found}; set data.size as it was")
    settle(recipe)
    learner = assemble.learner_of(recipe, source, cache, progress)
    number = int(event.content["round"])
    seed = Seed(study.opened["seed"]) / f"round {number}" / "learner"
    learner.load_state_dict(study.load_weights(number), seed)
    return learner, number


def _untrained(study: Study) -> StudyError:
    """A study of a run is played on, one of people is trained by them."""
    step = "resume" if (study.folder.parent.parent / INDEX).is_file() else "train"
    return StudyError(f"{study.folder.name} has no trained model yet; run `medal {step}`")


def predict(folder: Path, recipe: Recipe, out: Path, cache: Path, progress: Progress = silent) -> int:
    """Writes the last model's probabilities for every image of the recipe's data as CSV, by pseudonym.

    Args:
        folder: study or run.
        recipe: the study's, with other data where wanted.
        out: CSV to write.
        cache: of decoded images.
        progress: told during long work.

    Returns:
        How many rows were written.
    """
    with Study.open(choose_study(folder), write=False) as study:
        source = assemble.open_data(recipe, cache, progress).source
        learner, _ = trained_learner(study, recipe, source, cache, progress)
    outputs = learner.predict(progress=progress)
    names = outputs.resolve({"prediction"}, "predict")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "patient", *source.labels])
    for chunk in outputs.chunks(names, torch.arange(len(source.ids))):
        present = chunk.distribution().mean(1)[..., 1]
        for row, values in zip(chunk.rows.tolist(), present.tolist(), strict=True):
            writer.writerow([source.ids[row], source.groups[row], *(f"{v:.6f}" for v in values)])
    write_bytes(out, text.getvalue().encode())
    return len(source.ids)


def export(folder: Path, out: Path) -> Path:
    """Writes the last model: weights as safetensors, a model card, and the recipe that rebuilds it.

    Args:
        folder: study or run.
        out: new folder.

    Returns:
        The folder.
    """
    from medal.recipe import show
    from medal.weights import save_weights

    with Study.open(choose_study(folder), write=False) as study:
        event = study.ledger.last("trained")
        if event is None:
            raise _untrained(study)
        number = int(event.content["round"])
        measured = [e.content for e in study.ledger.events("evaluated") if e.content["round"] == number]
        state = study.load_weights(number)
        recipe = Recipe.model_validate(study.opened["recipe"])
        save_weights(out / "model.safetensors", state)
        write_bytes(out / "recipe.yaml", show(recipe).encode())
        write_json(out / "labels.json", study.opened["data"]["labels"])
        added = [e.content for e in study.ledger.events("added")]
        groups = len({row["group"] for row in study.read_units()}) if added else None
        card = model_card(
            as_it_is_now(study.opened, added, groups),
            event.content,
            measured[-1] if measured else None,
            study.ledger.head(),
        )
        write_bytes(out / "model_card.md", card.encode())
    return out


def model_card(
    opened: Mapping[str, Any], trained: Mapping[str, Any], measured: Mapping[str, Any] | None, head: str
) -> str:
    """The text of the model card.

    Args:
        opened: content of the study's first event, see `as_it_is_now`.
        trained: content of the last training.
        measured: content of its evaluation, None when there was none.
        head: head hash of the journal.
    """
    data, recipe = opened["data"], opened["recipe"]
    lines = [
        f"# Model card: {task_name(opened['task'])}, {opened['arm']}, seed {opened['seed']}",
        "",
        "For research. Not a medical device; not for diagnosis.",
        "",
        "| | |",
        "| --- | --- |",
        f"| answers | {', '.join(data['labels'])}; one probability each, independent of the others |",
        f"| learner | `{recipe['learner']['use']}` |",
        f"| data | {data['name']}: {_images(data)}, `{data['digest'][:12]}` |",
        f"| trained with | {trained['rows']} images after round {trained['round']}, chosen by `{opened['arm']}` |",
        f"| split | by patient, hash `{opened['split']['hash'][:16]}`, rows {_parts(opened['split']['counts'])} |",
        f"| weights | content hash `{trained['weights']}` |",
        f"| journal | head hash `{head}` |",
        f"| made with | medal {opened['medal']}, {', '.join(f'{k} {v}' for k, v in opened['versions'].items())} |",
        "",
        "The labelled images were not drawn at random: prevalence in them is not the prevalence of the clinic.",
        "",
    ]
    return "\n".join([*lines, *_measures(measured)]) + "\n"


def _parts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {count}" for part, count in counts.items() if count)


def _images(data: Mapping[str, Any]) -> str:
    text = f"{data['rows']} images of {data['groups']} patients"
    return f"{text}, {data['later']} of them came later" if data.get("later") else text


def _measures(measured: Mapping[str, Any] | None) -> Sequence[str]:
    arm = (measured or {}).get("validation", {}).get("labels")
    if measured and measured.get("labels"):
        return _measure_table("On the test split", measured["labels"])
    if arm:
        return _measure_table("On the random validation arm, which also calibrated the model (ECE flatters it)", arm)
    return ["No test labels were at hand, so nothing was measured."]


def _measure_table(title: str, labels: Mapping[str, Any]) -> Sequence[str]:
    rows = [
        f"## {title}",
        "",
        "| label | AUROC | AUPRC | ECE | positives | negatives |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, m in labels.items():
        values = [_shown(m[k]) for k in ("auroc", "auprc", "ece")] if m["estimable"] else ["not estimable"] * 3
        rows.append(f"| {name} | {' | '.join(values)} | {m['positives']} | {m['negatives']} |")
    return rows


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
