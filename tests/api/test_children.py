"""A child is whose controller says so; labels and other references do not count."""

from typing import Any

import pytest

from wardrobe.api.children import controlled_by

LABELLED = {"wardrobe.dev/owner-kind": "FineTuneJob", "wardrobe.dev/owner": "heart"}


@pytest.mark.parametrize(
    ("references", "mine"),
    [
        ([], False),
        ([{"uid": "heart-uid"}], False),
        ([{"uid": "heart-uid", "controller": False}], False),
        ([{"uid": "lung-uid", "controller": True}], False),
        ([{"uid": "lung-uid"}, {"uid": "heart-uid", "controller": True}], True),
    ],
)
def test_only_a_controller_reference_makes_a_child(references: list[dict[str, Any]], mine: bool) -> None:
    child = {"metadata": {"labels": LABELLED, "ownerReferences": references}}
    assert controlled_by(child, "heart-uid") is mine


def test_labels_alone_make_none() -> None:
    assert not controlled_by({"metadata": {"labels": LABELLED}}, "heart-uid")
