"""Which classes an estimator confuses: counts by hand, and tasks that are not of classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from synthreal.data.resident import Resident
from synthreal.evaluation.confusion import MOST, count_confusions, true_and_answered
from synthreal.hooks.estimators import CLASSIFICATION, REGRESSION


class Reads(nn.Module):
    """Logits of the class that the first pixel holds."""

    def forward(self, image):
        return nn.functional.one_hot((image[:, 0, 0, 0] * 255).round().long(), 4).float()


def images(answers):
    return torch.tensor(answers, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


def test_rows_are_true_classes_and_columns_answers():
    test = Resident(images([0, 1, 2, 2, 0]), {"class": torch.tensor([0, 1, 1, 2, 2])})
    found = count_confusions([("real", true_and_answered(CLASSIFICATION, Reads(), test))])
    assert found["real"].counts == ((1, 0, 0), (0, 1, 1), (1, 0, 1))


def test_classes_may_be_stored_in_a_byte():
    """20 classes, whose 400 counts are more than a byte can number."""
    test = Resident(images([0] * 20), {"class": torch.arange(20, dtype=torch.uint8)})
    spec = replace(CLASSIFICATION, answer=lambda pred, labels: {"class": labels["class"]})
    found = count_confusions([("real", true_and_answered(spec, Reads(), test))])
    assert torch.equal(torch.tensor(found["real"].counts), torch.eye(20, dtype=torch.int64))


@pytest.mark.parametrize("answer", [{"class": torch.tensor([0.4, 1.2])}, {"other": torch.tensor([0, 1])}])
def test_an_estimator_that_answers_no_class_has_none(answer):
    """It predicts a whole number as a real one, such as a count, or another label."""
    test = Resident(images([0, 1]), {"class": torch.tensor([0, 1])})
    assert true_and_answered(replace(CLASSIFICATION, answer=lambda pred, labels: answer), Reads(), test) is None


def test_a_task_of_numbers_has_none():
    test = Resident(images([0, 1]), {"values": torch.rand(2, 1)})
    assert true_and_answered(REGRESSION, Reads(), test) is None


def test_estimators_are_added_by_arm_and_all_arms_have_the_same_classes():
    small, large = torch.tensor([[0, 0, 1], [0, 0, 1]]), torch.tensor([[0, 1, 1], [2, 0, 1]])
    found = count_confusions([("refined", small), ("real", small), ("refined", large), ("fda", None)])
    assert {arm: confusion.counts for arm, confusion in found.items()} == {
        "refined": ((2, 0, 1), (1, 2, 0), (0, 0, 0)),
        "real": ((2, 0, 0), (0, 1, 0), (0, 0, 0)),
    }


def test_whole_numbers_that_are_no_indices_of_classes_are_not_counted():
    for answered, counted in ((MOST - 1, True), (MOST, False), (-1, False)):
        assert bool(count_confusions([("real", torch.tensor([[0], [answered]]))])) == counted
    assert count_confusions([("real", None)]) == {}
