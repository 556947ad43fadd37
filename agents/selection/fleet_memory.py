"""The fleet's memory: what the fleet has seen, as far as this device was told, so that it is new to nobody here.

SPOOL/memory/NAME.sketch    the sketch of one maker's looks for one mission, named by a digest of both
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import crc32c
import msgspec
import numpy as np

from sensorium.agents.selection.fleet_claims import FleetClaims
from sensorium.agents.selection.fleet_part import AMONG, FLEET, NEARLY, NEARLY_HAD
from sensorium.episode import durable
from sensorium.episode.unit import Look
from sensorium.errors import ConfigError
from sensorium.perception.sketch import FORMAT, MOST_AMONG, Sketch, SketchDelta, SketchOf, SketchPosition, applied

log = logging.getLogger(__name__)

FOLDER = "memory"
NEAR = 0.05
"""What differs by no more from what the fleet has is the same, if nothing else is said: the next picture of one place
differs by as much."""
_ENDING = ".sketch"
_NUMBER = 4


class SketchFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one: its rows, int8, as they are."""

    format: int = FORMAT
    by: str
    mission: str
    dimensions: int
    edition: int
    rows: bytes
    among: int = 1


_FILE = msgspec.msgpack.Decoder(SketchFile)


class FleetMemory:
    """In the folder of a spool. `mission` says for which mission the device records now, `near` how unlike
    the nearest may be that is the same to it. From any thread: one tells it what the fleet has, another asks how new a
    look is to that."""

    def __init__(self, spool: Path, mission: Callable[[], str], near: Callable[[], float] = lambda: 0.0) -> None:
        self._folder, self._mission, self._near = spool / FOLDER, mission, near
        self._guard = threading.Lock()
        self._makers: dict[str, int] = {}
        """Who describes what is seen here, in how many dimensions."""
        self._sketches: dict[tuple[str, str], Sketch] = {}
        self._among: dict[tuple[str, str], int] = {}
        """How many devices share each of them."""
        self.claims = FleetClaims(self.novelty)
        for path in sorted(self._folder.glob(f"*{_ENDING}")) if self._folder.is_dir() else ():
            self._read(path)

    def novelty(self, look: Look) -> float | None:
        """How new a look is to the fleet: one minus the greatest cosine to what that has, or 0 where that is near; None
        where nothing is known of looks by its maker."""
        vector = np.frombuffer(look.vector, np.int8)
        if self._makers.get(look.by) != len(vector):
            with self._guard:
                self._makers[look.by] = len(vector)
        sketch = self._sketches.get((look.by, self._mission()))
        if sketch is None or not len(sketch) or sketch.of.dimensions != len(vector):
            return None
        novelty = float(sketch.novelty(vector[None])[0])
        return novelty if novelty > self._near() else 0.0

    def scores(self, looks: Mapping[str, Look]) -> dict[str, float]:
        """The scores STREAM.fleet of a unit that looks so, among how many devices chance is shared, and what the fleet
        nearly has."""
        mission = self._mission()
        found = {f"{name}.{FLEET}": self.novelty(look) for name, look in looks.items()}
        # of a unit without a look too: what chance is due comes from all time
        among = max((count for (_, of), count in list(self._among.items()) if of == mission), default=1)
        told = {name: novelty for name, novelty in found.items() if novelty is not None}
        return told if among == 1 else {**told, AMONG: float(among), NEARLY: NEARLY_HAD}

    def take(self, body: Mapping[str, Any]) -> str:
        """Take in what a directive tells; durable when it returns. Says what is known then.

        Raises:
            ConfigError: it is no part of a sketch, of looks that nobody makes here, for another mission, or does not go
                with what is held; nothing is changed.
            OSError: the disk does not take it.
        """
        try:
            delta = msgspec.convert(body, SketchDelta)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ConfigError(f"sketch: is none: {error}") from error
        with self._guard:
            if delta.by not in self._makers:
                known = ", ".join(sorted(self._makers)) or "nobody yet"
                raise ConfigError(f"sketch: of looks by {delta.by}; what is seen here is described by {known}")
            if delta.mission != self._mission():
                raise ConfigError(f"sketch: for mission {delta.mission!r}; this device records for {self._mission()!r}")
            if self._makers[delta.by] != delta.dimensions:
                raise ConfigError(f"sketch: of {delta.dimensions} dimensions; here they are {self._makers[delta.by]}")
            key = delta.by, delta.mission
            held = self._sketches.get(key)
            before = held.position if held is not None else None
            try:
                sketch = applied(held, delta)
            except ValueError as error:
                raise ConfigError(f"sketch: {error}") from error
            among = min(max(delta.among, 1), MOST_AMONG)
            if sketch.position != before or among != self._among.get(key, 1):
                self._write(sketch, among)
                self._sketches[key], self._among[key] = sketch, among
            return f"{len(sketch)} exemplars of edition {sketch.edition}"

    def state(self) -> dict[str, Any]:
        """For the device's report: the mission, and by maker what is held."""
        with self._guard:
            mission, held = self._mission(), {}
            for by in self._makers:
                sketch = self._sketches.get((by, mission))
                position = SketchPosition() if sketch is None else sketch.position
                held[by] = {**position._asdict(), "among": self._among.get((by, mission), 1)}
            return {"mission": mission, "held": held} if held else {}

    def _write(self, sketch: Sketch, among: int) -> None:
        by, mission, dimensions = sketch.of
        file = SketchFile(
            by=by,
            mission=mission,
            dimensions=dimensions,
            edition=sketch.edition,
            rows=sketch.rows.tobytes(),
            among=among,
        )
        data = msgspec.msgpack.encode(file)
        name = hashlib.blake2b(msgspec.json.encode([by, mission]), digest_size=12).hexdigest()
        path = self._folder / f"{name}{_ENDING}"
        durable.make_folder(self._folder)
        durable.replace(path, path.with_suffix(".new"), [[data, _checksum(data)]])

    def _read(self, path: Path) -> None:
        """One that is torn is forgotten: the fleet tells it again."""
        try:
            data = durable.read_whole(path)
            if _checksum(data[:-_NUMBER]) != data[-_NUMBER:]:
                raise ValueError("its checksum does not hold")
            file = _FILE.decode(data[:-_NUMBER])
            if file.format != FORMAT:
                raise ValueError(f"it has format {file.format}, this version knows {FORMAT}")
            rows = np.frombuffer(file.rows, np.int8).reshape(-1, file.dimensions + 1)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.warning("%s: cannot be read: %s; what the fleet has seen is told anew", path, error)
            return
        of = SketchOf(file.by, file.mission, file.dimensions)
        self._makers[of.by] = of.dimensions
        self._sketches[of.by, of.mission] = Sketch(of, file.edition, rows)
        self._among[of.by, of.mission] = min(max(file.among, 1), MOST_AMONG)


def _checksum(data: bytes) -> bytes:
    return int(crc32c.crc32c(data)).to_bytes(_NUMBER, "big")
