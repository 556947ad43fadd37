"""Delivery: a synced spool to committed shards, against the same bytes over bare CURVE, written once where they go."""

import contextlib
import multiprocessing
import os
import shutil
import statistics
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import uuid_utils
import zmq
from measuring import DEVICE, Comparison, Options, Server, Watched, compared, ingest_process, main, rounded

from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import live_clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, Account, Chunk, Mission, Open
from sensorium.link.wire import MAX_DATA_BYTES

SPEC = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=30.0, color_order="BGR")
PERIOD_NS = 33_333_333
EPISODES = 8
FRAMES = 206  # of noise, which does not compress: 190 MB an episode, 1.52 GB in all
SYNC_BYTES = 8 << 20
LIMIT_S = 120
BARE = ("bare_sender", "bare_receiver")
LAST = b"x"  # a message of one byte
BARE_HWM = 16  # as the link's bulk sockets


def measure(options: Options) -> Comparison:
    """Megabytes of episode files a second, from the uplink's start to the last COMMITTED."""
    episodes, frames = (2, 10) if options.quick else (EPISODES, FRAMES)
    ours, against, fills = [], [], []
    threads: dict[str, list[float]] = {"once": [], "twice": []}
    cpu: dict[str, list[float]] = {"agent": [], "ingest": [], "bare_sender": [], "bare_receiver": []}
    peak = {"agent": 0, "ingest": 0}
    total = 0
    for run in range(-1 if not options.quick else 0, options.runs):  # the first warms up, and counts for nothing
        folder = options.folder / str(run)
        began = time.perf_counter()
        files = fill(folder / "spool", episodes, frames)
        sizes = [file.stat().st_size for file in files]
        total = sum(sizes)
        filled = total / 1e6 / (time.perf_counter() - began)
        (folder / "files").mkdir()
        for file in files:  # which are gone from the spool once they are delivered
            (folder / "files" / file.name).hardlink_to(file)
        with ingest_process(folder, folder / "store") as server:
            if run % 2:  # by turns, for a disk that has just been busy is slower
                bare_s, bare = over_bare_curve(folder)
            seconds, watched = deliver(folder / "spool", server, episodes)
            if not run % 2:
                bare_s, bare = over_bare_curve(folder)
        once_s, twice_s = (write(sizes, folder, times) for times in (1, 2))
        shutil.rmtree(folder)
        if run < 0:
            continue
        fills.append(filled)
        ours.append(total / 1e6 / seconds)
        against.append(total / 1e6 / bare_s)
        threads["once"].append(total / 1e6 / once_s)
        threads["twice"].append(total / 1e6 / twice_s)
        for side, figures in (watched | bare).items():
            cpu[side].append(figures.cpu_s / (total / 1e9))
        for side in peak:
            peak[side] = max(peak[side], watched[side].peak_bytes)
    both = [statistics.median(cpu[a]) + statistics.median(cpu[b]) for a, b in (("agent", "ingest"), BARE)]
    detail = {
        "bytes": total,
        "episodes": episodes,
        "peak_pss_mb": {side: round(value / 1e6, 1) for side, value in peak.items()},
        "cpu_s_per_gb": {side: rounded(values) for side, values in cpu.items()},
        "cpu_over_bare": round(both[0] / both[1], 2) if both[1] else None,
        "spool_fill_mb_per_s": rounded(fills),
        "against": "the same files over CURVE to another process that writes them once, fdatasync every 8 MB",
        "one_thread_mb_per_s": {name: rounded(values) for name, values in threads.items()},
    }
    return compared("delivery", ours, against, "MB/s", True, detail)


def fill(path: Path, episodes: int, frames: int, device: str = DEVICE) -> list[Path]:
    """Episodes of incompressible frames, sealed and synced in the spool at `path`; their files."""
    noise = np.random.default_rng(0)
    entry = LosslessConfig().entry(SPEC)
    encode = encoder(codec_of(entry))
    chunks = [encode(noise.integers(0, 256, (1, *SPEC.shape), np.uint8)) for _ in range(16)]
    spool = Spool(path, device)
    try:
        for number in range(episodes):
            start_ns = number * (frames + 1) * PERIOD_NS
            end_ns = start_ns + frames * PERIOD_NS
            identity = uuid.UUID(bytes=uuid_utils.uuid7().bytes)

            def manifest(
                ordinal: int,
                between: dict[str, Account],
                identity: uuid.UUID = identity,
                interval_ns: tuple[int, int] = (start_ns, end_ns),
            ) -> Open:
                return Open(
                    version=FORMAT_VERSION,
                    episode=identity.bytes,
                    device=device,
                    spool_id=spool.spool_id,
                    ordinal=ordinal,
                    start_ns=interval_ns[0],
                    end_ns=interval_ns[1],
                    mission=Mission(name="bench"),
                    clock=live_clock(),
                    streams=(entry,),
                    between=between,
                )

            file = spool.create(manifest)
            for row in range(frames):
                stamp = np.int64(start_ns + row * PERIOD_NS).tobytes()
                header = Chunk(stream=0, first_row=row, captured_ns=stamp, captured=row + 1)
                file.append(header, chunks[row % len(chunks)])
            file.seal("complete", {"cam": frames}, {"cam": Account(captured=frames, stored=frames)}, {}, end_ns)
            spool.flush()
    finally:
        spool.close()
    return sorted((path / "episodes").iterdir())


def write(sizes: list[int], folder: Path, times: int) -> float:
    """Seconds that one thread needs to write files of these sizes, each so often, of noise, fdatasync every 8 MB."""
    noise = memoryview(np.random.default_rng(0).bytes(SYNC_BYTES))
    began = time.perf_counter()
    for number, size in enumerate(sizes):
        for copy in range(times):
            with Written(folder / f"{times}-{copy}-{number}") as file:
                for start in range(0, size, SYNC_BYTES):
                    file.write(noise[: size - start])
    return time.perf_counter() - began


class Written:
    """A new file, synced every 8 MB and at its end."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._unsynced = 0

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_: object) -> None:
        os.fdatasync(self._fd)
        os.close(self._fd)

    def write(self, data: memoryview) -> None:
        """All of it.

        Raises:
            OSError: the disk is full.
        """
        if os.write(self._fd, data) != len(data):
            raise OSError("a short write, the disk is full")
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            os.fdatasync(self._fd)
            self._unsynced = 0


def over_bare_curve(folder: Path) -> tuple[float, dict[str, Watched]]:
    """Seconds from the first byte of the spool's files read until the last is synced in other files, with nothing but
    CURVE between the two processes: no offer, no credit, no checksum, no shard, no record."""
    spawn = multiprocessing.get_context("spawn")
    (folder / "bare").mkdir()
    here, there = spawn.Pipe()
    end, other = spawn.Pipe()
    server = zmq.curve_keypair()
    receiver = spawn.Process(target=bare_receiver, args=(there, server, folder / "bare"))
    receiver.start()
    processes = [receiver]
    try:
        files = folder / "files"
        sender = spawn.Process(target=bare_sender, args=(other, int(receive(here)), server[0], files))
        sender.start()
        processes.append(sender)
        receive(end)
        watched = {BARE[0]: Watched(sender.pid or 0), BARE[1]: Watched(receiver.pid or 0)}
        began = time.perf_counter()
        end.send("go")
        receive(here)
        seconds = time.perf_counter() - began
        for each in watched.values():
            each.stop()
        for pipe in (end, here):
            pipe.send("end")
        for process in processes:
            process.join(30)
    finally:
        for process in processes:
            process.kill()
    return seconds, watched


def bare_sender(pipe: Connection, port: int, server_key: bytes, files: Path) -> None:
    """Each file in messages of the link's size, behind one that is empty."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.sndhwm = BARE_HWM
        socket.connect(f"tcp://127.0.0.1:{port}")
        pipe.send(0.0)
        pipe.recv()
        for path in sorted(files.iterdir()):
            socket.send(b"")
            with path.open("rb", buffering=0) as file:
                while data := file.read(MAX_DATA_BYTES):
                    socket.send(data, copy=False)
        socket.send(LAST)
        pipe.recv()


def bare_receiver(pipe: Connection, server: tuple[bytes, bytes], folder: Path) -> None:
    """Writes what comes, a new file behind each empty message; says its port, and when the last file is synced."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket, contextlib.ExitStack() as files:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = server
        socket.rcvhwm = BARE_HWM
        pipe.send(float(socket.bind_to_random_port("tcp://127.0.0.1")))
        number, file = 0, None
        while len(frame := socket.recv(copy=False).buffer) != len(LAST):
            if frame and file is not None:
                file.write(frame)
                continue
            files.close()
            file = files.enter_context(Written(folder / str(number)))
            number += 1
        files.close()
        pipe.send(0.0)
        pipe.recv()


def deliver(spool: Path, server: Server, episodes: int) -> tuple[float, dict[str, Watched]]:
    """Seconds from the uplink's start to the last COMMITTED, the uplink in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=uplink_process, args=(there, spool, server, episodes))
    process.start()
    try:
        receive(here)
        watched = {"agent": Watched(process.pid or 0), "ingest": Watched(server.pid)}
        here.send("go")
        seconds = receive(here)
        for each in watched.values():
            each.stop()
        here.send("end")
        process.join(30)
    finally:
        process.kill()
    return seconds, watched


def receive(pipe: Connection) -> float:
    """What the other process says, within the limit."""
    if not pipe.poll(LIMIT_S):
        raise TimeoutError(f"the uplink's process said nothing for {LIMIT_S} s")
    return float(pipe.recv())


def uplink_process(pipe: Connection, path: Path, server: Server, episodes: int) -> None:
    """The device's side: open the spool, wait for the word, deliver, say how long it took."""
    spool = Spool(path, DEVICE)
    uplink = Uplink(spool, server.url, server.server_key, server.device_pair)
    try:
        pipe.send(0.0)
        pipe.recv()
        began = time.perf_counter()
        uplink.start()
        while uplink.stats()["committed"] < episodes:
            time.sleep(0.002)
        pipe.send(time.perf_counter() - began)
        pipe.recv()
    finally:
        uplink.stop()
        spool.close()


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=9)
