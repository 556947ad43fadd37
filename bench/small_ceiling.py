"""What an ingest of small episodes cannot do without, in one straight line of Python: the ceiling for ours.

Each episode file comes whole in one message over CURVE; its records' checksums and its digest are checked, their
headers decoded; one ZIP of about our size and one record are written and synced in batches, with their folders, and a
row is entered in SQLite; an answer goes out. No rule is checked, nothing is resumed, nobody is told what is wrong, and
nothing of it would survive a second device of that name.
"""

import multiprocessing
import os
import shutil
import sqlite3
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import zmq
from blake3 import blake3
from crc32c import crc32c

TOGETHER = 64
WINDOW = 256
"""So many wait for their answer, as of eight devices."""
DOCUMENT = b'{"zarr_format":3,"node_type":"array","shape":[11],"data_type":"float32"}' * 110
"""As long as the root document of a rollout."""
_PREFIX, _CRC = struct.Struct("<4sB3sIII"), struct.Struct("<I")
_MEMBER = struct.Struct("<30s46s")


@dataclass(frozen=True)
class Ceiling:
    """What was measured: episodes a second, the server's CPU each in milliseconds, and that by part."""

    per_s: float
    cpu_ms: float
    parts_ms: dict[str, float]


class Parts:
    """The CPU of the thread that it is made in, by part: each `end`s with a call of its name."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self._since_s = time.thread_time()

    def end(self, part: str) -> None:
        """What was spent since the part before ended was this one's."""
        now_s = time.thread_time()
        self.cpu_s[part] = self.cpu_s.get(part, 0.0) + now_s - self._since_s
        self._since_s = now_s


def ceiling(folder: Path, files: Sequence[bytes]) -> Ceiling:
    """What it takes to take `files` in so."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there, folder, len(files)))
    process.start()
    try:
        port, server_key = here.recv()
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = server_key
            socket.connect(f"tcp://127.0.0.1:{port}")
            began_s = time.perf_counter()
            for number, data in enumerate(files):
                if number >= WINDOW:
                    socket.recv()
                socket.send_multipart([b"data", data])
            for _ in range(min(WINDOW, len(files))):
                socket.recv()
            seconds = time.perf_counter() - began_s
        cpu_s, parts = here.recv()
        process.join(30)
    finally:
        process.kill()
        shutil.rmtree(folder)
    each = {part: round(1e3 * spent_s / len(files), 4) for part, spent_s in parts.items()}
    return Ceiling(len(files) / seconds, 1e3 * cpu_s / len(files), each)


def _serve(pipe: Connection, folder: Path, count: int) -> None:
    folders = [folder / "data", folder / "records"]
    for each in folders:
        each.mkdir(parents=True)
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    catalog.execute("pragma journal_mode = wal")
    catalog.execute("pragma synchronous = full")
    catalog.execute("create table episodes (episode text primary key, digest text, bytes integer, document blob)")
    places = [os.open(each, os.O_RDONLY | os.O_DIRECTORY) for each in folders]
    public, secret = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.curve_server, socket.curve_secretkey = True, secret
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        pipe.send((port, public))
        done, cpu_s, parts = 0, 0.0, Parts()
        while done < count:
            came = [socket.recv_multipart()]
            if not done:
                cpu_s, parts = time.process_time(), Parts()
            while len(came) < TOGETHER and socket.poll(0):
                came.append(socket.recv_multipart())
            parts.end("receiving")
            rows = [_made(data) for _, _, data in came]
            parts.end("reading it, making ZIP and record")
            _write(places[0], [(f"{done + at}.zip", data) for at, (_, data, _) in enumerate(rows)])
            _write(places[1], [(f"{done + at}.json", data) for at, (_, _, data) in enumerate(rows)])
            parts.end("files")
            catalog.executemany(
                "insert into episodes values (?, ?, ?, ?)",
                [(f"{done + at}", digest, len(data), about) for at, (digest, data, about) in enumerate(rows)],
            )
            catalog.commit()
            parts.end("catalog")
            for (route, _, _), (digest, _, _) in zip(came, rows, strict=True):
                socket.send_multipart([route, msgspec.msgpack.encode({"t": "committed", "digest": digest})])
            done += len(came)
            parts.end("answering")
        cpu_s = time.process_time() - cpu_s
        parts.cpu_s["libzmq's threads"] = cpu_s - sum(parts.cpu_s.values())
        pipe.send((cpu_s, parts.cpu_s))


def _made(data: bytes) -> tuple[str, bytes, bytes]:
    """The digest of an episode file, a ZIP and a record such as ours."""
    view, at, records, payloads, crcs = memoryview(data), 0, [], [], []
    while at < len(view):
        _, _, _, _, header_bytes, payload_bytes = _PREFIX.unpack_from(view, at)
        body = at + _PREFIX.size + header_bytes
        crcs.append(crc32c(view[at + 4 : body + payload_bytes]))
        records.append(msgspec.msgpack.decode(view[at + _PREFIX.size : body]))
        payload = view[body : body + payload_bytes]
        payloads.append(payload)
        crcs.append(zlib.crc32(payload))
        last, at = at, body + payload_bytes + _CRC.size
    digest = blake3(view[:last]).hexdigest()
    deflate = zlib.compressobj(1, zlib.DEFLATED, -14, 5)
    attributes = msgspec.json.encode(records[-1].get("account"))
    root = deflate.compress(DOCUMENT + attributes) + deflate.flush()
    members = b"".join([_MEMBER.pack(_CRC.pack(crc), _CRC.pack(crc)) for crc in crcs])
    made = b"".join((*payloads, members, root, bytes(6000)))  # documents that are alike, and their names
    about = {"digest": digest, "crc": zlib.crc32(made), "account": records[-1].get("account"), "row": bytes(700).hex()}
    return digest, made, msgspec.json.encode(about)


def _write(place: int, files: Sequence[tuple[str, bytes]]) -> None:
    """Files, synced, and their folder."""
    opened = []
    for name, data in files:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=place)
        os.write(fd, data)
        opened.append(fd)
    for fd in opened:
        os.fdatasync(fd)
        os.close(fd)
    os.fsync(place)
