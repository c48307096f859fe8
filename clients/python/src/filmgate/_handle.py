"""A generation in the caller's hand."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import grpc

from filmgate._files import download
from filmgate._errors import FilmgateError, Unavailable, from_rpc, raise_unless_succeeded
from filmgate._transport import Transport
from filmgate.v1.artifact_pb2 import Artifact
from filmgate.v1.generation_pb2 import Generation, State
from filmgate.v1.generation_service_pb2 import CancelGenerationRequest, WatchGenerationRequest

_TERMINAL = frozenset({State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_CANCELLED})


class GenerationHandle:
    """Follows one generation. Holds no connection: dropping it costs nothing, and `Client.watch(name)` makes another one."""

    def __init__(self, transport: Transport, generation: Generation, *, replayed: bool = False) -> None:
        self._transport = transport
        self._latest = generation
        #: True if the request id was known: this is the generation of the first such request.
        self.replayed = replayed

    def __repr__(self) -> str:
        return f"<GenerationHandle {self.name}>"

    @property
    def name(self) -> str:
        """`generations/{id}`: keep it to come back later."""
        return self._latest.name

    @property
    def request_id(self) -> str:
        """The request id it was ordered with."""
        return self._latest.request_id

    @property
    def latest(self) -> Generation:
        """The newest snapshot seen so far; no call is made."""
        return self._latest

    @property
    def sample(self) -> bool:
        """True if the newest snapshot says that its files are stand-ins of the sample provider, not made for the prompt."""
        return self._latest.sample

    def updates(self) -> Iterator[Generation]:
        """Snapshots from the present one to the end, whatever the end is.

        Each is complete; some may be missed, and a quiet one is repeated every 15 s with the same `sequence`. Reconnects by itself;
        raises `Unavailable` when the server stays away for longer than `reconnect_for`.
        """
        return self._follow(None)

    def wait(self, timeout: float | None = None) -> Generation:
        """The generation once it succeeded; `timeout` in seconds bounds the waiting, never the work.

        Raises `GenerationFailed`, `GenerationCancelled`, `GenerationUnresolved` (which is not an end), or `TimedOut`.
        """
        with closing(self._follow(timeout)) as snapshots:
            for snapshot in snapshots:
                if snapshot.state == State.STATE_UNRESOLVED:
                    break
        return raise_unless_succeeded(self._latest)

    def download_to(self, path: str | os.PathLike[str], index: int = 0) -> Artifact:
        """Waits for success, then writes output number `index` to the path and returns its facts.

        The bytes are checked against the artifact's SHA-256 before the path is touched; a broken download goes on where it stopped.
        """
        artifacts = self.wait().artifacts
        if not 0 <= index < len(artifacts):
            raise IndexError(f"{self.name} has {len(artifacts)} outputs, there is no number {index}")
        return download(self._transport, artifacts[index].name, path)

    def cancel(self) -> Generation:
        """Asks for the end. It may still succeed, if the provider finishes first: `wait` tells."""
        response = self._transport.call(self._transport.generations.CancelGeneration, CancelGenerationRequest(name=self.name))
        self._latest = response.generation
        return self._latest

    def _follow(self, timeout: float | None) -> Generator[Generation, None, None]:
        if self._latest.state in _TERMINAL:
            yield self._latest
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = self._transport.patience()
        seen = 0  # the first attachment asks for the present snapshot, a later one only for what is newer
        while True:
            call = self._transport.generations.WatchGeneration(
                WatchGenerationRequest(name=self.name, after_sequence=seen),
                timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0),
                metadata=self._transport.metadata,
            )
            error: FilmgateError
            try:
                for response in call:
                    patience.reached()
                    if response.generation.sequence < seen:
                        continue  # from a replica that is behind the one we left
                    seen = response.generation.sequence
                    self._latest = response.generation
                    yield self._latest
                error = Unavailable("the stream ended before the generation did")
            except grpc.RpcError as broken:
                error = from_rpc(broken)
            finally:
                call.cancel()
            if self._latest.state in _TERMINAL:
                return
            patience.pause_or_raise(error, deadline)
