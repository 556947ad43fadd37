"""Compare a store with the EuRoC recording that went into it: `zarr_peer.py LIBRARY STORE MAV0`.

The recording is read with cv2 and csv, the store, folders and ZIPs, with zarr, zarrs or tensorstore. Prints, for each
stream, its rows and what differs. A sample must be in exactly one episode, whose half-open interval holds its stamp.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zarr
from zarr.storage import ZipStore


def source(folder: Path) -> tuple[list[int], list[Any]]:
    """(stamps, rows) of one sensor of the recording."""
    with (folder / "data.csv").open() as file:
        lines = [line for line in csv.reader(file) if not line[0].startswith("#")]
    stamps = [int(line[0]) for line in lines]
    if (folder / "data").is_dir():
        files = [folder / "data" / line[1].strip() for line in lines]
        return stamps, [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    return stamps, [np.array(line[1:], np.float64) for line in lines]


def place(store: Path, record: Path) -> Path:
    """An episode's folder, or the ZIP that it is, as its record says."""
    path = store / "episodes.zarr" / record.parent.name / record.stem
    return path.with_name(f"{path.name}.zip") if json.loads(record.read_bytes())["format_version"] == 2 else path


def opened(episode: Path) -> Path | ZipStore:
    """What zarr opens."""
    return ZipStore(episode, mode="r") if episode.suffix == ".zip" else episode


def whole(library: str, episode: Path, name: str) -> Any:
    """One array of an episode, a folder or a ZIP, read by `library`."""
    if library != "tensorstore":
        return zarr.open_array(opened(episode), path=name, mode="r")[:]
    import tensorstore

    if episode.suffix == ".zip":
        kvstore = {"driver": "zip", "base": {"driver": "file", "path": str(episode)}, "path": f"{name}/"}
    else:
        kvstore = {"driver": "file", "path": f"{episode / name}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result().read().result()


def compare(library: str, store: Path, mav0: Path, name: str) -> dict[str, Any]:
    """What differs between one sensor of the recording and its stream in the store."""
    stamps, rows = source(mav0 / name)
    expected = dict(zip(stamps, rows, strict=True))
    seen: set[int] = set()
    wrong: list[str] = []
    for record in sorted((store / "commits").glob("*/*.json")):
        episode = place(store, record)
        about: Any = zarr.open_group(opened(episode), mode="r").attrs["sensorium"]
        captured = whole(library, episode, f"rig.{name}/captured_ns")
        data = whole(library, episode, f"rig.{name}/data")
        if len(captured) != len(data):
            wrong.append(f"{record.stem}: {len(captured)} stamps, {len(data)} samples")
        for stamp, sample in zip(captured.tolist(), data, strict=True):
            if stamp in seen:
                wrong.append(f"{stamp}: twice")
            if not about["start_ns"] <= stamp < about["end_ns"]:
                wrong.append(f"{stamp}: outside its episode")
            theirs = expected.get(stamp)
            if theirs is None or theirs.dtype != sample.dtype or theirs.tobytes() != sample.tobytes():
                wrong.append(f"{stamp}: differs")
            seen.add(stamp)
    return {"rows": len(seen), "expected": len(expected), "wrong": wrong[:5]}


def main(library: str, store: Path, mav0: Path) -> None:
    """Every sensor folder."""
    if library == "zarrs":
        import zarrs  # noqa: F401 - registers its pipeline

        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    names = [folder.name for folder in sorted(mav0.iterdir()) if (folder / "data.csv").is_file()]
    json.dump({name: compare(library, store, mav0, name) for name in names}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
