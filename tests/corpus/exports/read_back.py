"""What was exported as its own library reads it, held to the episode: each sample, each stamp, each JPEG."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.reader import make_reader

from sensorium.corpus.episode import Episode


def same(found: Any, expected: Any) -> bool:
    """Whether arrays are equal, what is no number too."""
    return np.array_equal(found, expected, equal_nan=np.asarray(expected).dtype.kind == "f")


def stamps_of(episode: Episode, name: str) -> dict[str, Any]:
    stream = episode.streams[name]
    utc_ns, uncertainty_ns = episode.utc(stream.captured_ns)
    found = {"captured_ns": stream.captured_ns, "utc_ns": utc_ns, "uncertainty_ns": uncertainty_ns}
    return {key: value for key, value in (found | {"sensor_ns": stream.sensor_ns}).items() if value is not None}


def check_numpy(folder: Path, episode: Episode) -> None:
    about = json.loads((folder / "episode.json").read_text())
    assert about["said"]["labels"] == episode.attributes["labels"]
    for name, stream in episode.streams.items():
        found = {path.stem: np.load(path, mmap_mode=None) for path in (folder / name).iterdir()}
        assert found.keys() == {"data", *stamps_of(episode, name)}
        assert about["streams"][name]["spec"]["dtype"] == found["data"].dtype == stream.dtype
        assert same(found["data"], stream[:])
        for key, expected in stamps_of(episode, name).items():
            assert np.array_equal(found[key], expected)


def check_parquet(folder: Path, episode: Episode, left_out: frozenset[str] = frozenset()) -> None:
    for name, stream in episode.streams.items():
        if name in left_out:
            assert not (folder / f"{name}.parquet").exists()
            continue
        table = pq.read_table(folder / f"{name}.parquet")
        assert json.loads(table.schema.metadata[b"sensorium.stream"])["spec"]["name"] == name
        for key, expected in stamps_of(episode, name).items():
            column = table["utc"].cast("int64") if key == "utc_ns" else table[key]
            assert np.array_equal(column.to_numpy(), expected)
        columns = [
            each for each in table.column_names if each not in ("captured_ns", "utc", "uncertainty_ns", "sensor_ns")
        ]
        if stream.is_encoded:
            assert table["data"].to_pylist() == [stream.item(row) for row in range(len(stream))]
            pictures = [np.frombuffer(item.as_py(), np.uint8) for item in table["data"]]
            decoded: list[Any] = [cv2.imdecode(each, cv2.IMREAD_COLOR) for each in pictures]
            found = np.stack(decoded) if decoded else np.zeros(stream.shape, np.uint8)
        elif stream.spec.is_frames:
            found = np.frombuffer(b"".join(table["data"].to_pylist()), stream.dtype).reshape(stream.shape)
        elif columns == ["data"]:
            found = np.array(table["data"].to_pylist(), stream.dtype).reshape(stream.shape)
        else:
            assert columns == list(stream.spec.channels)
            found = np.stack([table[each].to_numpy() for each in columns], axis=1)
        assert same(found, stream[:]), name


def check_hdf5(path: Path, episode: Episode) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["sensorium.episode"])["episode"]["episode"] == episode.id
        assert set(file) == set(episode.streams)
        for name, stream in episode.streams.items():
            group = file[name]
            for key, expected in stamps_of(episode, name).items():
                assert np.array_equal(group[key][:], expected)
            if stream.is_encoded:
                items = [stream.item(row) for row in range(len(stream))]
                assert [each.tobytes() for each in group["items"]] == items
                continue
            assert group["data"].dtype == stream.dtype
            assert same(group["data"][:], stream[:])


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
            assert message.sequence == len(found[channel.topic]) - 1
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
    fields = [field.name for field in message.DESCRIPTOR.fields][1:]
    packed = fields == ["data"] and hasattr(message.data, "__len__")
    values = list(message.data) if packed else [getattr(message, each) for each in fields]
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(values, stream.dtype).reshape(stream.spec.shape)  # not by way of float64, which rounds uint64


def check_mcap(path: Path, episode: Episode, prefix: str = "/", left_out: frozenset[str] = frozenset()) -> None:
    found = messages(path)
    held = {name: stream for name, stream in episode.streams.items() if name not in left_out}
    assert set(found) == {f"{prefix}{name}" for name, stream in held.items() if len(stream)}
    for name, stream in held.items():
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
            assert same(samples_of(name, message, kind, episode), stream[row]), (name, row)
