"""MCAP, read by its own library and by protobuf: every sample, every stamp, JPEGs as they are."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.reader import make_reader

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import Options, Unsupported, export
from sensorium.drivers.clock import Clock
from tests.corpus.exports.stored import everything, recorded, store_of


def messages(path: Path) -> dict[str, list[tuple[int, int, Any, str]]]:
    """By topic: log and publish time, the message as protobuf decodes it by the schema in the file, its type."""
    found: dict[str, list[tuple[int, int, Any, str]]] = {}
    types: dict[int, Any] = {}
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages(log_time_order=False):
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("protobuf", "protobuf")
            if schema.id not in types:
                pool = descriptor_pool.DescriptorPool()
                for each in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
                    pool.Add(each)
                types[schema.id] = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            decoded = types[schema.id].FromString(message.data)
            assert not decoded._unknown_fields if hasattr(decoded, "_unknown_fields") else True
            found.setdefault(channel.topic, []).append((message.log_time, message.publish_time, decoded, schema.name))
    return found


def samples_of(name: str, message: Any, kind: str, episode: Episode) -> Any:
    stream = episode.streams[name]
    if kind == "foxglove.CompressedImage":
        assert message.format == "jpeg"
        return cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    if kind == "foxglove.RawImage":
        assert (message.height, message.width) == stream.spec.shape[:2]
        assert message.step * message.height == len(message.data)
        return np.frombuffer(message.data, stream.dtype).reshape(stream.spec.shape)
    values = [value for field, value in message.ListFields() if field.name != "captured_ns"]
    fields = [field.name for field in message.DESCRIPTOR.fields][1:]
    if fields == ["data"]:
        values = list(message.data)
    else:
        values = [getattr(message, each) for each in fields]
    return np.array(values).astype(stream.dtype).reshape(stream.spec.shape)


def check(path: Path, episode: Episode, prefix: str = "/") -> None:
    found = messages(path)
    assert set(found) == {f"{prefix}{name}" for name, stream in episode.streams.items() if len(stream)}
    for name, stream in episode.streams.items():
        theirs = found.get(f"{prefix}{name}", [])
        assert len(theirs) == len(stream)
        utc_ns, _ = episode.utc(stream.captured_ns)
        logged = stream.captured_ns if utc_ns is None else utc_ns
        for row, (log_ns, publish_ns, message, kind) in enumerate(theirs):
            assert (log_ns, publish_ns) == (logged[row], stream.captured_ns[row])
            if kind.startswith("foxglove"):
                assert message.timestamp.seconds * 10**9 + message.timestamp.nanos == log_ns
                assert message.frame_id == stream.spec.frame
            else:
                assert message.captured_ns == publish_ns
            assert np.array_equal(samples_of(name, message, kind, episode), stream[row]), (name, row)


@pytest.mark.parametrize("probes", [None, ()], ids=["UTC", "no UTC"])
def test_every_sample_and_stamp(tmp_path: Path, probes: Any) -> None:
    (episode,) = store_of(tmp_path / "store", [everything()], **({} if probes is None else {"probes": probes}))
    report = export([episode], "mcap", tmp_path / "out")
    assert (report.episodes, report.samples, report.skipped) == (1, sum(map(len, episode.streams.values())), {})
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == f"{episode.id}.mcap"
    check(path, episode)


def test_jpegs_are_as_they_were(tmp_path: Path) -> None:
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "mcap", tmp_path / "out.mcap")
    front = messages(tmp_path / "out.mcap")["/front"]
    assert [message.data for _, _, message, _ in front] == [episode.streams["front"].item(row) for row in range(12)]


def test_one_file_of_two_devices_in_the_order_of_time(tmp_path: Path) -> None:
    made = [everything(device="a"), everything(device="b", start_ns=9 * 10**9)]
    episodes = store_of(tmp_path / "store", made)
    export(episodes, "mcap", tmp_path / "out.mcap")
    found = messages(tmp_path / "out.mcap")
    assert {topic.split("/")[1] for topic in found} == {"a", "b"}
    with (tmp_path / "out.mcap").open("rb") as file:
        reader = make_reader(file)
        about = [json.loads(each.metadata["document"]) for each in reader.iter_metadata()]
        times = [message.log_time for _, _, message in reader.iter_messages(log_time_order=False)]
    assert times == sorted(times)
    assert [each["episode"]["episode"] for each in about] == [each.id for each in episodes]
    assert about[0]["said"]["notes"][0]["name"] == "grasp"


def test_a_stamp_before_1970_is_named_and_skipped_if_asked(tmp_path: Path) -> None:
    (episode,) = store_of(tmp_path / "store", [recorded(-1_000_000_000)])
    with pytest.raises(Unsupported, match="stream 'front': a stamp of -1000000000 ns: MCAP has none before 0"):
        export([episode], "mcap", tmp_path / "out.mcap")
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]
    report = export([episode], "mcap", tmp_path / "out.mcap", Options(skip_unsupported=True))
    assert {name.split("/")[1] for name in report.skipped} == set(episode.streams) - {"none"}
    assert messages(tmp_path / "out.mcap") == {}


def test_utc_that_steps_back_is_kept(tmp_path: Path) -> None:
    probes = [(10**9, 17 * 10**17, 1000), (10**9 + 600_000_000, 17 * 10**17 + 1000, 1000)]
    made = everything(clock=Clock(kind="boottime", boot_id="4c0e3a4e-0000-4000-8000-000000000000"))
    (episode,) = store_of(tmp_path / "store", [made], probes)
    export([episode], "mcap", tmp_path / "out.mcap")
    check(tmp_path / "out.mcap", episode)


def test_a_large_episode_is_written_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    from sensorium.corpus.exports import to_mcap

    monkeypatch.setattr(to_mcap, "STRETCH_BYTES", 2000)
    monkeypatch.setattr(to_mcap, "_ROWS_AT_ONCE", 7)
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "mcap", tmp_path / "out.mcap")
    check(tmp_path / "out.mcap", episode)
