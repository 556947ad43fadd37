"""An RTSP camera on 127.0.0.1: GStreamer's server with a moving test picture (for the system's Python).

python3 rtsp_server.py PORT [frames a second]        prints `ready PORT` when it accepts; 0 picks a port
python3 rtsp_server.py PORT FILM.mp4                 the same, of a film of H.264 as it is
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
rate = sys.argv[2] if len(sys.argv) > 2 else "20"
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
if rate.endswith(".mp4"):
    factory.set_launch(f'( filesrc location="{rate}" ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=1 )')
else:
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate={rate}/1"
        " ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
    )
factory.set_shared(True)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit(f"port {sys.argv[1]} cannot be used")
print("ready", server.get_bound_port(), flush=True)
GLib.MainLoop().run()
