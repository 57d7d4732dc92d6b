"""The wire of Google's generateContent, as far as it is sent or read.

Wire facts: the discovery document of generativelanguage v1beta, revision 20260327. `partialArgs` and
`willContinue` are not in it: Vertex AI sends them when arguments are streamed.
"""

from typing import Any

import msgspec
from msgspec import Struct

from ..chat import FailureKind

DUMMY_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for calls in the history that Gemini did not make itself, or whose signature was lost."""


class Wire(Struct, rename="camel", omit_defaults=True):
    """Base: camelCase names, absent fields are None."""


class Blob(Wire):
    """Base64 bytes in the body."""

    mime_type: str
    data: str


class FileData(Wire):
    """Bytes that Google fetches itself."""

    file_uri: str
    mime_type: str | None = None


class PartialArg(Wire):
    """One piece of a call's arguments, at a JSON path."""

    json_path: str = "$"
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None
    will_continue: bool | None = None


class Call(Wire):
    """A function call; `name` is absent only in the later pieces of a call sent in parts."""

    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Result(Wire):
    """A function's result, sent back."""

    name: str
    response: dict[str, Any]
    id: str | None = None


class Part(Wire):
    """One part of a content. Answers hold further kinds (code, media): they are read as a part with no field."""

    text: str | None = None
    thought: bool | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: Call | None = None
    function_response: Result | None = None
    thought_signature: str | None = None


class Content(Wire):
    """One turn."""

    parts: list[Part]
    role: str | None = None


class Declaration(Wire):
    """A function the model may call."""

    name: str
    description: str = ""
    parameters_json_schema: dict[str, Any] | None = None


class ToolSet(Wire):
    """One entry of `tools`."""

    function_declarations: list[Declaration]


class CallingConfig(Wire):
    """AUTO, NONE or ANY; with ANY, the functions that may be called."""

    mode: str
    allowed_function_names: list[str] | None = None


class ToolConfig(Wire):
    """The place of `functionCallingConfig`."""

    function_calling_config: CallingConfig


class ThinkingConfig(Wire):
    """A level for Gemini 3, a budget for Gemini 2.5, never both."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(Wire):
    """Sampling, limits and the form of the answer."""

    candidate_count: int | None = None
    stop_sequences: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    response_mime_type: str | None = None
    response_json_schema: dict[str, Any] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    thinking_config: ThinkingConfig | None = None


class GenerateRequest(Wire):
    """The whole body."""

    contents: list[Content]
    system_instruction: Content | None = None
    tools: list[ToolSet] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None


class AnswerPart(Wire):
    """A part as read: only what reaches the caller."""

    text: str | None = None
    thought: bool | None = None
    function_call: Call | None = None
    thought_signature: str | None = None


class AnswerContent(Wire):
    """A candidate's content, or a piece of it."""

    parts: list[AnswerPart] | None = None


class Token(Wire):
    """A token and its log probability."""

    token: str = ""
    log_probability: float | None = None


class TopTokens(Wire):
    """The likeliest tokens of one step."""

    candidates: list[Token] | None = None


class Logprobs(Wire):
    """Log probabilities, one entry a step."""

    top_candidates: list[TopTokens] | None = None
    chosen_candidates: list[Token] | None = None


class Candidate(Wire):
    """One answer, or a piece of it."""

    content: AnswerContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    logprobs_result: Logprobs | None = None


class Feedback(Wire):
    """Why a prompt was not answered."""

    block_reason: str | None = None


class Modality(Wire):
    """Tokens of one modality."""

    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(Wire):
    """Token counts. `candidates` exclude `thoughts`; `prompt` includes the cached ones but not tool use.

    Gemini has a service tier, Vertex a traffic type instead.
    """

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    thoughts_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None
    cache_tokens_details: list[Modality] | None = None
    service_tier: Any = None
    traffic_type: Any = None


class Violation(Wire):
    """An exhausted quota, or a field that was refused."""

    quota_id: str | None = None
    field: str | None = None


class Detail(Wire):
    """`details` of an error: the fields of ErrorInfo, RetryInfo, QuotaFailure and BadRequest together."""

    reason: str | None = None
    retry_delay: str | None = None
    violations: list[Violation] | None = None
    field_violations: list[Violation] | None = None


class Error(Wire):
    """google.rpc.Status."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Detail] | None = None


class Answer(Wire):
    """A body of generateContent, one chunk of a stream, or an error."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Error | None = None


_answers = msgspec.json.Decoder(Answer | list[Answer])


def decode(body: bytes) -> list[Answer]:
    """The answers of a body; without `alt=sse` a stream is an array, and some errors come in one as well.

    Raises ValueError (msgspec's and Unicode's errors are ones) or RecursionError.
    """
    found = _answers.decode(body)
    return found if isinstance(found, list) else [found]


_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)


def finish(reason: str | None, called: bool) -> str:
    """Google's finish reason in OpenAI's words."""
    if reason in _FILTERED:
        return "content_filter"
    if reason == "MAX_TOKENS":
        return "length"
    return "tool_calls" if called else "stop"


def broken(reason: str | None) -> FailureKind | None:
    """The failure behind a finish reason that says the model's own output could not be used.

    Google sends these with status 200 and mostly no content; as a plain `stop` they would be an empty success.
    """
    return FailureKind.MALFORMED if reason in _BROKEN else None
