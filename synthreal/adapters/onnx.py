"""Export a refiner as an ONNX file for other runtimes (onnxruntime, TensorRT, OpenVINO, web browsers).

Uses torch's exporter, which is based on torch.export. The file is written only if onnxruntime computes the same images
as torch, at the training size (of sides above 1024 px, at 1024 px) and at another size.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from synthreal.device import seeded_generator
from synthreal.errors import UserError, require
from synthreal.files import atomic_path, write_errors
from synthreal.inference.pretrained import CONFIG, WEIGHTS
from synthreal.inference.transform import Refine

OPSET = 18
TOLERANCE = 1e-4
LARGEST = 1024  # px of a tested side
OTHER = (13, 7)  # px by which the second tested size is larger


@dataclass(frozen=True)
class OnnxFile:
    """An exported file."""

    path: Path
    inputs: Mapping[str, tuple[str | int, ...]]  # name -> shape, where a word stands for any size
    difference: float  # maximum difference between the images of onnxruntime and torch, in [0, 1]


def export_onnx(run: str | Path, target: str | Path, *, overwrite: bool = False, trust: bool = False) -> OnnxFile:
    """Write the refiner of a run as ONNX: opset 18, float32, any batch, height and width.

    The input ``image`` and the output ``refined`` are ``(batch, C, height, width)`` in [0, 1]. A refiner with noise
    maps has a second input ``noise``, ``(batch, K, height, width)`` standard normal.

    Args:
        run: run directory, or a folder written by ``save_pretrained``.
        target: file to write.
        overwrite: whether to replace an existing file.
        trust: see :meth:`synthreal.Refine.load`.

    Raises:
        UserError: no refiner; the file exists, cannot be written or belongs to the refiner; a library is missing; the
            refiner cannot be exported, or the images of onnxruntime differ by more than 1e-4.
    """
    target = Path(target)
    require("onnx", "exporting", "onnx", "onnxscript", "onnxruntime")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; name another file, or give --overwrite")
    if target.resolve() in [(Path(run) / name).resolve() for name in (CONFIG, WEIGHTS)]:
        raise UserError(f"{target}: belongs to the refiner; name another file")
    transform = Refine.load(run, device="cpu", precision="float32", trust=trust)
    assert transform.about is not None  # Refine.load() sets it
    config = transform.about.config
    least = max(2, getattr(transform.refiner, "smallest", 1))  # torch.export treats a size of 1 as a constant
    height, width = (max(min(side, LARGEST), least) for side in config.image.shape[1:])
    examples = [_example(transform, 2, height, width), _example(transform, 3, height + OTHER[0], width + OTHER[1])]
    program = _program(run, transform, examples[0])
    program.model.doc_string = f"synthreal refiner of {config.recipe or 'a run'}; images in [0, 1]"
    program.model.metadata_props["step"] = transform.about.step
    with atomic_path(target) as partial:
        with write_errors(target):
            program.save(partial, external_data=False)
        difference = _difference(partial, transform, examples)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{run}: onnxruntime computes images that differ by {difference:.1e} from torch's (more than "
                f"{TOLERANCE:g}), so {target} is not written; please report it"
            )
    channels = {"image": transform.channels, "noise": transform.noise_channels}
    inputs = {name: ("batch", number, "height", "width") for name, number in channels.items() if number}
    return OnnxFile(target, inputs, difference)


def _program(run: str | Path, transform: Refine, example: tuple[Tensor, ...]) -> torch.onnx.ONNXProgram:
    """The exported program, with any batch, height and width."""
    least = getattr(transform.refiner, "smallest", 1)
    dim = torch.export.Dim
    sizes = {0: dim("batch"), 2: dim("height", min=least), 3: dim("width", min=least)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the exporter about its own code
            program = torch.onnx.export(
                transform.refiner,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=["image", "noise"][: len(example)],
                output_names=["refined"],
                dynamic_shapes=(sizes,) * len(example),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{run}: the refiner cannot be exported for images of any size ({reason}); a plugin's refiner may use only "
            "operators that torch.export and ONNX support"
        ) from error
    assert program is not None, "the exporter based on torch.export returns a program"
    return program


def _example(transform: Refine, count: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Random images in [0, 1], some rows with values that the refiner preserves, and noise maps if it takes them."""
    generator = seeded_generator(0, torch.device("cpu"))
    image = torch.rand((count, transform.channels, height, width), generator=generator)
    for row, value in enumerate(getattr(transform.refiner, "kept", ())[:height]):
        image[..., row, :] = value
    if not transform.noise_channels:
        return (image,)
    return image, torch.randn((count, transform.noise_channels, height, width), generator=generator)


def _difference(path: Path, transform: Refine, examples: list[tuple[Tensor, ...]]) -> float:
    """The maximum difference between the images of onnxruntime and torch over all examples; NaN if there is one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names, differences = [given.name for given in session.get_inputs()], []
    for example in examples:
        (found,) = session.run(None, {name: given.numpy() for name, given in zip(names, example, strict=True)})
        differences.append((torch.from_numpy(found) - transform.refiner(*example)).abs().max())
    return float(torch.stack(differences).max())
