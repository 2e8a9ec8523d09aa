"""Refine inside an ordinary training loop: batches pass through the refiner on the device, labels stay as they are.

    synthreal fit --plugin gaze
    python examples/01_transform.py runs/gaze

Trains one small gaze estimator on simulated eyes and one on refined ones, and tests both on camera eyes. For a task of
your own, replace ``eyes`` by your data set and ``estimator`` by your model: the loop in ``train`` stays as it is.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import synthreal
from synthreal.train import open_stream


def eyes(role, count, run):
    """Eye crops ``(count, 1, 35, 55)`` float in [0, 1] and gaze directions ``(count, 3)``."""
    catalog = synthreal.Catalog.of(["gaze"])
    config = synthreal.configure(catalog, {"data": {role: {"count": count}}, "schedule": {"batch": count}})
    with open_stream(config, catalog, role, device=torch.device("cpu"), run_dir=run) as stream:
        batch = stream.batch(0)
    return TensorDataset(batch.image, batch.labels["gaze"])


def estimator():
    """A small network from an eye crop to a gaze direction."""
    layers = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 5 * 7, 64), nn.ReLU(), nn.Linear(64, 3))


def train(model, loader, transform, epochs, device):
    """An ordinary training loop; ``transform`` is the one line that refining adds to it."""
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
def error(model, test, device):
    """The mean angle in degrees between the model's answers and the truth."""
    images, gaze = (part.to(device) for part in test.tensors)
    answer = model.eval()(images)
    across = torch.linalg.cross(answer, gaze).norm(dim=1)
    return torch.rad2deg(torch.atan2(across, (answer * gaze).sum(dim=1))).mean().item()


def main():
    """Train on simulated and on refined eyes."""
    parser = argparse.ArgumentParser(description="Train a gaze estimator on refined eyes.")
    parser.add_argument("run", type=Path, help="a fitted run of the gaze domain")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # p refines a share of each batch; the generator makes the choice, and noise maps, repeatable.
    generator = torch.Generator(device).manual_seed(0)
    refine = synthreal.Refine.load(asked.run, device=device, p=0.9, generator=generator)
    test = eyes("test", asked.images // 2, asked.run)
    simulated = eyes("simulated", asked.images, asked.run)
    for name, transform in {"simulated": nn.Identity(), "refined": refine}.items():
        torch.manual_seed(0)  # the same model and the same batches for both
        loader = DataLoader(simulated, batch_size=64, shuffle=True, pin_memory=device.type == "cuda")
        model = estimator().to(device)
        train(model, loader, transform, asked.epochs, device)
        print(f"trained on {name} eyes: {error(model, test, device):.2f} deg on camera eyes")


if __name__ == "__main__":
    main()
