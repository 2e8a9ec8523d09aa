"""The downstream estimator: equal budget for every arm, selection on held-out images, reproducible training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import IMAGE, DiscOptions, PointerOptions, camera, simulator, synthreal_evaluators

from synthreal.config import EvaluationConfig
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.evaluation import estimator
from synthreal.evaluation.estimator import Task, _batches, constant_metrics, learning_rate_share, measure, train
from synthreal.spec import Batch

SPEC = synthreal_evaluators()[0]
SHORT = EvaluationConfig(images=60, epochs=3, batch=9, learning_rate=0.01)


def discs(n, draw=simulator, seed=0):
    batch = draw(DiscOptions(), n, torch.Generator().manual_seed(seed))
    return Resident(from_unit(batch.image, "uint8"), batch.labels)


def trained(data, budget=SHORT, spec=SPEC, seed=0, versions=1, photographs=None, **task):
    settings = {"seed": seed, "versions": versions, "photographs": photographs}
    return train(Task(spec, PointerOptions(), IMAGE, budget, **task), data, **settings)


def error(model, data):
    return float(measure(SPEC, model, data)["error_px"].mean())


def test_training_beats_the_constant_prediction():
    data, config = discs(300), EvaluationConfig(images=300, epochs=8, batch=20, learning_rate=0.01)
    test = discs(100, seed=1)
    assert error(trained(data, config), test) < 0.3 * constant_metrics(SPEC, data.labels, test)["error_px"]


def test_divergence_is_an_error():
    config = EvaluationConfig(images=20, epochs=1, batch=10, learning_rate=1e36)
    with pytest.raises(UserError, match=r"estimator diverged: its error_px .* lower evaluation\.learning_rate"):
        trained(discs(20), config)


def test_the_learning_rate_rises_over_the_first_tenth_and_falls_to_0(monkeypatch):
    shares = [learning_rate_share(step, 100) for step in range(101)]
    assert shares[0] == 0.1 and shares[4] == pytest.approx(0.5, abs=0.01) and shares[100] == pytest.approx(0)
    assert max(shares) == shares[9] > 0.97 and shares[9:] == sorted(shares[9:], reverse=True)
    assert learning_rate_share(0, 1) == 1.0
    monkeypatch.setattr(estimator, "learning_rate_share", lambda step, total: 0.0)
    first = Task(SPEC, PointerOptions(), IMAGE, SHORT).build(torch.device("cpu"), 0)
    untrained = trained(discs(60)).state_dict()
    assert all(torch.equal(untrained[name], weight) for name, weight in first.named_parameters())


def test_equal_seeds_give_equal_estimators_and_others_do_not():
    one, same, other = (trained(discs(60), seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_dropout_depends_on_the_seed_and_not_on_the_global_random_state():
    def build(options, image):
        return nn.Sequential(nn.Dropout2d(0.3), SPEC.build(options, image))

    one = trained(discs(60), spec=replace(SPEC, build=build))
    torch.rand(1)
    before = torch.get_rng_state()
    other = trained(discs(60), spec=replace(SPEC, build=build))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, one.state_dict()[name]) for name, value in other.state_dict().items())


def test_the_network_has_the_layout_of_the_run():
    for layout, order in [("channels_last", torch.channels_last), ("channels_first", torch.contiguous_format)]:
        weight = trained(discs(60), layout=layout).state_dict()["map.2.weight"]
        assert min(weight.shape[1:]) > 1 and weight.is_contiguous(memory_format=order)


def test_layouts_give_the_same_estimator_up_to_rounding():
    test = discs(100, seed=1)
    errors = [error(trained(discs(60), layout=layout), test) for layout in ("channels_last", "channels_first")]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_an_epoch_is_nine_tenths_of_the_budget():
    for images, batch, epochs in [(60, 9, 3), (20, 64, 1), (1000, 64, 10)]:
        task = Task(SPEC, PointerOptions(), IMAGE, EvaluationConfig(images=images, batch=batch, epochs=epochs))
        assert task.steps == (max(1, round(0.9 * images / batch)), max(1, round(0.9 * images / batch)) * epochs)


def test_large_images_are_predicted_in_smaller_batches(monkeypatch):
    data, seen = discs(50), []

    class Recorder(nn.Module):
        def forward(self, image):
            seen.append(len(image))
            return image.new_zeros(len(image), 1, 2)

    whole = measure(SPEC, Recorder(), data)["error_px"]
    monkeypatch.setattr("synthreal.data.resident.PREDICT_PX", 20 * 12 * 16)
    assert torch.equal(measure(SPEC, Recorder(), data)["error_px"], whole)
    monkeypatch.setattr("synthreal.data.resident.PREDICT_PX", 5)
    measure(SPEC, Recorder(), data, torch.arange(2))
    assert seen == [50, 20, 20, 10, 1, 1]


def test_a_smaller_arm_and_several_versions_are_trained_for_the_same_number_of_steps():
    seen = []

    def counted(prediction, labels):
        seen.append(len(prediction))
        return SPEC.loss(prediction, labels)

    for data, versions in ((discs(60), 1), (discs(17), 1), (discs(120), 2)):
        seen.clear()
        trained(data, spec=replace(SPEC, loss=counted), versions=versions)
        assert seen == [9] * 18


def test_every_epoch_holds_every_row_once_in_another_order():
    rows = torch.arange(10, 17)
    batches = _batches(rows, 3, 0)
    drawn = torch.cat([next(batches) for _ in range(14)]).tolist()
    epochs = [drawn[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == rows.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


class Scripted(nn.Module):
    """Its error depends on the training step and is lowest at step 12; it records the images it sees."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(()))
        self.register_buffer("step", torch.zeros(()))
        self.trained_on, self.tested_on = set(), set()

    def forward(self, image):
        (self.trained_on if self.training else self.tested_on).update(round(float(x), 6) for x in image[:, 0, 0, 0])
        if self.training:
            self.step += 1
        return (self.step - 12).abs() + self.offset * 0 + torch.zeros(len(image), 1, 2)


def test_the_best_epoch_on_a_held_out_tenth_is_returned():
    image = (torch.arange(60.0) / 60).view(60, 1, 1, 1).expand(60, 1, 12, 16)
    data = Resident(from_unit(image, "float16"), {"centre": torch.zeros(60, 1, 2)})
    made = []
    spec = replace(SPEC, build=lambda options, image: made.append(Scripted()) or made[-1])
    model = trained(data, spec=spec)
    assert float(model.step) == 12  # of 18: the second epoch
    assert not model.training
    assert len(model.tested_on) == 6 and not model.tested_on & model.trained_on
    assert len(model.trained_on) == 54


def test_an_image_is_held_out_in_all_its_versions():
    number = torch.arange(60.0) / 60
    made, numbers = [], []
    spec = replace(SPEC, build=lambda options, image: made.append(Scripted()) or made[-1])
    for versions in (1, 2, 3):
        shades = torch.cat([number + version / 240 for version in range(versions)]).view(-1, 1, 1, 1)
        data = Resident(from_unit(shades.expand(-1, 1, 12, 16), "float16"), {"centre": torch.zeros(len(shades), 1, 2)})
        trained(data, spec=spec, versions=versions)
        held_out, used = ({int(60 * x + 0.1) for x in seen} for seen in (made[-1].tested_on, made[-1].trained_on))
        assert (len(made[-1].tested_on), len(made[-1].trained_on)) == (6 * versions, 54 * versions)
        assert not held_out & used
        numbers.append(held_out)
    assert len(numbers[0]) == 6 and numbers == [numbers[0]] * 3  # and in every arm


def test_augmentation_is_seeded_and_applies_to_training_batches_only():
    calls = []

    def augment(batch, generator):
        calls.append(len(batch.image))
        shade = torch.rand((), generator=generator)
        return Batch(batch.image * shade, batch.labels)

    spec = replace(SPEC, augment=augment)
    one, same = (trained(discs(60), spec=spec).state_dict() for _ in range(2))
    assert calls == [9] * 36
    plain = trained(discs(60)).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], plain[name]) for name in one)


def test_measure_includes_the_last_partial_batch_and_selects_rows():
    data, model = discs(1030), trained(discs(60))
    found = measure(SPEC, model, data)
    oracle = []
    for i in range(0, 1030, 103):
        with torch.no_grad():
            prediction = model(to_unit(data.image[i : i + 1]))
        oracle.append(SPEC.metrics(prediction, {"centre": data.labels["centre"][i : i + 1]})["error_px"])
    assert found["error_px"].shape == (1030,)
    torch.testing.assert_close(found["error_px"][::103], torch.cat(oracle), atol=1e-4, rtol=1e-4)
    rows = torch.tensor([1029, 3, 3])
    picked = measure(SPEC, model, data, rows)["error_px"]
    torch.testing.assert_close(picked, found["error_px"][rows], atol=1e-4, rtol=1e-4)


def test_the_constant_prediction_is_the_mean_label_or_the_evaluators_own():
    train_labels = {"centre": torch.tensor([[[0.0, 0.0]], [[4.0, 8.0]]])}
    test = discs(30)
    mean = constant_metrics(SPEC, train_labels, test)["error_px"]
    by_hand = torch.linalg.vector_norm(test.labels["centre"][:, 0] - torch.tensor([2.0, 4.0]), dim=-1).mean()
    assert mean == pytest.approx(float(by_hand), rel=1e-6)
    own = constant_metrics(replace(SPEC, constant=lambda labels: torch.zeros(1, 1, 2)), train_labels, test)["error_px"]
    assert own == pytest.approx(float(torch.linalg.vector_norm(test.labels["centre"][:, 0], dim=-1).mean()), rel=1e-6)


def test_bfloat16_changes_training_but_not_the_dtype_of_the_weights():
    data = discs(60, camera)
    model = trained(data, precision="bfloat16")
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert not torch.equal(model.state_dict()["map.0.weight"], trained(data).state_dict()["map.0.weight"])


def test_half_of_what_is_trained_on_are_the_photographs():
    seen = []
    spec = replace(SPEC, augment=lambda batch, generator: (seen.append(batch.labels["centre"]), batch)[1])
    data, photographs = discs(60), discs(20, seed=1)
    photographs = Resident(photographs.image, {"centre": photographs.labels["centre"] + 100})
    trained(data, spec=spec, photographs=photographs)
    centres = torch.cat(seen)[:, 0, 0]
    assert len(centres) == 162 and 0.4 < (centres > 50).float().mean() < 0.6  # steps are those without photographs
    assert set(centres[centres > 50].tolist()) == set(photographs.labels["centre"][:, 0, 0].tolist())
