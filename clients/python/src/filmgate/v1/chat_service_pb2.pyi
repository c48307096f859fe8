from filmgate.v1 import artifact_pb2 as _artifact_pb2
from filmgate.v1 import chat_pb2 as _chat_pb2
from filmgate.v1 import limits_pb2 as _limits_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChatRequest(_message.Message):
    __slots__ = ("messages", "model", "session", "temperature", "top_p", "max_tokens", "stop", "seed", "tools", "tool_choice", "parallel_tool_calls", "response_format", "provider_options", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_chat_pb2.ChatMessage]
    model: str
    session: str
    temperature: float
    top_p: float
    max_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    tools: _containers.RepeatedCompositeFieldContainer[_chat_pb2.Tool]
    tool_choice: _chat_pb2.ToolChoice
    parallel_tool_calls: bool
    response_format: _chat_pb2.ResponseFormat
    provider_options: _struct_pb2.Struct
    labels: _containers.ScalarMap[str, str]
    def __init__(self, messages: _Optional[_Iterable[_Union[_chat_pb2.ChatMessage, _Mapping]]] = ..., model: _Optional[str] = ..., session: _Optional[str] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., max_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., tools: _Optional[_Iterable[_Union[_chat_pb2.Tool, _Mapping]]] = ..., tool_choice: _Optional[_Union[_chat_pb2.ToolChoice, _Mapping]] = ..., parallel_tool_calls: bool = ..., response_format: _Optional[_Union[_chat_pb2.ResponseFormat, _Mapping]] = ..., provider_options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("start", "delta", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _chat_pb2.ChatStart
    delta: _chat_pb2.ChatDelta
    end: _chat_pb2.ChatEnd
    def __init__(self, start: _Optional[_Union[_chat_pb2.ChatStart, _Mapping]] = ..., delta: _Optional[_Union[_chat_pb2.ChatDelta, _Mapping]] = ..., end: _Optional[_Union[_chat_pb2.ChatEnd, _Mapping]] = ...) -> None: ...

class OptimizePromptRequest(_message.Message):
    __slots__ = ("prompt", "kind", "style", "enhance_details", "model", "language", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_DETAILS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    kind: _artifact_pb2.Kind
    style: str
    enhance_details: bool
    model: str
    language: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, prompt: _Optional[str] = ..., kind: _Optional[_Union[_artifact_pb2.Kind, str]] = ..., style: _Optional[str] = ..., enhance_details: bool = ..., model: _Optional[str] = ..., language: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class OptimizePromptResponse(_message.Message):
    __slots__ = ("original_prompt", "optimized_prompt", "improvements", "optimized", "language", "model", "reason", "usage", "cost_micro_usd")
    ORIGINAL_PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    IMPROVEMENTS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZED_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    original_prompt: str
    optimized_prompt: str
    improvements: _containers.RepeatedScalarFieldContainer[str]
    optimized: bool
    language: str
    model: str
    reason: str
    usage: _chat_pb2.TokenUsage
    cost_micro_usd: int
    def __init__(self, original_prompt: _Optional[str] = ..., optimized_prompt: _Optional[str] = ..., improvements: _Optional[_Iterable[str]] = ..., optimized: bool = ..., language: _Optional[str] = ..., model: _Optional[str] = ..., reason: _Optional[str] = ..., usage: _Optional[_Union[_chat_pb2.TokenUsage, _Mapping]] = ..., cost_micro_usd: _Optional[int] = ...) -> None: ...
