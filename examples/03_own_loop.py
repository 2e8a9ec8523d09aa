"""Drive the training yourself: ``steps`` is a generator of reports, and what to do with them is a loop of your own.

    python examples/03_own_loop.py runs/own

Fits the dials of 02_new_domain.py until refined dials are near enough to real ones, or the time is up; then refines
some. No callbacks: print, plot, log or stop right in the loop.
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
    """Fit by hand, stop by a criterion of one's own."""
    parser = argparse.ArgumentParser(description="Fit dials until they are near enough to real ones.")
    parser.add_argument("run", type=Path, help="the run directory to write")
    parser.add_argument("--kid", type=float, default=0.005, help="near enough: kernel inception distance to real dials")
    parser.add_argument("--seconds", type=float, default=90, help="the longest the fit may take")
    asked = parser.parse_args()

    catalog = synthreal.Catalog.of([str(DOMAIN)])
    # a look at quality every 40 steps; the weights of the last step are kept, since the loop below chooses it
    config = synthreal.configure(catalog, {"quality": {"every": 40, "keep": "last"}})
    started, enough = time.monotonic(), threading.Event()

    # `stopped` is asked after every step; once it says True, the run is saved and the generator ends.
    for report in synthreal.steps(config, catalog, asked.run, stopped=enough.is_set):
        for warning in report.warnings:
            print(f"step {report.step}: {warning}")
        look = report.quality
        if look is not None:
            print(f"step {report.step}: KID {look.kid:.4f}, mean |R(x) - x| {look.change:.3f}")
            if look.kid < asked.kid:
                enough.set()
        if time.monotonic() - started > asked.seconds:
            enough.set()
    print(f"step {report.step}: {'stopped' if enough.is_set() else 'the schedule is complete'}")

    generator = torch.Generator().manual_seed(0)  # of noise maps, so that every process says the same
    refine = synthreal.Refine.load(asked.run, device="cpu", generator=generator)
    with open_stream(config, catalog, "simulated", device=torch.device("cpu"), run_dir=asked.run) as stream:
        dials = stream.batch(0).image
    print(f"{asked.run}: refining changes dials by {(refine(dials) - dials).abs().mean():.3f} on average")


if __name__ == "__main__":
    main()
