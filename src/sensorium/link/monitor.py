"""What libzmq tells of a socket's connections, by a socket that takes all of it."""

import zmq


def monitor_of(context: "zmq.Context[zmq.Socket[bytes]]", socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
    """A PAIR on which the `events` of `socket` come. Disable them before either is closed.

    It has no high-water mark, where pyzmq's own has: at that libzmq's thread waits for whoever reads, and for it, with
    Python's lock, whoever disables the monitor. A crowd that connects while nobody reads would stop the process.
    """
    address = f"inproc://monitor-{socket.FD}"
    socket.monitor(address, events)
    monitor = context.socket(zmq.PAIR)
    monitor.rcvhwm = 0  # of two ends in a process the marks count together, and none is none
    monitor.linger = 0
    monitor.connect(address)
    return monitor
