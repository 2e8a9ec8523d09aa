"""Training sets: the same simulated images with the same labels in the same order for every arm."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch
from quick import configured

from synthreal.core.noise import indexed_choice
from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed
from synthreal.errors import UserError
from synthreal.evaluation.training_sets import (
    ARMS,
    DEFAULT,
    TAUGHT,
    UNTESTED,
    TrainingSets,
    adapt_images,
    select_arms,
)
from synthreal.hooks.resolve import resolve
from synthreal.train.sources import open_data

CPU = torch.device("cpu")


@pytest.fixture
def sets(toy, toy_run, tmp_path):
    config = resolve(configured(toy), toy)
    open_role = partial(open_data, config, toy, device=CPU, run_dir=tmp_path)
    return TrainingSets(toy_run, config, open_role, CPU, count=config.evaluation.images)


def test_every_arm_has_the_labels_and_the_order_of_the_simulated_images(sets, monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)  # no arm needs it
    images = {arm: sets[arm].images for arm in ARMS}
    base = images["simulated"]
    versions, taught = images.pop("versions"), {arm: images.pop(arm) for arm in TAUGHT}
    for arm, mine in images.items():
        assert (mine.image.shape, mine.image.dtype) == (base.image.shape, base.image.dtype)
        if arm != "real":
            assert all(torch.equal(mine.labels[name], base.labels[name]) for name in base.labels)
    distinct = {arm: mine.sha256() for arm, mine in images.items() if "augment" not in arm}
    assert len(set(distinct.values())) == len(distinct)
    assert images["augment"] is images["simulated"] and images["refined+augment"] is images["refined"]
    assert torch.equal(images["mixed"].image[::2], base.image[::2])
    assert torch.equal(images["mixed"].image[1::2], images["refined"].image[1::2])
    assert taught["augment+teacher"] is base and taught["versions+teacher"].sha256() == versions.sha256()
    assert all(torch.equal(versions.labels[name], values.repeat(3, 1, 1)) for name, values in base.labels.items())


def test_the_versions_are_refined_images_and_these_in_the_styles_of_the_runs_real_images(sets):
    refined, fda, histogram = sets["versions"].images.image.chunk(3)
    assert torch.equal(refined, sets["refined"].images.image)
    transform, styles, index = sets.transform, sets.transform.about.styles, torch.arange(len(refined))
    for version, image in ((1, fda), (2, histogram)):
        noise = transform.noise_of(index, refined.shape[-2:], seed=0, version=version)
        plain = transform(to_unit(sets.simulated.image), noise)
        chosen = indexed_choice(index, len(styles), derive_seed(version, "style", 0))
        made = styles.fda(plain, chosen) if version == 1 else styles.histogram(plain, chosen, blend=1.0)
        torch.testing.assert_close(to_unit(image), made, atol=0.005, rtol=0)


def test_only_the_arm_versions_holds_several_versions_of_an_image(sets):
    several = ("versions", "versions+teacher")
    assert {arm: sets[arm].versions for arm in ARMS} == {arm: 3 if arm in several else 1 for arm in ARMS}


def test_the_unlabelled_real_images_are_opened_once(sets):
    opened, open_role = [], sets.open_role
    sets.open_role = lambda role: opened.append(role) or open_role(role)
    for arm in ARMS:
        sets[arm]
    assert opened == ["real", "real_labelled"]


def test_only_the_augmented_arms_are_augmented(sets):
    augmented = ["augment", "refined+augment", "augment+teacher"]
    assert [arm for arm in ARMS if sets[arm].augment is not None] == augmented


def test_the_arms_with_a_teacher_add_the_unlabelled_real_images(sets):
    for arm in TAUGHT:
        mine, plain = sets[arm], sets[arm.removesuffix("+teacher")]
        assert mine.images.sha256() == plain.images.sha256()
        assert torch.equal(mine.photographs.image, sets.real.first(sets.count).image) and not mine.photographs.labels
        assert plain.photographs is None


def test_an_adaptation_pairs_every_image_with_a_random_real_one():
    labels = {"centre": torch.zeros(600, 1, 2)}
    simulated = Resident(torch.zeros(600, 1, 4, 5, dtype=torch.uint8), labels)
    real = Resident(torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 1, 4, 5))
    found = adapt_images("fda", lambda x, y: y, simulated, real, "uint8")
    assert found.labels is labels
    assert set(found.image.flatten().tolist()) == set(range(7))
    assert torch.equal(found.image, adapt_images("fda", lambda x, y: y, simulated, real, "uint8").image)
    assert not torch.equal(found.image, adapt_images("histogram", lambda x, y: y, simulated, real, "uint8").image)


def test_arms_are_chosen_by_name(toy):
    config, unlabelled = configured(toy), configured(toy, "data.real_labelled=none")
    select = partial(select_arms, tested=True)
    assert select(None, config) == DEFAULT and select(["all"], config) == ARMS
    assert select(None, unlabelled) == DEFAULT[:-1] and select(["all"], unlabelled) == ARMS[:-1]
    assert select(["mixed", "fda", "mixed"], config) == ("simulated", "fda", "mixed")
    assert select_arms(None, config, tested=False) == UNTESTED
    several = partial(select, labels=2)
    assert several(["all"], config) == tuple(arm for arm in ARMS if arm not in TAUGHT)
    with pytest.raises(UserError, match=r"versions\+teacher needs a task with one label, this one has 2"):
        several(["versions+teacher"], config)
    assert select_arms(["mixed", "fda", "real"], config, tested=False) == ("simulated", "fda", "real")
    with pytest.raises(UserError, match="there is no arm 'reel'; choose of simulated, refined, versions"):
        select(["reel"], config)
    with pytest.raises(UserError, match="names no arm; choose of simulated, refined, versions"):
        select([], config)
    with pytest.raises(UserError, match=r"real needs data\.real_labelled, which is none in this run"):
        select(["real"], unlabelled)
