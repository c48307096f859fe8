"""The real server and the simulator as processes with ports and folders of their own."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
READY_WITHIN = 30.0


def binary() -> Path:
    """The filmgate binary. A named one must exist; the default one may not be built yet."""
    named = os.environ.get("FILMGATE_BIN")
    path = Path(named) if named else REPOSITORY / "target" / "debug" / "filmgate"
    if not path.is_file():
        if named:
            pytest.fail(f"FILMGATE_BIN names {path}, which is not a file")
        pytest.skip(f"{path} is not built; `cargo build` makes it, FILMGATE_BIN names another one")
    return path.resolve()


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Process:
    """A filmgate process; what it says goes to a log file that a failing start shows."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._log = folder / f"{name}.log"
        # Only what is given here: the settings and keys of the person who runs the tests must not leak in.
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
        self._command = [str(binary()), *arguments]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """As a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_WITHIN
        while not ready():
            gone = self._process is None or self._process.poll() is not None
            if gone or time.monotonic() > until:
                what = "ended" if gone else f"was not ready within {READY_WITHIN:.0f} s"
                pytest.fail(f"{' '.join(self._command)} {what}:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)


class Simulator:
    """The vendors' contracts, each job taking `latency`."""

    def __init__(self, folder: Path, latency: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = free_address()
        self._process = Process("simulate", ["simulate", "--listen", self.address, "--latency", latency], {}, folder)

    def start(self) -> None:
        self._process.start()
        self._process.wait_until(self._accepts)

    def stop(self) -> None:
        self._process.stop()

    def _accepts(self) -> bool:
        host, port = self.address.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True


class Server:
    """`filmgate serve`, with Replicate played by the simulator, or with no provider but the sample."""

    def __init__(self, folder: Path, simulator: Simulator | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = free_address()
        environment = {"FILMGATE_LISTEN": self.address, "FILMGATE_DATA_DIR": str(folder / "data")}
        if simulator is not None:
            environment["REPLICATE_API_TOKEN"] = "test"
            environment["FILMGATE_REPLICATE_BASE_URL"] = f"http://{simulator.address}/replicate/v1"
        self._process = Process("serve", ["serve"], environment, folder)

    def start(self) -> None:
        self._process.start()
        self._process.wait_until(self._ready)

    def start_without_waiting(self) -> None:
        self._process.start()

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def picture() -> bytes:
    """A PNG of 64 by 64 pixels."""
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes([row * 4, 90, 160]) * 64 for row in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
