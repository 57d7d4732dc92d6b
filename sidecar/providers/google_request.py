"""A chat in the body of generateContent, with the names of what does not fit."""

from ..chat import ChatRequest, NamedTool, Tool
from .base import accepted, functions
from .google_contents import Contents, generation
from .google_wire import (
    CallingConfig,
    Content,
    Declaration,
    GenerateRequest,
    GenerationConfig,
    ThinkingConfig,
    ToolConfig,
    ToolSet,
)

_MAX_STOPS = 5
_INT32 = 2**31
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

# Google's own table for its OpenAI-compatible endpoint.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_PRO_MINIMUM = 128
"""Tokens of thinking that Gemini 2.5 Pro cannot go below."""


def build(chat: ChatRequest, model: str, rejects: frozenset[str]) -> tuple[GenerateRequest, list[str]]:
    """The body and the names of the fields that are not in it."""
    chat, lost = accepted(chat, rejects)
    contents = Contents(chat)
    contents.sign(model)
    config = _generation_config(chat, model, lost)
    tools = _tools(chat.tools or [], lost)
    if chat.parallel_tool_calls is False and tools:
        lost.append("parallel_tool_calls")
    if chat.user is not None:
        lost.append("user")
    body = GenerateRequest(
        contents=contents.turns,
        system_instruction=Content(contents.system) if contents.system else None,
        tools=tools,
        tool_config=_tool_config(chat.tool_choice, lost) if tools else None,
        generation_config=config if config != GenerationConfig() else None,
    )
    return body, lost + contents.lost


def _generation_config(chat: ChatRequest, model: str, lost: list[str]) -> GenerationConfig:
    stops = chat.stops
    if len(stops) > _MAX_STOPS:
        lost.append("stop")
    seed = chat.seed
    if seed is not None and not -_INT32 <= seed < _INT32:
        lost.append("seed")
        seed = None
    config = GenerationConfig(
        candidate_count=chat.n,
        stop_sequences=stops[:_MAX_STOPS] or None,
        max_output_tokens=chat.output_limit,
        temperature=chat.temperature,
        top_p=chat.top_p,
        seed=seed,
        presence_penalty=chat.presence_penalty,
        frequency_penalty=chat.frequency_penalty,
        response_logprobs=True if chat.logprobs else None,
        logprobs=chat.top_logprobs if chat.logprobs else None,
        thinking_config=_thinking(chat.reasoning_effort, model, lost),
    )
    form = chat.response_format
    if form is not None and form.type in ("json_object", "json_schema"):
        config.response_mime_type = "application/json"
        if form.json_schema is not None:
            config.response_json_schema = form.json_schema.schema
    elif form is not None and form.type != "text":
        lost.append("response_format")
    return config


def _thinking(effort: str | None, model: str, lost: list[str]) -> ThinkingConfig | None:
    if effort is None:
        return None
    version = generation(model)
    if version >= 3:
        return _level(effort, model, lost)
    if "gemini-2.5" not in model:
        lost.append("reasoning_effort")
        return None
    if effort == "none":
        if "pro" not in model:
            return ThinkingConfig(thinking_budget=0)
        lost.append("reasoning_effort")
        return ThinkingConfig(thinking_budget=_PRO_MINIMUM)
    budget = _BUDGETS.get(effort)
    if budget is None:
        lost.append("reasoning_effort")
    return ThinkingConfig(include_thoughts=True, thinking_budget=budget)


def _level(effort: str, model: str, lost: list[str]) -> ThinkingConfig:
    """Gemini 3 always thinks; Pro knows no MINIMAL and its first release no MEDIUM."""
    pro = "pro" in model
    if effort == "none":
        lost.append("reasoning_effort")
        return ThinkingConfig(thinking_level="LOW" if pro else "MINIMAL")
    level = _LEVELS.get(effort)
    if level is None:
        lost.append("reasoning_effort")
    elif pro and level == "MINIMAL":
        level = "LOW"
    elif level == "MEDIUM" and "gemini-3-pro" in model:
        level = "HIGH"
    return ThinkingConfig(include_thoughts=True, thinking_level=level)


def _tools(tools: list[Tool], lost: list[str]) -> list[ToolSet] | None:
    declared = [Declaration(f.name, f.description or "", f.parameters) for f in functions(tools, lost)]
    return [ToolSet(declared)] if declared else None


def _tool_config(choice: str | NamedTool | None, lost: list[str]) -> ToolConfig | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in _MODES:
            return ToolConfig(CallingConfig(_MODES[choice]))
    elif choice.function is not None:
        return ToolConfig(CallingConfig("ANY", [choice.function.name]))
    lost.append("tool_choice")
    return None
