"""Refine images inside an ordinary training loop: each batch passes through the refiner, its labels stay as they are.

    synthreal fit --plugin gaze
    python examples/01_transform.py runs/gaze

Trains a small gaze estimator on simulated eyes and another on refined eyes, and tests both on camera eyes. For your own
task, replace ``load_eyes`` by your data set and ``make_estimator`` by your model; ``train`` stays the same.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import synthreal
from synthreal.train import open_stream


def load_eyes(role, count, run):
    """Eye crops ``(count, 1, 35, 55)`` in [0, 1] and gaze directions ``(count, 3)``."""
    catalog = synthreal.Catalog.of(["gaze"])
    config = synthreal.configure(catalog, {"data": {role: {"count": count}}, "schedule": {"batch": count}})
    with open_stream(config, catalog, role, device=torch.device("cpu"), run_dir=run) as stream:
        batch = stream.batch(0)
    return TensorDataset(batch.image, batch.labels["gaze"])


def make_estimator():
    """A small network from an eye crop to a gaze direction."""
    layers = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 5 * 7, 64), nn.ReLU(), nn.Linear(64, 3))


def train(model, loader, transform, epochs, device):
    """An ordinary training loop; refining adds one line, the call of ``transform``."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(epochs):
        for images, gaze in loader:
            images, gaze = images.to(device, non_blocking=True), gaze.to(device, non_blocking=True)
            images = transform(images)
            loss = (model(images) - gaze).square().sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def mean_error(model, test, device):
    """The mean angle between predicted and true directions, in degrees."""
    images, gaze = (tensor.to(device) for tensor in test.tensors)
    predicted = model.eval()(images)
    cross = torch.linalg.cross(predicted, gaze).norm(dim=1)
    return torch.rad2deg(torch.atan2(cross, (predicted * gaze).sum(dim=1))).mean().item()


def main():
    """Train on simulated and on refined eyes, and print both errors."""
    parser = argparse.ArgumentParser(description="Train a gaze estimator on refined eyes.")
    parser.add_argument("run", type=Path, help="the directory of a fitted gaze run")
    parser.add_argument("--images", type=int, default=4000, help="number of training images")
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # p is the share of images that are refined. The generator makes that choice, and the noise maps, reproducible.
    generator = torch.Generator(device).manual_seed(0)
    refine = synthreal.Refine.load(arguments.run, device=device, p=0.9, generator=generator)
    test = load_eyes("test", arguments.images // 2, arguments.run)
    simulated = load_eyes("simulated", arguments.images, arguments.run)
    for name, transform in {"simulated": nn.Identity(), "refined": refine}.items():
        torch.manual_seed(0)  # the same initial weights and the same batches for both
        loader = DataLoader(simulated, batch_size=64, shuffle=True, pin_memory=device.type == "cuda")
        model = make_estimator().to(device)
        train(model, loader, transform, arguments.epochs, device)
        print(f"trained on {name} eyes: {mean_error(model, test, device):.2f} deg on camera eyes")


if __name__ == "__main__":
    main()
