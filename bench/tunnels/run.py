#!/usr/bin/env python3
"""Homing's streams beside TCP, TLS 1.3, bare iroh and tunnels, between two network namespaces of this machine.

    sudo bench/tunnels/run.py --homing target/release/homing [--iroh PROGRAM] [--rounds 7] [--seconds 2] [--ways tcp,iroh]

One run, all ways up at the same time, rounds interleaved: throughput of one TCP connection, then the round trip of 64
bytes over another. What is printed are medians over rounds and ratios to Homing, those to bare iroh being medians of the
rounds' own ratios, because a machine's pace changes from one to the next. A way whose program is not installed is skipped
and said so: wireguard-go, boringtun-cli, yggdrasil, nebula with nebula-cert, openssl (for TLS).

`--iroh` names `target/release/examples/iroh_pipe` (cargo build --release -p homing-node --example iroh_pipe): a local
TCP port carried over one iroh stream per connection, as `homing forward` and `homing expose` do it. `iroh` is with its own
congestion controller (CUBIC), `iroh-bbr3` with the stack's BBR; `homing-bbr3` and `homing-cubic` are second pairs of
daemons with `transport.congestion` set so.

Only namespaces and processes of its own are touched, and they are ended with it. Linux, root, Python 3.9.
"""

import argparse
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

A, B = f"hbench-{os.getpid()}-a", f"hbench-{os.getpid()}-b"
ADDR = {A: "10.213.0.1", B: "10.213.0.2"}
SINK, TLS_SINK = 5001, 5002
CHUNK = 256 * 1024
PINGS = 300


# The two ends, which run inside the namespaces.

def sink(cert):
    """Counts what it is sent ('T'), or sends back 64 bytes at a time ('P')."""
    def serve(conn):
        with conn:
            kind = conn.recv(1)
            if kind == b"T":
                count, view = 0, bytearray(CHUNK)
                while n := conn.recv_into(view):
                    count += n
                    if view[n - 1] == 1:
                        break
                conn.sendall(count.to_bytes(8, "big"))
            while kind == b"P" and (said := conn.recv(64)):
                conn.sendall(said)

    def listen(port, wrap):
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        while True:
            conn, _ = listener.accept()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=lambda c=conn: serve(wrap(c)), daemon=True).start()

    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(cert)
        wrapped = lambda c: context.wrap_socket(c, server_side=True)
        threading.Thread(target=listen, args=(TLS_SINK, wrapped), daemon=True).start()
    listen(SINK, lambda c: c)


def exactly(conn, count):
    got = b""
    while len(got) < count:
        more = conn.recv(count - len(got))
        assert more, "the connection ended"
        got += more
    return got


def client(host, port, tls, seconds, through):
    def connect():
        conn = socket.create_connection((host, port), timeout=30)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if through:
            conn.sendall(f"CONNECT {through} HTTP/1.1\r\nHost: {through}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += exactly(conn, 1)
            assert b" 200 " in answer.split(b"\r\n")[0], answer
        if not tls:
            return conn
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(conn)

    with connect() as conn:
        conn.sendall(b"T")
        block, began, sent = bytes(CHUNK), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            conn.sendall(block)
            sent += CHUNK
        # The last byte says that it is the last.
        conn.sendall(b"\x01")
        count = int.from_bytes(exactly(conn, 8), "big")
        assert count == sent + 1, f"{count} of {sent + 1} bytes arrived"
        rate = count * 8 / (time.monotonic() - began) / 1e6
    with connect() as conn:
        conn.sendall(b"P")
        times = []
        for _ in range(PINGS):
            began = time.perf_counter()
            conn.sendall(bytes(64))
            exactly(conn, 64)
            times.append((time.perf_counter() - began) * 1e6)
    print(json.dumps({"mbit": rate, "us": statistics.median(times)}))


# The stage.

class Stage:
    def __init__(self, options):
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="hbench-")
        self.children = []
        self.ways = {}
        self.skipped = {}

    def inside(self, where, *command, **kw):
        return subprocess.run(["ip", "netns", "exec", where, *map(str, command)], check=True,
                              capture_output=True, text=True, **kw).stdout

    def start(self, where, *command, env=None):
        log = open(os.path.join(self.dir, f"{len(self.children)}.log"), "w")
        child = subprocess.Popen(["ip", "netns", "exec", where, *map(str, command)], stdout=log,
                                 stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        self.children.append(child)
        return child

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    def up(self):
        for name in (A, B):
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.inside(name, "ip", "link", "set", "lo", "up")
        subprocess.run(["ip", "link", "add", "veth0", "netns", A, "type", "veth", "peer", "name",
                        "veth0", "netns", B], check=True)
        for name in (A, B):
            self.inside(name, "ip", "addr", "add", ADDR[name] + "/24", "dev", "veth0")
            self.inside(name, "ip", "link", "set", "veth0", "up")

    def down(self):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        for name in (A, B):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def need(self, way, *programs):
        missing = [p for p in programs if not shutil.which(p)]
        if missing:
            self.skipped[way] = ", ".join(missing) + " not installed"
        return not missing

    # The ways.

    def tcp(self):
        cert = None
        if self.need("tls", "openssl"):
            cert = os.path.join(self.dir, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-keyout", cert + ".key", "-out",
                            cert, "-subj", "/CN=bench", "-days", "2"], check=True, capture_output=True)
            with open(cert, "a") as out, open(cert + ".key") as key:
                out.write(key.read())
            self.ways["tls"] = (ADDR[B], TLS_SINK)
        self.start(B, sys.executable, os.path.abspath(__file__), "--sink", cert or "")
        self.ways["tcp"] = (ADDR[B], SINK)

    def homing(self, way, port, congestion=None):
        binary = os.path.abspath(self.options.homing)
        homes = {name: os.path.join(self.dir, f"{way}-{name[-1]}") for name in (A, B)}
        settings = {"HOMING_TRANSPORT_CONGESTION": congestion, "HOMING_GATEWAY_ENABLED": "false"}
        settings = settings if congestion else {}

        def run(where, *args):
            env = {**os.environ, "HOMING_HOME": homes[where]}
            return self.inside(where, binary, *args, env=env)

        def ok(where, *args):
            for _ in range(100):
                try:
                    return run(where, *args)
                except subprocess.CalledProcessError as error:
                    failed = error
                    time.sleep(0.2)
            raise SystemExit(f"homing {' '.join(args)}: {failed.stderr}")

        ticket = None
        for name in (B, A):
            os.mkdir(homes[name])
            args = ["daemon", "run", "--hostname", f"agent-{name[-1]}", "--listen", ADDR[name] + ":0"]
            args += ["--peer", ticket] if ticket else []
            self.start(name, binary, *args, env={"HOMING_HOME": homes[name], **settings})
            ticket = json.loads(ok(name, "info", "--json"))["ticket"]
        ok(A, "handshake", "agent-b")
        ok(B, "approve", json.loads(run(A, "info", "--json"))["node_id"])
        ok(A, "wait", "trusted", "agent-b", "--timeout", "30s")
        run(B, "expose", str(SINK), "--name", "sink", "--tcp")
        self.start(A, binary, "forward", port, "agent-b:sink", env={"HOMING_HOME": homes[A]})
        self.ways[way] = ("127.0.0.1", port)
        if not congestion:
            # The same stream without the process that listens for `forward`.
            self.ways["gateway"] = ("127.0.0.1", 7420, "sink.agent-b.agent.internal:80")

    def iroh(self, way, port, *controller):
        if not self.options.iroh:
            self.skipped[way] = "no --iroh"
            return
        binary = os.path.abspath(self.options.iroh)
        place = os.path.join(self.dir, way + ".place")
        self.start(B, binary, "host", ADDR[B] + ":0", f"127.0.0.1:{SINK}", place, *controller)
        until(lambda: os.path.exists(place))
        self.start(A, binary, "open", ADDR[A] + ":0", f"127.0.0.1:{port}", open(place).read(), *controller)
        self.ways[way] = ("127.0.0.1", port)

    def wireguard(self, way, program, net):
        if not self.need(way, program, "wg"):
            return
        keys = {}
        for name in (A, B):
            private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
            public = subprocess.run(["wg", "pubkey"], input=private, check=True, capture_output=True,
                                    text=True).stdout.strip()
            keys[name] = (self.file(f"{way}-{name}", private), public)
        for name, peer in ((A, B), (B, A)):
            # The control sockets are in the file system, which namespaces share: one name per end.
            device = f"{way[:3]}{name[-1]}"
            extra = ["--disable-drop-privileges"] if program == "boringtun-cli" else []
            self.start(name, program, "-f", device, *extra)
            until(lambda: device in self.inside(name, "ip", "-br", "link"))
            own, other = (f"{net}.{1 if n == A else 2}" for n in (name, peer))
            port = 51820 + len(way)
            retry(lambda: self.inside(name, "wg", "set", device, "listen-port", port, "private-key",
                                      keys[name][0], "peer", keys[peer][1], "allowed-ips", other + "/32",
                                      "endpoint", f"{ADDR[peer]}:{port}"))
            self.inside(name, "ip", "addr", "add", own + "/24", "dev", device)
            self.inside(name, "ip", "link", "set", device, "up")
        self.ways[way] = (f"{net}.2", SINK)

    def yggdrasil(self):
        if not self.need("yggdrasil", "yggdrasil"):
            return
        there = None
        for name in (B, A):
            made = subprocess.run(["yggdrasil", "-genconf", "-json"], check=True, capture_output=True,
                                  text=True).stdout
            config = json.loads(made)
            config["AdminListen"], config["MulticastInterfaces"] = "none", []
            config["Listen"] = ["tcp://10.213.0.2:9001"] if name == B else []
            config["Peers"] = ["tcp://10.213.0.2:9001"] if name == A else []
            path = self.file(f"ygg-{name}.json", json.dumps(config))
            self.start(name, "yggdrasil", "-useconffile", path)
            if name == B:
                there = subprocess.run(["yggdrasil", "-useconffile", path, "-address"], check=True,
                                       capture_output=True, text=True).stdout.strip()
        self.ways["yggdrasil"] = (there, SINK)

    def nebula(self):
        if not self.need("nebula", "nebula", "nebula-cert"):
            return
        ca = os.path.join(self.dir, "ca")
        subprocess.run(["nebula-cert", "ca", "-name", "bench", "-out-crt", ca + ".crt", "-out-key",
                        ca + ".key"], check=True, capture_output=True)
        for name, ip in ((B, "10.216.0.2"), (A, "10.216.0.1")):
            own = os.path.join(self.dir, f"nebula-{name}")
            subprocess.run(["nebula-cert", "sign", "-ca-crt", ca + ".crt", "-ca-key", ca + ".key", "-name",
                            name, "-ip", ip + "/24", "-out-crt", own + ".crt", "-out-key", own + ".key"],
                           check=True, capture_output=True)
            rule = [{"port": "any", "proto": "any", "host": "any"}]
            # YAML takes JSON.
            path = self.file(f"nebula-{name}.yml", json.dumps({
                "pki": {"ca": ca + ".crt", "cert": own + ".crt", "key": own + ".key"},
                "static_host_map": {"10.216.0.2": ["10.213.0.2:4242"]} if name == A else {},
                "lighthouse": {"am_lighthouse": name == B, "hosts": ["10.216.0.2"] if name == A else []},
                "listen": {"host": "0.0.0.0", "port": 4242},
                "tun": {"dev": "neb" + name[-1], "mtu": 1300},
                "firewall": {"outbound": rule, "inbound": rule}}))
            self.start(name, "nebula", "-config", path)
        self.ways["nebula"] = ("10.216.0.2", SINK)

    def measure(self, way):
        host, port, *through = self.ways[way]
        told = self.inside(A, sys.executable, os.path.abspath(__file__), "--client", host, port,
                           int(way == "tls"), self.options.seconds, *through)
        return json.loads(told)


def until(is_so, limit=30):
    deadline = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("something did not start in time")
        time.sleep(0.1)


def retry(action, times=50):
    for left in range(times, 0, -1):
        try:
            return action()
        except subprocess.CalledProcessError:
            if left == 1:
                raise
            time.sleep(0.2)


def table(stage, results):
    middle = lambda way, what: statistics.median(r[what] for r in results[way])
    rate, trip = middle("homing", "mbit"), middle("homing", "us")
    print(f"{'way':<12} {'Mbit/s':>9} {'Homing is':>10} {'64 B µs':>9} {'Homing is':>10}")
    for way in results:
        mbit, us = middle(way, "mbit"), middle(way, "us")
        print(f"{way:<12} {mbit:>9.0f} {rate / mbit:>9.2f}x {us:>9.0f} {trip / us:>9.2f}x")
    for bare in sorted({"iroh", "iroh-bbr3"} & set(results)):
        for way in [way for way in results if way.startswith(("homing", "gateway"))]:
            ratios = [r["mbit"] / i["mbit"] for r, i in zip(results[way], results[bare])]
            low, mid, high = statistics.quantiles(ratios, n=4)
            print(f"{way} of bare {bare}: {mid:.2f} (quartiles {low:.2f} and {high:.2f})")
    for way, why in stage.skipped.items():
        print(f"{way:<12} skipped: {why}")


def main():
    if sys.argv[1:2] == ["--sink"]:
        return sink(sys.argv[2])
    if sys.argv[1:2] == ["--client"]:
        host, port, tls, seconds = sys.argv[2:6]
        return client(host, int(port), tls == "1", float(seconds), "".join(sys.argv[6:]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--homing", required=True)
    parser.add_argument("--iroh")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--ways", type=lambda text: text.split(","), help="only these beside Homing")
    stage = Stage(parser.parse_args())
    others = {
        "homing-bbr3": lambda: stage.homing("homing-bbr3", 6004, "bbr3"),
        "homing-cubic": lambda: stage.homing("homing-cubic", 6005, "cubic"),
        "iroh": lambda: stage.iroh("iroh", 6002),
        "iroh-bbr3": lambda: stage.iroh("iroh-bbr3", 6003, "bbr3"),
        "wireguard-go": lambda: stage.wireguard("wireguard-go", "wireguard-go", "10.214.0"),
        "boringtun": lambda: stage.wireguard("boringtun", "boringtun-cli", "10.215.0"),
        "yggdrasil": stage.yggdrasil,
        "nebula": stage.nebula,
    }
    try:
        stage.up()
        stage.tcp()
        stage.homing("homing", 6001)
        for way, prepare in others.items():
            if stage.options.ways is None or way in stage.options.ways:
                prepare()
        if stage.options.ways is not None:
            wanted = {"homing", "gateway", *stage.options.ways}
            stage.ways = {way: place for way, place in stage.ways.items() if way in wanted}
        results = {way: [] for way in stage.ways}
        for way in stage.ways:
            # Whatever a first packet has to set up is set up then.
            retry(lambda: stage.measure(way), 20)
        for _ in range(stage.options.rounds):
            for way in stage.ways:
                results[way].append(stage.measure(way))
        table(stage, results)
    finally:
        stage.down()


main()
