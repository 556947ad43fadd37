"""Pictures that come as JPEG, from the driver to the store: as they came where they can be, decoded once elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.drivers.jpeg_source import SHAPE, JpegSource, item
from tests.drivers.test_media import turned

FRAMES = 12
ITEMS = tuple(item(seed) for seed in range(FRAMES))
Collect = Callable[..., Any]


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every item that was decoded."""
    calls: list[bytes] = []
    decode: Callable[[Any, int], Any] = cv2.imdecode

    def counted(data: Any, flags: int) -> Any:
        calls.append(bytes(data))
        return decode(data, flags)

    monkeypatch.setattr(cv2, "imdecode", counted)
    return calls


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Collect]:
    """Collect items with these parts of a device file; the one episode of the store."""
    store = Store.open(tmp_path / "store")
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()

    def run(items: Sequence[bytes] = ITEMS, **parts: Any) -> Any:
        document = {
            "device": "street",
            "ingest": {"url": ingest.address},
            "sensors": {"cam": JpegSource(items=tuple(items))},
            "trigger": {"kind": "interval", "length_s": 100},
            **parts,
        }
        assert Agent(check_device(document, tmp_path)).run()
        (episode,) = sensorium.open(tmp_path / "store").query()
        return episode

    yield run
    ingest.stop()
    store.close()


def jpeg(**more: Any) -> dict[str, Any]:
    return {"cam": {"codec": "jpeg", "quality": 30, **more}}


def stored(episode: Any, stream: str = "cam") -> list[bytes]:
    found = episode.streams[stream]
    return [bytes(found.item(row)) for row in range(len(found.captured_ns))]


def picture(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def test_items_are_stored_as_they_came_and_never_decoded(collect: Collect, decodes: list[bytes]) -> None:
    episode = collect(encodings=jpeg(), filters={"cam": [{"kind": "rate", "max_hz": 5}]})
    assert decodes == []
    assert stored(episode) == list(ITEMS[::2])
    assert episode.account["cam"]["filtered"] == {"rate": 6}
    assert episode.streams["cam"].media_type == "image/jpeg"


def test_filters_that_look_decode_each_once_and_the_items_pass(collect: Collect, decodes: list[bytes]) -> None:
    looks = [{"kind": "sharpness", "percentile": 0}, {"kind": "exposure"}, {"kind": "duplicate", "max_distance": 0}]
    episode = collect(encodings=jpeg(), filters={"cam": looks})
    assert sorted(decodes) == sorted(ITEMS)
    assert stored(episode) == list(ITEMS)


@pytest.mark.parametrize("filters", [{}, {"cam": [{"kind": "exposure"}]}], ids=["bare", "looked at"])
def test_another_encoding_stores_what_they_decode_to(
    collect: Collect, decodes: list[bytes], filters: dict[str, Any]
) -> None:
    episode = collect(filters=filters)
    assert sorted(decodes) == sorted(ITEMS), "once, though a filter looked"
    assert np.array_equal(episode.streams["cam"][:], np.stack([picture(data) for data in ITEMS]))


def test_filters_that_change_pixels_have_them_encoded_again(collect: Collect) -> None:
    filters = {
        "cam": [{"kind": "resize", "size": [16, 12], "into": "small"}, {"kind": "crop", "width": 32, "height": 24}]
    }
    episode = collect(encodings={**jpeg(), "small": {"codec": "lossless"}}, filters=filters)
    cut = episode.streams["cam"]
    assert cut.spec.shape == (24, 32, 3)
    for row, data in enumerate(ITEMS):
        whole = picture(data)
        assert cv2.PSNR(cut[row], whole[:24, :32]) > 25
        again = cv2.resize(whole, (16, 12), interpolation=cv2.INTER_AREA)
        assert np.abs(episode.streams["small"][row].astype(int) - again.astype(int)).mean() < 3
    assert not set(stored(episode)) & set(ITEMS)


DAMAGED = (*ITEMS[:5], ITEMS[5][:700], *ITEMS[6:])


@pytest.mark.parametrize(
    ("parts", "lost"),
    [
        ({"encodings": jpeg()}, {}),
        ({"encodings": jpeg(), "filters": {"cam": [{"kind": "exposure"}]}}, {"corrupt": 1}),
        ({}, {"encoder": 1}),
    ],
    ids=["as it came", "looked at", "decoded to be stored"],
)
def test_an_item_that_does_not_decode_costs_itself_alone_and_only_if_someone_looks(
    collect: Collect, parts: dict[str, Any], lost: dict[str, int]
) -> None:
    episode = collect(DAMAGED, **parts)
    account = episode.account["cam"]
    assert (account["captured"], account["stored"], account["lost"]) == (FRAMES, FRAMES - len(lost), lost)
    if "encodings" in parts:
        assert stored(episode) == [data for data in DAMAGED if len(data) != 700 or not lost]


def test_a_derived_stream_counts_what_it_could_not_be_made_of(collect: Collect) -> None:
    filters = {"cam": [{"kind": "resize", "size": [16, 12], "into": "small"}]}
    episode = collect(DAMAGED, encodings=jpeg(), filters=filters)
    assert episode.account["cam"]["stored"] == FRAMES
    assert stored(episode) == list(DAMAGED), "its own stream keeps the bytes"
    small = episode.account["small"]
    assert (small["captured"], small["stored"], small["lost"]) == (FRAMES, FRAMES - 1, {"corrupt": 1})


def test_what_is_not_what_the_spec_says_is_lost_before_anything_else(collect: Collect) -> None:
    gray = cv2.imencode(".jpg", np.zeros(SHAPE[:2], np.uint8))[1].tobytes()
    episode = collect([*ITEMS[:4], gray, ITEMS[5], *ITEMS[6:]], encodings=jpeg())
    account = episode.account["cam"]
    assert account["lost"] == {"malformed": 2}, "its block"
    assert stored(episode) == [*ITEMS[:4], *ITEMS[6:]]


def test_a_picture_to_be_shown_turned_is_read_as_it_lies(collect: Collect) -> None:
    episode = collect([turned(data) for data in ITEMS], encodings=jpeg())
    assert np.array_equal(episode.streams["cam"][3], picture(ITEMS[3]))


def test_items_larger_than_the_codec_makes_are_stored(collect: Collect) -> None:
    """A comment of 60 kB, where a picture of this size makes 20 at most."""
    comment = b"\xff\xfe" + (60_000).to_bytes(2, "big") + bytes(59_998)
    large = [data[:2] + comment + data[2:] for data in ITEMS]
    assert stored(collect(large, encodings=jpeg())) == large
