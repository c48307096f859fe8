"""filmgate: one service in front of every generator of video, images, speech and music.

`Client` is where to start; snapshots and artifacts are the messages of the contract, `filmgate.v1`.
"""

from filmgate._client import Client, Seconds, Source
from filmgate._errors import (
    DownloadCorrupt,
    FailedPrecondition,
    FilmgateError,
    GenerationCancelled,
    GenerationError,
    GenerationFailed,
    GenerationUnresolved,
    InvalidRequest,
    NotFound,
    ProviderNotConfigured,
    QueueFull,
    RequestIdReused,
    TimedOut,
    Unavailable,
    Violation,
)
from filmgate._handle import GenerationHandle
from filmgate.v1.artifact_pb2 import Artifact
from filmgate.v1.generation_pb2 import Generation, State

__all__ = [
    "Artifact",
    "Client",
    "DownloadCorrupt",
    "FailedPrecondition",
    "FilmgateError",
    "Generation",
    "GenerationCancelled",
    "GenerationError",
    "GenerationFailed",
    "GenerationHandle",
    "GenerationUnresolved",
    "InvalidRequest",
    "NotFound",
    "ProviderNotConfigured",
    "QueueFull",
    "RequestIdReused",
    "Seconds",
    "Source",
    "State",
    "TimedOut",
    "Unavailable",
    "Violation",
]
