"""The command that exports a refiner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli.application import app


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Export the refiner as ONNX. The file has opset 18, float32, any batch and image size; onnxruntime checks it."""
    from synthreal.adapters.onnx import OPSET, export_onnx

    done = export_onnx(run, target, overwrite=overwrite)
    inputs = " and ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in done.inputs.items())
    typer.echo(f"{done.path}: {inputs} to refined, float32 in [0, 1], opset {OPSET}")
    typer.echo(f"onnxruntime computes the same images to {done.difference:.1e}, at two sizes")
