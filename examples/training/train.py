"""Train a small torch model from a store for a few steps, stop at any of them, and go on exactly there.

sensorium demo --store corpus
python examples/training/train.py corpus --camera sim.cam --imu sim.imu --steps 10 --checkpoint run.pt
python examples/training/train.py corpus --camera sim.cam --imu sim.imu --steps 10 --checkpoint run.pt

The second run goes on behind the tenth step: with the windows that the first had not seen, in the order in which it
would have seen them. The model guesses how a device turns from the first and the last picture of half a second.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import sensorium


class Turning(nn.Module):  # type: ignore[misc]
    """From two pictures [b, 2, c, h, w] to the mean angular rate [b, 3] between them."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.LazyConv2d(8, 5, stride=4), nn.ReLU(), nn.LazyConv2d(16, 3, stride=2), nn.ReLU())
        self.say = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.LazyLinear(3))

    def forward(self, pictures: Any) -> Any:
        return self.say(self.see(pictures.flatten(1, 2)))


def pair(camera: dict[str, Any]) -> Any:
    """The first and the last picture of each window, [b, 2, c, h, w] in 0..1."""
    data = camera["data"]
    last = camera["present"].sum(1).clamp(min=1) - 1
    pictures = torch.stack([data[:, 0], data[torch.arange(len(data)), last]], 1).float() / 255
    return pictures.movedim(-1, 2) if pictures.dim() == 5 else pictures[:, :, None]


def mean(imu: dict[str, Any]) -> Any:
    """The mean angular rate of each window, [b, 3], over the samples that are there."""
    there = imu["present"][..., None]
    return (imu["data"][..., :3] * there).sum(1).float() / there.sum(1).clamp(min=1)


def forever(loader: Any, workers: int) -> Iterator[dict[str, Any]]:
    """Epoch after epoch."""
    while len(loader):
        yield from loader.torch(workers=workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--camera", default="front")
    parser.add_argument("--imu", default="imu")
    parser.add_argument("--steps", type=int, default=10, help="more steps (default %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="spawned processes that read (default: none)")
    parser.add_argument("--checkpoint", type=Path, default=Path("run.pt"))
    given = parser.parse_args()

    torch.manual_seed(0)
    loader = sensorium.open(given.store).batches(
        length_s=0.5, streams=[given.camera, given.imu], batch_size=4, seed=1, damaged="skip", drop_last=True
    )
    if not len(loader):
        raise SystemExit(
            f"{given.store}: fewer than 4 windows of {given.camera} and {given.imu}; see `sensorium query`"
        )
    model = Turning()
    model(pair(next(iter(loader.torch()))[given.camera]))  # so that it knows its sizes
    loader.seek(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    done = 0
    if given.checkpoint.exists():
        saved = torch.load(given.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
        done = saved["done"]
    for batch in itertools.islice(forever(loader, given.workers), given.steps):
        loss = nn.functional.mse_loss(model(pair(batch[given.camera])), mean(batch[given.imu]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        print(f"step {done} epoch {batch['epoch']} loss {loss.item():.9g}", flush=True)
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
    torch.save({**states, "done": done}, given.checkpoint)


if __name__ == "__main__":
    main()
