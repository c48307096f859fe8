import datetime

from filmgate.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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
    PRICE_UNIT_CHARACTER: _ClassVar[PriceUnit]
    PRICE_UNIT_MEGAPIXEL: _ClassVar[PriceUnit]
    PRICE_UNIT_TOKEN: _ClassVar[PriceUnit]

class RouteStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_STRATEGY_UNSPECIFIED: _ClassVar[RouteStrategy]
    ROUTE_STRATEGY_ORDERED: _ClassVar[RouteStrategy]
    ROUTE_STRATEGY_CHEAPEST: _ClassVar[RouteStrategy]
    ROUTE_STRATEGY_FASTEST: _ClassVar[RouteStrategy]

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
PRICE_UNIT_CHARACTER: PriceUnit
PRICE_UNIT_MEGAPIXEL: PriceUnit
PRICE_UNIT_TOKEN: PriceUnit
ROUTE_STRATEGY_UNSPECIFIED: RouteStrategy
ROUTE_STRATEGY_ORDERED: RouteStrategy
ROUTE_STRATEGY_CHEAPEST: RouteStrategy
ROUTE_STRATEGY_FASTEST: RouteStrategy
PROVIDER_HEALTH_UNSPECIFIED: ProviderHealth
PROVIDER_HEALTH_UNKNOWN: ProviderHealth
PROVIDER_HEALTH_UP: ProviderHealth
PROVIDER_HEALTH_DOWN: ProviderHealth

class Model(_message.Message):
    __slots__ = ("name", "kind", "title", "prompt_characters", "options", "inputs", "price", "expected_time", "end_of_life", "source", "available", "aliases", "modes", "measured_time", "ready", "provider_options", "expected_times", "chat")
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
    MODES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_TIME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIMES_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
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
    modes: _containers.RepeatedScalarFieldContainer[str]
    measured_time: _duration_pb2.Duration
    ready: bool
    provider_options: _containers.RepeatedScalarFieldContainer[str]
    expected_times: _containers.RepeatedCompositeFieldContainer[ExpectedTime]
    chat: ChatModel
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[_artifact_pb2.Kind, str]] = ..., title: _Optional[str] = ..., prompt_characters: _Optional[_Union[IntRange, _Mapping]] = ..., options: _Optional[_Iterable[_Union[ModelOption, _Mapping]]] = ..., inputs: _Optional[_Iterable[_Union[ModelInput, _Mapping]]] = ..., price: _Optional[_Union[Price, _Mapping]] = ..., expected_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_of_life: _Optional[str] = ..., source: _Optional[str] = ..., available: bool = ..., aliases: _Optional[_Iterable[str]] = ..., modes: _Optional[_Iterable[str]] = ..., measured_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ready: bool = ..., provider_options: _Optional[_Iterable[str]] = ..., expected_times: _Optional[_Iterable[_Union[ExpectedTime, _Mapping]]] = ..., chat: _Optional[_Union[ChatModel, _Mapping]] = ...) -> None: ...

class ChatModel(_message.Message):
    __slots__ = ("context_tokens", "max_output_tokens", "images", "tools", "json_schema", "input_micro_usd", "cached_input_micro_usd", "output_micro_usd")
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INPUT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    context_tokens: int
    max_output_tokens: int
    images: bool
    tools: bool
    json_schema: bool
    input_micro_usd: int
    cached_input_micro_usd: int
    output_micro_usd: int
    def __init__(self, context_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., images: bool = ..., tools: bool = ..., json_schema: bool = ..., input_micro_usd: _Optional[int] = ..., cached_input_micro_usd: _Optional[int] = ..., output_micro_usd: _Optional[int] = ...) -> None: ...

class ExpectedTime(_message.Message):
    __slots__ = ("options", "expected_time")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_FIELD_NUMBER: _ClassVar[int]
    options: _containers.ScalarMap[str, str]
    expected_time: _duration_pb2.Duration
    def __init__(self, options: _Optional[_Mapping[str, str]] = ..., expected_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class IntRange(_message.Message):
    __slots__ = ("minimum", "maximum")
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    minimum: int
    maximum: int
    def __init__(self, minimum: _Optional[int] = ..., maximum: _Optional[int] = ...) -> None: ...

class ModelOption(_message.Message):
    __slots__ = ("field", "allowed", "default_value", "values", "minimum", "maximum")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    field: str
    allowed: str
    default_value: str
    values: _containers.RepeatedScalarFieldContainer[str]
    minimum: float
    maximum: float
    def __init__(self, field: _Optional[str] = ..., allowed: _Optional[str] = ..., default_value: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("unit", "micro_usd", "per", "base_micro_usd", "step", "variants")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    BASE_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    unit: PriceUnit
    micro_usd: int
    per: int
    base_micro_usd: int
    step: float
    variants: _containers.RepeatedCompositeFieldContainer[PriceVariant]
    def __init__(self, unit: _Optional[_Union[PriceUnit, str]] = ..., micro_usd: _Optional[int] = ..., per: _Optional[int] = ..., base_micro_usd: _Optional[int] = ..., step: _Optional[float] = ..., variants: _Optional[_Iterable[_Union[PriceVariant, _Mapping]]] = ...) -> None: ...

class PriceVariant(_message.Message):
    __slots__ = ("options", "micro_usd")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    options: _containers.ScalarMap[str, str]
    micro_usd: int
    def __init__(self, options: _Optional[_Mapping[str, str]] = ..., micro_usd: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("name", "strategy", "models")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    strategy: RouteStrategy
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., strategy: _Optional[_Union[RouteStrategy, str]] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("name", "configured", "how_to_configure", "health", "n_running", "n_queued", "concurrency", "resting_until_time", "n_recent_answered", "n_recent_failed", "submits_per_minute", "n_keys_usable", "n_keys")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    HOW_TO_CONFIGURE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    N_RUNNING_FIELD_NUMBER: _ClassVar[int]
    N_QUEUED_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    RESTING_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    N_RECENT_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    N_RECENT_FAILED_FIELD_NUMBER: _ClassVar[int]
    SUBMITS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    N_KEYS_USABLE_FIELD_NUMBER: _ClassVar[int]
    N_KEYS_FIELD_NUMBER: _ClassVar[int]
    name: str
    configured: bool
    how_to_configure: str
    health: ProviderHealth
    n_running: int
    n_queued: int
    concurrency: int
    resting_until_time: _timestamp_pb2.Timestamp
    n_recent_answered: int
    n_recent_failed: int
    submits_per_minute: int
    n_keys_usable: int
    n_keys: int
    def __init__(self, name: _Optional[str] = ..., configured: bool = ..., how_to_configure: _Optional[str] = ..., health: _Optional[_Union[ProviderHealth, str]] = ..., n_running: _Optional[int] = ..., n_queued: _Optional[int] = ..., concurrency: _Optional[int] = ..., resting_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., n_recent_answered: _Optional[int] = ..., n_recent_failed: _Optional[int] = ..., submits_per_minute: _Optional[int] = ..., n_keys_usable: _Optional[int] = ..., n_keys: _Optional[int] = ...) -> None: ...
