"""Cards of a store: what is in them, what never is, that samples are read once, and what is gone with an episode."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.agents.planning import cards
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.cards import KIND, CardReader
from sensorium.corpus.beside import BesideWriter, beside_paths
from sensorium.corpus.beside_catalog import damage_beside, enter_beside
from sensorium.corpus.corpus import open_store
from sensorium.episode.documents import Note
from sensorium.ingest.deleting import delete
from sensorium.ingest.store import Store

Commit = Callable[..., str]
PROBES = [(10**9, 1_700_000_000 * 10**9, 2_000_000)]
MOST = 64


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def commit(make_episode: Any, store: Path) -> Commit:
    numbers = iter(range(1000))

    def commit(arrays: dict[str, Any], **more: Any) -> str:
        made = make_episode(arrays, ordinal=next(numbers), step_ns=100_000_000, **more)
        with Store.open(store) as opened:
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="k", probes=PROBES)
        return str(made.episode)

    return commit


def rich(commit: Commit, seed: int = 0, **more: Any) -> str:
    """A camera, an IMU, a stage, a spectrum, and truth of all kinds."""
    rng = np.random.default_rng(seed)
    arrays = {
        "front": rng.integers(0, 255, (20, 48, 64, 3), dtype=np.uint8),
        "imu": np.tile([0.0, 0.0, 0.3, 0.0, 0.0, 9.8], (20, 1)),
        "stage": np.tile([3.0, 4.0], (20, 1)),
        "spectrum": np.tile(np.arange(96, dtype=np.float32), (4, 1)),
        "pose": np.tile([77.0, 78.0], (20, 1)),
        "mask": np.full((20, 48, 64), 99, np.uint8),
    }
    specs = {
        "front": {"modality": "rgb", "color_order": "RGB"},
        "imu": {"modality": "imu", "unit": "rad/s, m/s^2"},
        "stage": {"modality": "position", "unit": "mm", "channels": ("x", "y")},
        "spectrum": {"modality": "spectrum"},
        "pose": {"modality": "truth", "unit": "m", "channels": ("x", "y")},
        "mask": {"modality": "truth"},
    }
    control = {"asked": {"x_m": 2.0}, "did": {"x_m": 1.9, "mode": "fast"}}
    notes = [
        Note(kind="control", name="p-1", value=control),
        Note(kind="control", name="p-2", value={"asked": {"x_m": 3.0}, "did": {"x_m": float("nan")}, "why": "a wall"}),
        Note(kind="control", name="p-3", value="nonsense"),
    ]
    return commit(arrays, specs=specs, notes=notes, labels={"task": "pick"}, **more)


def only(cards: list[EpisodeCard]) -> EpisodeCard:
    (card,) = cards
    return card


def test_what_a_card_has(commit: Commit, store: Path) -> None:
    episode = rich(commit)
    card = only(CardReader(store).new())
    assert (card.episode, card.device, card.kind, card.mission) == (episode, "rig-1", "full", "kitchen")
    assert card.seconds == 2.0
    assert card.stored_bytes > 0
    assert card.where == {"x_mm": 3.0, "y_mm": 4.0, "x_m": 1.9}
    assert card.labels == {"task": "pick", "mode": "fast"}
    assert card.measured["imu.motion"] == pytest.approx(0.3)
    assert 100 < card.measured["front.brightness"] < 150
    assert card.measured["spectrum.00"] == pytest.approx(0.5)
    assert card.measured["spectrum.47"] == pytest.approx(94.5)
    assert card.measured["stage.x"] == 3.0
    assert len(card.measured) <= MOST
    assert 1 <= len(card.looks) <= 6
    assert all(len(look) == 512 for look in card.looks)
    picture = cv2.imdecode(np.frombuffer(card.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape) == 96


def test_nothing_of_it_comes_from_a_truth_stream(make_episode: Any, commit: Commit, store: Path) -> None:
    """Whatever truth says, the card is the same."""
    rich(commit)
    card = only(CardReader(store).new())
    assert not {name.partition(".")[0] for name in (*card.measured, *card.scores)} & {"pose", "mask"}
    assert not {77.0, 78.0, 99.0} & {*card.where.values(), *card.measured.values()}
    commit({"mask": np.full((3, 48, 64), 99, np.uint8)}, specs={"mask": {"modality": "truth"}})
    other = CardReader(store).new()[1]
    assert (other.looks, other.thumbnail, other.measured, other.where) == ((), b"", {}, {})


def test_later_only_what_is_new_or_was_judged_since(commit: Commit, store: Path) -> None:
    first = rich(commit)
    reader = CardReader(store)
    assert [card.episode for card in reader.new()] == [first]
    assert reader.new() == []
    second = rich(commit, seed=1)
    assert [card.episode for card in reader.new()] == [second]
    open_store(store).label(first, {"task": "place"}, who="ann")
    assert only(reader.new()).labels["task"] == "place"
    verdict = {"score": 0.5, "passed": False, "components": {}, "explanation": "no"}
    with BesideWriter(store, "verdicts") as writer:
        said = {"episode": first, "name": "health", "utc": "2026-11-27T00:00:00Z", "verdict": verdict, "failed": ""}
        writer.append([{**said, "version": "1", "code": "c", "who": "a"}])
    enter_beside(store)
    assert only(reader.new()).verdicts == {"health": False, "health.score": 0.5}
    assert list(reader.cards) == sorted([first, second])


def test_samples_are_read_once_and_what_they_gave_stays_beside_the_episodes(
    commit: Commit, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rich(commit)
    before = CardReader(store).new()
    monkeypatch.setattr(cards, "sampled", None)
    assert CardReader(store).new() == before
    assert not list(damage_beside(store)), "a catalog that has none of it lacks nothing"
    (path,) = beside_paths(store, KIND)
    path.write_bytes(path.read_bytes()[:-30])
    monkeypatch.undo()
    assert CardReader(store).new() == before, "what is damaged is made again"


def test_who_may_not_write_reads_all_the_same(commit: Commit, store: Path) -> None:
    rich(commit)
    assert CardReader(store, keep=False).new()
    assert not beside_paths(store, KIND)


def test_a_deletion_takes_it_out(commit: Commit, store: Path) -> None:
    gone, stays = rich(commit), rich(commit, seed=1)
    CardReader(store).new()
    delete(store, [gone], reason="asked for", who="ann", grace_s=0)
    remaining = b"".join(path.read_bytes() for path in beside_paths(store, KIND))
    assert gone.encode() not in remaining
    assert stays.encode() in remaining
    assert [card.episode for card in CardReader(store).new()] == [stays]


def test_an_episode_that_cannot_be_read_has_a_card(commit: Commit, store: Path) -> None:
    episode = rich(commit)
    path = open_store(store).episode(episode).path
    path.unlink() if path.is_file() else (path / "zarr.json").write_text("{")
    card = only(CardReader(store).new())
    assert (card.episode, card.mission, card.measured) == (episode, "kitchen", {})


def test_of_a_trace_its_seconds_by_reason_are_told(commit: Commit, store: Path) -> None:
    commit({"trace.unit": np.zeros((3, 2))}, kind="trace", summary={"judged_s": {"kept": 1.0}})
    card = only(CardReader(store).new())
    assert card.kind == "trace"
    assert uuid.UUID(card.episode)
