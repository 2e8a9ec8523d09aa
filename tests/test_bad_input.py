"""Bad input: exit code 2, one line on stderr that names the cause and a remedy, no file half-written."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from quick import QUICK, TOY, files, flags
from toy import CENTRE, IMAGE

from synthreal.data.writer import PackWriter
from synthreal.files import write_errors
from synthreal.spec import ImageSpec
from synthreal.train.checkpoint import add_checksum

PLUGIN = ("--plugin", TOY)


@pytest.fixture
def folder(tmp_path, toy_run, monkeypatch):
    """A working folder with good and bad input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_text("not a picture")
    (tmp_path / "crops").mkdir()
    Image.fromarray(np.full((24, 32), 60, np.uint8)).save(tmp_path / "crops/a.png")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "bad.toml").write_text("[loss\n")
    (tmp_path / "typo.toml").write_text("[schedule]\nstps = 3\n")
    for name, body in {
        "syntax": "def broken(:\n",
        "hook": "import synthreal\n@synthreal.hookimpl\ndef synthreal_dataset():\n    return ()\n",
        "unmarked": "def synthreal_datasets():\n    return ()\n",
        "empty": "",
        "nan": TOY.read_text().replace("0.3 + 0.6 * mask", "0.3 + 0.6 * mask / (mask.sum() * 0)"),
    }.items():
        (tmp_path / f"{name}.py").write_text(body)
    pack("good.h5")
    pack("other.h5", ImageSpec(channels=1, height=35, width=55))
    pack("rgb.h5", ImageSpec(channels=3, height=12, width=16))
    pack("nan.h5", ImageSpec(channels=1, height=12, width=16, dtype="float16"))
    with h5py.File("nan.h5", "r+") as file:
        file["image"][7, 0, 2, 2] = np.nan
    content = Path("good.h5").read_bytes()
    Path("cut.h5").write_bytes(content[: len(content) // 2])
    Path("text.h5").write_text("hello")
    shutil.copytree(toy_run, "run")
    for name, damage in {
        "norun": lambda run: (run / "config.toml").unlink(),
        "badconfig": lambda run: (run / "config.toml").write_text("loss = ["),
        "typoconfig": lambda run: (run / "config.toml").write_text(
            (run / "config.toml").read_text() + "[los]\nx = 1\n"
        ),
        "cutweights": lambda run: cut(run / "refiner.safetensors"),
        "noweights": lambda run: (run / "refiner.safetensors").unlink(),
        "cutcheckpoint": lambda run: cut(run / "checkpoints/step-00000011.pt"),
        "nocheckpoint": lambda run: shutil.rmtree(run / "checkpoints"),
        "noconfig": lambda run: (run / "config.toml").unlink(),
        "noimage": lambda run: (run / "config.toml").write_text(
            re.sub(r"\[image\]\n(.+\n)+", "", (run / "config.toml").read_text())
        ),
        "othernetwork": lambda run: reshape(run / "checkpoints/step-00000011.pt"),
        "nolog": lambda run: (run / "log.jsonl").unlink(),
        "cutlog": lambda run: (run / "log.jsonl").write_text('{"step": 1,\n'),
        "badevaluation": lambda run: (run / "evaluation.json").write_text("{}"),
        "gone": lambda run: (run / "config.toml").write_text(
            (run / "config.toml").read_text().replace(str(TOY), "/nowhere/domain.py")
        ),
    }.items():
        damage(Path(shutil.copytree("run", name)))
    return tmp_path


def pack(path, image=IMAGE):
    with PackWriter(path, image=image, labels=(CENTRE,), role="simulated", name="discs") as writer:
        pixels = np.full((40, *image.shape), 0.5 if image.dtype == "float16" else 100, image.dtype)
        writer.append(pixels, {"centre": np.zeros((40, 1, 2), np.float32)})


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def reshape(path):
    state = torch.load(path, weights_only=True)
    state["refiner"] = {key: value[:1] for key, value in state["refiner"].items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(add_checksum(buffer.getvalue()))


def source(role, name, **options):
    given = ", ".join(f'{key}="{value}"' for key, value in options.items())
    return "--set", f'data.{role}={{name="{name}", options={{{given}}}}}'


def fit(*arguments):
    return ("fit", *PLUGIN, "--run", "new", *flags(*QUICK), *arguments)


CASES = {}  # topic -> command line -> what the message must contain
CASES["data"] = {
    fit(*source("real", "folder", root="nowhere")): ["nowhere: no such folder", "correct the option `root`"],
    fit(*source("real", "folder", root="empty")): ["empty: no image file", "correct"],
    fit(*source("real", "folder", root="broken")): ["broken: not one of its 1 image files is readable", "a.png"],
    fit(*source("real", "folder")): ["data.real.options.root: missing; set it"],
    fit(*source("simulated", "pack", path="nowhere.h5")): ["nowhere.h5: no such pack", "synthreal prepare"],
    fit(*source("simulated", "pack", path="other.h5")): ["35x55", "use data of one domain"],
    fit(*source("real", "pack", path="other.h5")): ["other.h5: holds images 1x35x55 uint8", "use data of one domain"],
    fit(*source("simulated", "pack", path="cut.h5")): ["cut.h5: not a readable pack", "prepare it again"],
    fit(*source("simulated", "pack", path="text.h5")): ["text.h5: not a readable pack", "prepare it again"],
    fit(*source("real", "pack", path="text.h5")): ["text.h5: not a readable pack", "prepare it again"],
    fit(*source("simulated", "pack", path="empty")): ["empty: no such pack"],
    fit(*source("real", "pack", path="nan.h5")): ["nan.h5", "float16"],
    ("fit", "--plugin", "nan.py", "--run", "new", *flags(*QUICK)): [
        "data set 'discs'",
        "render returns a NaN, an infinite value or a pixel outside [0, 1]",
        "correct",
    ],
    ("fit", "--plugin", "nan.py", "--run", "new", *flags(*QUICK, "data.simulated.count=none")): ["discs", "NaN"],
    ("prepare", "discs", "out.h5", "--plugin", "nan.py", "--limit", 9): [
        "data set 'discs'",
        "render returns a NaN, an infinite value or a pixel outside [0, 1]",
    ],
    ("refine", "run", "nan.h5", "out.h5"): ["nan.h5: image 7 has a pixel that is NaN", "prepare the pack again"],
}
CASES["settings"] = {
    fit("--set", "schedule.stps=3"): ["schedule.stps: no such setting; did you mean schedule.steps?"],
    fit("--set", "shedule.steps=3"): ["--set: shedule: no such setting; did you mean schedule?"],
    fit("--set", "plugins=[]"): ["--set: plugins is", "choose with --plugin"],
    fit("--set", "recipe=other"): ["--set: recipe is 'toy' here", "choose with --recipe"],
    fit("--set", "image={channels=1, height=12, width=16, colormap='jet'}"): ["image.colormap", "'viridis'", "'jet'"],
    fit("--set", "image={channels=1, height=12, width=16, background=300.0}"): ["background is 300.0", "[0, 1]"],
    fit("--set", "nonsense"): ["--set nonsense: write it as dotted.key=value"],
    fit("--set", "=3"): ["--set =3: write it as"],
    fit("--set", "schedule.steps=many"): ["schedule.steps", "integer", "'many'"],
    fit("--set", "schedule.steps=-1"): ["schedule.steps", "greater than or equal to 0", "-1"],
    fit("--set", "schedule.batch=0"): ["schedule.batch", "greater than or equal to 2"],
    fit("--set", "schedule=3"): ["schedule: Input should be a table", "got 3"],
    fit("--set", "data.test.count=0"): ["data.test.count", "greater than or equal to 1"],
    fit("--set", "data.simulated.options.radus=3"): [
        "data.simulated.options.radus: no such setting; did you mean data"
    ],
    fit("--set", "data.simulated.options.radius=-3"): ["data.simulated.options.radius", "greater than 0"],
    fit("--set", "refiner.options.padding=mirror"): ["refiner.options.padding", "'reflect'", "'mirror'"],
    fit("--set", "refiner.options.kernel=4"): ["refiner.options.kernel", "odd", "got 4"],
    fit("--set", "optimizer.refiner.momentum=0.9"): ["optimizer.refiner.momentum: no such setting; known here: name"],
    fit("--set", "optimizer.refiner=rmsprop"): ["optimizer.refiner", "'rmsprop'", "'sgd', 'adam'"],
    fit("--set", "optimizer.refiner=sgd"): ["optimizer.refiner.learning_rate: missing; set it"],
    fit("--set", "optimizer.ema=1.5"): ["optimizer.ema", "less than 1"],
    fit("--set", "loss.weight=nan"): ["loss.weight", "finite"],
    fit("--set", "history.size=3"): ["history.size is 3", "raise it"],
    fit("--set", "image={channels=9, height=3, width=3}"): ["channels is 9", "1 to 4"],
    fit("--set", "data.real={name=folder}"): ["--set data.real", "quote its strings"],
    fit("--set", "runtime.device=tpu"): ["device 'tpu'", "use auto, cpu, cuda"],
    fit("--set", "runtime.device=cuda:63"): ["device 'cuda:63'", "use auto or cpu"],
    fit("--set", "runtime.seed=-1"): ["runtime.seed"],
    fit("--config", "nowhere.toml"): ["nowhere.toml: cannot read", "give a TOML file"],
    fit("--config", "bad.toml"): ["bad.toml: not TOML", "correct it"],
    fit("--config", "typo.toml"): ["typo.toml", "schedule.stps: no such setting"],
}
CASES["names"] = {
    fit("--set", "refiner=nope"): ["refiner 'nope' is not registered", "known: resnet, tint"],
    fit("--set", "discriminator=lokal"): ["discriminator 'lokal'", "did you mean 'local'?"],
    fit("--set", "features=nope"): ["features 'nope'", "known: identity"],
    fit("--set", "data.real=photos"): ["data set 'photos'", "did you mean 'photographs'?"],
    fit("--set", "data.test=discs"): ["data set 'discs' has no role test; it has simulated"],
    fit("--set", "evaluation.evaluator=gaze"): ["evaluator 'gaze'", "regression, pointer", "install or name"],
    fit("--recipe", "gaze"): ["recipe 'gaze'", "known: toy"],
    ("fit", "--plugin", "nosuch", "--run", "new"): ["plugin 'nosuch' is not installed", "pip install synthreal-nosuch"],
    ("fit", "--plugin", "nowhere.py", "--run", "new"): ["nowhere.py: no such file", "give the path"],
    ("fit", "--plugin", "syntax.py", "--run", "new"): ["syntax.py does not import", "line 1"],
    ("fit", "--plugin", "hook.py", "--run", "new"): [
        "hook.py",
        "'synthreal_dataset'",
        "the hooks are synthreal_datasets",
    ],
    ("fit", "--plugin", "unmarked.py", "--run", "new"): ["unmarked.py: synthreal_datasets is not marked", "hookimpl"],
    ("fit", "--plugin", "empty.py", "--run", "new"): ["no recipe", "empty.py", "--plugin that has one"],
    ("fit", "--run", "new"): ["name a domain with --plugin; installed: "],
}
CASES["run directories"] = {
    ("fit", *PLUGIN, "--run", "file"): ["file: ", "choose another place"],
    ("fit", *PLUGIN, "--run", "file/below"): ["file/below: ", "choose another place"],
    ("fit", *PLUGIN, "--run", "run"): ["run: ", "--resume or choose another run directory"],
    ("fit", "--run", "nowhere", "--resume"): ["nowhere: ", "give the folder"],
    ("fit", "--run", "run", "--resume", "--set", "loss.weight=9.0"): ["run: ", "loss.weight (0.5"],
    ("fit", "--run", "run", "--resume", "--set", "runtime.seed=9"): ["runtime.seed (0", "same settings"],
    ("fit", "--run", "run", "--resume", "--set", "runtime.precision=bfloat16"): ["runtime.precision=float32"],
    ("fit", "--run", "cutcheckpoint", "--resume"): ["step-00000011.pt: ", "delete it"],
    ("fit", "--run", "othernetwork", "--resume"): ["refiner", "plugin"],
    ("fit", *PLUGIN, "--run", "noconfig"): ["noconfig: "],
    ("evaluate", "noimage"): ["noimage/config.toml: image"],
    ("fit", "--run", "nocheckpoint", "--resume"): ["nocheckpoint: ", "fit without --resume"],
    ("fit", "--run", "gone", "--resume"): ["'/nowhere/domain.py' is not installed", "--trust"],
    ("fit", "--run", "gone", "--resume", "--trust"): ["/nowhere/domain.py: ", "give the path"],
    ("evaluate", "badconfig"): ["badconfig/config.toml: ", "correct it"],
    ("evaluate", "typoconfig"): ["typoconfig/config.toml: los: no such setting; did you mean loss?"],
    ("evaluate", "cutweights"): ["cutweights/refiner.safetensors: ", "restore it"],
    ("evaluate", "noweights"): ["noweights/refiner.safetensors: ", "--resume"],
    ("evaluate", "norun"): ["norun: "],
    ("evaluate", "gone"): ["'/nowhere/domain.py' is not installed", "--trust"],
    ("evaluate", "run", "run"): ["runtime.seed", "another seed"],
    ("evaluate", "run", "--device", "tpu"): ["'tpu'", "use auto, cpu"],
    ("evaluate", "run", "--arms", "refined,reel"): ["--arms: there is no arm 'reel'", "choose of simulated, refined"],
    ("evaluate", "run", "--arms", ","): ["--arms: names no arm", "choose of simulated, refined"],
    ("ablate", *PLUGIN, "--run", "new"): ["name what to vary: --over dotted.key=value,value"],
    ("ablate", "--over", "history=on,off"): ["name a domain with --plugin"],
    ("ablate", *PLUGIN, "--run", "new", "--over", "histroy=off,on"): ["histroy: ", "did you mean history?"],
    ("ablate", *PLUGIN, "--run", "new", "--over", "loss.weight=1,heavy"): ["--over loss.weight=heavy", "valid number"],
    ("ablate", *PLUGIN, "--run", "file", "--over", "history=on,off"): ["file/history=on/seed-0: cannot write"],
    ("refine", "norun", "good.h5", "out.h5"): ["norun: "],
    ("refine", "badconfig", "good.h5", "out.h5"): ["badconfig/config.toml: "],
    ("refine", "cutweights", "good.h5", "out.h5"): ["cutweights/refiner.safetensors: "],
    ("refine", "run", "nowhere.h5", "out.h5"): ["nowhere.h5: "],
    ("refine", "run", "cut.h5", "out.h5"): ["cut.h5: "],
    ("refine", "run", "rgb.h5", "out.h5"): ["rgb.h5: ", "use a pack of its domain"],
    ("refine", "run", "good.h5", "other.h5"): ["other.h5: already exists", "delete it or choose another name"],
    ("refine", "run", "good.h5", "nowhere/out.h5"): ["nowhere/out.h5: nowhere is not a folder"],
    ("refine", "run", "good.h5", "file/out.h5"): ["file/out.h5: file is not a folder"],
}
CASES["prepare"] = {
    ("prepare", "discs", "good.h5", *PLUGIN, "--limit", 3): ["good.h5: already exists"],
    ("prepare", "discs", "out.h5", *PLUGIN): ["discs: a simulator draws without end", "--limit"],
    ("prepare", "disks", "out.h5", *PLUGIN): ["data set 'disks'", "did you mean 'discs'?"],
    ("prepare", "discs", "out.h5", *PLUGIN, "--role", "tset"): ["--role tset: not a role", "simulated"],
    ("prepare", "folder", "out.h5", *PLUGIN, "--set", "root=nowhere"): ["nowhere: no such folder"],
    ("prepare", "folder", "out.h5", *PLUGIN, "--set", "root=empty"): ["empty: no image file"],
    ("prepare", "folder", "out.h5", *PLUGIN, "--set", "rot=crops"): [
        "folder: rot: no such setting; did you mean root?"
    ],
    ("prepare", "pack", "out.h5", *PLUGIN, "--set", "path=cut.h5"): ["cut.h5: not a readable pack"],
    ("prepare", "discs", "out.h5"): ["name a domain with --plugin"],
}
CASES["the visual Turing test"] = {
    ("turing", "nowhere", "--port", 0): ["nowhere: ", "give the folder"],
    ("turing", "norun", "--port", 0): ["norun: "],
    ("turing", "badconfig", "--port", 0): ["badconfig/config.toml: "],
    ("turing", "cutweights", "--port", 0): ["cutweights/refiner.safetensors: "],
    ("turing", "noweights", "--port", 0): ["noweights/refiner.safetensors: "],
    ("turing", "gone", "--port", 0): ["'/nowhere/domain.py' is not installed", "--trust"],
    ("turing", "run", "--port", 0): ["data.real has 30 images", "--images 50 needs 60", "lower --images to 20"],
    ("turing", "run", "--port", 0, "--device", "tpu"): ["'tpu'", "use auto, cpu"],
    ("turing", "run", "--port", 0, "--host", "192.0.2.1"): ["192.0.2.1", "choose another --port", "--host"],
    ("turing", "run", "--port", 70000): ["--port"],
    ("turing", "run", "--images", 0): ["--images"],
    ("turing", "run", "--images", 1001): ["--images", "1000"],  # a simulator that draws without end would fill memory
    ("turing", "run", "--seed", -1): ["--seed"],
    ("turing", "run", "--against", "real"): ["--against", "simulated"],
    ("turing", "run", "--json"): ["--json prints the summary", "--summary"],
    ("turing", "run", "--summary"): ["run/turing.jsonl: ", "synthreal turing run"],
    ("turing", "nowhere", "--summary"): ["nowhere: ", "run directory"],
    ("turing", "file", "--summary"): ["file/turing.jsonl: ", "run directory"],
}
CASES["the page of a run"] = {
    ("report", "nowhere"): ["nowhere: ", "give the folder"],
    ("report", "norun"): ["norun: "],
    ("report", "badconfig"): ["badconfig/config.toml: ", "correct it"],
    ("report", "nolog"): ["nolog/log.jsonl: ", "synthreal fit --run nolog --resume"],
    ("report", "cutlog"): ["cutlog/log.jsonl: ", "delete that line"],
    ("report", "badevaluation"): ["badevaluation/evaluation.json: ", "synthreal evaluate badevaluation"],
    ("report", "run", "--out", "nowhere/a.html"): ["nowhere/a.html: nowhere is not a folder", "--out"],
    ("report", "run", "--out", "file/a.html"): ["file/a.html: file is not a folder", "--out"],
    ("report", "run", "--out", "crops"): ["crops: ", "--out"],
    ("report", "run", "--out", "file"): ["file: ", "--out"],
    ("report", "run", "--device", "tpu"): ["'tpu'", "use auto, cpu"],
    ("report", "run", "--tensorboard", "file"): ["file: ", "choose another place"],
    ("report", "run", "--tensorboard", "file/below"): ["file/below: ", "choose another place"],
    ("report",): ["run"],
}
CASES["the command line itself"] = {
    ("fti",): ["fti"],
    ("fit", "--plugn", "toy"): ["--plugn", "--plugin"],
    ("fit", "--plugin"): ["--plugin"],
    ("refine", "run"): ["IN.h5"],
    ("evaluate",): ["RUN"],
    ("evaluate", "run", "--seeds", 0): ["--seeds"],
    ("evaluate", "run", "--seeds", -1): ["--seeds"],
    ("evaluate", "run", "--seeds", "many"): ["--seeds"],
    ("evaluate", "run", "--split", "tset"): ["--split", "tset", "validation"],
    ("prepare", "discs", "out.h5", *PLUGIN, "--limit", -5): ["--limit"],
    ("prepare", "discs", "out.h5", *PLUGIN, "--limit", 5, "--seed", -5): ["--seed"],
    ("refine", "run", "good.h5", "out.h5", "--seed", -1): ["--seed"],
    ("refine", "run", "good.h5", "out.h5", "--device", "tpu"): ["'tpu'", "use auto, cpu"],
    ("prepare", "discs", "out.h5", *PLUGIN, "--limit", 5, "--device", "tpu"): ["'tpu'", "use auto, cpu"],
}


@pytest.mark.parametrize("topic", CASES)
def test_bad_input_is_one_line_and_changes_no_file(folder, cli, topic):
    before = {path: Path(path).read_bytes() for path in files(folder)}
    for case, parts in CASES[topic].items():
        line = cli(*case).complaint()
        assert all(part in line for part in parts), f"{case}: {line}"
        after = {path: Path(path).read_bytes() for path in files(folder) if "__pycache__" not in path}
        assert after == before, case


def test_a_nan_in_a_pack_names_the_file_and_the_image(folder, cli):
    body = TOY.read_text().replace("width=16, meaning", "width=16, dtype='float16', meaning")
    (folder / "half.py").write_text(body)
    command = ("fit", "--plugin", "half.py", "--run", "new", *flags(*QUICK))
    for role in ("simulated", "real"):
        line = cli(*command, *source(role, "pack", path="nan.h5")).complaint()
        assert "nan.h5: image 7 has a pixel that is NaN" in line and "prepare the pack again" in line
        assert not Path("new").exists()
    line = cli("prepare", "pack", "out.h5", "--plugin", "half.py", "--set", "path=nan.h5").complaint()
    assert "image 7: a pixel is NaN" in line and "remove or repair" in line
    assert not Path("out.h5").exists()


def test_a_simulator_that_renders_nan_later_ends_training(folder, cli):
    body = TOY.read_text().replace(
        "return Batch(0.3 + 0.6 * mask, labels)", "return Batch(late(0.3 + 0.6 * mask), labels)"
    )
    body += "\nCALLS = []\ndef late(x):\n    CALLS.append(x)\n    return x if len(CALLS) < 5 else x * float('nan')\n"
    (folder / "late.py").write_text(body)
    done = cli("fit", "--plugin", "late.py", "--run", "new", *flags(*QUICK, "data.simulated.count=none"))
    assert done.code == 2 and "data set 'discs': render returns a NaN" in done.err and "Traceback" not in done.err, done


@pytest.mark.parametrize("moment", ["start", "checkpoint", "log"])
def test_a_full_disk_while_fitting(folder, cli, monkeypatch, moment):
    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if moment == "start":
        monkeypatch.setattr(Path, "touch", full)
    elif moment == "checkpoint":
        from synthreal.train import checkpoint

        monkeypatch.setattr(checkpoint.torch, "save", full)
    else:

        def append(run_dir, report):
            with write_errors(run_dir / "log.jsonl"):
                full()

        monkeypatch.setattr(sys.modules["synthreal.train.fit"], "append_log", append)
    line = cli(*fit(), *flags("quality=none", "data.real.count=200")).complaint()
    assert "No space left on device" in line and "new" in line and "free" in line
    left = files(folder / "new") if Path("new").exists() else []
    assert left in ([], ["log.jsonl"])
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    cli(*fit()).ok()  # the folder is free again


@pytest.mark.parametrize("command", ["prepare", "refine"])
def test_a_full_disk_while_writing_a_pack(folder, cli, monkeypatch, command):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    arguments = {
        "prepare": ("discs", "out.h5", *PLUGIN, "--limit", 9),
        "refine": ("run", "good.h5", "out.h5"),
    }[command]
    before = files(folder)
    done = cli(command, *arguments)
    assert done.code == 2 and "Traceback" not in done.err
    assert "out.h5: cannot write (No space left on device); free or choose another" in done.err.splitlines()[-1]
    assert files(folder) == before


@pytest.mark.slow
def test_a_file_size_limit_of_the_kernel_ends_a_real_run_in_one_line(folder):
    """Not a mock: the kernel refuses to write more than 24 kB to any file."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (24000, 24000)); from synthreal.cli import main; main()"
    )
    command = [
        sys.executable,
        "-B",
        "-c",
        script,
        *map(str, fit("--set", "refiner.options.width=32", "--set", "quality=none")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("fitting", "warning: step 0: few real"))]
    assert len(lines) == 1 and "cannot write (File too large)" in lines[0]
    assert not list(folder.rglob("*.partial")) and not (folder / "new/config.toml").exists()


def test_a_bug_keeps_its_traceback(folder, monkeypatch):
    from synthreal.cli import domain, main

    monkeypatch.setattr(sys, "argv", ["synthreal", "show", "--plugin", str(TOY)])
    monkeypatch.setattr(domain, "load_configuration", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()
