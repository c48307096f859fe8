"""The client: one method a thing one wants, each on top of one RPC."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from filmgate._errors import FilmgateError
from filmgate._files import download, upload
from filmgate._handle import GenerationHandle
from filmgate._transport import Transport
from filmgate.v1 import budget_service_pb2 as money
from filmgate.v1 import generation_service_pb2 as generations
from filmgate.v1 import model_service_pb2 as models
from filmgate.v1 import session_service_pb2 as sessions
from filmgate.v1.artifact_pb2 import Artifact, Kind
from filmgate.v1.artifact_service_pb2 import CreateArtifactLinkRequest
from filmgate.v1.budget_pb2 import Budget, LedgerEntry, Usage
from filmgate.v1.generation_pb2 import (
    CachePolicy,
    Generation,
    GenerationEvent,
    Input,
    InputRole,
    Mode,
    Quality,
    State,
    VideoOptions,
)
from filmgate.v1.model_pb2 import Model
from filmgate.v1.session_pb2 import Message

T = TypeVar("T")

Seconds = float | timedelta
"""A length of time."""

Source = str | bytes | Artifact
"""A file to start from: an artifact or its name, an `https` URL, a `data:` URI, or at most 3 MiB of bytes (larger: `Client.upload`)."""

KindWord = Literal["video", "image", "speech", "music"]
StateWord = Literal["queued", "running", "storing", "cancelling", "unresolved", "succeeded", "failed", "cancelled"]


class Client:
    """A connection to a filmgate server, opened by the first call.

    A call is made again while the server is unavailable, for at most `reconnect_for` seconds of absence (0: never), with the same
    request id, so that an order is carried out once. Safe to share between threads.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        tenant: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        call_timeout: Seconds = 30.0,
        reconnect_for: Seconds = 300.0,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """`target` is `host:port`, in plain text unless `credentials` are given; `call_timeout` bounds each unary call."""
        self._transport = Transport(
            target,
            tenant=tenant,
            credentials=credentials,
            call_timeout=_seconds(call_timeout),
            reconnect_for=_seconds(reconnect_for),
            channel_options=channel_options,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. Generations go on at the server."""
        self._transport.channel.close()

    @property
    def channel(self) -> grpc.Channel:
        """The channel, for the stubs of `filmgate.v1` where this class has no method."""
        return self._transport.channel

    def generate_video(
        self,
        prompt: str,
        *,
        session: str | None = None,
        model: str | None = None,
        route: str | None = None,
        quality: Literal["fast", "quality"] | None = None,
        duration: Seconds | None = None,
        fps: int | None = None,
        width: int | None = None,
        height: int | None = None,
        aspect_ratio: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        audio: bool | None = None,
        provider_options: Mapping[str, Any] | None = None,
        first_frame: Source | None = None,
        last_frame: Source | None = None,
        references: Iterable[Source] = (),
        request_id: str | None = None,
        mode: Literal["strict", "adapt"] | None = None,
        cache: Literal["default", "bypass", "refresh"] | None = None,
        max_duration: Seconds | None = None,
        callback_url: str | None = None,
        labels: Mapping[str, str] | None = None,
        fallback_to_sample: bool = False,
        fallback_on_refusal: bool = False,
    ) -> GenerationHandle:
        """Orders a video and returns as soon as the order is stored.

        What is left out is left to the model. `request_id` makes repeating the call from another process attach to the first order;
        left out, this call gets an id of its own. At most one of `model`, `route` and `quality`. The server reports the end to `callback_url`.
        """
        options = VideoOptions(
            duration=_duration(duration),
            fps=fps,
            width=width,
            height=height,
            aspect_ratio=aspect_ratio,
            steps=steps,
            samples=samples,
            guidance=guidance,
            seed=seed,
            negative_prompt=negative_prompt,
            provider_options=_struct(provider_options),
        )
        if audio is not None:
            options.audio = audio
        frames = [(InputRole.INPUT_ROLE_FIRST_FRAME, first_frame), (InputRole.INPUT_ROLE_LAST_FRAME, last_frame)]
        pictures = [*frames, *((InputRole.INPUT_ROLE_REFERENCE, reference) for reference in references)]
        request = generations.GenerateVideoRequest(
            prompt=prompt,
            session=session,
            model=model,
            route=route,
            quality=_value(Quality, "QUALITY", quality),
            options=options,
            inputs=[_input(role, source) for role, source in pictures if source is not None],
            request_id=request_id if request_id is not None else uuid.uuid4().hex,
            mode=_value(Mode, "MODE", mode),
            cache=_value(CachePolicy, "CACHE_POLICY", cache),
            max_duration=_duration(max_duration),
            callback_url=callback_url,
            labels=labels,
            fallback_to_sample=fallback_to_sample,
            fallback_on_refusal=fallback_on_refusal,
        )
        return self._order(self._transport.generations.GenerateVideo, request)

    def watch(self, name: str) -> GenerationHandle:
        """A handle on a generation that was ordered before, here or elsewhere."""
        return GenerationHandle(self._transport, self.get(name))

    def get(self, name: str) -> Generation:
        """The present snapshot of a generation."""
        request = generations.GetGenerationRequest(name=name)
        generation: Generation = self._transport.call(self._transport.generations.GetGeneration, request).generation
        return generation

    def list(
        self, *, states: Iterable[StateWord] = (), session: str | None = None, kind: KindWord | None = None
    ) -> Iterator[Generation]:
        """Generations, newest first, without brief and logs. Pages are fetched as the iteration goes on."""
        request = generations.ListGenerationsRequest(
            states=[_value(State, "STATE", state) for state in states],
            session=session,
            kind=_value(Kind, "KIND", kind),
        )
        return self._rows(self._transport.generations.ListGenerations, request, lambda page: page.generations)

    def cancel(self, name: str) -> Generation:
        """Asks for the end of a generation, which may still succeed if the provider finishes first."""
        request = generations.CancelGenerationRequest(name=name)
        generation: Generation = self._transport.call(self._transport.generations.CancelGeneration, request).generation
        return generation

    def events(self, name: str) -> Iterator[GenerationEvent]:
        """What happened to a generation, oldest first."""
        request = generations.ListGenerationEventsRequest(name=name)
        return self._rows(self._transport.generations.ListGenerationEvents, request, lambda page: page.events)

    def history(self, session: str) -> Iterator[Message]:
        """The messages of a session, oldest first."""
        request = sessions.GetSessionHistoryRequest(name=session)
        return self._rows(self._transport.sessions.GetSessionHistory, request, lambda page: page.messages)

    def usage(
        self,
        *by: str,
        session: str = "",
        model: str = "",
        kind: KindWord | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Usage]:
        """What was spent, by what generations have in common: `model`, `provider`, `kind`, `session`, `state`, `hour`, `day`, `month`, `label:KEY`."""
        request = money.GetUsageRequest(
            group_by=by, session=session, model=model, kind=_value(Kind, "KIND", kind), labels=dict(labels or {})
        )
        return self._rows(self._transport.budgets.GetUsage, request, lambda page: page.usage)

    def budgets(self) -> Iterable[Budget]:
        """The budgets that concern this caller, with what is spent of them now."""
        request = money.GetUsageRequest(page_size=1)
        answered: Iterable[Budget] = self._transport.call(self._transport.budgets.GetUsage, request).budgets
        return answered

    def ledger(self, generation: str = "", *, session: str = "") -> Iterator[LedgerEntry]:
        """The movements of money, newest first."""
        request = money.ListLedgerEntriesRequest(generation=generation, session=session)
        return self._rows(self._transport.budgets.ListLedgerEntries, request, lambda page: page.entries)

    def models(self, *, kind: KindWord | None = None, provider: str | None = None) -> Iterator[Model]:
        """The models with their cards: what they accept, cost, and whether they can be used here."""
        request = models.ListModelsRequest(kind=_value(Kind, "KIND", kind), provider=provider)
        return self._rows(self._transport.models.ListModels, request, lambda page: page.models)

    def upload(self, path: str | os.PathLike[str], *, media_type: str = "") -> Artifact:
        """Stores a file on the server, to start generations from. The server finds the media type if none is given."""
        return upload(self._transport, path, media_type)

    def download(self, artifact: str | Artifact, path: str | os.PathLike[str]) -> Artifact:
        """Writes an artifact to the path, verified, and returns its facts."""
        return download(self._transport, artifact if isinstance(artifact, str) else artifact.name, path)

    def link(self, artifact: str | Artifact, *, ttl: Seconds | None = None, file_name: str = "") -> str:
        """An address that gives the artifact to whoever has it, for `ttl` (1 s to 7 days, otherwise an hour): keep it secret.

        With a `file_name` browsers save the file under it, otherwise they show it.
        """
        name = artifact if isinstance(artifact, str) else artifact.name
        request = CreateArtifactLinkRequest(name=name, ttl=_duration(ttl), file_name=file_name)
        url: str = self._transport.call(self._transport.artifacts.CreateArtifactLink, request).url
        return url

    def _order(self, method: Any, request: Any) -> GenerationHandle:
        """Places an order and hangs up: following is the handle's business, and a stream nobody reads would fill up with old news."""

        def place() -> GenerationHandle:
            call = method(request, timeout=self._transport.call_timeout, metadata=self._transport.metadata)
            try:
                for response in call:
                    return GenerationHandle(self._transport, response.generation, replayed=response.replayed)
            finally:
                call.cancel()
            raise FilmgateError("the server accepted the order and did not name it")

        try:
            return self._transport.persist(place)
        except FilmgateError as error:
            error.order_id = request.request_id
            raise

    def _rows(self, method: Any, request: Any, rows: Callable[[Any], Iterable[T]]) -> Iterator[T]:
        while True:
            page = self._transport.call(method, request)
            yield from rows(page)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _seconds(time: Seconds) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else float(time)


def _duration(time: Seconds | None) -> Duration | None:
    if time is None:
        return None
    duration = Duration()
    duration.FromTimedelta(time if isinstance(time, timedelta) else timedelta(seconds=time))
    return duration


def _struct(values: Mapping[str, Any] | None) -> Struct | None:
    if values is None:
        return None
    struct = Struct()
    struct.update(dict(values))
    return struct


def _input(role: InputRole, source: Source) -> Input:
    if isinstance(source, Artifact):
        return Input(role=role, artifact=source.name)
    if isinstance(source, bytes):
        return Input(role=role, data=source)
    if source.startswith("artifacts/"):
        return Input(role=role, artifact=source)
    return Input(role=role, uri=source)


def _value(enum: Any, prefix: str, word: str | None) -> Any:
    """The enum's value for a word; a ValueError tells of a word that is not one."""
    return None if word is None else enum.Value(f"{prefix}_{word.upper()}")
