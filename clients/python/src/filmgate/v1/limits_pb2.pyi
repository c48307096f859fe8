from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
LIMITS_FIELD_NUMBER: _ClassVar[int]
limits: _descriptor.FieldDescriptor

class Limits(_message.Message):
    __slots__ = ("min_length", "max_length", "pattern", "minimum", "maximum", "min_items", "max_items", "key_pattern", "values", "required_unless", "not_beside")
    MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    MIN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    KEY_PATTERN_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_UNLESS_FIELD_NUMBER: _ClassVar[int]
    NOT_BESIDE_FIELD_NUMBER: _ClassVar[int]
    min_length: int
    max_length: int
    pattern: str
    minimum: float
    maximum: float
    min_items: int
    max_items: int
    key_pattern: str
    values: _containers.RepeatedScalarFieldContainer[str]
    required_unless: _containers.RepeatedScalarFieldContainer[str]
    not_beside: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, min_length: _Optional[int] = ..., max_length: _Optional[int] = ..., pattern: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., min_items: _Optional[int] = ..., max_items: _Optional[int] = ..., key_pattern: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ..., required_unless: _Optional[_Iterable[str]] = ..., not_beside: _Optional[_Iterable[str]] = ...) -> None: ...
