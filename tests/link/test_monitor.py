"""A monitor that nobody reads keeps nobody waiting."""

import subprocess
import sys

CROWD = """
import socket, sys, threading
import zmq
from sensorium.link.monitor import monitor_of

context = zmq.Context()
router = context.socket(zmq.ROUTER)
monitor = monitor_of(context, router, zmq.EVENT_ALL)
port = router.bind_to_random_port("tcp://127.0.0.1")
for _ in range(3000):  # each of some events, and pyzmq's own monitor holds 2000
    with socket.create_connection(("127.0.0.1", port), 30):
        pass
for _ in range(3000):  # so many of them were told
    assert monitor.poll(30_000)
    monitor.recv_multipart()
router.disable_monitor()
monitor.close()
router.close()
context.term()
print("ended")
"""


def test_a_crowd_of_connections_that_nobody_hears_of_keeps_no_socket_from_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, timeout=100, check=False)
    assert (ended.stdout, ended.stderr) == ("ended\n", "")
