"""Artifacts to and from local files."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import grpc

from filmgate._errors import DownloadCorrupt, FilmgateError, Unavailable, from_rpc
from filmgate._transport import Transport
from filmgate.v1.artifact_pb2 import Artifact
from filmgate.v1.artifact_service_pb2 import (
    Chunk,
    DownloadArtifactRequest,
    DownloadArtifactResponse,
    UploadArtifactRequest,
    UploadHeader,
)

_CHUNK_BYTES = 1024 * 1024


def download(transport: Transport, name: str, path: str | os.PathLike[str]) -> Artifact:
    """Writes an artifact to the path, which only ever holds a whole and verified file."""
    destination = Path(path)
    part = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            artifact = _Download(transport, name, file).run()
        os.replace(part, destination)
    finally:
        part.unlink(missing_ok=True)
    return artifact


def upload(transport: Transport, path: str | os.PathLike[str], media_type: str) -> Artifact:
    """Stores a file as an artifact. An upload that breaks starts again from the first byte."""
    header = UploadHeader(media_type=media_type, sha256=_sha256(path))

    def parts() -> Iterator[UploadArtifactRequest]:
        yield UploadArtifactRequest(header=header)
        for data in _chunks(path):
            yield UploadArtifactRequest(data=data)

    stored = transport.persist(lambda: transport.artifacts.UploadArtifact(parts(), metadata=transport.metadata))
    artifact: Artifact = stored.artifact
    return artifact


class _Download:
    def __init__(self, transport: Transport, name: str, file: BinaryIO) -> None:
        self._transport = transport
        self._name = name
        self._file = file
        self._digest = hashlib.sha256()
        self._n_bytes = 0
        self._artifact: Artifact | None = None

    def run(self) -> Artifact:
        patience = self._transport.patience()
        while True:
            call = self._transport.artifacts.DownloadArtifact(
                DownloadArtifactRequest(name=self._name, read_offset=self._n_bytes), metadata=self._transport.metadata
            )
            error: FilmgateError
            try:
                for response in call:
                    if self._accept(response):
                        patience.reached()  # only bytes are progress, or a server that never sends any would be asked for ever
                error = Unavailable(f"the download of {self._name} ended early")
            except grpc.RpcError as broken:
                error = from_rpc(broken)
            finally:
                call.cancel()
            if self._artifact is not None and self._n_bytes == self._artifact.size_bytes:
                return self._verified(self._artifact)
            patience.pause_or_raise(error)

    def _accept(self, response: DownloadArtifactResponse) -> bool:
        """Takes one message; true if it brought bytes."""
        if response.WhichOneof("part") == "artifact":
            if self._artifact is not None and self._artifact.sha256 != response.artifact.sha256:
                raise DownloadCorrupt(f"{self._name} changed while it was downloaded")
            self._artifact = response.artifact
            return False
        self._write(response.chunk)
        return True

    def _write(self, chunk: Chunk) -> None:
        if chunk.offset != self._n_bytes:
            raise DownloadCorrupt(f"{self._name}: bytes from {chunk.offset} came where {self._n_bytes} was next")
        if self._artifact is None or chunk.offset + len(chunk.data) > self._artifact.size_bytes:
            raise DownloadCorrupt(f"{self._name}: more bytes came than the artifact has")
        self._file.write(chunk.data)
        self._digest.update(chunk.data)
        self._n_bytes += len(chunk.data)

    def _verified(self, artifact: Artifact) -> Artifact:
        if self._digest.hexdigest() != artifact.sha256:
            raise DownloadCorrupt(f"{self._name}: SHA-256 is {self._digest.hexdigest()}, not {artifact.sha256}")
        return artifact


def _sha256(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    for data in _chunks(path):
        digest.update(data)
    return digest.hexdigest()


def _chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(_CHUNK_BYTES):
            yield data
