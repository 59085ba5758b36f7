from __future__ import annotations

import io
import sys

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from medal.report.figures import columns_figure, learning_curves, prevalence_figure
from medal.report.history import RunHistory
from medal.report.selection import Comparison, Proportion
from medal.report.style import pens, shown


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def has_colour(png: bytes, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels(png) - wanted).max(-1) <= 2).any())


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        "Labels",
        ("Effusion", "Mass"),
        (Proportion(0.1, 50), Proportion(0.02, 50)),
        {"epistemic": (Proportion(0.3, 40), Proportion(0.1, 40))},
        True,
    )


def test_the_same_history_gives_the_same_bytes(pair, comparison):
    first, second = learning_curves(pair, "auroc"), learning_curves(pair, "auroc")
    assert first == second
    assert first is not None
    assert b"<dc:date>" not in first.svg
    assert prevalence_figure(pair, comparison) == prevalence_figure(pair, comparison)


def test_figures_follow_the_history_and_not_the_users_settings(pair):
    before = learning_curves(pair, "auroc")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "other"}):
        assert learning_curves(pair, "auroc") == before
        assert mpl.rcParams["font.size"] == 20
    assert learning_curves(RunHistory("r", pair.studies[:4]), "auroc") != before


def test_drawing_leaves_pyplot_out(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import of it now fails
    assert learning_curves(pair, "auroc") is not None


def test_every_arm_is_drawn_in_its_own_colour(pair):
    drawing = learning_curves(pair, "auprc")
    assert drawing is not None
    for pen in pens(pair).values():
        assert has_colour(drawing.png, pen.colour)
    assert not has_colour(drawing.png, "#009E73")


def test_random_is_grey_and_dashed_wherever_it_stands_and_bounds_are_dotted(make_history):
    bound = make_history("greedy", 0, [0.5], opened={"recipe": {"bound": True}})
    styles = pens(RunHistory("r", (make_history("a", 0, [0.5]), bound, make_history("random", 0, [0.5]))))
    assert (styles["random"].dash, styles["a"].dash, styles["greedy"].dash) == ("--", "-", ":")
    assert len({pen.colour for pen in styles.values()}) == 3
    assert len({pen.marker for pen in styles.values()}) == 3


def test_captions_state_seeds_and_band_and_the_ends_are_told_to_the_blind(pair):
    drawing = learning_curves(pair, "auroc")
    assert drawing is not None
    assert "Bands: minimum to maximum." in drawing.caption
    assert "random 3, epistemic 3" in drawing.caption
    assert "epistemic ends at 0.777 after 160 items." in drawing.alt


def test_captions_tell_of_a_single_seed_and_of_seeds_that_went_further(make_history):
    alone = learning_curves(RunHistory("r", (make_history("a", 0, [0.5, 0.6]),)), "auroc")
    assert alone is not None
    assert "With one seed there is no band." in alone.caption
    torn = learning_curves(RunHistory("r", (make_history("a", 0, [0.5, 0.6]), make_history("a", 1, [0.5]))), "auroc")
    assert torn is not None
    assert "Thin lines" in torn.caption


def test_nothing_evaluated_draws_nothing(make_history):
    assert learning_curves(RunHistory("r", (make_history("random", 0, []),)), "auroc") is None


def test_names_from_users_are_drawn_as_they_stand(make_history):
    # an unclosed formula, a name that matplotlib would hide, and letters that its font lacks
    for name in ("$a_b", "_hidden", "\u80ba", r"\frac"):
        assert learning_curves(RunHistory("r", (make_history(name, 0, [0.5, 0.6]),)), "auroc") is not None
    assert shown("_hidden").strip() == "_hidden"


def test_shares_are_drawn_for_pool_and_arm_and_told_in_words(pair, comparison):
    drawing = prevalence_figure(pair, comparison)
    assert has_colour(drawing.png, pens(pair)["epistemic"].colour)
    assert "Effusion: pool 10 %, epistemic 30 %" in drawing.alt
    several = columns_figure(
        pair, [Comparison("Sex", ("F",), (Proportion(0.5, 9),), {"random": (Proportion(1.0, 3),)}, False)] * 2
    )
    assert "Sex: F: pool 50 %, random 100 %" in several.alt
    assert pixels(several.png).shape[0] < pixels(drawing.png).shape[0] * 2


def test_a_category_without_answers_leaves_its_place_empty(pair):
    empty = Comparison(
        "Labels", ("Mass",), (Proportion(float("nan"), 0),), {"random": (Proportion(float("nan"), 0),)}, True
    )
    drawing = prevalence_figure(pair, empty)
    assert "Mass: pool –, random –" in drawing.alt
