from __future__ import annotations

import math
from dataclasses import replace

from medal.report.headline import facts, headline, sentences, stamps
from medal.report.history import Answer, LabelMeasures, Round, RunHistory, StudyHistory


def test_the_result_is_one_plain_sentence(pair):
    (sentence,) = sentences(pair)
    assert sentence == (
        "At 160 items, macro AUROC is 0.777 (epistemic) against 0.770 (random); paired AUBC difference +0.007 "
        "[−0.010 to +0.020, minimum to maximum over 3 seeds; sign-flip p 0.75], "
        "better than random in 2 of 3 pairs."
    )


def test_a_result_is_underpowered_below_ten_pairs(pair, make_history):
    assert stamps(pair) == ("underpowered: n = 3 < 10 paired seeds",)
    studies = [make_history(arm, seed, [0.5, 0.6]) for seed in range(10) for arm in ("a", "random")]
    assert stamps(RunHistory("r", tuple(studies))) == ()
    assert "95 % bootstrap interval over 10 seeds; sign-flip p 1.00" in sentences(RunHistory("r", tuple(studies)))[0]


def test_no_pairs_no_power_to_speak_of(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5, 0.6]), make_history("random", 1, [0.5, 0.6])))
    assert stamps(run) == ()
    assert "no pair of studies covers two budgets" in sentences(run)[0]


def test_without_random_the_report_says_so(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5, 0.612]),))
    assert sentences(run) == (
        "At 120 items, macro AUROC is 0.612 (a, 1 seed).",
        "This run has no random arm, so nothing can be said about the benefit of choosing.",
    )
    assert "no random arm: no comparison" in stamps(run)


def test_random_alone_is_a_result_too(make_history):
    assert sentences(RunHistory("r", (make_history("random", 0, [0.5]),))) == (
        "At 100 items, macro AUROC is 0.500 (random, 1 seed).",
    )


def test_why_there_is_no_result(make_history):
    nothing = RunHistory("r", (StudyHistory("random", 0),))
    assert sentences(nothing)[0].startswith("Nothing has been evaluated yet")
    no_test = RunHistory("r", (StudyHistory("random", 0, rounds=(Round(0, 10, 10, {}, {}),)),))
    assert sentences(no_test)[0].startswith("Nothing could be measured")
    few = {"Hernia": LabelMeasures(0.9, 0.9, 0.1, 0.1, 2, 100, False)}
    rare = RunHistory("r", (StudyHistory("random", 0, rounds=(Round(0, 10, 10, {"auroc": math.nan}, few),)),))
    assert "no label has the 20 positives" in sentences(rare)[0]


def test_arms_that_have_not_met_are_not_compared(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5, 0.6]), make_history("random", 0, [])))
    assert "no evaluated round in common" in sentences(run)[0]


def test_different_budgets_in_one_round_are_both_named(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5, 0.6]), make_history("random", 0, [0.5, 0.6], step=22.5)))
    assert sentences(run)[0].startswith("After round 1 (120 and 122.5 items), macro AUROC")


def test_unfinished_and_bound_are_stamped(pair):
    torn = replace(pair.studies[0], closed=None)
    bound = replace(pair.studies[2], opened={"recipe": {"bound": True}})
    run = RunHistory("r", (torn, bound, *pair.studies[3:]))
    assert "unfinished" in stamps(run)
    assert "bound: epistemic reads the truth" in stamps(run)
    assert dict(facts(run))["State"] == "1 of 5 studies unfinished (epistemic, seed 0: evaluated up to round 3)"


def test_many_unfinished_studies_are_counted_only():
    run = RunHistory("r", tuple(StudyHistory("a", seed) for seed in range(4)))
    assert dict(facts(run))["State"] == "4 of 4 studies unfinished (listed under Provenance)"


def test_facts_name_task_data_and_split():
    opened = {
        "task": "chest_xray",
        "data": {"name": "nih", "rows": 1000, "groups": 682, "labels": ["Mass"]},
        "split": {"counts": {"pool": 600, "test": 400}},
    }
    found = dict(facts(RunHistory("r", (StudyHistory("a", 4, opened),))))
    assert found["Data"] == "nih: 1,000 images, 682 patients, 1 label"
    assert found["Split"] == "pool 600, test 400"
    assert found["Seed"] == "4"


def test_the_recipe_may_title_the_report(pair):
    titled = StudyHistory("a", 0, {"recipe": {"report": {"title": "Our pool of 2024"}}})
    assert headline(RunHistory("r", (titled,))).title == "Our pool of 2024"
    assert headline(pair).title == "chest_xray: active learning report"


def people(**more) -> RunHistory:
    """A study with people, hours after its beginning."""
    opened = {"task": "tasks.chest_xray", "data": {"name": "folder", "rows": 82, "later": 16, "groups": 44}}
    return RunHistory("chest X-ray", (StudyHistory("beta_epistemic", 0, opened, people=True, **more),))


def test_minutes_say_whether_they_were_planned_or_measured(make_history):
    assert (
        dict(facts(RunHistory("r", (make_history("a", 0, [0.5]),))))["Paid for"] == "100 items (150.0 planned minutes)"
    )
    rounds = (Round(0, 10, 12.0, {}, {}),)
    answers = tuple(Answer(f"I{n}", n, "query", (1.0,), seconds, "R1") for n, seconds in enumerate((90.0, 600.0)))
    timed = dict(facts(people(rounds=rounds, answers=answers)))
    assert timed["Paid for"] == "10 items (1.5 measured expert minutes, 12.0 planned)", "round 1 is not measured yet"
    untimed = tuple(replace(a, seconds=math.nan) for a in answers)
    assert dict(facts(people(rounds=rounds, answers=untimed)))["Paid for"] == "10 items (12.0 planned minutes)"


def test_a_study_with_people_is_told_in_plain_words():
    found = headline(people())
    told = dict(found.facts)
    assert found.title == "chest X-ray: active learning report"
    assert found.stamps == ()
    assert told["Task"] == "chest X-ray"
    assert told["Data"] == "folder: 82 images, of which 16 came later, 44 patients"
    assert "Seed" not in told
