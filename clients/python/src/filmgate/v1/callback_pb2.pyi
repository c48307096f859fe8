import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallbackState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALLBACK_STATE_UNSPECIFIED: _ClassVar[CallbackState]
    CALLBACK_STATE_PENDING: _ClassVar[CallbackState]
    CALLBACK_STATE_DELIVERED: _ClassVar[CallbackState]
    CALLBACK_STATE_FAILED: _ClassVar[CallbackState]

class CallbackError(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALLBACK_ERROR_UNSPECIFIED: _ClassVar[CallbackError]
    CALLBACK_ERROR_STATUS: _ClassVar[CallbackError]
    CALLBACK_ERROR_UNREACHABLE: _ClassVar[CallbackError]
    CALLBACK_ERROR_TIMEOUT: _ClassVar[CallbackError]
    CALLBACK_ERROR_ADDRESS_NOT_ALLOWED: _ClassVar[CallbackError]
    CALLBACK_ERROR_NO_SECRET: _ClassVar[CallbackError]
    CALLBACK_ERROR_INTERNAL: _ClassVar[CallbackError]
CALLBACK_STATE_UNSPECIFIED: CallbackState
CALLBACK_STATE_PENDING: CallbackState
CALLBACK_STATE_DELIVERED: CallbackState
CALLBACK_STATE_FAILED: CallbackState
CALLBACK_ERROR_UNSPECIFIED: CallbackError
CALLBACK_ERROR_STATUS: CallbackError
CALLBACK_ERROR_UNREACHABLE: CallbackError
CALLBACK_ERROR_TIMEOUT: CallbackError
CALLBACK_ERROR_ADDRESS_NOT_ALLOWED: CallbackError
CALLBACK_ERROR_NO_SECRET: CallbackError
CALLBACK_ERROR_INTERNAL: CallbackError

class Callback(_message.Message):
    __slots__ = ("url", "state", "n_tries", "last_status", "last_error", "next_time", "delivered_time")
    URL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    N_TRIES_FIELD_NUMBER: _ClassVar[int]
    LAST_STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TIME_FIELD_NUMBER: _ClassVar[int]
    url: str
    state: CallbackState
    n_tries: int
    last_status: int
    last_error: CallbackError
    next_time: _timestamp_pb2.Timestamp
    delivered_time: _timestamp_pb2.Timestamp
    def __init__(self, url: _Optional[str] = ..., state: _Optional[_Union[CallbackState, str]] = ..., n_tries: _Optional[int] = ..., last_status: _Optional[int] = ..., last_error: _Optional[_Union[CallbackError, str]] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delivered_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
