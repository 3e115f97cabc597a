"""A web server for tests of `homing expose`: it says what reached it. Prints its port, then serves."""

import base64
import hashlib
import http.server
import json
import os
import sys
import time

GATE = sys.argv[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/events"):
            return self.events()
        if self.path.endswith("/socket"):
            return self.socket()
        if self.path.endswith("/away"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/app/there?x")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        length = int(self.headers.get("Content-Length", 0))
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self.chunks() if chunked else self.rfile.read(length).decode()
        seen = {"method": self.command, "path": self.path, "body": body, "headers": self.headers.items()}
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body.decode()

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        while not os.path.exists(GATE):
            time.sleep(0.02)
        self.wfile.write(b"data: last\n\n")
        self.close_connection = True

    def socket(self):
        """RFC 6455: the handshake, then every frame's payload goes back as a text frame."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        while head := self.rfile.read(2):
            length, mask = head[1] & 0x7F, self.rfile.read(4)
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([0x81, length]) + payload)
        self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
