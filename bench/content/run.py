#!/usr/bin/env python3
"""One file through `homing fetch` beside the same bytes through a bare stream, between two daemons on this machine.

    bench/content/run.py --homing target/release/homing [--mib 1024] [--rounds 3]

Rounds are interleaved: a stream of `homing expose` and `homing forward` that carries the file from memory to nowhere,
then a fetch of the whole file into an empty store, hashed and verified on both sides and written to the disk. Then one
fetch is killed half way (kill -9 of the fetching daemon) and run again, and one byte of what the holder has on its disk
is flipped before a fetch. What is printed: medians, their ratio, what was fetched again, and what was said of the byte.

Only processes and folders of its own are touched, and they are ended with it. Linux, Python 3.9.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CHUNK = 1 << 20


class Daemon:
    """One daemon in a home of its own."""

    def __init__(self, program, home):
        self.program, self.home, self.process = program, home, None
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("HOMING_")}
        self.env["HOMING_HOME"] = home

    def run(self, *args):
        return subprocess.run([self.program, *args], env=self.env, capture_output=True, text=True)

    def json(self, *args):
        done = self.run(*args, "--json")
        if done.returncode:
            sys.exit(f"homing {' '.join(args)}: {done.stderr}")
        return json.loads(done.stdout)

    def until(self, *args, seconds=60):
        end = time.monotonic() + seconds
        while (done := self.run(*args, "--json")).returncode:
            if time.monotonic() > end:
                sys.exit(f"homing {' '.join(args)}: {done.stderr}")
            time.sleep(0.05)
        return json.loads(done.stdout)

    def start(self, name, peers=()):
        flags = [flag for peer in peers for flag in ("--peer", peer)]
        log = open(os.path.join(self.home, "bench.log"), "a")
        size = ["--set", "content.max_bytes=20000000000"]
        args = ["daemon", "run", "--hostname", name, "--listen", "127.0.0.1:0", *flags, *size]
        self.process = subprocess.Popen([self.program, *args], env=self.env, stdout=log, stderr=log)
        self.until("info")

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def make(path, mib):
    """A file that does not compress: one random MiB, its number written into it."""
    block = bytearray(os.urandom(CHUNK))
    with open(path, "wb") as file:
        for n in range(mib):
            block[:8] = n.to_bytes(8, "big")
            file.write(block)


def serve(path):
    """Sends the file to whoever connects; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            conn, _ = listener.accept()
            with conn, open(path, "rb") as file:
                conn.sendfile(file)

    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]


def stream(port, size):
    """Seconds that the whole file takes through the tunnel."""
    view, count, began = bytearray(CHUNK), 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as conn:
        while n := conn.recv_into(view):
            count += n
    assert count == size, (count, size)
    return time.monotonic() - began


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            whole.update(piece)
    return whole.hexdigest()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--homing", required=True)
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    program = os.path.abspath(options.homing)
    scratch = tempfile.mkdtemp(prefix="hbc-")
    homes = [os.path.join(scratch, name) for name in ("a", "b")]
    for home in homes:
        os.mkdir(home)
    holder, fetcher = (Daemon(program, home) for home in homes)
    forward = None
    try:
        path = os.path.join(scratch, "model.bin")
        make(path, options.mib)
        size, wanted = os.path.getsize(path), digest(path)
        holder.start("holder")
        ticket = holder.run("info", "--ticket").stdout.strip().splitlines()[-1]
        fetcher.start("fetcher", [ticket])
        fetcher.until("handshake", "holder")
        holder.until("approve", fetcher.json("info")["node_id"])
        fetcher.json("wait", "trusted", "holder", "--timeout", "30s")
        cid = holder.json("content", "add", path)["cid"]
        holder.json("expose", str(serve(path)), "--name", "bulk")
        port = free_port()
        forward = subprocess.Popen([program, "forward", str(port), "holder:bulk"], env=fetcher.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2)
        bare, fetched = [], []
        for n in range(options.rounds):
            bare.append(size / stream(port, size) / 1e6)
            began = time.monotonic()
            done = fetcher.json("fetch", cid)
            fetched.append(size / (time.monotonic() - began) / 1e6)
            assert digest(done["path"]) == wanted, "the copy is another file"
            fetcher.json("content", "rm", cid)
            print(f"round {n + 1}: stream {bare[-1]:.0f} MB/s, fetch {fetched[-1]:.0f} MB/s", flush=True)
        print(f"{options.mib} MiB, medians of {options.rounds}: stream {statistics.median(bare):.0f} MB/s, "
              f"fetch {statistics.median(fetched):.0f} MB/s")
        ratios = [f / b for f, b in zip(fetched, bare)]
        print(f"fetch / stream: median {statistics.median(ratios):.2f}, all {' '.join(f'{r:.2f}' for r in ratios)}")

        part = subprocess.Popen([program, "fetch", cid], env=fetcher.env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        time.sleep(size / statistics.median(fetched) / 1e6 / 2)
        fetcher.kill()
        part.wait()
        fetcher.start("fetcher")
        done = fetcher.until("fetch", cid, seconds=120)
        assert digest(done["path"]) == wanted, "the resumed copy is another file"
        print(f"killed half way and resumed: {done['fetched_bytes'] / size:.2f} of the file came after it")
        assert 0 < done["fetched_bytes"] < size, done

        fetcher.json("content", "rm", cid)
        held = os.path.join(holder.home, "content", cid)
        with open(held, "r+b") as file:
            file.seek(size // 2 + 5)
            byte = file.read(1)
            file.seek(size // 2 + 5)
            file.write(bytes([byte[0] ^ 4]))
        failed = fetcher.run("fetch", cid, "--json", "--timeout", "40s")
        assert failed.returncode, "a flipped byte was not noticed"
        health = [item["code"] for item in holder.json("status")["health"]]
        print(f"one byte flipped on the holder's disk: exit {failed.returncode}, "
              f"{json.loads(failed.stderr.splitlines()[-1])['code']}; the holder says {health}")
        assert "content_damaged" in health
    finally:
        if forward:
            forward.kill()
        holder.kill()
        fetcher.kill()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
