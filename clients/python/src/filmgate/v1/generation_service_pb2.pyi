import datetime

from filmgate.v1 import artifact_pb2 as _artifact_pb2
from filmgate.v1 import callback_pb2 as _callback_pb2
from filmgate.v1 import generation_pb2 as _generation_pb2
from filmgate.v1 import limits_pb2 as _limits_pb2
from filmgate.v1 import model_pb2 as _model_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Resolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOLUTION_UNSPECIFIED: _ClassVar[Resolution]
    RESOLUTION_FAILED: _ClassVar[Resolution]
    RESOLUTION_RESUBMIT: _ClassVar[Resolution]
RESOLUTION_UNSPECIFIED: Resolution
RESOLUTION_FAILED: Resolution
RESOLUTION_RESUBMIT: Resolution

class GenerateVideoRequest(_message.Message):
    __slots__ = ("prompt", "session", "model", "route", "quality", "options", "inputs", "request_id", "mode", "cache", "quote", "max_duration", "callback_url", "labels", "fallback_to_sample", "fallback_on_refusal")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_TO_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_ON_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    session: str
    model: str
    route: str
    quality: _generation_pb2.Quality
    options: _generation_pb2.VideoOptions
    inputs: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Input]
    request_id: str
    mode: _generation_pb2.Mode
    cache: _generation_pb2.CachePolicy
    quote: str
    max_duration: _duration_pb2.Duration
    callback_url: str
    labels: _containers.ScalarMap[str, str]
    fallback_to_sample: bool
    fallback_on_refusal: bool
    def __init__(self, prompt: _Optional[str] = ..., session: _Optional[str] = ..., model: _Optional[str] = ..., route: _Optional[str] = ..., quality: _Optional[_Union[_generation_pb2.Quality, str]] = ..., options: _Optional[_Union[_generation_pb2.VideoOptions, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_generation_pb2.Input, _Mapping]]] = ..., request_id: _Optional[str] = ..., mode: _Optional[_Union[_generation_pb2.Mode, str]] = ..., cache: _Optional[_Union[_generation_pb2.CachePolicy, str]] = ..., quote: _Optional[str] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., callback_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., fallback_to_sample: bool = ..., fallback_on_refusal: bool = ...) -> None: ...

class GenerateVideoResponse(_message.Message):
    __slots__ = ("generation", "replayed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    replayed: bool
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ..., replayed: bool = ...) -> None: ...

class GenerateImageRequest(_message.Message):
    __slots__ = ("prompt", "session", "model", "route", "quality", "options", "inputs", "request_id", "mode", "cache", "quote", "max_duration", "callback_url", "labels", "fallback_to_sample", "fallback_on_refusal")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_TO_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_ON_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    session: str
    model: str
    route: str
    quality: _generation_pb2.Quality
    options: _generation_pb2.ImageOptions
    inputs: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Input]
    request_id: str
    mode: _generation_pb2.Mode
    cache: _generation_pb2.CachePolicy
    quote: str
    max_duration: _duration_pb2.Duration
    callback_url: str
    labels: _containers.ScalarMap[str, str]
    fallback_to_sample: bool
    fallback_on_refusal: bool
    def __init__(self, prompt: _Optional[str] = ..., session: _Optional[str] = ..., model: _Optional[str] = ..., route: _Optional[str] = ..., quality: _Optional[_Union[_generation_pb2.Quality, str]] = ..., options: _Optional[_Union[_generation_pb2.ImageOptions, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_generation_pb2.Input, _Mapping]]] = ..., request_id: _Optional[str] = ..., mode: _Optional[_Union[_generation_pb2.Mode, str]] = ..., cache: _Optional[_Union[_generation_pb2.CachePolicy, str]] = ..., quote: _Optional[str] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., callback_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., fallback_to_sample: bool = ..., fallback_on_refusal: bool = ...) -> None: ...

class GenerateImageResponse(_message.Message):
    __slots__ = ("generation", "replayed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    replayed: bool
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ..., replayed: bool = ...) -> None: ...

class GenerateSpeechRequest(_message.Message):
    __slots__ = ("prompt", "session", "model", "route", "quality", "options", "inputs", "request_id", "mode", "cache", "quote", "max_duration", "callback_url", "labels", "fallback_to_sample", "fallback_on_refusal")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_TO_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_ON_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    session: str
    model: str
    route: str
    quality: _generation_pb2.Quality
    options: _generation_pb2.SpeechOptions
    inputs: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Input]
    request_id: str
    mode: _generation_pb2.Mode
    cache: _generation_pb2.CachePolicy
    quote: str
    max_duration: _duration_pb2.Duration
    callback_url: str
    labels: _containers.ScalarMap[str, str]
    fallback_to_sample: bool
    fallback_on_refusal: bool
    def __init__(self, prompt: _Optional[str] = ..., session: _Optional[str] = ..., model: _Optional[str] = ..., route: _Optional[str] = ..., quality: _Optional[_Union[_generation_pb2.Quality, str]] = ..., options: _Optional[_Union[_generation_pb2.SpeechOptions, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_generation_pb2.Input, _Mapping]]] = ..., request_id: _Optional[str] = ..., mode: _Optional[_Union[_generation_pb2.Mode, str]] = ..., cache: _Optional[_Union[_generation_pb2.CachePolicy, str]] = ..., quote: _Optional[str] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., callback_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., fallback_to_sample: bool = ..., fallback_on_refusal: bool = ...) -> None: ...

class GenerateSpeechResponse(_message.Message):
    __slots__ = ("generation", "replayed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    replayed: bool
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ..., replayed: bool = ...) -> None: ...

class GenerateMusicRequest(_message.Message):
    __slots__ = ("prompt", "session", "model", "route", "quality", "options", "inputs", "request_id", "mode", "cache", "quote", "max_duration", "callback_url", "labels", "fallback_to_sample", "fallback_on_refusal")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_TO_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_ON_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    session: str
    model: str
    route: str
    quality: _generation_pb2.Quality
    options: _generation_pb2.MusicOptions
    inputs: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Input]
    request_id: str
    mode: _generation_pb2.Mode
    cache: _generation_pb2.CachePolicy
    quote: str
    max_duration: _duration_pb2.Duration
    callback_url: str
    labels: _containers.ScalarMap[str, str]
    fallback_to_sample: bool
    fallback_on_refusal: bool
    def __init__(self, prompt: _Optional[str] = ..., session: _Optional[str] = ..., model: _Optional[str] = ..., route: _Optional[str] = ..., quality: _Optional[_Union[_generation_pb2.Quality, str]] = ..., options: _Optional[_Union[_generation_pb2.MusicOptions, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_generation_pb2.Input, _Mapping]]] = ..., request_id: _Optional[str] = ..., mode: _Optional[_Union[_generation_pb2.Mode, str]] = ..., cache: _Optional[_Union[_generation_pb2.CachePolicy, str]] = ..., quote: _Optional[str] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., callback_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., fallback_to_sample: bool = ..., fallback_on_refusal: bool = ...) -> None: ...

class GenerateMusicResponse(_message.Message):
    __slots__ = ("generation", "replayed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    replayed: bool
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ..., replayed: bool = ...) -> None: ...

class EstimateCostRequest(_message.Message):
    __slots__ = ("orders", "quote_ttl")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    QUOTE_TTL_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[OrderToEstimate]
    quote_ttl: _duration_pb2.Duration
    def __init__(self, orders: _Optional[_Iterable[_Union[OrderToEstimate, _Mapping]]] = ..., quote_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class OrderToEstimate(_message.Message):
    __slots__ = ("video", "image", "speech", "music", "count")
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_FIELD_NUMBER: _ClassVar[int]
    MUSIC_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    video: GenerateVideoRequest
    image: GenerateImageRequest
    speech: GenerateSpeechRequest
    music: GenerateMusicRequest
    count: int
    def __init__(self, video: _Optional[_Union[GenerateVideoRequest, _Mapping]] = ..., image: _Optional[_Union[GenerateImageRequest, _Mapping]] = ..., speech: _Optional[_Union[GenerateSpeechRequest, _Mapping]] = ..., music: _Optional[_Union[GenerateMusicRequest, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class EstimateCostResponse(_message.Message):
    __slots__ = ("estimates", "total_micro_usd")
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    estimates: _containers.RepeatedCompositeFieldContainer[Estimate]
    total_micro_usd: int
    def __init__(self, estimates: _Optional[_Iterable[_Union[Estimate, _Mapping]]] = ..., total_micro_usd: _Optional[int] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("model", "estimated_micro_usd", "adjustments", "expected_time", "quote", "quote_expire_time", "price", "units")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    model: str
    estimated_micro_usd: int
    adjustments: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Adjustment]
    expected_time: _duration_pb2.Duration
    quote: str
    quote_expire_time: _timestamp_pb2.Timestamp
    price: _model_pb2.Price
    units: float
    def __init__(self, model: _Optional[str] = ..., estimated_micro_usd: _Optional[int] = ..., adjustments: _Optional[_Iterable[_Union[_generation_pb2.Adjustment, _Mapping]]] = ..., expected_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., quote: _Optional[str] = ..., quote_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., price: _Optional[_Union[_model_pb2.Price, _Mapping]] = ..., units: _Optional[float] = ...) -> None: ...

class WatchGenerationRequest(_message.Message):
    __slots__ = ("name", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ...) -> None: ...

class GetGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetGenerationResponse(_message.Message):
    __slots__ = ("generation", "callback")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    callback: _callback_pb2.Callback
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ..., callback: _Optional[_Union[_callback_pb2.Callback, _Mapping]] = ...) -> None: ...

class ListGenerationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "session", "kind")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[_generation_pb2.State]
    session: str
    kind: _artifact_pb2.Kind
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_generation_pb2.State, str]]] = ..., session: _Optional[str] = ..., kind: _Optional[_Union[_artifact_pb2.Kind, str]] = ...) -> None: ...

class ListGenerationsResponse(_message.Message):
    __slots__ = ("generations", "next_page_token")
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    generations: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Generation]
    next_page_token: str
    def __init__(self, generations: _Optional[_Iterable[_Union[_generation_pb2.Generation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ...) -> None: ...

class ResolveGenerationRequest(_message.Message):
    __slots__ = ("name", "resolution")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    resolution: Resolution
    def __init__(self, name: _Optional[str] = ..., resolution: _Optional[_Union[Resolution, str]] = ...) -> None: ...

class ResolveGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: _generation_pb2.Generation
    def __init__(self, generation: _Optional[_Union[_generation_pb2.Generation, _Mapping]] = ...) -> None: ...

class DeleteGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteGenerationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGenerationEventsRequest(_message.Message):
    __slots__ = ("name", "page_size", "page_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    page_size: int
    page_token: str
    def __init__(self, name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGenerationEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_generation_pb2.GenerationEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_generation_pb2.GenerationEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RedeliverCallbackRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RedeliverCallbackResponse(_message.Message):
    __slots__ = ("callback",)
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    callback: _callback_pb2.Callback
    def __init__(self, callback: _Optional[_Union[_callback_pb2.Callback, _Mapping]] = ...) -> None: ...
