import datetime

from filmgate.v1 import artifact_pb2 as _artifact_pb2
from filmgate.v1 import error_reason_pb2 as _error_reason_pb2
from filmgate.v1 import limits_pb2 as _limits_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_QUEUED: _ClassVar[State]
    STATE_RUNNING: _ClassVar[State]
    STATE_STORING: _ClassVar[State]
    STATE_CANCELLING: _ClassVar[State]
    STATE_UNRESOLVED: _ClassVar[State]
    STATE_SUCCEEDED: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]
    STATE_CANCELLED: _ClassVar[State]

class AttemptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_OUTCOME_UNSPECIFIED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_OPEN: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_SUCCEEDED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_FAILED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_CANCELLED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_UNKNOWN: _ClassVar[AttemptOutcome]

class Charged(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHARGED_UNSPECIFIED: _ClassVar[Charged]
    CHARGED_NO: _ClassVar[Charged]
    CHARGED_YES: _ClassVar[Charged]
    CHARGED_UNKNOWN: _ClassVar[Charged]

class InputRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_ROLE_UNSPECIFIED: _ClassVar[InputRole]
    INPUT_ROLE_FIRST_FRAME: _ClassVar[InputRole]
    INPUT_ROLE_LAST_FRAME: _ClassVar[InputRole]
    INPUT_ROLE_REFERENCE: _ClassVar[InputRole]
    INPUT_ROLE_SOURCE: _ClassVar[InputRole]
    INPUT_ROLE_MASK: _ClassVar[InputRole]
    INPUT_ROLE_SEQUENCE: _ClassVar[InputRole]
    INPUT_ROLE_AUDIO: _ClassVar[InputRole]

class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUALITY_UNSPECIFIED: _ClassVar[Quality]
    QUALITY_FAST: _ClassVar[Quality]
    QUALITY_QUALITY: _ClassVar[Quality]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_STRICT: _ClassVar[Mode]
    MODE_ADAPT: _ClassVar[Mode]

class CachePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_POLICY_UNSPECIFIED: _ClassVar[CachePolicy]
    CACHE_POLICY_DEFAULT: _ClassVar[CachePolicy]
    CACHE_POLICY_BYPASS: _ClassVar[CachePolicy]
    CACHE_POLICY_REFRESH: _ClassVar[CachePolicy]
STATE_UNSPECIFIED: State
STATE_QUEUED: State
STATE_RUNNING: State
STATE_STORING: State
STATE_CANCELLING: State
STATE_UNRESOLVED: State
STATE_SUCCEEDED: State
STATE_FAILED: State
STATE_CANCELLED: State
ATTEMPT_OUTCOME_UNSPECIFIED: AttemptOutcome
ATTEMPT_OUTCOME_OPEN: AttemptOutcome
ATTEMPT_OUTCOME_SUCCEEDED: AttemptOutcome
ATTEMPT_OUTCOME_FAILED: AttemptOutcome
ATTEMPT_OUTCOME_CANCELLED: AttemptOutcome
ATTEMPT_OUTCOME_UNKNOWN: AttemptOutcome
CHARGED_UNSPECIFIED: Charged
CHARGED_NO: Charged
CHARGED_YES: Charged
CHARGED_UNKNOWN: Charged
INPUT_ROLE_UNSPECIFIED: InputRole
INPUT_ROLE_FIRST_FRAME: InputRole
INPUT_ROLE_LAST_FRAME: InputRole
INPUT_ROLE_REFERENCE: InputRole
INPUT_ROLE_SOURCE: InputRole
INPUT_ROLE_MASK: InputRole
INPUT_ROLE_SEQUENCE: InputRole
INPUT_ROLE_AUDIO: InputRole
QUALITY_UNSPECIFIED: Quality
QUALITY_FAST: Quality
QUALITY_QUALITY: Quality
MODE_UNSPECIFIED: Mode
MODE_STRICT: Mode
MODE_ADAPT: Mode
CACHE_POLICY_UNSPECIFIED: CachePolicy
CACHE_POLICY_DEFAULT: CachePolicy
CACHE_POLICY_BYPASS: CachePolicy
CACHE_POLICY_REFRESH: CachePolicy

class Generation(_message.Message):
    __slots__ = ("name", "session", "state", "phase", "sequence", "progress_percent", "queue_position", "eta", "model", "attempts", "adjustments", "cost", "artifacts", "sample", "cached", "coalesced", "brief", "provider_logs", "create_time", "start_time", "end_time", "update_time", "deadline", "generation_time", "failure", "unresolved", "labels", "request_id", "provider_error", "expire_time", "video", "image", "speech", "music")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    BRIEF_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_LOGS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TIME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    UNRESOLVED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ERROR_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_FIELD_NUMBER: _ClassVar[int]
    MUSIC_FIELD_NUMBER: _ClassVar[int]
    name: str
    session: str
    state: State
    phase: str
    sequence: int
    progress_percent: int
    queue_position: int
    eta: _timestamp_pb2.Timestamp
    model: str
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    adjustments: _containers.RepeatedCompositeFieldContainer[Adjustment]
    cost: Cost
    artifacts: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.Artifact]
    sample: bool
    cached: bool
    coalesced: bool
    brief: str
    provider_logs: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    generation_time: _duration_pb2.Duration
    failure: Failure
    unresolved: Unresolved
    labels: _containers.ScalarMap[str, str]
    request_id: str
    provider_error: str
    expire_time: _timestamp_pb2.Timestamp
    video: VideoSpec
    image: ImageSpec
    speech: SpeechSpec
    music: MusicSpec
    def __init__(self, name: _Optional[str] = ..., session: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., phase: _Optional[str] = ..., sequence: _Optional[int] = ..., progress_percent: _Optional[int] = ..., queue_position: _Optional[int] = ..., eta: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., adjustments: _Optional[_Iterable[_Union[Adjustment, _Mapping]]] = ..., cost: _Optional[_Union[Cost, _Mapping]] = ..., artifacts: _Optional[_Iterable[_Union[_artifact_pb2.Artifact, _Mapping]]] = ..., sample: bool = ..., cached: bool = ..., coalesced: bool = ..., brief: _Optional[str] = ..., provider_logs: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., unresolved: _Optional[_Union[Unresolved, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., provider_error: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., video: _Optional[_Union[VideoSpec, _Mapping]] = ..., image: _Optional[_Union[ImageSpec, _Mapping]] = ..., speech: _Optional[_Union[SpeechSpec, _Mapping]] = ..., music: _Optional[_Union[MusicSpec, _Mapping]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("model", "outcome", "charged", "provider_job_id", "message", "create_time", "end_time", "settled_micro_usd", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTLED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    outcome: AttemptOutcome
    charged: Charged
    provider_job_id: str
    message: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    settled_micro_usd: int
    reason: _error_reason_pb2.ErrorReason
    def __init__(self, model: _Optional[str] = ..., outcome: _Optional[_Union[AttemptOutcome, str]] = ..., charged: _Optional[_Union[Charged, str]] = ..., provider_job_id: _Optional[str] = ..., message: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., settled_micro_usd: _Optional[int] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ...) -> None: ...

class Adjustment(_message.Message):
    __slots__ = ("field", "asked", "used", "why")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    field: str
    asked: str
    used: str
    why: str
    def __init__(self, field: _Optional[str] = ..., asked: _Optional[str] = ..., used: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("estimated_micro_usd", "held_micro_usd", "settled_micro_usd", "saved_micro_usd", "suspense_micro_usd", "absorbed_micro_usd", "quoted_micro_usd")
    ESTIMATED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    HELD_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SETTLED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SAVED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    SUSPENSE_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    ABSORBED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    QUOTED_MICRO_USD_FIELD_NUMBER: _ClassVar[int]
    estimated_micro_usd: int
    held_micro_usd: int
    settled_micro_usd: int
    saved_micro_usd: int
    suspense_micro_usd: int
    absorbed_micro_usd: int
    quoted_micro_usd: int
    def __init__(self, estimated_micro_usd: _Optional[int] = ..., held_micro_usd: _Optional[int] = ..., settled_micro_usd: _Optional[int] = ..., saved_micro_usd: _Optional[int] = ..., suspense_micro_usd: _Optional[int] = ..., absorbed_micro_usd: _Optional[int] = ..., quoted_micro_usd: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("reason", "phase", "message", "provider", "field", "retryable", "charged", "next_step")
    REASON_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    phase: str
    message: str
    provider: str
    field: str
    retryable: bool
    charged: Charged
    next_step: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., phase: _Optional[str] = ..., message: _Optional[str] = ..., provider: _Optional[str] = ..., field: _Optional[str] = ..., retryable: bool = ..., charged: _Optional[_Union[Charged, str]] = ..., next_step: _Optional[str] = ...) -> None: ...

class Unresolved(_message.Message):
    __slots__ = ("reason", "message", "since_time", "give_up_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    since_time: _timestamp_pb2.Timestamp
    give_up_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., give_up_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VideoSpec(_message.Message):
    __slots__ = ("prompt", "options")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    options: VideoOptions
    def __init__(self, prompt: _Optional[str] = ..., options: _Optional[_Union[VideoOptions, _Mapping]] = ...) -> None: ...

class ImageSpec(_message.Message):
    __slots__ = ("prompt", "options")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    options: ImageOptions
    def __init__(self, prompt: _Optional[str] = ..., options: _Optional[_Union[ImageOptions, _Mapping]] = ...) -> None: ...

class SpeechSpec(_message.Message):
    __slots__ = ("prompt", "options")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    options: SpeechOptions
    def __init__(self, prompt: _Optional[str] = ..., options: _Optional[_Union[SpeechOptions, _Mapping]] = ...) -> None: ...

class MusicSpec(_message.Message):
    __slots__ = ("prompt", "options")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    options: MusicOptions
    def __init__(self, prompt: _Optional[str] = ..., options: _Optional[_Union[MusicOptions, _Mapping]] = ...) -> None: ...

class VideoOptions(_message.Message):
    __slots__ = ("duration", "fps", "width", "height", "aspect_ratio", "steps", "samples", "guidance", "seed", "negative_prompt", "audio", "provider_options", "resolution", "motion", "camera", "style")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    MOTION_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    fps: int
    width: int
    height: int
    aspect_ratio: str
    steps: int
    samples: int
    guidance: float
    seed: int
    negative_prompt: str
    audio: bool
    provider_options: _struct_pb2.Struct
    resolution: str
    motion: float
    camera: str
    style: str
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fps: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., aspect_ratio: _Optional[str] = ..., steps: _Optional[int] = ..., samples: _Optional[int] = ..., guidance: _Optional[float] = ..., seed: _Optional[int] = ..., negative_prompt: _Optional[str] = ..., audio: bool = ..., provider_options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., resolution: _Optional[str] = ..., motion: _Optional[float] = ..., camera: _Optional[str] = ..., style: _Optional[str] = ...) -> None: ...

class ImageOptions(_message.Message):
    __slots__ = ("width", "height", "aspect_ratio", "resolution", "quality", "style", "samples", "steps", "guidance", "seed", "negative_prompt", "strength", "background", "format", "provider_options")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    aspect_ratio: str
    resolution: str
    quality: str
    style: str
    samples: int
    steps: int
    guidance: float
    seed: int
    negative_prompt: str
    strength: float
    background: str
    format: str
    provider_options: _struct_pb2.Struct
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., aspect_ratio: _Optional[str] = ..., resolution: _Optional[str] = ..., quality: _Optional[str] = ..., style: _Optional[str] = ..., samples: _Optional[int] = ..., steps: _Optional[int] = ..., guidance: _Optional[float] = ..., seed: _Optional[int] = ..., negative_prompt: _Optional[str] = ..., strength: _Optional[float] = ..., background: _Optional[str] = ..., format: _Optional[str] = ..., provider_options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class SpeechOptions(_message.Message):
    __slots__ = ("voice", "language", "speed", "format", "instructions", "seed", "provider_options")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    voice: str
    language: str
    speed: float
    format: str
    instructions: str
    seed: int
    provider_options: _struct_pb2.Struct
    def __init__(self, voice: _Optional[str] = ..., language: _Optional[str] = ..., speed: _Optional[float] = ..., format: _Optional[str] = ..., instructions: _Optional[str] = ..., seed: _Optional[int] = ..., provider_options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class MusicOptions(_message.Message):
    __slots__ = ("duration", "lyrics", "instrumental", "format", "samples", "guidance", "seed", "negative_prompt", "steps", "provider_options")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    LYRICS_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTAL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    lyrics: str
    instrumental: bool
    format: str
    samples: int
    guidance: float
    seed: int
    negative_prompt: str
    steps: int
    provider_options: _struct_pb2.Struct
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lyrics: _Optional[str] = ..., instrumental: bool = ..., format: _Optional[str] = ..., samples: _Optional[int] = ..., guidance: _Optional[float] = ..., seed: _Optional[int] = ..., negative_prompt: _Optional[str] = ..., steps: _Optional[int] = ..., provider_options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("role", "artifact", "uri", "data")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    role: InputRole
    artifact: str
    uri: str
    data: bytes
    def __init__(self, role: _Optional[_Union[InputRole, str]] = ..., artifact: _Optional[str] = ..., uri: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class GenerationEvent(_message.Message):
    __slots__ = ("number", "create_time", "type", "state", "message", "sequence")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    number: int
    create_time: _timestamp_pb2.Timestamp
    type: str
    state: State
    message: str
    sequence: int
    def __init__(self, number: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., type: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., message: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...
