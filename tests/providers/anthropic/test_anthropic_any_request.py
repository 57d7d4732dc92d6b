"""Any request that OpenAI's shape allows becomes one that Anthropic's schema allows."""

from itertools import pairwise
from typing import Any

from anthropic_requests import MIDDLE, NEW, OLD, PNG, REASONING, SCHEMA, call, sent, tool
from hypothesis import given, settings
from hypothesis import strategies as st

WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=8)
CACHE = st.none() | st.just({"type": "ephemeral"})
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": WORDS, "cache_control": CACHE}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.sampled_from(
                [{"url": "https://x/y"}, {"url": f"data:image/png;base64,{PNG}"}, {"url": "data:,"}, {"url": "x"}]
            ),
            "cache_control": CACHE,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("file"),
            "file": st.sampled_from(
                [
                    {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"},
                    {"file_data": "data:text/plain;base64,YQ=="},
                    {},
                ]
            ),
        }
    ),
    st.just({"type": "input_audio", "input_audio": {"data": "AA=="}}),
)
CONTENT = st.none() | WORDS | st.lists(PARTS, max_size=3)
CALLS = st.lists(
    st.builds(call, WORDS.filter(bool), NAMES, st.sampled_from(["", "{}", '{"a":[1]}', "nope", "[]"])), max_size=2
)
DETAIL = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["reasoning.text", "reasoning.encrypted"]),
        "text": st.none() | WORDS,
        "signature": st.none() | WORDS,
        "data": st.none() | WORDS,
        "format": st.sampled_from([None, "anthropic", "google"]),
    }
)
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": CONTENT}),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": CONTENT,
            "tool_calls": st.none() | CALLS,
            "reasoning_details": st.none() | st.lists(DETAIL, max_size=2),
            "refusal": st.none() | WORDS,
        }
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": WORDS, "content": CONTENT}),
    st.fixed_dictionaries({"role": st.just("function"), "name": NAMES, "content": CONTENT}),
)
FIELDS = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=6)},
    optional={
        "max_tokens": st.integers(0, 100_000),
        "temperature": st.floats(-3, 3),
        "top_p": st.floats(0, 1),
        "stop": WORDS | st.lists(WORDS, max_size=3),
        "tools": st.lists(
            st.builds(
                tool,
                NAMES,
                parameters=st.sampled_from([None, {}, SCHEMA]),
                strict=st.none() | st.booleans(),
                description=st.none() | WORDS,
            ),
            max_size=2,
        ),
        "tool_choice": st.sampled_from(
            ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}, {"type": "custom"}, "odd"]
        ),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max", "odd"]),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
                {"type": "json_schema", "json_schema": {"name": "s"}},
            ]
        ),
        "user": WORDS,
        "stream": st.booleans(),
    },
)
MODELS = st.sampled_from(
    [OLD, MIDDLE, NEW, "claude-3-7-sonnet-latest", "claude-fable-latest", "claude-sonnet-5-5", "kimi"]
)


@settings(deadline=None, max_examples=500)
@given(FIELDS, MODELS, st.sampled_from([frozenset(), REASONING]))
def test_any_request_is_one_that_anthropic_takes(fields: dict[str, Any], model: str, can: frozenset[str]) -> None:
    body, lost = sent(model, can, **fields)
    assert len(lost) == len(set(lost)) and all(name.isprintable() for name in lost)
    roles = [turn["role"] for turn in body["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    for turn in body["messages"]:
        kinds = [block["type"] for block in turn["content"]]
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result"), "results come first"
        if turn["role"] == "assistant":
            assert not {"image", "document", "tool_result"} & set(kinds)
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] in ("enabled", "adaptive"):
        assert "temperature" not in body and "top_p" not in body
    if thinking["type"] == "enabled":
        assert thinking["budget_tokens"] < body["max_tokens"]
        assert body.get("tool_choice", {"type": "auto"})["type"] in ("auto", "none")
