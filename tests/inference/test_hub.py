"""Refiners on the hub: the real client of ``huggingface_hub`` against a hub on this machine."""

from __future__ import annotations

import re
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hub_server import Repository, hub_server
from quick import TOY, fit_toy

from synthreal.errors import UserError
from synthreal.inference import hub as hub_module
from synthreal.inference.hub import is_repository
from synthreal.inference.pretrained import read_config, write_config
from synthreal.inference.transform import Refine
from synthreal.results.schema import read_evaluations

huggingface_hub = pytest.importorskip("huggingface_hub")
progress = pytest.importorskip("huggingface_hub.utils")

NAME, OTHER = "someone/eyes", "someone/other"
FILES = {"refiner.safetensors", "styles.safetensors", "config.toml", "README.md"}
FOLDERS = "./someone/eyes /someone/eyes ~/someone someone someone/eyes/x runs/eyes ../eyes a/ a//b".split()
X = torch.rand((2, 1, 12, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub, an empty cache and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    progress.disable_progress_bars()
    with hub_server() as served:
        monkeypatch.setattr(hub_module, "client", lambda: huggingface_hub.HfApi(served.endpoint, token="hf_test"))
        yield served
    huggingface_hub.close_session()
    progress.enable_progress_bars()


@pytest.fixture
def refine(toy_run):
    return Refine.load(toy_run)


def card_of(served, name=NAME):
    return huggingface_hub.ModelCard(served.repositories[name].files("main")["README.md"].decode())


def test_what_is_pushed_comes_back(hub, refine):
    oid = refine.push_to_hub(NAME)
    repository = hub.repositories[NAME]
    assert repository.branches["main"] == oid and repository.message and not repository.private
    assert set(repository.files("main")) == FILES
    again = Refine.from_pretrained(NAME, device="cpu", p=0.0)
    assert again.p == 0 and torch.equal(again(X), X)
    assert torch.equal(Refine.from_pretrained(NAME)(X), refine(X))
    first, second = (
        one(versions=True, generator=torch.Generator().manual_seed(0))(X)
        for one in (partial(Refine.from_pretrained, NAME), partial(Refine.load, refine.about.folder))
    )
    assert torch.equal(first, second)


def test_a_repository_of_an_older_version_has_no_styles(hub, refine, toy_run, tmp_path):
    older = shutil.copytree(toy_run, tmp_path / "older")
    (older / "styles.safetensors").unlink()
    refine.push_to_hub(NAME)
    hub.repositories[NAME].commit("main", {"mine.txt": b""})
    Refine.load(older).push_to_hub(NAME)  # its styles would be those of another refiner
    assert set(hub.repositories[NAME].files("main")) == FILES - {"styles.safetensors"} | {"mine.txt"}
    assert torch.equal(Refine.from_pretrained(NAME)(X), refine(X))
    with pytest.raises(UserError, match=r"styles\.safetensors: missing.*save the refiner again"):
        Refine.from_pretrained(NAME, versions=True)


def test_a_revision_pins_a_commit_or_names_a_branch(hub, refine):
    first, before = refine.push_to_hub(NAME, commit_message="one"), refine(X)
    assert hub.repositories[NAME].message == "one"
    with torch.no_grad():
        next(refine.parameters()).add_(1)
    assert refine.push_to_hub(NAME) != first
    assert torch.equal(Refine.from_pretrained(NAME, revision=first)(X), before)
    assert torch.equal(Refine.from_pretrained(NAME)(X), refine(X)) and not torch.equal(refine(X), before)
    with torch.no_grad():
        next(refine.parameters()).add_(1)
    refine.push_to_hub(NAME, revision="trial")
    assert torch.equal(Refine.from_pretrained(NAME, revision="trial")(X), refine(X))
    assert not torch.equal(Refine.from_pretrained(NAME)(X), refine(X))


def test_the_card_names_the_licence_and_loads_from_the_hub(hub, refine):
    refine.push_to_hub(NAME)
    assert card_of(hub).data.license == "unknown"
    refine.push_to_hub(NAME, licence="CC-BY-4.0")
    card = card_of(hub)
    assert card.data.license == "cc-by-4.0" and card.data.library_name == "synthreal"
    assert card.content.count("license:") == 1
    assert f'Refine.from_pretrained("{NAME}", ' in card.text
    Refine.from_pretrained(NAME).push_to_hub(OTHER)  # a copied card keeps its licence
    copied = card_of(hub, OTHER)
    assert copied.data.license == "cc-by-4.0" and f'Refine.from_pretrained("{OTHER}", ' in copied.text
    for wrong in ("", "mit\ntags: x", "by nc"):
        with pytest.raises(UserError, match=r"licence .*identifier"):
            refine.push_to_hub(NAME, licence=wrong)


def test_the_card_holds_the_metrics_in_the_format_of_the_hub(hub, evaluated):
    (found,) = read_evaluations(evaluated)
    Refine.load(evaluated).push_to_hub(NAME, licence="mit")
    results = {result.metric_type: result for result in card_of(hub).data.eval_results}
    primary = results[found.primary]
    assert primary.metric_value == pytest.approx(found.arms["refined"].metrics[found.primary].mean)
    assert (primary.dataset_name, primary.dataset_split) == (found.test.name, "test")
    assert primary.task_type == "image-to-image"
    assert results["kid"].metric_value == pytest.approx(found.quality["refined"].kid)
    assert results["kid"].dataset_name == "photographs"
    assert set(found.arms["refined"].metrics) | {"kid"} <= set(results)


def test_private_is_asked_for_and_not_believed(hub, refine):
    refine.push_to_hub(NAME, private=True)
    assert hub.repositories[NAME].private
    hub.repositories[OTHER] = Repository()
    with pytest.raises(UserError, match=f"{OTHER}: exists and is public"):
        refine.push_to_hub(OTHER, private=True)
    assert not hub.repositories[OTHER].files("main")


def test_only_the_files_of_a_refiner_are_downloaded_and_no_code_runs(hub, toy, tmp_path, monkeypatch):
    """A repository whose configuration names a plugin file, which it holds, with a pickle and a module beside it."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    fit_toy(toy, tmp_path / "run", "refiner=tint")
    Refine.load(tmp_path / "run").push_to_hub(NAME)
    code = f"{TOY.read_text()}\n__import__('pathlib').Path({str(tmp_path / 'executed')!r}).touch()\n".encode()
    config = read_config(tmp_path / "run").model_copy(update={"plugins": ("evil.py",)})
    write_config(tmp_path, config, {})
    evil = {
        "evil.py": code,
        "sub/evil.py": code,
        "pytorch_model.bin": b"\x80",
        "config.toml": Path("config.toml").read_bytes(),
    }
    hub.repositories[NAME].commit("main", evil)
    (tmp_path / "evil.py").write_bytes(code)  # somebody has it in the working directory, too
    with pytest.raises(UserError, match=r"'evil\.py'.*is not installed.*trust=True"):
        Refine.from_pretrained(NAME)
    assert not (tmp_path / "executed").exists()
    assert set(hub.downloaded) == FILES
    (folder,) = (tmp_path / "cache").glob("models--*/snapshots/*")
    assert {path.name for path in folder.iterdir()} == set(hub.downloaded)
    (tmp_path / "evil.py").unlink()
    with pytest.raises(UserError, match=r"evil\.py"):  # trust finds no code that came from the hub
        Refine.from_pretrained(NAME, trust=True)
    assert not (tmp_path / "executed").exists()


def test_a_built_in_refiner_with_a_plugin_file_loads_without_it(hub, refine, tmp_path):
    refine.push_to_hub(NAME)
    write_config(tmp_path, refine.about.config.model_copy(update={"plugins": ("evil.py",)}), {})
    hub.repositories[NAME].commit("main", {"config.toml": Path("config.toml").read_bytes(), "evil.py": b"1 / 0"})
    assert torch.equal(Refine.from_pretrained(NAME)(X), refine(X))
    assert "evil.py" not in hub.downloaded


def test_a_repository_without_a_refiner(hub):
    hub.repositories[NAME] = Repository()
    hub.repositories[NAME].commit("main", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(UserError, match=rf"{NAME}: .*holds no refiner of synthreal \(no config\.toml\)"):
        Refine.from_pretrained(NAME)
    assert not hub.downloaded


def test_what_the_hub_refuses_is_one_line(hub, refine):
    with pytest.raises(UserError, match=f"{OTHER}: is no folder here and no repository"):
        Refine.from_pretrained(OTHER)
    hub.repositories[OTHER] = Repository(gated=True)
    with pytest.raises(UserError, match=f"{OTHER}: access is restricted; ask for it on https://huggingface.co/{OTHER}"):
        Refine.from_pretrained(OTHER)
    refine.push_to_hub(NAME)
    with pytest.raises(UserError, match=f"{NAME}: has no revision 'v9'"):
        Refine.from_pretrained(NAME, revision="v9")
    with pytest.raises(UserError, match="a--b/c: no name of the hub"):
        Refine.from_pretrained("a--b/c")
    with pytest.raises(UserError, match=rf"{NAME}: the hub refuses its card .*one of \[unknown, mit.*licence"):
        refine.push_to_hub(NAME, licence="bsd")
    hub.read_only = True
    with pytest.raises(UserError, match="status 403; sign in with: hf auth login, with a token that may write"):
        refine.push_to_hub("someone/new")


def test_without_a_network_the_cache_is_enough(hub, refine, monkeypatch):
    oid = refine.push_to_hub(NAME)
    Refine.from_pretrained(NAME)
    offline = huggingface_hub.HfApi("http://127.0.0.1:1", token="hf_test")
    monkeypatch.setattr(hub_module, "client", lambda: offline)
    for revision in (None, oid):
        assert torch.equal(Refine.from_pretrained(NAME, revision=revision)(X), refine(X))
    with pytest.raises(
        UserError, match=f"{OTHER}: is no folder here, and the hub cannot be reached.*connect to the network"
    ):
        Refine.from_pretrained(OTHER)
    with pytest.raises(UserError, match="cannot be reached"):
        refine.push_to_hub(OTHER)


def test_a_cache_that_cannot_be_written(hub, refine, tmp_path):
    refine.push_to_hub(NAME)
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(UserError, match=f"{NAME}: its files cannot be copied"):
        Refine.from_pretrained(NAME)


def test_a_folder_never_becomes_a_repository(hub, refine):
    refine.push_to_hub(NAME)
    asked = len(hub.requests)
    for folder in (*FOLDERS, Path(NAME)):
        assert not is_repository(folder) and not is_repository(folder, pinned=True)
        with pytest.raises(UserError, match="holds no run"):
            Refine.from_pretrained(folder)
        with pytest.raises(UserError, match="leave it out"):
            Refine.from_pretrained(folder, revision="main")
    with pytest.raises(UserError, match="holds no run"):
        Refine.load(NAME)
    Path("someone").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        Refine.from_pretrained(NAME)
    assert len(hub.requests) == asked
    Refine.from_pretrained(NAME, revision="main")  # only a repository has revisions
    assert len(hub.requests) > asked
    refine.save_pretrained(NAME)
    asked = len(hub.requests)
    assert Refine.from_pretrained(NAME).about.folder == Path(NAME).absolute()
    with pytest.raises(UserError, match="leave it out"):
        Refine.from_pretrained(NAME, revision="main")
    for wrong in (NAME, "eyes", "runs/eyes", "/tmp/eyes", "a/b/c", "-a/b"):
        with pytest.raises(UserError, match=re.escape(wrong) + ": is no user/name"):
            refine.push_to_hub(wrong)
    assert len(hub.requests) == asked


def test_a_missing_library_is_one_line(refine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("synthreal.errors.find_spec", lambda name: None)
    for call in (lambda: Refine.from_pretrained(NAME), lambda: refine.push_to_hub(NAME)):
        with pytest.raises(UserError, match=r"needs huggingface_hub; pip install 'synthreal\[hub\]'"):
            call()


def test_a_card_of_an_older_version_gets_a_licence(refine, tmp_path):
    refine.save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "README.md"
    path.write_text(path.read_text().replace("license: unknown\n", ""))
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    Refine.load(tmp_path / "copy").save_pretrained(tmp_path / "new", licence="mit")
    assert huggingface_hub.ModelCard.load(tmp_path / "new" / "README.md").data.license == "mit"
