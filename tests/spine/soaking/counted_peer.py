"""What became of the samples of `counted` sensors: `counted_peer.py STORE DEVICE=LOG...`, by zarr, without sensorium.

Prints, for each device and stream: how many samples were delivered and are in the store, how many stamps are there
twice, how many samples are not what their stamp says or were never delivered, and what is missing: at the end of each
run of the sensor ("tails", a list of seconds), and elsewhere.
"""

import json
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import ZipStore

STREAMS = ("cam", "imu", "slow")
OPENED = 255


def delivered(log: Path) -> list[dict[str, list[int]]]:
    """The stamps that the sensor noted, by stream, of each of its runs."""
    runs: list[dict[str, list[int]]] = []
    for number, stamp in struct.iter_unpack("<Bq", log.read_bytes()):
        if number == OPENED:
            runs.append({stream: [] for stream in STREAMS})
        else:
            runs[-1][STREAMS[number]].append(stamp)
    return runs


def is_right(stamps: Any, data: Any) -> Any:
    """bool [n]: whether samples are what their stamps say."""
    flat = data.reshape(len(stamps), -1)
    expected = (stamps[:, None] // 1000 * np.arange(1, flat.shape[1] + 1) % 65_521).astype(data.dtype)
    return (flat == expected).all(axis=1)


def held(store: Path, record: Path) -> Path | ZipStore:
    """What zarr opens of an episode: its folder, or the ZIP that it is, as the record says."""
    path = store / "episodes.zarr" / record.parent.name / record.stem
    is_zip = json.loads(record.read_bytes())["format_version"] == 2
    return ZipStore(f"{path}.zip", mode="r") if is_zip else path


def stored(store: Path) -> dict[tuple[str, str], tuple[Counter[int], int]]:
    """By device and stream: how often each stamp is there, and how many samples are wrong."""
    found: dict[tuple[str, str], tuple[Counter[int], int]] = {}
    for record in sorted((store / "commits").glob("*/*.json")):
        group = zarr.open_group(held(store, record), mode="r")
        about: Any = group.attrs["sensorium"]
        for name, arrays in group.groups():
            stream = name.rpartition(".")[2]
            stamps, data = np.asarray(arrays["captured_ns"]), np.asarray(arrays["data"])
            if not len(stamps):
                continue
            counts, wrong = found.get((about["device"], stream), (Counter(), 0))
            counts.update(stamps.tolist())
            found[about["device"], stream] = counts, wrong + int((~is_right(stamps, data)).sum())
    return found


def judged(runs: list[dict[str, list[int]]], stream: str, counts: Counter[int], wrong: int) -> dict[str, Any]:
    """One stream of one device."""
    all_delivered = {stamp for run in runs for stamp in run[stream]}
    tails, elsewhere = [], 0
    for run in runs:
        there = [stamp in counts for stamp in run[stream]]
        last = max((place for place, is_there in enumerate(there) if is_there), default=None)
        kept_ns = run[stream][last] if last is not None else run[stream][0] if there else 0
        tails.append((run[stream][-1] - kept_ns) / 1e9 if there else 0.0)
        elsewhere += there[: (last or 0) + 1].count(False) if last is not None else 0
    return {
        "delivered": len(all_delivered),
        "stored": len(all_delivered & counts.keys()),
        "twice": sum(n - 1 for n in counts.values()),
        "altered": wrong + len(counts.keys() - all_delivered),
        "missing": len(all_delivered - counts.keys()),
        "missing_elsewhere": elsewhere,
        "tails": tails,
    }


def main(store: Path, logs: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """By device and stream."""
    there = stored(store)
    empty: tuple[Counter[int], int] = (Counter(), 0)
    return {
        device: {stream: judged(runs, stream, *there.get((device, stream), empty)) for stream in STREAMS}
        for device, runs in ((device, delivered(log)) for device, log in logs.items())
    }


if __name__ == "__main__":
    pairs = (argument.split("=", 1) for argument in sys.argv[2:])
    json.dump(main(Path(sys.argv[1]), {device: Path(log) for device, log in pairs}), sys.stdout)
