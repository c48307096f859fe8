"""The client: one method a thing one wants, each on top of one RPC."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from filmgate._errors import FilmgateError
from filmgate._files import download, upload
from filmgate._handle import GenerationHandle
from filmgate._transport import Transport
from filmgate.v1 import budget_service_pb2 as money
from filmgate.v1 import chat_service_pb2 as chats
from filmgate.v1 import generation_service_pb2 as generations
from filmgate.v1 import model_service_pb2 as models
from filmgate.v1 import session_service_pb2 as sessions
from filmgate.v1.artifact_pb2 import Artifact, Kind
from filmgate.v1.artifact_service_pb2 import CreateArtifactLinkRequest
from filmgate.v1.budget_pb2 import Budget, LedgerEntry, Usage
from filmgate.v1.chat_pb2 import ChatMessage, ChatPart, ChatRole, ResponseFormat, Tool, ToolChoice
from filmgate.v1.chat_service_pb2 import ChatResponse
from filmgate.v1.generation_pb2 import (
    CachePolicy,
    Generation,
    GenerationEvent,
    ImageOptions,
    Input,
    InputRole,
    Mode,
    MusicOptions,
    Quality,
    SpeechOptions,
    State,
    VideoOptions,
)
from filmgate.v1.model_pb2 import Model
from filmgate.v1.session_pb2 import Message

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")

Seconds = float | timedelta
"""A length of time."""

Source = str | bytes | Artifact
"""A file to start from: an artifact or its name, an `https` URL, a `data:` URI, or at most 3 MiB of bytes (larger: `Client.upload`)."""

Orderable = (
    generations.GenerateVideoRequest
    | generations.GenerateImageRequest
    | generations.GenerateSpeechRequest
    | generations.GenerateMusicRequest
)
"""An order of any kind, as a message of the contract."""

R = TypeVar("R")

SoundFormat = Literal["mp3", "wav", "flac", "opus", "aac", "pcm"]
KindWord = Literal["video", "image", "speech", "music"]
MadeWord = Literal["video", "image", "speech", "music", "text"]
StateWord = Literal["queued", "running", "storing", "cancelling", "unresolved", "succeeded", "failed", "cancelled"]


class OrderFields(TypedDict, total=False):
    """What orders of every kind take besides their prompt and options."""

    session: str | None
    """The conversation it belongs to; left out, a new one."""
    model: str | None
    route: str | None
    quality: Literal["fast", "quality"] | None
    """At most one of `model`, `route` and `quality`."""
    provider_options: Mapping[str, Any] | None
    """Passed to the provider as it is, under its own names."""
    request_id: str | None
    """Makes repeating the call from another process attach to the first order; left out, the call gets an id of its own."""
    mode: Literal["strict", "adapt"] | None
    cache: Literal["default", "bypass", "refresh"] | None
    quote: str | None
    """A quote of an estimate: the order costs no more than that."""
    max_duration: Seconds | None
    callback_url: str | None
    """Where the server reports the end."""
    labels: Mapping[str, str] | None
    fallback_to_sample: bool
    fallback_on_refusal: bool


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
        prompt: str = "",
        *,
        duration: Seconds | None = None,
        fps: int | None = None,
        width: int | None = None,
        height: int | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        audio: bool | None = None,
        motion: float | None = None,
        camera: str | None = None,
        style: str | None = None,
        first_frame: Source | None = None,
        last_frame: Source | None = None,
        references: Iterable[Source] = (),
        source: Source | None = None,
        sequence: Iterable[Source] = (),
        sound: Source | None = None,
        **order: Unpack[OrderFields],
    ) -> GenerationHandle:
        """Orders a video and returns as soon as the order is stored.

        What is left out is left to the model. A model that makes a video of a `sequence` of pictures needs no prompt.
        """
        options = VideoOptions(
            duration=_duration(duration),
            fps=fps,
            width=width,
            height=height,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            steps=steps,
            samples=samples,
            guidance=guidance,
            seed=seed,
            negative_prompt=negative_prompt,
            motion=motion,
            camera=camera,
            style=style,
        )
        if audio is not None:
            options.audio = audio
        inputs = _inputs(
            FIRST_FRAME=[first_frame],
            LAST_FRAME=[last_frame],
            REFERENCE=references,
            SOURCE=[source],
            SEQUENCE=sequence,
            AUDIO=[sound],
        )
        request = _request(generations.GenerateVideoRequest, prompt, options, inputs, order)
        return self._order(self._transport.generations.GenerateVideo, request)

    def generate_image(
        self,
        prompt: str = "",
        *,
        width: int | None = None,
        height: int | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        image_quality: Literal["low", "medium", "high", "ultra"] | None = None,
        style: str | None = None,
        samples: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        strength: float | None = None,
        background: Literal["opaque", "transparent", "auto"] | None = None,
        format: Literal["png", "jpeg", "webp"] | None = None,
        source: Source | None = None,
        mask: Source | None = None,
        references: Iterable[Source] = (),
        **order: Unpack[OrderFields],
    ) -> GenerationHandle:
        """Orders images and returns as soon as the order is stored.

        `source` is a picture to edit, vary or enlarge, `strength` how much of it is changed, `mask` where.
        """
        options = ImageOptions(
            width=width,
            height=height,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            quality=image_quality,
            style=style,
            samples=samples,
            steps=steps,
            guidance=guidance,
            seed=seed,
            negative_prompt=negative_prompt,
            strength=strength,
            background=background,
            format=format,
        )
        inputs = _inputs(SOURCE=[source], MASK=[mask], REFERENCE=references)
        request = _request(generations.GenerateImageRequest, prompt, options, inputs, order)
        return self._order(self._transport.generations.GenerateImage, request)

    def generate_speech(
        self,
        text: str,
        *,
        voice: str | None = None,
        language: str | None = None,
        speed: float | None = None,
        format: SoundFormat | None = None,
        instructions: str | None = None,
        seed: int | None = None,
        references: Iterable[Source] = (),
        **order: Unpack[OrderFields],
    ) -> GenerationHandle:
        """Has a text spoken as it is, without the session's context, and returns as soon as the order is stored.

        `references` are recordings of the voice, for models that take them.
        """
        options = SpeechOptions(
            voice=voice, language=language, speed=speed, format=format, instructions=instructions, seed=seed
        )
        request = _request(generations.GenerateSpeechRequest, text, options, _inputs(REFERENCE=references), order)
        return self._order(self._transport.generations.GenerateSpeech, request)

    def generate_music(
        self,
        prompt: str = "",
        *,
        duration: Seconds | None = None,
        lyrics: str | None = None,
        instrumental: bool | None = None,
        format: SoundFormat | None = None,
        samples: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        steps: int | None = None,
        references: Iterable[Source] = (),
        source: Source | None = None,
        **order: Unpack[OrderFields],
    ) -> GenerationHandle:
        """Orders music and returns as soon as the order is stored. `references` are recordings of the tune."""
        options = MusicOptions(
            duration=_duration(duration),
            lyrics=lyrics,
            format=format,
            samples=samples,
            guidance=guidance,
            seed=seed,
            negative_prompt=negative_prompt,
            steps=steps,
        )
        if instrumental is not None:
            options.instrumental = instrumental
        inputs = _inputs(REFERENCE=references, SOURCE=[source])
        request = _request(generations.GenerateMusicRequest, prompt, options, inputs, order)
        return self._order(self._transport.generations.GenerateMusic, request)

    def estimate(
        self, orders: Iterable[Orderable | tuple[Orderable, int]], *, quote_ttl: Seconds | None = None
    ) -> generations.EstimateCostResponse:
        """What orders would cost in millionths of a US dollar, without ordering: requests of `filmgate.v1`, each alone or with a count.

        With a `quote_ttl` each gets a quote that binds for so long.
        """
        asked = [order if isinstance(order, tuple) else (order, 1) for order in orders]
        request = generations.EstimateCostRequest(
            orders=[_to_estimate(order, count) for order, count in asked], quote_ttl=_duration(quote_ttl)
        )
        response: generations.EstimateCostResponse = self._transport.call(
            self._transport.generations.EstimateCost, request
        )
        return response

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
        kind: MadeWord | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Usage]:
        """What was spent, by what generations and chats have in common: `model`, `provider`, `kind`, `session`, `state`, `hour`, `day`, `month`, `label:KEY`."""
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

    def models(
        self,
        *,
        kind: MadeWord | None = None,
        provider: str | None = None,
        capabilities: Iterable[str] = (),
        max_micro_usd: int | None = None,
        available: bool = False,
    ) -> Iterator[Model]:
        """The models with their cards: what they accept, cost, and whether they can be used here.

        `capabilities` are options (`seed`), modes (`first_and_last_frame`) and input roles (`INPUT_ROLE_MASK`), all of which it must have;
        `max_micro_usd` bounds the price of one ordinary output.
        """
        request = models.ListModelsRequest(
            kind=_value(Kind, "KIND", kind),
            provider=provider,
            capabilities=capabilities,
            max_micro_usd=max_micro_usd,
            available=available,
        )
        return self._rows(self._transport.models.ListModels, request, lambda page: page.models)

    def chat(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        model: str = "",
        session: str = "",
        system: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        tools: Sequence[Tool] = (),
        tool_choice: ToolChoice | None = None,
        response_format: ResponseFormat | None = None,
        provider_options: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[ChatResponse]:
        """Asks a language model, and gives its answer as it is said: `start`, then each `delta`, then `end` with usage and cost.

        `messages` are those of the contract, or the text of one. With a `session` its earlier turns are sent along, and these are kept in it. A chat
        is never sent twice; closing the iterator ends it at the provider.
        """
        said = [_says(ChatRole.CHAT_ROLE_USER, messages)] if isinstance(messages, str) else list(messages)
        instructions = [_says(ChatRole.CHAT_ROLE_SYSTEM, system)] if system else []
        request = chats.ChatRequest(
            messages=[*instructions, *said],
            model=model,
            session=session,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            provider_options=_struct(provider_options),
            labels=dict(labels or {}),
        )
        return self._transport.stream(self._transport.chats.Chat, request)

    def optimize_prompt(
        self,
        prompt: str,
        *,
        kind: Literal["video", "image"],
        style: str = "",
        enhance_details: bool = True,
        model: str = "",
        language: Literal["", "zh", "en"] = "",
        labels: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> chats.OptimizePromptResponse:
        """A better prompt for a video or image. If no model can write one it is the same, with `optimized` false and the `reason`."""
        request = chats.OptimizePromptRequest(
            prompt=prompt,
            kind=_value(Kind, "KIND", kind),
            style=style,
            enhance_details=enhance_details,
            model=model,
            language=language,
            labels=dict(labels or {}),
        )
        method = self._transport.chats.OptimizePrompt
        response: chats.OptimizePromptResponse = self._transport.once(method, request, timeout)
        return response

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


def _says(role: ChatRole, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=[ChatPart(text=text)])


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


def _request(kind: Callable[..., R], prompt: str, options: Any, inputs: Sequence[Input], order: OrderFields) -> R:
    """The order, with a request id in any case."""
    fields: dict[str, Any] = dict(order)
    request_id = fields.pop("request_id", None)
    provider_options = _struct(fields.pop("provider_options", None))
    if provider_options is not None:
        options.provider_options.CopyFrom(provider_options)
    return kind(
        prompt=prompt,
        options=options,
        inputs=inputs,
        request_id=request_id if request_id is not None else uuid.uuid4().hex,
        quality=_value(Quality, "QUALITY", fields.pop("quality", None)),
        mode=_value(Mode, "MODE", fields.pop("mode", None)),
        cache=_value(CachePolicy, "CACHE_POLICY", fields.pop("cache", None)),
        max_duration=_duration(fields.pop("max_duration", None)),
        **fields,
    )


def _to_estimate(order: Orderable, count: int) -> generations.OrderToEstimate:
    if isinstance(order, generations.GenerateVideoRequest):
        return generations.OrderToEstimate(video=order, count=count)
    if isinstance(order, generations.GenerateImageRequest):
        return generations.OrderToEstimate(image=order, count=count)
    if isinstance(order, generations.GenerateSpeechRequest):
        return generations.OrderToEstimate(speech=order, count=count)
    return generations.OrderToEstimate(music=order, count=count)


def _inputs(**parts: Iterable[Source | None]) -> Sequence[Input]:
    """The files of each role, in the order of the roles."""
    return [
        _input(_value(InputRole, "INPUT_ROLE", role), source)
        for role, sources in parts.items()
        for source in sources
        if source is not None
    ]


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
