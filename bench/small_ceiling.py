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


def ceiling(folder: Path, files: Sequence[bytes]) -> tuple[float, float]:
    """Episodes a second, and milliseconds of the server's CPU each, of `files` that are taken in so."""
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
        cpu_s = float(here.recv())
        process.join(30)
    finally:
        process.kill()
        shutil.rmtree(folder)
    return len(files) / seconds, 1e3 * cpu_s / len(files)


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
        done, cpu_s = 0, 0.0
        while done < count:
            came = [socket.recv_multipart()]
            cpu_s = cpu_s or time.process_time()
            while len(came) < TOGETHER and socket.poll(0):
                came.append(socket.recv_multipart())
            rows = [_made(data) for _, _, data in came]
            _write(places[0], [(f"{done + at}.zip", data) for at, (_, data, _) in enumerate(rows)])
            _write(places[1], [(f"{done + at}.json", data) for at, (_, _, data) in enumerate(rows)])
            catalog.executemany(
                "insert into episodes values (?, ?, ?, ?)",
                [(f"{done + at}", digest, len(data), about) for at, (digest, data, about) in enumerate(rows)],
            )
            catalog.commit()
            for (route, _, _), (digest, _, _) in zip(came, rows, strict=True):
                socket.send_multipart([route, msgspec.msgpack.encode({"t": "committed", "digest": digest})])
            done += len(came)
        pipe.send(time.process_time() - cpu_s)


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
