"""Control training yourself: ``steps`` is a generator of reports, and your loop decides what to do with each.

    python examples/03_own_loop.py runs/own

Fits the dials of 02_new_domain.py until refined dials are close enough to real ones or the time is up, then refines
some dials. There are no callbacks: print, plot, log or stop inside the loop.
"""

import argparse
import threading
import time
from pathlib import Path

import torch

import synthreal
from synthreal.train import open_stream

DOMAIN = Path(__file__).with_name("02_new_domain.py")


def main():
    """Fit with a stopping criterion of your own."""
    parser = argparse.ArgumentParser(description="Fit dials until they are close enough to real ones.")
    parser.add_argument("run", type=Path, help="the run directory to write")
    parser.add_argument("--kid", type=float, default=0.005, help="stop at this kernel inception distance to real dials")
    parser.add_argument("--seconds", type=float, default=90, help="stop after this time")
    arguments = parser.parse_args()

    catalog = synthreal.Catalog.of([str(DOMAIN)])
    # Measure quality every 40 steps. Keep the last weights, because the loop below chooses the last step.
    config = synthreal.configure(catalog, {"quality": {"every": 40, "keep": "last"}})
    started, stop = time.monotonic(), threading.Event()

    # `stopped` is called after every step. When it returns True, the run is saved and the generator ends.
    for report in synthreal.steps(config, catalog, arguments.run, stopped=stop.is_set):
        for warning in report.warnings:
            print(f"step {report.step}: {warning}")
        quality = report.quality
        if quality is not None:
            print(f"step {report.step}: KID {quality.kid:.4f}, mean |R(x) - x| {quality.change:.3f}")
            if quality.kid < arguments.kid:
                stop.set()
        if time.monotonic() - started > arguments.seconds:
            stop.set()
    print(f"step {report.step}: {'stopped' if stop.is_set() else 'the schedule is complete'}")

    generator = torch.Generator().manual_seed(0)  # makes the noise maps reproducible
    refine = synthreal.Refine.load(arguments.run, device="cpu", generator=generator)
    with open_stream(config, catalog, "simulated", device=torch.device("cpu"), run_dir=arguments.run) as stream:
        dials = stream.batch(0).image
    print(f"{arguments.run}: refining changes dials by {(refine(dials) - dials).abs().mean():.3f} on average")


if __name__ == "__main__":
    main()
