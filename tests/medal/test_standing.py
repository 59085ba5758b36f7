import pytest
from hypothesis import given
from hypothesis import strategies as st

from medal.ledger import Event
from medal.standing import NEXT_STEPS, as_it_is_now, standing


def events(*pairs):
    return [Event(i, kind, content, {}, "", "") for i, (kind, content) in enumerate(pairs, start=1)]


def asked(n, purpose, *ids, minutes=None):
    cost = {"items": float(len(ids)), "minutes": len(ids) * 0.5 if minutes is None else minutes}
    return "asked", {"round": n, "purpose": purpose, "ids": list(ids), "cost": cost}


def answered(n, purpose, *ids):
    return "answered", {"round": n, "purpose": purpose, "ids": list(ids)}


CAMPAIGN = (
    ("opened", {"format": 1}),
    ("quarantined", {"items": {"x": "torn", "y": "empty"}}),
    asked(0, "validation", "v1", "v2"),
    answered(0, "validation", "v1", "v2"),
    asked(0, "start", "a", "b"),
    answered(0, "start", "a", "b"),
    ("trained", {"round": 0}),
    ("evaluated", {"round": 0, "macro": {"auroc": 0.6}}),
    asked(1, "query", "c", "d", "e", minutes=0.7),
    answered(1, "query", "c", "d", "e"),
    ("trained", {"round": 1}),
    ("evaluated", {"round": 1, "macro": {"auroc": None}}),
    ("closed", {"reason": "1 rounds were played"}),
)
NEXT = [
    "ask",
    "ask",
    "answer",
    "ask",
    "answer",
    "train",
    "evaluate",
    "ask",
    "answer",
    "train",
    "evaluate",
    "ask",
    "nothing",
]
ROUND = [None, None, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("n", range(1, len(CAMPAIGN) + 1))
def test_next_step_and_round_after_each_event_of_a_campaign(n):
    found = standing(events(*CAMPAIGN[:n])).as_dict()
    assert (found["next"], found["round"]) == (NEXT[n - 1], ROUND[n - 1])


def test_a_finished_campaign():
    assert standing(events(*CAMPAIGN)).as_dict() == {
        "round": 1,
        "next": "nothing",
        "spent": {"items": 7, "minutes": 2.7},
        "labelled": 5,
        "validation": 2,
        "waiting": 0,
        "retired": 0,
        "trained": 1,
        "evaluated": 1,
        "macro": {"auroc": None},
        "quarantined": 2,
        "finished": True,
        "reason": "1 rounds were played",
    }


def test_nothing_yet():
    found = standing([]).as_dict()
    assert (found["round"], found["next"], found["finished"], found["spent"]) == (
        None,
        "ask",
        False,
        {"items": 0, "minutes": 0},
    )


def test_a_request_answered_in_part_counts_in_part():
    found = standing(events(asked(1, "query", "a", "b", "c", minutes=6.0), answered(1, "query", "b")))
    assert found.next == "answer"
    assert list(found.waiting) == ["a", "c"]
    assert found.as_dict()["spent"] == {"items": 1, "minutes": 2}


def test_corrections_and_second_opinions_cost_nothing_more():
    once = standing(events(asked(1, "query", "a", "b"), answered(1, "query", "a", "b"))).as_dict()
    again = events(asked(1, "query", "a", "b"), answered(1, "query", "a", "b"), answered(1, "query", "a"))
    assert standing(again).as_dict() == once


def test_a_start_set_answered_before_the_validation_arm_still_trains_next():
    order = (
        asked(0, "start", "a"),
        asked(0, "validation", "v"),
        answered(0, "start", "a"),
        answered(0, "validation", "v"),
    )
    assert [standing(events(*order[:n])).next for n in range(1, 5)] == ["answer", "answer", "answer", "train"]


def test_an_empty_validation_arm_is_answered_too():
    assert standing(events(asked(0, "validation"))).next == "answer"
    assert standing(events(asked(0, "validation"), answered(0, "validation"))).next == "ask"


def test_unknown_events_change_nothing():
    assert (
        standing(events(*CAMPAIGN[:8], ("exported", {"file": "x"}))).as_dict()
        == standing(events(*CAMPAIGN[:8])).as_dict()
    )


@given(st.permutations(CAMPAIGN))
def test_any_order_of_events_gives_a_known_step_and_the_same_counts(order):
    found = standing(events(*order)).as_dict()
    assert found["next"] in NEXT_STEPS
    assert (found["labelled"], found["validation"], found["quarantined"]) == (5, 2, 2)


def test_images_that_came_later_are_in_the_present_numbers():
    opened = {"data": {"rows": 66, "groups": 36, "digest": "a", "labels": ["Mass"]}, "split": {"hash": "h"}}
    added = [
        {"ids": ["x"] * 8, "rows": 74, "data": {"digest": "b"}, "split": {"hash": "i", "counts": {"pool": 50}}},
        {"ids": ["x"] * 8, "rows": 82, "data": {"digest": "c"}, "split": {"hash": "j", "counts": {"pool": 60}}},
    ]
    now = as_it_is_now(opened, added, 44)
    assert now["data"] == {"rows": 82, "groups": 44, "digest": "c", "labels": ["Mass"], "later": 16}
    assert now["split"] == {"hash": "j", "counts": {"pool": 60}}
    assert opened["data"]["rows"] == 66
    assert as_it_is_now(opened, []) == opened
