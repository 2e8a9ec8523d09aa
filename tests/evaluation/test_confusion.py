"""Which classes an estimator confuses: counts by hand, and their table."""

from __future__ import annotations

import torch
from torch import nn

from synthreal.data.resident import Resident
from synthreal.evaluation.confusion import confusion, summarize_confusion
from synthreal.hooks.estimators import CLASSIFICATION, REGRESSION


class Reads(nn.Module):
    """Logits of the class that the first pixel holds."""

    def forward(self, image):
        return nn.functional.one_hot((image[:, 0, 0, 0] * 255).round().long(), 4).float()


def images(answers):
    return torch.tensor(answers, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


def test_rows_are_true_classes_and_columns_answers():
    test = Resident(images([0, 1, 2, 2, 0]), {"class": torch.tensor([0, 1, 1, 2, 2])})
    assert confusion(CLASSIFICATION, Reads(), test).tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]


def test_a_task_of_numbers_has_none():
    test = Resident(images([0, 1]), {"values": torch.rand(2, 1)})
    assert confusion(REGRESSION, Reads(), test) is None


def test_estimators_are_added_by_arm_whatever_classes_they_answer():
    small, large = torch.tensor([[2, 0], [1, 3]]), torch.tensor([[1, 0, 1], [0, 4, 0], [0, 0, 0]])
    found = summarize_confusion([("refined", small), ("real", small), ("refined", large), ("real", None)])
    assert found["refined"].counts == ((3, 0, 1), (1, 7, 0), (0, 0, 0))
    assert found["real"].counts == ((2, 0), (1, 3))
