"""The folder a refiner travels as: reading a run's, saving, and what is told when files are damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
from quick import TOY, files, fit_toy, same

from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config, read_refiner
from synthreal.inference.transform import Refine


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the run that may be damaged."""
    return shutil.copytree(toy_run, tmp_path / "copy")


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_a_plugins_own_refiner_comes_from_the_plugin(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "refiner=tint")
    refine = Refine.load(tmp_path / "run")
    assert type(refine.refiner).__name__ == "Tint"
    x = images(2, 1, 12, 16)
    level, contrast = refine.refiner.tone
    torch.testing.assert_close(refine(x), level + contrast * x)
    refine.save_pretrained(tmp_path / "saved")
    assert torch.equal(Refine.from_pretrained(tmp_path / "saved")(x), refine(x))
    config = tmp_path / "saved" / "config.toml"
    config.write_text(config.read_text().replace(str(TOY), "/nowhere/toy.py"))
    with pytest.raises(
        UserError, match=r"saved: its refiner 'tint' is a plugin's \(config\.toml, plugins\): plugin /no"
    ):
        Refine.from_pretrained(tmp_path / "saved")


ALONE = """
import sys, pickle, torch

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("synthreal_", "toy")):
            raise ImportError(f"no {name} here")

sys.meta_path.insert(0, Refuse())
pickle.load = pickle.loads = pickle.Unpickler = torch.load = None
import synthreal
for folder in sys.argv[1:]:
    refine = synthreal.Refine.from_pretrained(folder)
    assert refine(torch.rand(2, 1, 12, 16)).shape == (2, 1, 12, 16)
    refine.save_pretrained(folder + "-again")
assert not [name for name in sys.modules if name.startswith("synthreal_") or "albumentations" in name]
"""


def test_the_cores_own_refiner_needs_no_plugin_and_no_pickle(toy_run, tmp_path):
    (plugin,) = tomllib.loads((toy_run / "config.toml").read_text())["plugins"]
    folders = []
    for i, name in enumerate(("/nowhere/domain.py", "gaze", "nobody.has.it")):  # gone, and what cannot be imported
        folders.append(str(tmp_path / f"saved{i}"))
        Refine.load(toy_run).save_pretrained(folders[-1])
        path = tmp_path / f"saved{i}" / "config.toml"
        path.write_text(path.read_text().replace(f'"{plugin}"', f'"{name}"'))
        assert read_config(path.parent).plugins == (name,)
    done = subprocess.run([sys.executable, "-c", ALONE, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"saved{i}-again" / "README.md").is_file() for i in range(3))


def test_metadata(toy_run):
    refiner = Refine.load(toy_run).refiner
    metadata = read_refiner(toy_run, refiner)
    assert (metadata["step"], metadata["kind"]) == ("11", "ema")


@pytest.mark.parametrize("keep", [0, 4, 100, -40])
def test_truncated_weights_are_refused(copy, keep):
    path = copy / "refiner.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"refiner\.safetensors: not a whole safetensors file .*; restore it or fit"):
        Refine.load(copy)


def test_weights_of_another_network_are_refused(copy):
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("width = 4", "width = 5"))
    with pytest.raises(UserError, match=r"refiner\.safetensors: weights of another network than config\.toml") as error:
        Refine.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("x = ", r"config\.toml: not TOML"),
        ("", r"config\.toml: data: missing"),
        ("[data]\nsimulated = 'a'\nreal = 'b'\n", r"config\.toml: image is none; it must say what"),
        ("\x00", r"config\.toml: not TOML"),
    ],
)
def test_a_damaged_configuration_is_named(copy, damage, message):
    (copy / "config.toml").write_text(damage)
    with pytest.raises(UserError, match=message):
        Refine.load(copy)


def test_a_folder_without_a_run_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="holds no run"):
            Refine.load(folder)


def test_the_stored_configuration_is_the_resolved_one(toy_run):
    config = read_config(toy_run)
    assert config.refiner.options == {
        "kernel": 3, "blocks": 1, "width": 4, "padding": "replicate", "noise_channels": 0, "keep_background": False,
    }  # fmt: skip
    assert config.image.shape == (1, 12, 16)
    assert config.recipe == "toy"


def test_a_saved_refiner_is_the_same_refiner(toy_run, tmp_path):
    refine = Refine.load(toy_run)
    refine.save_pretrained(tmp_path / "a" / "saved")
    assert files(tmp_path) == [f"a/saved/{name}" for name in ("README.md", "config.toml", "refiner.safetensors")]
    saved = Refine.from_pretrained(tmp_path / "a" / "saved", p=0.5, range=(-1, 1), precision="bfloat16")
    assert same(dict(saved.state_dict()), dict(refine.state_dict()))
    assert (saved.p, str(saved.scale), saved.autocast) == (0.5, "[-1, 1]", torch.bfloat16)
    assert (tmp_path / "a/saved/config.toml").read_text() == (toy_run / "config.toml").read_text()
    assert (saved.about.step, saved.about.kind) == ("11", "ema")
    x = images(2, 1, 12, 16)
    assert torch.equal(Refine.load(tmp_path / "a" / "saved")(x), refine(x))


def test_nothing_is_overwritten_unasked(toy_run, noisy_run, tmp_path):
    refine, folder = Refine.load(toy_run), tmp_path / "saved"
    for name in ("config.toml", "README.md", "refiner.safetensors"):
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UserError, match=rf"saved: already holds {name}; choose another folder, or give overwrite"):
            refine.save_pretrained(folder)
        assert files(folder) == [name] and (folder / name).read_text() == "mine"
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").touch()
    refine.save_pretrained(folder)
    Refine.load(noisy_run).save_pretrained(folder, overwrite=True)
    assert Refine.from_pretrained(folder).refiner.noise_channels == 2
    assert len(files(folder)) == 4


def test_a_run_is_never_written_into(toy_run, copy):
    before = files(copy)
    with pytest.raises(UserError, match=r"copy: holds a run; choose another folder$"):
        Refine.load(toy_run).save_pretrained(copy, overwrite=True)
    assert files(copy) == before
    shutil.rmtree(copy / "checkpoints")  # what nobody needs who does not resume
    with pytest.raises(UserError, match=r"copy: holds a run; choose another folder$"):
        Refine.load(toy_run).save_pretrained(copy, overwrite=True)


def test_a_folder_that_cannot_be_written_keeps_what_it_had(toy_run, noisy_run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot write"):
        Refine.load(toy_run).save_pretrained(tmp_path / "file")
    Refine.load(toy_run).save_pretrained(tmp_path / "saved")
    before = {name: (tmp_path / "saved" / name).read_bytes() for name in files(tmp_path / "saved")}

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("synthreal.inference.pretrained.write_config", full)  # the last of the three
    with pytest.raises(UserError, match=r"saved: cannot write \(No space left"):
        Refine.load(noisy_run).save_pretrained(tmp_path / "saved", overwrite=True)
    assert {name: (tmp_path / "saved" / name).read_bytes() for name in files(tmp_path / "saved")} == before


def test_a_bare_network_has_nothing_to_say_of_itself(tmp_path):
    with pytest.raises(UserError, match=r"made of a bare network; save what Refine\.load gives"):
        Refine(torch.nn.Identity(), channels=1).save_pretrained(tmp_path / "saved")
    assert files(tmp_path) == []
