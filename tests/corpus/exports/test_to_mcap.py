"""MCAP, read by its own library and by protobuf: every sample, every stamp, JPEGs as they are."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import SummaryOffset
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC

from sensorium.corpus.exports import to_mcap
from sensorium.corpus.exports.contract import Options, Unsupported, export
from sensorium.drivers.clock import Clock
from tests.corpus.exports.read_back import check_mcap, messages
from tests.corpus.exports.stored import everything, recorded, store_of
from tests.episode_files import build_episode


@pytest.mark.parametrize("probes", [None, ()], ids=["UTC", "no UTC"])
def test_every_sample_and_stamp(tmp_path: Path, probes: Any) -> None:
    (episode,) = store_of(tmp_path / "store", [everything()], **({} if probes is None else {"probes": probes}))
    report = export([episode], "mcap", tmp_path / "out")
    assert (report.episodes, report.samples, report.skipped) == (1, sum(map(len, episode.streams.values())), {})
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == f"{episode.id}.mcap"
    check_mcap(path, episode)


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


def test_any_reader_finds_its_way_by_the_summary_and_the_indexes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(to_mcap, "STRETCH_BYTES", 5000)
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "mcap", tmp_path / "out.mcap")
    data = (tmp_path / "out.mcap").read_bytes()
    with (tmp_path / "out.mcap").open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
        assert summary is not None
        said = summary.statistics
        assert said is not None
        counts = {summary.channels[number].topic: count for number, count in said.channel_message_counts.items()}
        assert counts == {f"/{name}": len(stream) for name, stream in episode.streams.items() if len(stream)}
        assert said.message_count == sum(counts.values())
        assert (said.chunk_count, len(summary.chunk_indexes)) == (len(summary.chunk_indexes), said.chunk_count)
        assert said.chunk_count > 3
        every = [(m.log_time, c.topic, m.data) for _, c, m in make_reader(io.BytesIO(data)).iter_messages()]
        file.seek(0)
        first, last = every[len(every) // 3][0], every[2 * len(every) // 3][0]
        assert (said.message_start_time, said.message_end_time) == (every[0][0], every[-1][0])
        found = make_reader(file).iter_messages(topics=["/imu", "/front"], starting_at=first, ending_before=last)
        assert [(m.log_time, c.topic, m.data) for _, c, m in found] == [
            each for each in every if first <= each[0] < last and each[1] in ("/imu", "/front")
        ]
    for index in summary.chunk_indexes:
        at = index.chunk_start_offset
        assert data[at] == Opcode.CHUNK
        for offset in index.message_index_offsets.values():
            assert data[offset] == Opcode.MESSAGE_INDEX
    length, magic = 8 + 8 + 4, len(MCAP0_MAGIC)
    at = len(data) - magic - length - 9
    assert data[at] == Opcode.FOOTER
    start, _, crc = struct.unpack("<QQI", data[at + 9 : -magic])
    assert crc == zlib.crc32(data[start : -magic - 4])
    assert [each.group_opcode for each in summary_offsets(data, start)] == [3, 4, 11, 8, 13]


def summary_offsets(data: bytes, start: int) -> list[SummaryOffset]:
    """Those of a file, each of which leads to a group of what it says."""
    reader = StreamReader(io.BytesIO(data[start:]), skip_magic=True)
    found = [each for each in reader.records if isinstance(each, SummaryOffset)]
    for each in found:
        assert data[each.group_start] == each.group_opcode
    return found


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
    check_mcap(tmp_path / "out.mcap", episode)


def test_a_large_episode_is_written_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(to_mcap, "STRETCH_BYTES", 2000)
    monkeypatch.setattr(to_mcap, "_ROWS_AT_ONCE", 7)
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "mcap", tmp_path / "out.mcap")
    check_mcap(tmp_path / "out.mcap", episode)


def test_a_channel_that_is_called_data_is_one_of_its_own(tmp_path: Path) -> None:
    file = build_episode({"scale": np.arange(5.0).reshape(5, 1)}, specs={"scale": {"channels": ("data",)}})
    (episode,) = store_of(tmp_path / "store", [file])
    export([episode], "mcap", tmp_path / "out.mcap")
    check_mcap(tmp_path / "out.mcap", episode)
    assert [each.data for _, _, each, _ in messages(tmp_path / "out.mcap")["/scale"]] == [0, 1, 2, 3, 4]


def test_no_two_schemas_of_a_file_have_one_name_and_equal_ones_are_one(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    specs = {"a.b": {"channels": ("x", "y", "z")}}
    made = [
        build_episode({"a.b": rows, "a_b": rows, "a-b": np.arange(4)}, specs=specs),
        build_episode({"a.b": rows, "a_b": rows[:, :2]}, specs=specs, start_ns=9 * 10**9, ordinal=1),
    ]
    export(store_of(tmp_path / "store", made), "mcap", tmp_path / "out.mcap")
    with (tmp_path / "out.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    names = [each.name.rpartition(".")[2] for each in summary.schemas.values()]
    assert names == ["a_b", "a_b_2", "a_b_3"]  # of data, whether one number or three, the schema is the same
    by_topic = [(each.topic, summary.schemas[each.schema_id].name[-3:]) for each in summary.channels.values()]
    assert by_topic == [("/a.b", "a_b"), ("/a_b", "b_2"), ("/a-b", "b_3"), ("/a.b", "a_b"), ("/a_b", "b_2")]
