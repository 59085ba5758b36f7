"""A campaign with people: nobody waits for an answer, and every command takes one step and ends (survey, section 2).

`ask` writes down what is asked and makes a work list of it, `tell` takes answers in, `learn` trains and measures. The
study stands in its journal alone, so that commands may be killed, repeated, or given days apart by several people.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from medal import assemble
from medal.campaign import Campaign
from medal.errors import ConfigError, StudyError
from medal.exchange.asking import Wish, compose
from medal.exchange.csv_format import CsvFormat
from medal.exchange.intake import IMPORTED, Desk, Intake, Question
from medal.exchange.joining import take_in
from medal.exchange.key import write_key
from medal.exchange.listing import Listing, Previews, numbers_of, worklist_of
from medal.exchange.place import study_token
from medal.exchange.refusals import keep_comments, write_refusals
from medal.exchange.worklist import ExchangeFormat
from medal.ledger import Event
from medal.pool import Annotations
from medal.schema import Recipe
from medal.seeding import Seed
from medal.source import Opened, Progress, silent
from medal.study import Study
from medal.units import IMAGE

WORKLISTS = "worklists"
NOBODY = "reader"
"""Who answered where neither the file nor the command says."""


@dataclass(kw_only=True)
class HumanCampaign(Campaign):
    """One hospital study.

    Args:
        recipe: with the places of this machine.
        cache: of decoded images and of what is computed from them once.
        format: how work lists are written and answers read.
        added: images that were new in the folder when it was opened.
    """

    recipe: Recipe
    cache: Path
    format: ExchangeFormat = field(default_factory=CsvFormat)
    added: int = 0
    _questions: dict[str, Question] = field(default_factory=dict, repr=False)
    _retired_by: dict[str, str] = field(default_factory=dict, repr=False)
    _told: dict[str, frozenset[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pool.round = max(self.pool.round, self._trained)

    @classmethod
    def create(cls, recipe: Recipe, folder: Path, cache: Path, progress: Progress = silent) -> HumanCampaign:
        """Makes the study and takes in the labels that the clinic has; finishes what an interrupted call began.

        Raises:
            StudyError: when the folder holds a study in which something was asked already.
            ConfigError: when too few patients are there to split, or when a test part is wanted.
        """
        if recipe.split.test > 0:
            raise ConfigError(
                f"split.test is {recipe.split.test:g}; a study with people measures on images that its readers label, "
                "drawn at random, and labels that the clinic has never measure: set split.test=0"
            )
        opened = assemble.open_data(recipe, cache, progress)
        split = assemble.split_of(recipe, opened.source)
        if split.counts()["pool"] < 2:
            raise ConfigError(
                f"{len(opened.source.ids)} images of {len(set(opened.source.groups))} patients leave "
                f"{split.counts()['pool']} to choose from; give more images, or a smaller split.validation"
            )
        own = {"token": secrets.token_hex(8)}  # of a study that is new; one that is there keeps its own
        study = assemble.study_of(recipe, recipe.seed, folder, opened.source, split, own)
        if study.opened["recipe"] != assemble.shareable(recipe) or study.opened["data"]["labels"] != list(
            opened.source.labels
        ):
            study.close()
            raise StudyError(
                f"{folder} holds a study that was begun with other findings or settings, and asks about "
                f"{', '.join(study.opened['data']['labels'])}; give another --out, or remove that folder first"
            )
        campaign = cls._on(recipe, study, opened, cache)
        campaign.progress = progress
        if campaign.study.ledger.last("asked") is not None:
            campaign.study.close()
            raise StudyError(f"{folder} already holds a study; go on with `medal ask {folder}`, or give another --out")
        campaign.import_labels(opened)
        return campaign

    @classmethod
    def open(cls, recipe: Recipe, folder: Path, cache: Path, progress: Progress = silent) -> HumanCampaign:
        """Opens a study for writing and takes in images that are new in its folder.

        Raises:
            StudyLocked: when another process works on it.
            StudyError: when images of the study are gone from the folder.
        """
        study = Study.open(folder)
        try:
            opened = assemble.open_data(recipe, cache, progress)
            added = take_in(study, opened.source, assemble.split_of(recipe, opened.source))
            campaign = cls._on(recipe, study, opened, cache)
        except BaseException:
            study.close()
            raise
        campaign.progress, campaign.added = progress, added
        return campaign

    @classmethod
    def _on(cls, recipe: Recipe, study: Study, opened: Opened, cache: Path) -> HumanCampaign:
        """Labels that the clinic has were not drawn at random, so that there is no examiner."""
        source = opened.source
        split = assemble.split_of(recipe, source)
        return cls(
            study=study,
            source=source,
            pool=assemble.pool_of(recipe, source, split),
            learner=assemble.learner_of(recipe, source, cache, silent, split.positions("pool")),
            strategy=assemble.strategy_of(recipe),
            cost=assemble.cost_of(recipe),
            seed=Seed(study.opened["seed"]),
            examine=None,
            recipe=recipe,
            cache=cache,
        )

    def _take(self, event: Event) -> None:
        super()._take(event)
        content = event.content
        if event.kind == "asked":
            question = Question(str(content["purpose"]), str((event.aside or {}).get("list", "")), True)
            self._questions.update(dict.fromkeys(content["ids"], question))
        elif event.kind == "answered":
            self._close_questions(content["ids"])
            back = sorted(set(self._retired_by) & set(content["ids"]))
            for unit in back:
                del self._retired_by[unit]
            self.pool.bring_back(back)
        elif event.kind == "retired":
            self._close_questions(content["ids"])
            self._retired_by.update(dict.fromkeys(content["ids"], str(content["annotator"])))
        elif event.kind == "told":
            self._told[str(content["file"])] = frozenset((event.aside or {}).get("refused", ()))

    def _close_questions(self, ids: Sequence[str]) -> None:
        for unit in ids:
            if unit in self._questions:
                self._questions[unit] = replace(self._questions[unit], open=False)

    def import_labels(self, opened: Opened) -> None:
        """Takes in what the clinic knows about the pool; its labels of the validation part were not drawn at random.

        A second call does nothing.

        Args:
            opened: the data set with the clinic's labels as its truth, or with none.
        """
        if opened.truth is None or self.study.ledger.last("answered") is not None:
            return
        units, values = self.pool.units, opened.truth.values
        known = ~torch.isnan(values)
        in_pool = torch.zeros(len(values), dtype=torch.bool)
        in_pool[self.pool.split.positions("pool")] = True
        answered = known[units.row, units.index] if units.inner else known.any(1)[units.row]
        chosen = torch.nonzero(answered & in_pool[units.row]).flatten()
        if not len(chosen):
            return
        rows, index = units.row[chosen], units.index[chosen]
        target = values[rows, index][:, None] if units.inner else values[rows]
        answers = Annotations(
            tuple(units.names(chosen)), target.float(), units.kind, (math.nan,) * len(chosen), IMPORTED
        )
        self.record(answers, "imported", units.kind)

    def open_units(self, name: str | None = None) -> tuple[str, ...]:
        """Units that were asked and not answered yet.

        Args:
            name: of a list, for those that it asked last; None for all.
        """
        return tuple(unit for unit, q in self._questions.items() if q.open and name in (None, q.list))

    def open_lists(self) -> dict[str, int]:
        """Work lists with open questions, oldest first, and how many images of each are open."""
        rows: dict[str, set[str]] = {}
        for unit in self.open_units():
            row = self.pool.units.rows[int(self.pool.units.row[self.pool.units.positions([unit])[0]])]
            rows.setdefault(self._questions[unit].list, set()).add(row)
        return {name: len(found) for name, found in sorted(rows.items())}

    def arm_rows(self) -> Tensor:
        """Rows of the validation arm that were asked so far, (n,) int64."""
        asked = [unit for unit, question in self._questions.items() if question.purpose == "validation"]
        return torch.unique(self.pool.units.row[self.pool.units.positions(asked)])

    def probabilities(self, rows: Tensor) -> Tensor:
        """What the last model says about rows, (len(rows), L)."""
        self.restore()
        unique, line = torch.unique(rows, return_inverse=True)
        return self._probabilities(unique)[line]

    def restore(self) -> None:
        """As in `Campaign`; says what to do when the weights are lost."""
        try:
            super().restore()
        except StudyError as error:
            if not self.trained or "medal resume" not in str(error):
                raise
            raise StudyError(f"{str(error).split('; run `medal resume`')[0]}; run `medal train`") from error

    def _next_round(self) -> None:
        """A round ends with its training; what comes after belongs to the next one."""
        if self.trained and self.pool.round == self._trained:
            self.pool.round += 1

    def ask(self, wish: Wish) -> str:
        """Writes down what is asked next, in one step, and returns the name of its list; see `lists`.

        Raises:
            BudgetError: when nothing is left to ask.
        """
        name = f"ask_{len(self.list_names()) + 1:03d}"
        before = self.pool.round
        self._next_round()
        try:
            portions = compose(self, wish, name)
        except BaseException:
            self.pool.round = before
            raise
        with self.study.ledger.step():
            for portion in portions:
                self.write_query(portion.query, portion.purpose, portion.strategy, {"list": name})
        self._keep_previews()
        return name

    def _keep_previews(self) -> None:
        """Small images of everything that was asked in this round to learn from; the report shows them."""
        asked = [e.content for e in self.study.ledger.events("asked") if e.content["round"] == self.pool.round]
        picked = [unit for content in asked if content["purpose"] in ("query", "start") for unit in content["ids"]]
        self.save_previews(list(dict.fromkeys(picked)))

    def list_names(self) -> tuple[str, ...]:
        """Names of every list so far."""
        return tuple(dict.fromkeys(str((e.aside or {}).get("list", "")) for e in self.study.ledger.events("asked")))

    def write_list(self, name: str) -> Listing:
        """Writes the files of a list where they are missing; what lies there may hold a reader's work and stays."""
        folder = self.study.folder / WORKLISTS / name
        worklist = worklist_of(self, name)
        row = {unit: n for n, unit in enumerate(self.pool.units.rows)}
        previews = Previews({item.id: row[item.id] for item in worklist.items}, self.source.preview)
        files = self.format.write(worklist, previews, folder)
        key = write_key(name, numbers_of(self, name), study_token(self.study.opened))
        return Listing(worklist, folder, tuple(files), key)

    def tell(self, path: Path, reader: str = "", extra: bool = False, back: bool = False) -> Intake:
        """Takes a file of answers in: its good rows in one step, its bad rows into a list beside it.

        Of a file that was told before only the rows count that were refused then: what was taken may have been
        corrected since.

        Args:
            path: a work list that was filled in, or another file that the format reads.
            reader: who answered, where the file does not say.
            extra: take labels that nobody asked for.
            back: take answers that the same reader has corrected since.

        Raises:
            BadTable: when the file cannot be read; nothing is taken then.
        """
        reading = self.format.read(path, self.pool.labels)
        digest = hashlib.sha256(f"{reader}\n{extra}\n".encode() + path.read_bytes()).hexdigest()
        known = None if back else self._told.get(digest)
        quarantined = self.source.quarantined
        desk = Desk(self.pool, self._questions, self._retired_by, quarantined, reader or NOBODY, extra, back)
        intake = desk.sort(reading, known)
        write_refusals(path, reading.name, intake.refused)
        keep_comments(study_token(self.study.opened), intake.comments)
        if not intake.taken:
            return intake
        self._next_round()
        with self.study.ledger.step():
            for batch in intake.batches:
                answers = Annotations(batch.ids, batch.target, self.pool.units.kind, batch.seconds, batch.reader)
                kind = self.pool.units.kind if batch.purpose == "query" else IMAGE.name
                self.record(answers, batch.purpose, kind, measured=True)
            for ids, reason, who in intake.retired:
                self.retire(ids, reason, who)
            content = {"file": digest, "taken": intake.taken, "refused": len(intake.refused)}
            self._append("told", content, {"refused": [line for line, _, _ in intake.refused]})
        return intake

    def learn(self) -> bool:
        """Trains on every label and measures on the validation arm.

        Returns:
            Whether anything was done; False when nothing was answered since the last training.

        Raises:
            StudyError: when no image of the pool is labelled.
        """
        if not len(self.pool.table()):
            arm = len(self.pool.labelled("validation"))
            why = f"; the {arm} that measure do not train" if arm else ""
            raise StudyError(
                f"no image to train with is labelled yet{why}; label a work list and bring it in: `medal tell`"
            )
        last, measured = self.study.ledger.last("trained"), self.study.ledger.last("evaluated")
        news = last is None or self._answered_since(last) or self._weights_lost()
        if not news and last is not None and measured is not None and measured.seq > last.seq:
            return False
        if news:
            self._next_round()
            self.train()
        self.evaluate(thorough=True)
        return True

    def train(self) -> None:
        """As in `Campaign`; begins from nothing where the weights to go on from are lost."""
        if self.trained and self._weights_lost():
            self._fit()
            self._forget_outputs()
        else:
            super().train()

    def _weights_lost(self) -> bool:
        """Whether the last weights are gone or damaged."""
        try:
            self.study.load_weights(self._trained)
        except StudyError:
            return True
        return False

    def asked_events(self, name: str) -> Iterator[Mapping[str, object]]:
        """The questions of one list, as the journal has them."""
        for event in self.study.ledger.events("asked"):
            if (event.aside or {}).get("list") == name:
                yield event.content
