"""Short ways to write the messages that the tests script."""

from __future__ import annotations

import hashlib
from typing import Any

from filmgate.v1.artifact_pb2 import Artifact
from filmgate.v1.artifact_service_pb2 import Chunk, DownloadArtifactResponse
from filmgate.v1.generation_pb2 import Generation
from filmgate.v1.generation_service_pb2 import GenerateVideoResponse, WatchGenerationResponse

NAME = "generations/0193"


def generation(state: str, sequence: int = 1, **fields: Any) -> Generation:
    return Generation(name=NAME, state=f"STATE_{state}", sequence=sequence, **fields)


def ordered(state: str = "QUEUED", sequence: int = 1, **fields: Any) -> GenerateVideoResponse:
    return GenerateVideoResponse(generation=generation(state, sequence, **fields))


def watched(state: str, sequence: int, **fields: Any) -> WatchGenerationResponse:
    return WatchGenerationResponse(generation=generation(state, sequence, **fields))


def artifact(data: bytes, **fields: Any) -> Artifact:
    facts: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "media_type": "video/mp4"}
    return Artifact(**{"name": "artifacts/0193-0", **facts, **fields})


def facts(of: Artifact) -> DownloadArtifactResponse:
    return DownloadArtifactResponse(artifact=of)


def chunk(offset: int, data: bytes) -> DownloadArtifactResponse:
    return DownloadArtifactResponse(chunk=Chunk(offset=offset, data=data))
