"""The filter `redact`: what it takes out is in nothing behind it, and where it does not know, there is no picture."""

import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.device_file import check_device, load_device_file
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.order import check_order
from sensorium.agents.filters.rate import Rate
from sensorium.agents.filters.redact import Redact, RedactState
from sensorium.agents.filters.resize import Resize
from sensorium.agents.filters.scores import Cascade
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import ConfigError
from sensorium.perception.detector import DetectorConfig
from sensorium.perception.encoder import Pictures
from sensorium.perception.masks import Mask
from tests.perception.bright import RED, Bright, installed

CAMERA = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(48, 64, 3), rate_hz=10, color_order="BGR")
TICK_NS = 100_000_000
CORNER = Mask(rectangle=(0, 0, 20, 10))
WELL = threading.Event()
"""Detectors that hang do so until this is set."""


class Toy(DetectorConfig):
    """What it does at each call, the last for ever."""

    kind: str = "toy"
    does: tuple[str, ...] = ("well",)
    opens: str = "well"

    def open(self) -> "ToyDetector":
        if self.opens == "raises":
            raise OSError("no such\nGPU")
        if self.opens == "config":
            raise ConfigError("the detector toy needs a toy: buy one")
        return ToyDetector(list(self.does), "" if self.opens == "nameless" else "abc")


class ToyDetector:
    name, version = "toy", "2"

    def __init__(self, does: list[str], weights_hash: str) -> None:
        self._does, self.weights_hash = does, weights_hash
        self.seen: list[Pictures] = []

    def detect(self, pictures: Pictures) -> Any:
        self.seen.append(pictures)
        does = self._does.pop(0) if len(self._does) > 1 else self._does[0]
        box = [10.0, 10.0, 30.0, 20.0, 0.9]
        match does:
            case "raises":
                raise RuntimeError("out of\nmemory")
            case "exits":
                raise SystemExit(3)
            case "hangs":
                WELL.wait(60)
            case "nothing":
                return None
            case "few":
                return []
            case "whole numbers":
                return [np.array([box], np.int64)]
            case "flat":
                return [np.array(box, np.float32)]
            case "no scores":
                return [np.array([box[:4]], np.float32)]
            case "nan":
                box[2] = np.nan
            case "nan score":
                box[4] = np.nan
            case "outside":
                box[2] = 64.5
            case "above":
                box[1] = -3
            case "turned":
                box[0], box[2] = box[2], box[0]
            case "empty":
                return [np.empty((0, 5), np.float32)]
        return [np.array([box], np.float32)]


def frames(n: int, first: int = 0, lost: int = 0) -> Block:
    data = np.random.default_rng(first).integers(1, 256, (n, 48, 64, 3)).astype(np.uint8)
    return Block("cam", (np.arange(n) + first) * TICK_NS, data, lost)


def chain(*filters: FilterConfig[Any], **others: list[FilterConfig[Any]]) -> FilterChain:
    return FilterChain([CAMERA], {"cam": list(filters), **others})


def asked(state: RedactState) -> Any:
    """Its detector."""
    assert state.detector is not None
    return state.detector


# ---- where it stands


def refused(*filters: FilterConfig[Any], **others: list[FilterConfig[Any]]) -> str:
    """What chain and device file say, which is the same but for how they begin."""
    with pytest.raises(ConfigError) as caught:
        chain(*filters, **others)
    document: dict[str, Any] = {
        "device": "a",
        "sensors": {"cam": {"kind": "sim-planar", "duration_s": 1}},
        "trigger": {"kind": "interval", "length_s": 1},
        "filters": {
            name: [each.model_dump(mode="json") for each in some] for name, some in {"cam": filters, **others}.items()
        },
    }
    with pytest.raises(ConfigError) as loading:
        check_device(document, Path())
    assert str(loading.value) == f"device file device: filters: {str(caught.value).removeprefix('filters.')}"
    return str(caught.value)


def test_what_looks_at_pictures_stands_behind_it() -> None:
    redact = Redact(masks=(CORNER,))
    assert refused(Cascade(), redact) == (
        "filters.cam[0] (scores): looks at pictures before cam[1] (redact); put redact first"
    )
    assert "cam[1] (crop): looks at" in refused(redact, Crop(width=9, height=9), redact)
    assert "cam[0] (resize): looks at" in refused(Resize(size=(9, 9)), redact)
    assert "cam[0] (rate): begins 'slow' before cam[1]" in refused(Rate(max_hz=1, into="slow"), redact)
    assert "cam[0] (redact): with `into` stream 'cam' itself stays" in refused(Redact(masks=(CORNER,), into="safe"))
    small = Resize(size=(32, 24), into="small")
    assert "'cam', which 'small' is derived from, is recorded unredacted" in refused(small, small=[redact])
    chain(Rate(max_hz=1), redact, Redact(masks=(CORNER,), fill="blur"), Cascade(), small, small=[redact])


KINDS: dict[str, FilterConfig[Any]] = {
    "redact": Redact(masks=(CORNER,)),
    "rate": Rate(max_hz=5),
    "slow": Rate(max_hz=1, into="slow"),
    "scores": Cascade(),
    "crop": Crop(width=20, height=20),
    "small": Crop(width=9, height=9, into="small"),
}


@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), max_size=5))
def test_whatever_the_order_nothing_sees_a_stream_before_it_is_redacted(kinds: list[str]) -> None:
    filters = {"cam": [KINDS[kind] for kind in kinds]}
    before = kinds[: max((place for place, kind in enumerate(kinds) if kind == "redact"), default=0)]
    if set(before) <= {"redact", "rate"}:
        check_order(filters)
    else:
        with pytest.raises(ConfigError, match=r"put redact first$"):
            check_order(filters)


def test_what_is_shown_is_what_all_redactors_have_left() -> None:
    whole = frames(3)
    made = chain(
        Rate(max_hz=5), Redact(masks=(CORNER,)), Redact(masks=(Mask(rectangle=(30, 0, 9, 9)),)), Crop(width=5, height=5)
    ).step(whole)[0]
    assert made.shown is not None
    assert made.shown.data.shape == (2, 48, 64, 3)
    assert not made.shown.data[:, :10, :20].any()
    assert not made.shown.data[:, :9, 30:39].any()
    assert made.shown.data[:, 10:].all()
    assert made.block is not None
    assert not made.block.data.any()
    own, *derived = chain(Redact(masks=(CORNER,)), Resize(size=(9, 9), into="small")).step(whole)
    assert own.shown is not None
    assert [each.shown for each in derived] == [None], "it was not captured"
    assert chain(Crop(width=5, height=5)).step(whole)[0].shown is whole
    failing = chain(Redact(detector=Toy(does=("raises",)))).step(whole)[0]
    assert failing.shown is None or not len(failing.shown)


# ---- masks


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32", "bool"])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 2), (48, 64, 3)])
def test_masks_are_on_pictures_of_any_type(dtype: str, shape: tuple[int, ...]) -> None:
    spec = msgspec.structs.replace(CAMERA, dtype=dtype, shape=shape)
    data = np.ones((2, *shape), dtype)
    made = FilterChain([spec], {"cam": [Redact(masks=(CORNER,))]}).step(Block("cam", np.arange(2), data))[0].block
    assert made is not None
    assert made.data.dtype == dtype
    assert not made.data[:, :10, :20].any()
    assert made.data.sum() == data.sum() - 2 * 200 * int(np.prod(shape[2:]))
    assert data.all(), "the block that was fed is as it was"


def test_what_does_not_fit_the_stream_is_refused() -> None:
    def says(redact: Redact, **changes: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            FilterChain([msgspec.structs.replace(CAMERA, **changes)], {"cam": [redact]})
        return str(caught.value)

    outside = Redact(masks=(CORNER, Mask(rectangle=(60, 0, 5, 5))))
    assert says(outside) == (
        "filters.cam[0] (redact): masks[1]: the rectangle reaches from 60, 0 to 65, 5, expected within the 64x48"
        " pictures; with `unit: share` numbers are shares (stream 'cam')"
    )
    for shape in ((6,), (3, 48, 64), (2, 48, 64, 3)):
        assert "expected pictures [h, w] or [h, w, channels]" in says(Redact(masks=(CORNER,)), shape=shape)
    assert "of others, masks can be made black" in says(Redact(masks=(CORNER,), fill="blur"), dtype="int32")
    assert "detectors look at uint8 alone" in says(Redact(detector=Bright()), dtype="uint16")


def test_what_says_nothing_to_redact_is_refused() -> None:
    with pytest.raises(ValueError, match="it would redact nothing"):
        Redact()
    with pytest.raises(ValueError, match="and there is none"):
        Redact(masks=(CORNER,), max_hz=3)


def test_what_came_encoded_is_encoded_anew() -> None:
    """What a JPEG has beside its pixels, such as a thumbnail of all that was there, goes too."""
    item = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
    thumbnail = item[:2] + b"\xff\xe1\x00\x0cThumbnail!" + item[2:]
    made = chain(Redact(masks=(CORNER,))).step(Block("cam", np.arange(2), Media(JPEG, [thumbnail] * 2)))[0]
    assert made.block is not None
    assert made.block.media is None
    assert not made.block.data[:, :10, :20].any()
    empty = chain(Redact(masks=(CORNER,))).step(Block("cam", np.arange(0), Media(JPEG, []), 3))[0].block
    assert empty is not None
    assert (len(empty), empty.lost_before, empty.media) == (0, 3, None)


def test_a_picture_that_does_not_decode_is_lost_and_shown_to_nobody() -> None:
    item = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
    found = chain(Redact(masks=(CORNER,))).step(Block("cam", np.arange(2), Media(JPEG, [item, item[:300]])))[0]
    assert found.shown is not None
    assert len(found.shown) == 1
    assert found.dropped.account().lost == {"corrupt": 1}


# ---- detectors


def test_what_a_detector_finds_is_covered_with_a_margin() -> None:
    data = np.full((3, 48, 64, 3), 120, np.uint8)
    data[1, 20:30, 30:40] = RED
    made = chain(Redact(detector=Bright(), margin=0.2)).step(Block("cam", np.arange(3), data))[0].block
    assert made is not None
    assert np.array_equal(made.data[[0, 2]], data[[0, 2]])
    assert not made.data[1, 18:32, 28:42].any()
    assert int((made.data[1] == 0).all(axis=2).sum()) == 14 * 14


def test_a_detector_is_shown_colours_in_the_order_that_it_expects() -> None:
    data = np.full((1, 48, 64, 3), 120, np.uint8)
    data[0, 20:30, 30:40] = RED[::-1]
    spec = msgspec.structs.replace(CAMERA, color_order="RGB")
    made = FilterChain([spec], {"cam": [Redact(detector=Bright())]}).step(Block("cam", np.arange(1), data))[0].block
    assert made is not None
    assert not made.data[0, 20:30, 30:40].any()


BAD = [
    "raises",
    "exits",
    "nothing",
    "few",
    "whole numbers",
    "flat",
    "no scores",
    "nan",
    "nan score",
    "outside",
    "above",
    "turned",
]


@pytest.mark.parametrize("does", BAD)
def test_where_it_does_not_know_there_is_no_picture(does: str, caplog: pytest.LogCaptureFixture) -> None:
    redacting = chain(Redact(detector=Toy(does=("well", does, does, "well"))))
    left, dropped = [], 0
    for k in range(4):
        made = redacting.step(frames(1, k, lost=1))[0]
        assert made.block is not None, "the loss before it"
        assert made.block.lost_before == 1
        left += [round(stamp / TICK_NS) for stamp in made.block.captured_ns.tolist()]
        dropped += made.dropped.account().filtered.get("redact.failed", 0)
        assert made.captured == 2
    assert left == [0, 3]
    assert dropped == 2
    said = [record for record in caplog.records if record.name.startswith("sensorium")]
    assert [record.levelno for record in said] == [logging.ERROR, logging.WARNING], "once, and when it is well"
    assert "pictures of 'cam' are dropped, and counted `redact.failed`" in said[0].getMessage()
    assert not any("\n" in record.getMessage() for record in said)


def test_one_that_hangs_is_waited_for_once(caplog: pytest.LogCaptureFixture) -> None:
    WELL.clear()
    redact = Redact(detector=Toy(does=("hangs", "well")), timeout_s=3.0)
    state = redact.start(CAMERA)
    for k in range(3):
        state, made = redact.step(state, frames(1, k))
        assert not len(made)
    assert len(asked(state)._detector.seen) == 1, "no call beside one that has not returned"
    WELL.set()
    assert asked(state)._asking._thread is not None
    assert asked(state)._asking._thread.join(60)
    _, made = redact.step(state, frames(1, 9))
    assert len(made) == 1
    assert "has not answered within 3 s" in caplog.records[0].getMessage()


def test_it_is_shown_a_copy_that_it_may_spoil_or_keep() -> None:
    whole = frames(1)
    redact = Redact(detector=Toy())
    state = redact.start(CAMERA)
    _, made = redact.step(state, whole)
    (seen,) = asked(state)._detector.seen
    assert not np.shares_memory(seen, made.data)
    assert not np.shares_memory(seen, whole.data)


def test_boxes_are_held_between_looks_and_never_over_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    redact = Redact(detector=Toy(does=("well", "empty", "well", "raises", "well")), max_hz=5, margin=0, held_margin=0.5)
    state = redact.start(CAMERA)
    assert "who comes into view between two looks is recorded" in caplog.text
    black = []
    for k in range(8):
        state, made = redact.step(state, frames(1, k))
        black.append(int((made.data == 0).all(axis=3).sum()) if len(made) else -1)
    assert len(asked(state)._detector.seen) == 5
    assert black == [200, 40 * 20, 0, 0, 200, 40 * 20, -1, 200], "behind a failure it looks again at once"


def test_one_that_cannot_be_opened_is_refused_before_anything_begins() -> None:
    for opens, says in (
        ("raises", r"^filters.cam\[0\] \(redact\): detector 'toy' cannot be opened: .* mend it, or use masks$"),
        ("config", r"redact\): the detector toy needs a toy: buy one$"),
        ("nameless", r"cannot be opened: .*expected three texts"),
    ):
        with pytest.raises(ConfigError, match=says):
            chain(Redact(detector=Toy(opens=opens)))


def test_a_pickle_opens_the_detector_anew() -> None:
    state = Redact(detector=Toy()).start(CAMERA)
    again = pickle.loads(pickle.dumps(state))
    assert asked(again).by == asked(state).by == "toy/2"


# ---- what is said of it


def test_a_policy_is_told_by_what_it_does(tmp_path: Path) -> None:
    def said(redact: Redact) -> Any:
        (only,) = FilterChain([CAMERA], {"cam": [redact]}).redactions["cam"]
        return only

    whole = Mask(rectangle=(0, 0, 0.5, 1), unit="share")
    same = Mask(rectangle=(0, 0, 32, 48))
    one = said(Redact(masks=(whole,)))
    assert (one.fill, one.detector, one.weights, one.max_hz) == ("black", "", "", None)
    assert one == said(Redact(masks=(same,))), "the same pixels"
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.eye(48, 64, dtype=np.uint8))
    assert said(Redact(masks=(Mask(image=tmp_path / "a.png"),))) == said(
        Redact(masks=(Mask(image=tmp_path / "b.png"),))
    )
    others = [
        Redact(masks=(Mask(rectangle=(0, 0, 32, 47)),)),
        Redact(masks=(same,), fill="blur"),
        Redact(masks=(same,), detector=Toy()),
        Redact(masks=(same,), detector=Toy(does=("empty",))),
        Redact(masks=(same,), detector=Toy(), max_hz=3),
        Redact(detector=Toy(), margin=0.3),
    ]
    policies = {said(redact).policy for redact in others} | {one.policy}
    assert len(policies) == len(others) + 1
    found = said(others[4])
    assert (found.detector, found.weights, found.max_hz, found.mask) == ("toy/2", "abc", 3.0, one.mask)


def test_what_is_derived_has_it_from_its_source() -> None:
    made = chain(Redact(masks=(CORNER,)), Resize(size=(32, 24), into="small"), small=[Redact(masks=(CORNER,))])
    assert made.redactions["small"][0] == made.redactions["cam"][0]
    assert len(made.redactions["small"]) == 2


def test_it_stands_in_a_device_file(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.eye(48, 64, dtype=np.uint8))
    (tmp_path / "rig.yaml").write_text(
        """
        device: a
        sensors: {cam: {kind: sim-planar, duration_s: 1}}
        trigger: {kind: interval, length_s: 1}
        filters:
          cam.cam:
            - {kind: redact, masks: [{image: m.png}, {rectangle: [0, 0, 0.1, 1], unit: share}], fill: pixelate}
            - {kind: redact, detector: {kind: bright, reach: 9}, max_hz: 5}
        """
    )
    with installed():
        device = load_device_file(tmp_path / "rig.yaml")
        again = check_device(device.model_dump(mode="json", serialize_as_any=True), tmp_path)
        assert again == device
        mask = device.filters["cam.cam"][0]
        assert isinstance(mask, Redact)
        assert mask.start(CAMERA).regions[0].marked is not None
        for wrong, says in (
            ("{kind: redact}", "expected `masks`, a `detector`, or both"),
            (
                "{kind: redact, masks: [{rect: [0, 0, 1, 1]}]}",
                r"masks\[0\].rect: unknown key, did you mean 'rectangle'",
            ),
            ("{kind: redact, detector: {kind: brigth}}", "unknown kind 'brigth', did you mean 'bright'"),
            ("{kind: redact, detector: {kind: bright, raech: 3}}", "detector.raech: unknown key, did you mean 'reach'"),
        ):
            with pytest.raises(ConfigError, match=says):
                load_device_file(tmp_path / "rig.yaml", [f"filters={{cam.cam: [{wrong}]}}"])


def test_a_loss_alone_goes_through() -> None:
    made = chain(Redact(detector=Toy(does=("raises",)))).step(loss_alone(CAMERA, 4))[0]
    assert made.block is not None
    assert made.block.lost_before == 4
