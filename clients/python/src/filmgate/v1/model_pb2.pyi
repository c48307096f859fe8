import datetime

from filmgate.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_UNIT_UNSPECIFIED: _ClassVar[PriceUnit]
    PRICE_UNIT_OUTPUT_SECOND: _ClassVar[PriceUnit]
    PRICE_UNIT_OUTPUT: _ClassVar[PriceUnit]
    PRICE_UNIT_COMPUTE_SECOND: _ClassVar[PriceUnit]

class ProviderHealth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVIDER_HEALTH_UNSPECIFIED: _ClassVar[ProviderHealth]
    PROVIDER_HEALTH_UNKNOWN: _ClassVar[ProviderHealth]
    PROVIDER_HEALTH_UP: _ClassVar[ProviderHealth]
    PROVIDER_HEALTH_DOWN: _ClassVar[ProviderHealth]
PRICE_UNIT_UNSPECIFIED: PriceUnit
PRICE_UNIT_OUTPUT_SECOND: PriceUnit
PRICE_UNIT_OUTPUT: PriceUnit
PRICE_UNIT_COMPUTE_SECOND: PriceUnit
PROVIDER_HEALTH_UNSPECIFIED: ProviderHealth
PROVIDER_HEALTH_UNKNOWN: ProviderHealth
PROVIDER_HEALTH_UP: ProviderHealth
PROVIDER_HEALTH_DOWN: ProviderHealth

class Model(_message.Message):
    __slots__ = ("name", "kind", "title", "prompt_characters", "options", "inputs", "price", "expected_time", "end_of_life", "source", "available", "aliases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_FIELD_NUMBER: _ClassVar[int]
    END_OF_LIFE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: _artifact_pb2.Kind
    title: str
    prompt_characters: IntRange
    options: _containers.RepeatedCompositeFieldContainer[ModelOption]
    inputs: _containers.RepeatedCompositeFieldContainer[ModelInput]
    price: Price
    expected_time: _duration_pb2.Duration
    end_of_life: str
    source: str
    available: bool
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[_artifact_pb2.Kind, str]] = ..., title: _Optional[str] = ..., prompt_characters: _Optional[_Union[IntRange, _Mapping]] = ..., options: _Optional[_Iterable[_Union[ModelOption, _Mapping]]] = ..., inputs: _Optional[_Iterable[_Union[ModelInput, _Mapping]]] = ..., price: _Optional[_Union[Price, _Mapping]] = ..., expected_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_of_life: _Optional[str] = ..., source: _Optional[str] = ..., available: bool = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class IntRange(_message.Message):
    __slots__ = ("minimum", "maximum")
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    minimum: int
    maximum: int
    def __init__(self, minimum: _Optional[int] = ..., maximum: _Optional[int] = ...) -> None: ...

class ModelOption(_message.Message):
    __slots__ = ("field", "allowed", "default_value")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    field: str
    allowed: str
    default_value: str
    def __init__(self, field: _Optional[str] = ..., allowed: _Optional[str] = ..., default_value: _Optional[str] = ...) -> None: ...

class ModelInput(_message.Message):
    __slots__ = ("role", "required", "maximum")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    role: str
    required: bool
    maximum: int
    def __init__(self, role: _Optional[str] = ..., required: bool = ..., maximum: _Optional[int] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("unit", "micro_usd", "micro_usd_with_audio")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    MICRO_USD_WITH_AUDIO_FIELD_NUMBER: _ClassVar[int]
    unit: PriceUnit
    micro_usd: int
    micro_usd_with_audio: int
    def __init__(self, unit: _Optional[_Union[PriceUnit, str]] = ..., micro_usd: _Optional[int] = ..., micro_usd_with_audio: _Optional[int] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("name", "configured", "how_to_configure", "health", "n_running", "n_queued", "concurrency")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    HOW_TO_CONFIGURE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    N_RUNNING_FIELD_NUMBER: _ClassVar[int]
    N_QUEUED_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    name: str
    configured: bool
    how_to_configure: str
    health: ProviderHealth
    n_running: int
    n_queued: int
    concurrency: int
    def __init__(self, name: _Optional[str] = ..., configured: bool = ..., how_to_configure: _Optional[str] = ..., health: _Optional[_Union[ProviderHealth, str]] = ..., n_running: _Optional[int] = ..., n_queued: _Optional[int] = ..., concurrency: _Optional[int] = ...) -> None: ...
