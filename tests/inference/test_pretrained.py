"""Saved refiners: loading from a run, save_pretrained and from_pretrained, and the messages for damaged files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
from quick import TOY, files, fit_toy, same
from safetensors.torch import load_file, save_file

from synthreal.errors import UserError
from synthreal.hooks.discovery import version_of
from synthreal.inference.pretrained import read_config, read_config_and_versions, weights_step
from synthreal.inference.transform import Refine

FILES = ("README.md", "config.toml", "refiner.safetensors", "styles.safetensors")


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the run that may be damaged."""
    return shutil.copytree(toy_run, tmp_path / "copy")


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_a_refiner_of_a_plugin_is_built_by_the_plugin(toy, tmp_path):
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
    with pytest.raises(UserError, match=r"saved: .*'tint'.*config\.toml.*/nowhere/toy\.py"):
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


def test_a_built_in_refiner_needs_neither_plugin_nor_pickle(toy_run, tmp_path):
    (plugin,) = tomllib.loads((toy_run / "config.toml").read_text())["plugins"]
    folders = []
    for i, name in enumerate(
        ("/nowhere/domain.py", "gaze", "nobody.has.it")
    ):  # a missing file and two modules that cannot be imported
        folders.append(str(tmp_path / f"saved{i}"))
        Refine.load(toy_run).save_pretrained(folders[-1])
        path = tmp_path / f"saved{i}" / "config.toml"
        path.write_text(path.read_text().replace(f'"{plugin}"', f'"{name}"'))
        assert read_config(path.parent).plugins == (name,)
    done = subprocess.run([sys.executable, "-c", ALONE, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"saved{i}-again" / "README.md").is_file() for i in range(3))


def test_truncated_weights_are_refused(copy):
    path = copy / "refiner.safetensors"
    content = path.read_bytes()
    for length in (0, 4, 100, -40):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"refiner\.safetensors: .*; restore it or fit"):
            Refine.load(copy)


def test_the_step_of_missing_or_foreign_weights_is_an_error(copy, cli):
    path = copy / "refiner.safetensors"
    assert weights_step(copy) == 11
    save_file(load_file(path), path)  # without metadata
    message = cli("fit", "--run", copy, "--resume").complaint()
    assert str(path) in message and "no training step" in message
    path.unlink()
    with pytest.raises(UserError, match=r"refiner\.safetensors: missing"):
        weights_step(copy)


def test_weights_of_another_network_are_refused(copy):
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("width = 4", "width = 5"))
    with pytest.raises(UserError, match=r"refiner\.safetensors: .*config\.toml") as error:
        Refine.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "header",
    [
        {"tone": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}},  # torch has no such dtype
        {"tone": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}},
        {"tone": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**62]}},
        {"tone": 1},
        {"__metadata__": {"step": 1}},
        [[[[]]]],
    ],
)
def test_a_crafted_header_of_the_weights_is_one_line(copy, header):
    text = json.dumps(header).encode()
    (copy / "refiner.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(UserError, match=r"refiner\.safetensors: not a complete safetensors file"):
        Refine.load(copy)


def test_what_safetensors_raises_on_a_damaged_file_is_one_line(copy, monkeypatch):
    for error in (KeyError("F4"), RuntimeError("storage"), TypeError("shape"), ValueError("offset")):

        def failing(*arguments, error=error, **more):
            raise error

        monkeypatch.setattr("safetensors.safe_open", failing)
        for read in (Refine.load, weights_step):
            with pytest.raises(UserError, match=r"refiner\.safetensors: not a complete safetensors file"):
                read(copy)


def test_a_damaged_configuration_is_named(copy):
    for content, field in (
        ("x = ", "not TOML"),
        ("\x00", "not TOML"),
        ("", "missing"),
        ("[data]\nsimulated = 'a'\nreal = 'b'\n", "image"),
    ):
        (copy / "config.toml").write_text(content)
        with pytest.raises(UserError, match=rf"config\.toml: .*{field}"):
            Refine.load(copy)


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ('versions = "1"', "versions: not a table; restore it or fit again"),
        ("[versions]\ntorch = 2.5", "versions: 'torch' is not text; restore it or fit again"),
        ("[versions.torch.nested]\na = 1", "versions: 'torch' is not text; restore it or fit again"),
    ],
)
def test_damaged_versions_are_named(copy, versions, message):
    path = copy / "config.toml"
    assert read_config_and_versions(copy)[1]["torch"] == version_of("torch")
    top, table, settings = "", versions, path.read_text().partition("[versions]")[0]
    if not versions.startswith("["):
        top, table = versions + "\n", ""
    path.write_text(top + settings + table)
    with pytest.raises(UserError, match=rf"config\.toml: {message}"):
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


def test_a_saved_refiner_equals_the_original(toy_run, tmp_path):
    refine = Refine.load(toy_run)
    refine.save_pretrained(tmp_path / "a" / "saved")
    assert files(tmp_path) == [f"a/saved/{name}" for name in FILES]
    saved = Refine.from_pretrained(tmp_path / "a" / "saved", p=0.5, range=(-1, 1), precision="bfloat16")
    assert same(dict(saved.state_dict()), dict(refine.state_dict()))
    assert (saved.p, str(saved.scale), saved.autocast) == (0.5, "[-1, 1]", torch.bfloat16)
    assert (tmp_path / "a/saved/config.toml").read_text() == (toy_run / "config.toml").read_text()
    assert (saved.about.step, saved.about.kind) == ("11", "ema")
    assert same(vars(saved.about.styles), vars(refine.about.styles))
    x = images(2, 1, 12, 16)
    assert torch.equal(Refine.load(tmp_path / "a" / "saved")(x), refine(x))


def test_existing_files_are_overwritten_on_request_only(toy_run, noisy_run, tmp_path):
    refine, folder = Refine.load(toy_run), tmp_path / "saved"
    for name in FILES:
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UserError, match=rf"saved: already holds {name}.*overwrite=True"):
            refine.save_pretrained(folder)
        assert files(folder) == [name] and (folder / name).read_text() == "mine"
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").touch()
    refine.save_pretrained(folder)
    Refine.load(noisy_run).save_pretrained(folder, overwrite=True)
    assert Refine.from_pretrained(folder).refiner.noise_channels == 2
    assert len(files(folder)) == 5


def test_a_refiner_without_styles_leaves_none_of_another_refiner(toy_run, copy, tmp_path):
    (copy / "styles.safetensors").unlink()
    refine, folder = Refine.load(copy), tmp_path / "saved"
    refine.save_pretrained(folder)
    assert refine.about.styles is None and files(folder) == ["README.md", "config.toml", "refiner.safetensors"]
    Refine.load(toy_run).save_pretrained(folder, overwrite=True)
    assert files(folder) == list(FILES)
    refine.save_pretrained(folder, overwrite=True)
    assert files(folder) == ["README.md", "config.toml", "refiner.safetensors"]


def test_styles_that_do_not_fit_are_named(copy):
    path = copy / "styles.safetensors"
    stored = load_file(path)
    levels, amplitudes = stored["levels"], stored["amplitudes"]
    for change in (
        {"levels": levels[:5]},
        {"levels": levels.double()},
        {"levels": torch.tensor(1.0)},
        {"amplitudes": torch.tensor(1.0)},
        {"amplitudes": amplitudes[..., :-1].contiguous()},
        {"amplitudes": amplitudes.repeat(1, 3, 1, 1), "levels": levels.repeat(1, 3, 1)},
        {"amplitudes": amplitudes[:0], "levels": levels[:0]},
    ):
        save_file({**stored, **change}, path)
        with pytest.raises(UserError, match=r"styles\.safetensors: holds no styles .* 1 channels; restore it"):
            Refine.load(copy)
    save_file({"levels": levels}, path)
    with pytest.raises(UserError, match="holds no styles"):
        Refine.load(copy)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"styles\.safetensors: not a complete safetensors file"):
        Refine.load(copy)


def test_a_run_is_never_written_into(toy_run, copy):
    before = files(copy)
    with pytest.raises(UserError, match="copy: holds a run"):
        Refine.load(toy_run).save_pretrained(copy, overwrite=True)
    assert files(copy) == before
    shutil.rmtree(copy / "checkpoints")  # needed for resuming only
    with pytest.raises(UserError, match="copy: holds a run"):
        Refine.load(toy_run).save_pretrained(copy, overwrite=True)


def test_a_folder_that_cannot_be_written_keeps_what_it_had(toy_run, noisy_run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot write"):
        Refine.load(toy_run).save_pretrained(tmp_path / "file")
    Refine.load(toy_run).save_pretrained(tmp_path / "saved")
    before = {name: (tmp_path / "saved" / name).read_bytes() for name in files(tmp_path / "saved")}

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("synthreal.inference.pretrained.write_config", full)  # written last
    with pytest.raises(UserError, match=r"saved: cannot write \(No space left"):
        Refine.load(noisy_run).save_pretrained(tmp_path / "saved", overwrite=True)
    assert {name: (tmp_path / "saved" / name).read_bytes() for name in files(tmp_path / "saved")} == before


def test_a_refiner_made_from_a_bare_network_cannot_be_saved(tmp_path):
    with pytest.raises(UserError, match=r"bare network.*Refine\.load"):
        Refine(torch.nn.Identity(), channels=1).save_pretrained(tmp_path / "saved")
    assert files(tmp_path) == []
