"""The devices' end of bench/fleet.py waits for no connection: a thousand are in one thread, and one would hold all."""

import importlib
import threading
import time
from pathlib import Path

import pytest
import zmq

from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link import keys

BENCH = Path(__file__).parents[2] / "bench"


def test_what_is_sent_behind_a_refused_handshake_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCH)
    fleet, measuring = importlib.import_module("fleet"), importlib.import_module("measuring")
    keys.new("ingest", tmp_path / "keys")
    _, secret = keys.new("bench-0", tmp_path / "device")  # and the ingest is not told of it
    said, context = threading.Event(), zmq.Context[zmq.Socket[bytes]]()
    with Store.open(tmp_path / "store") as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0", keys=tmp_path / "keys")
        ingest.start()
        key = keys.server_key(tmp_path / "keys" / "ingest.key")
        server = measuring.Server(0, ingest.address, key, {"bench-0": keys.pair(secret)}, secret)
        end = fleet.DeviceEnd(fleet.Load("bench-0", "s", [], {}), server, context, fleet.Times())
        connected = fleet.DeviceEnd._connected

        def late(of: object, url: str) -> "zmq.Socket[bytes]":
            """Only when it was refused is anything said."""
            socket: zmq.Socket[bytes] = connected(of, url)
            with socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH) as monitor:
                assert monitor.poll(30_000)
                monitor.recv_multipart()
                socket.disable_monitor()
            time.sleep(1.5)  # libzmq tells first, and gives up then
            return socket

        monkeypatch.setattr(fleet.DeviceEnd, "_connected", late)

        def step() -> None:
            while end.link._failures < 2:
                end.step()
            said.set()

        threading.Thread(target=step, name="steps", daemon=True).start()
        try:
            assert said.wait(60), "it waits for a connection that never comes"
        finally:
            ingest.stop()
        end.close()
        context.destroy(linger=0)
