"""The verifier `task`: whether the task of a world's episode was done, by its label `world` and its truth streams."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.corpus.verifier import Verdict, Verifier
from sensorium.sim.worlds.cart import AWAY_M, FALLEN_RAD
from sensorium.sim.worlds.planar_world import ROAMED

MAPPED = 0.9
"""The share of a laboratory's sample whose phases must be known."""

Floats = npt.NDArray[np.float64]


class _Truth(NamedTuple):
    """A truth stream with named channels."""

    columns: Mapping[str, Floats]
    rows: int

    def last(self, name: str) -> float:
        return float(self.columns[name][-1])


class Task(Verifier):
    """Whether the task of a world's episode was done, told by the world's truth and never by what a policy saw of it.

    The label `world` says which world it was, `task` what was asked. A world of another package is judged if it has a
    truth stream `task` with a channel `success`, of which the last row counts. Unknown without labels or truth, and of
    an episode that was cut off before it was done.
    """

    name = "task"
    version = "2"
    depends = ("sensorium.sim.worlds.cart", "sensorium.sim.worlds.planar_world")

    def verify(self, episode: Episode) -> Verdict:
        world, task = episode.labels.get("world"), str(episode.labels.get("task", ""))
        if not isinstance(world, str):
            return Verdict.unknown("no label `world`: not the episode of a world that was reset")
        name, judge = _JUDGES.get(world, ("task", _success))
        found = [
            stream for path, stream in episode.streams.items() if path.rpartition(".")[2] == name and _is_truth(stream)
        ]
        if len(found) != 1:
            which = "no truth stream" if not found else "more than one truth stream"
            return Verdict.unknown(f"{world}: {which} {name!r}; worlds are recorded with truth, one in an episode")
        truth = _read(found[0])
        if not truth.rows:
            return Verdict.unknown(f"{world}: the truth stream {name!r} is empty")
        try:
            verdict = judge(truth, task, episode)
        except KeyError as error:
            return Verdict.unknown(f"{world}: the truth stream {name!r} has no channel {error}")
        if not verdict.passed and episode.row["reason"] != "complete":
            return Verdict.unknown(f"cut off ({episode.row['reason']}) before it was done", verdict.components)
        return verdict


def _is_truth(stream: Stream) -> bool:
    return stream.spec.modality == "truth" and bool(stream.spec.channels)


def _read(stream: Stream) -> _Truth:
    rows = stream[:].astype(np.float64).reshape(len(stream), -1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return _Truth({name: rows[:, column] for column, name in enumerate(stream.spec.channels)}, len(rows))


def _success(truth: _Truth, task: str, episode: Episode) -> Verdict:
    """By the channel `success`; where it has a `distance` the score is how much of the way was made."""
    del episode
    done = truth.last("success") > 0
    components = {name: truth.last(name) for name in truth.columns if name not in ("goal_x", "goal_y", "goal_z")}
    score = float(done)
    if not done and "distance" in truth.columns and "explored" not in truth.columns:
        score = _way(truth.columns["distance"])
    said = ", ".join(f"{name} {value:g}" for name, value in components.items())
    return Verdict(score, done, components, f"{task or 'task'} {'done' if done else 'not done'}: at the end {said}")


def _planar(truth: _Truth, task: str, episode: Episode) -> Verdict:
    """`reach` by `reached`; `roam` by the square metres that were visited, which are its score too."""
    del episode
    components = {name: truth.last(name) for name in ("distance_m", "reached", "cells")}
    if task == "roam":
        cells = components["cells"]
        said = f"roam {'done' if cells >= ROAMED else 'not done'}: {cells:g} square metres visited, {ROAMED} asked for"
        return Verdict(cells, cells >= ROAMED, components, said)
    done = bool(truth.columns["reached"].max() > 0)
    score = 1.0 if done else _way(truth.columns["distance_m"])
    said = f"reach {'done' if done else 'not done'}: {components['distance_m']:.2f} m from the goal at the end"
    return Verdict(score, done, components, said)


def _lab(truth: _Truth, task: str, episode: Episode) -> Verdict:
    """`map` by the share of the sample whose phase is known, `find-defects` by how many of those there are it found."""
    mapped, found = truth.last("mapped"), truth.last("found")
    components = {"mapped": mapped, "found": found}
    if task == "map":
        said = f"map {'done' if mapped >= MAPPED else 'not done'}: {mapped:.3f} of the sample, {MAPPED:g} asked for"
        return Verdict(mapped, mapped >= MAPPED, components, said)
    defects = [stream for path, stream in episode.streams.items() if path.rpartition(".")[2] == "defects"]
    if len(defects) != 1 or not len(defects[0]):
        return Verdict.unknown(f"{task}: no truth stream `defects` says how many there are", components)
    there = len(defects[0])
    components["defects"] = there
    said = f"{task} {'done' if found >= there else 'not done'}: {found:g} of {there} defects found"
    return Verdict(found / there, found >= there, components, said)


def _cart(truth: _Truth, task: str, episode: Episode) -> Verdict:
    """The pole stands, and the cart is on its track, after every step until time was up."""
    stands = ((np.abs(truth.columns["angle"]) <= FALLEN_RAD) & (np.abs(truth.columns["x"]) <= AWAY_M))[1:]
    if not len(stands):
        return Verdict.unknown(f"{task}: no step was made")
    components = {"stood_s": episode.duration_s * float(stands.mean()), "share": float(stands.mean())}
    done = bool(stands.all())
    said = f"{task or 'balance'} {'done' if done else 'not done'}: it stood for {components['stood_s']:.2f} s"
    return Verdict(float(stands.mean()), done, components, said)


def _way(distance: Floats) -> float:
    """The share of the way that was made, 0 to 1."""
    return float(np.clip(1 - distance[-1] / max(float(distance[0]), 1e-9), 0.0, 1.0))


_Judge = Callable[[_Truth, str, Episode], Verdict]
_JUDGES: Mapping[str, tuple[str, _Judge]] = {
    "sim-planar": ("task", _planar),
    "sim-lab": ("progress", _lab),
    "sim-cart": ("pose", _cart),
}
"""By world: the truth stream that tells, and who reads it; any other world is asked for `success`."""
