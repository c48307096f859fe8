import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_VIDEO: _ClassVar[Kind]
    KIND_IMAGE: _ClassVar[Kind]
    KIND_SPEECH: _ClassVar[Kind]
    KIND_MUSIC: _ClassVar[Kind]
    KIND_TEXT: _ClassVar[Kind]
KIND_UNSPECIFIED: Kind
KIND_VIDEO: Kind
KIND_IMAGE: Kind
KIND_SPEECH: Kind
KIND_MUSIC: Kind
KIND_TEXT: Kind

class Artifact(_message.Message):
    __slots__ = ("name", "kind", "media_type", "size_bytes", "sha256", "duration", "width", "height", "fps", "codecs", "sample", "generation", "create_time", "http_path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    HTTP_PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: Kind
    media_type: str
    size_bytes: int
    sha256: str
    duration: _duration_pb2.Duration
    width: int
    height: int
    fps: float
    codecs: _containers.RepeatedScalarFieldContainer[str]
    sample: bool
    generation: str
    create_time: _timestamp_pb2.Timestamp
    http_path: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., fps: _Optional[float] = ..., codecs: _Optional[_Iterable[str]] = ..., sample: bool = ..., generation: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., http_path: _Optional[str] = ...) -> None: ...
