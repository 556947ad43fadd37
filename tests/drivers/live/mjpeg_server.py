"""An HTTP camera on 127.0.0.1: 50 JPEG pictures a second whose grey value is their number, up to 249.

python mjpeg_server.py PORT [silent]        prints `ready PORT` when it accepts; silent: headers, no picture
"""

import contextlib
import http.server
import itertools
import sys
import time

import cv2
import numpy as np

PICTURES = [cv2.imencode(".jpg", np.full((48, 64, 3), number, np.uint8))[1].tobytes() for number in range(250)]


class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in itertools.count():
                time.sleep(0.02)
                if "silent" in sys.argv:
                    continue
                jpeg = PICTURES[number % len(PICTURES)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
print("ready", server.server_port, flush=True)
server.serve_forever()
