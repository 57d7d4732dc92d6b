"""Messages: what becomes of each, and what is named as lost."""

from typing import Any

import msgspec
import pytest
from anthropic_requests import HI, PNG, call, sent, text, turns

from sidecar.chat import ChatRequest
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.base import Target


def test_system_and_developer_messages_go_up_in_order() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [text("two", cache_control={"type": "ephemeral", "ttl": "1h"})]},
        HI,
        {"role": "system", "content": "three"},
    ]
    body, lost = sent(messages=messages)
    cached = text("two", cache_control={"type": "ephemeral", "ttl": "1h"})
    assert body["system"] == [text("one"), cached, text("three")]
    assert lost == ("messages[3].role:system position",)
    assert sent(messages=[*messages[:1], HI])[0]["system"] == "one"


def test_a_system_prompt_alone_is_said_by_the_user() -> None:
    body, lost = sent(messages=[{"role": "system", "content": "one"}])
    assert body["messages"] == [{"role": "user", "content": [text("one")]}] and "system" not in body
    assert lost == ("messages[].role:system only",)


def test_turns_of_one_role_are_merged_and_blank_text_is_dropped() -> None:
    got, lost = turns(
        HI, {"role": "user", "content": [text("there"), text("  ")]}, {"role": "assistant", "content": ""}
    )
    assert got == [("user", [text("hi"), text("there")])] and lost == ()


def test_parallel_tool_results_are_one_turn_and_come_first() -> None:
    got, lost = turns(
        HI,
        {"role": "assistant", "content": "ok", "tool_calls": [call("a", "f", '{"x": 1.0}'), call("b", "g", "")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "user", "content": "hurry"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [text("2"), {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
        },
    )
    assert lost == ()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert got == [
        ("user", [text("hi")]),
        (
            "assistant",
            [
                text("ok"),
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.0}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {"type": "tool_result", "tool_use_id": "b", "content": [text("2"), image]},
                text("hurry"),
            ],
        ),
    ]


def test_arguments_go_as_the_very_bytes() -> None:
    arguments = '{"b":1e2, "a":{"z":[],"y":"\\u00e9"}}'
    raw = msgspec.json.encode(
        {"model": "m", "messages": [HI, {"role": "assistant", "tool_calls": [call("a", "f", arguments)]}]}
    )
    chat = msgspec.json.decode(raw, type=ChatRequest)
    assert arguments.encode() in Anthropic().request(chat, raw, Target("m", "")).body


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", '"x"', "nope"])
def test_arguments_that_are_no_object_are_wrapped_and_named(arguments: str) -> None:
    got, lost = turns(HI, {"role": "assistant", "tool_calls": [call("a", "f", arguments)]})
    assert got[1][1][0]["input"] == {"INVALID_JSON": arguments}
    assert lost == ("tool_calls.function.arguments",)


def test_ids_of_other_providers_fit_the_alphabet_on_both_sides() -> None:
    got, _ = turns(
        HI,
        {"role": "assistant", "tool_calls": [call("functions.f:0", "f", "{}")]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": ""},
    )
    assert got[1][1][0]["id"] == got[2][1][0]["tool_use_id"] == "functions_f_0"


def test_legacy_functions_find_their_call() -> None:
    got, lost = turns(
        HI,
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert got[1][1][0]["id"] == got[2][1][0]["tool_use_id"] and lost == ()


def test_images_and_files() -> None:
    def part(kind: str, value: Any, **more: Any) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        got, lost = turns({"role": "user", "content": [text("x"), {"type": kind, kind: value, **more}]})
        return got[0][1][1:], lost

    cached = {"type": "ephemeral"}
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}, "cache_control": cached}
    assert part("image_url", {"url": "https://x/y.png"}, cache_control=cached) == ([url], ())
    jpeg = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}}
    assert part("image_url", {"url": f"data:image/jpg;base64,{PNG}"}) == ([jpeg], ())
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
        "title": "a.pdf",
    }
    assert part("file", {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}) == ([pdf], ())
    assert part("file", {"file_data": PNG, "filename": "a.pdf"}) == ([pdf], ())
    note = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é a"}}
    assert part("file", {"file_data": "data:text/csv;charset=utf-8;base64,w6kgYQ=="}) == ([note], ())
    assert part("file", {"file_data": "data:text/plain,%C3%A9%20a"}) == ([note], ())
    assert part("file", {"file_id": "file_1"})[0] == [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    ]
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert part("file", {"file_data": f"data:image/png;base64,{PNG}"}) == ([png], ())
    linked = {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
    assert part("file", {"file_data": "https://x/y.pdf"}) == ([linked], ())
    for kind, value in [
        ("image_url", {"url": "data:image/svg+xml;base64,AA=="}),
        ("image_url", {"url": "ftp://x"}),
        ("file", {"file_data": "data:application/zip;base64,AA=="}),
        ("file", {"file_data": "data:text/plain;base64,/w=="}),
        ("file", {}),
        ("input_audio", {"data": "AA==", "format": "wav"}),
    ]:
        assert part(kind, value) == ([], (kind,))
    assert part("novelty", 1) == ([], ("messages[].content",))


def test_a_stored_file_needs_the_beta_header() -> None:
    chat = msgspec.convert(
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        ChatRequest,
    )
    headers = Anthropic().request(chat, b"", Target("m", "", headers={"anthropic-beta": "a"})).headers
    assert headers["anthropic-beta"] == "a,files-api-2025-04-14"


def test_media_in_other_roles_is_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x"}}
    assert turns(HI, {"role": "assistant", "content": [image]})[1] == ("messages[].content:assistant media",)
    assert turns({"role": "system", "content": [image]}, HI)[1] == ("messages[].content:system media",)


def test_refusals_and_names() -> None:
    got, lost = turns({**HI, "name": "bob"}, {"role": "assistant", "refusal": "no"})
    assert got[1] == ("assistant", [text("no")]) and lost == ("name",)


def test_a_turn_to_be_continued_ends_in_no_white_space() -> None:
    assert turns(HI, {"role": "assistant", "content": "so \n"})[0][1] == ("assistant", [text("so")])
