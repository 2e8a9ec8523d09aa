"""Simulated discs are chosen so that they lie where the real ones do."""

from __future__ import annotations

import pytest
import torch
from quick import fit_toy
from toy import CENTRE, IMAGE, DiscOptions, camera, locate

from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.evaluation import label_matching, match_labels
from synthreal.evaluation.label_matching import FEWEST

LEFT = 6.0  # px; real discs lie to the left of it, simulated ones anywhere from 2 to 13 px
LEARNS = ("data.simulated.count=200", "evaluation.images=200", "evaluation.epochs=8", "evaluation.learning_rate=0.03")


@pytest.fixture(scope="module")
def left(toy, tmp_path_factory):
    """A run whose real discs lie on the left, and the folder of their pack."""
    folder = tmp_path_factory.mktemp("left")
    batch = camera(DiscOptions(), 600, torch.Generator().manual_seed(3))
    rows = (batch.labels["centre"][:, 0, 0] < LEFT).nonzero()[:, 0]
    with PackWriter(folder / "real.h5", image=IMAGE, role="real", name="left") as writer:
        writer.append(from_unit(batch.image[rows], "uint8").numpy())
    fit_toy(toy, folder / "run", *LEARNS, f'data.real={{name="pack", options={{path="{folder / "real.h5"}"}}}}')
    return folder


def read(path):
    with Pack(path) as pack:
        image, labels = pack.read(slice(None))
        return pack, to_unit(torch.from_numpy(image)), torch.from_numpy(labels["centre"])


def test_discs_are_chosen_where_the_real_ones_lie(left):
    seen = []
    found = match_labels(left / "run", left / "matched.h5", device="cpu", on_progress=lambda *done: seen.append(done))
    pack, image, centre = read(left / "matched.h5")
    assert (found.n, len(image), pack.role, pack.name, pack.labels) == (200, 200, "simulated", "discs", (CENTRE,))
    assert pack.options == DiscOptions().model_dump() and seen[-1] == (200, 200)
    assert (locate(image) - centre).abs().mean() < 0.5, "labels stay with their images"
    (before, after), (other, same) = found.quantities["centre[0] (px)"], found.quantities["centre[1] (px)"]
    assert before[0] == pytest.approx(7.5, abs=0.5) and after[0] < 5.5 and after[1] < 0.7 * before[1]
    assert after[0] == pytest.approx(float(centre[:, 0, 0].mean()), rel=1e-4)
    assert abs(same[0] - other[0]) < 0.6 * abs(after[0] - before[0]), "down the image, both are alike"
    assert 200 < found.drawn < 200 * 100


def test_a_run_of_matched_images_draws_from_their_simulator_again(toy, left, tmp_path):
    match_labels(left / "run", tmp_path / "first.h5", device="cpu")
    real, first = left / "real.h5", tmp_path / "first.h5"
    sources = (
        f'data.{role}={{name="pack", options={{path="{path}"}}}}'
        for role, path in (("real", real), ("simulated", first))
    )
    fit_toy(toy, tmp_path / "run", *LEARNS[1:], *sources)
    found = match_labels(tmp_path / "run", tmp_path / "second.h5", device="cpu")
    assert found.quantities["centre[0] (px)"][0][0] == pytest.approx(7.5, abs=0.5), "before the choice: of all places"
    assert found.quantities["centre[0] (px)"][1][0] < 5.5, "the second choice does not undo the first"
    assert found.n == 200 and read(tmp_path / "second.h5")[0].name == "discs"


@pytest.mark.parametrize("memory", ["runtime.resident_gib=none", "runtime.resident_gib=1e-6"], ids=["held", "on disk"])
def test_of_files_all_that_fit_are_kept(toy, left, tmp_path, memory):
    match_labels(left / "run", tmp_path / "discs.h5", device="cpu")
    _, image, centre = read(tmp_path / "discs.h5")
    with PackWriter(tmp_path / "files.h5", image=IMAGE, labels=(CENTRE,), role="simulated", name="renders") as writer:
        writer.append(from_unit(image, "uint8").numpy(), {"centre": centre.numpy()})
    sources = (
        f'data.{role}={{name="pack", options={{path="{path}"}}}}'
        for role, path in (("real", left / "real.h5"), ("simulated", tmp_path / "files.h5"))
    )
    fit_toy(toy, tmp_path / "run", *LEARNS[1:], *sources, memory)
    found = match_labels(tmp_path / "run", tmp_path / "chosen.h5", device="cpu")
    assert FEWEST <= found.n < found.drawn == 200 and read(tmp_path / "chosen.h5")[0].name == "renders"


def test_the_command_says_what_it_chose(left, tmp_path, cli):
    done = cli("match-labels", left / "run", tmp_path / "matched.h5", "--trust", "--device", "cpu").ok()
    assert "centre[0] (px)" in done.out and "data.simulated=" in done.out and (tmp_path / "matched.h5").is_file()
    assert "already exists" in cli("match-labels", left / "run", tmp_path / "matched.h5", "--trust").complaint()
    assert "make it first" in cli("match-labels", left / "run", tmp_path / "none/matched.h5", "--trust").complaint()


def test_too_few_images_that_fit_leave_no_file(left, tmp_path, monkeypatch):
    monkeypatch.setattr(label_matching, "TRIES", 1)
    with pytest.raises(UserError, match=r"labels of only \d+ of 200 simulated images"):
        match_labels(left / "run", tmp_path / "out.h5", device="cpu")
    assert not (tmp_path / "out.h5").exists()


def test_few_real_images_have_no_range(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "data.real.count=12")
    with pytest.raises(UserError, match="only 12 real images; give at least 20"):
        match_labels(tmp_path / "run", tmp_path / "out.h5", device="cpu")


def test_a_run_without_an_evaluator_is_refused(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "evaluation.evaluator=none")
    with pytest.raises(UserError, match=r"evaluation\.evaluator is none"):
        match_labels(tmp_path / "run", tmp_path / "out.h5", device="cpu")


def test_labels_that_no_simulated_image_has_are_refused_before_images_are_drawn(left, tmp_path, monkeypatch):
    read, seen = label_matching.label_images, []

    def far_away(spec, model, images, like):
        found, real = read(spec, model, images, like), bool(seen)  # the second call reads the real images
        seen.append(len(images))
        return Resident(images.image, {"centre": found.labels["centre"] + 1000 * real})

    monkeypatch.setattr(label_matching, "label_images", far_away)
    with pytest.raises(UserError, match="hardly any simulated image"):
        match_labels(left / "run", tmp_path / "out.h5", device="cpu")
    assert len(seen) == 2 and not (tmp_path / "out.h5").exists()
