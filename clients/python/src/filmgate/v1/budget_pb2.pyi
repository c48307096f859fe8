import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LedgerAccount(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_ACCOUNT_UNSPECIFIED: _ClassVar[LedgerAccount]
    LEDGER_ACCOUNT_CALLER: _ClassVar[LedgerAccount]
    LEDGER_ACCOUNT_HELD: _ClassVar[LedgerAccount]
    LEDGER_ACCOUNT_PROVIDER: _ClassVar[LedgerAccount]
    LEDGER_ACCOUNT_SUSPENSE: _ClassVar[LedgerAccount]
    LEDGER_ACCOUNT_ABSORBED: _ClassVar[LedgerAccount]

class LedgerReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_REASON_UNSPECIFIED: _ClassVar[LedgerReason]
    LEDGER_REASON_HOLD: _ClassVar[LedgerReason]
    LEDGER_REASON_RELEASE: _ClassVar[LedgerReason]
    LEDGER_REASON_SETTLE: _ClassVar[LedgerReason]
    LEDGER_REASON_SUSPEND: _ClassVar[LedgerReason]
    LEDGER_REASON_ABSORB: _ClassVar[LedgerReason]
    LEDGER_REASON_CORRECT: _ClassVar[LedgerReason]
LEDGER_ACCOUNT_UNSPECIFIED: LedgerAccount
LEDGER_ACCOUNT_CALLER: LedgerAccount
LEDGER_ACCOUNT_HELD: LedgerAccount
LEDGER_ACCOUNT_PROVIDER: LedgerAccount
LEDGER_ACCOUNT_SUSPENSE: LedgerAccount
LEDGER_ACCOUNT_ABSORBED: LedgerAccount
LEDGER_REASON_UNSPECIFIED: LedgerReason
LEDGER_REASON_HOLD: LedgerReason
LEDGER_REASON_RELEASE: LedgerReason
LEDGER_REASON_SETTLE: LedgerReason
LEDGER_REASON_SUSPEND: LedgerReason
LEDGER_REASON_ABSORB: LedgerReason
LEDGER_REASON_CORRECT: LedgerReason

class Budget(_message.Message):
    __slots__ = ("name", "scope", "limit_micro_usd", "spent_micro_usd", "held_micro_usd", "period_start_time", "period_end_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SPENT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    HELD_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    PERIOD_START_TIME_FIELD_NUMBER: _ClassVar[int]
    PERIOD_END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    scope: str
    limit_micro_usd: int
    spent_micro_usd: int
    held_micro_usd: int
    period_start_time: _timestamp_pb2.Timestamp
    period_end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., scope: _Optional[str] = ..., limit_micro_usd: _Optional[int] = ..., spent_micro_usd: _Optional[int] = ..., held_micro_usd: _Optional[int] = ..., period_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., period_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("keys", "n_generations", "n_succeeded", "spent_micro_usd", "held_micro_usd", "suspense_micro_usd", "absorbed_micro_usd", "saved_micro_usd", "n_unpriced", "n_chats", "input_tokens", "output_tokens")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    N_GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    N_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    SPENT_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    HELD_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SUSPENSE_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SAVED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    N_UNPRICED_FIELD_NUMBER: _ClassVar[int]
    N_CHATS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    n_generations: int
    n_succeeded: int
    spent_micro_usd: int
    held_micro_usd: int
    suspense_micro_usd: int
    absorbed_micro_usd: int
    saved_micro_usd: int
    n_unpriced: int
    n_chats: int
    input_tokens: int
    output_tokens: int
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., n_generations: _Optional[int] = ..., n_succeeded: _Optional[int] = ..., spent_micro_usd: _Optional[int] = ..., held_micro_usd: _Optional[int] = ..., suspense_micro_usd: _Optional[int] = ..., absorbed_micro_usd: _Optional[int] = ..., saved_micro_usd: _Optional[int] = ..., n_unpriced: _Optional[int] = ..., n_chats: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("name", "create_time", "generation", "session", "model", "reason", "from_account", "to_account", "micro_usd", "chat")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FROM_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    generation: str
    session: str
    model: str
    reason: LedgerReason
    from_account: LedgerAccount
    to_account: LedgerAccount
    micro_usd: int
    chat: str
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation: _Optional[str] = ..., session: _Optional[str] = ..., model: _Optional[str] = ..., reason: _Optional[_Union[LedgerReason, str]] = ..., from_account: _Optional[_Union[LedgerAccount, str]] = ..., to_account: _Optional[_Union[LedgerAccount, str]] = ..., micro_usd: _Optional[int] = ..., chat: _Optional[str] = ...) -> None: ...
