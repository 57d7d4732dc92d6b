"""Google's wire through Google's own SDK, and against Google's discovery document."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema
import pytest
from google import genai
from google.genai import errors, types

from .conftest import Live, http

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": SCHEMA}]}]


def client(live: Live, key: str = "k") -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=live.url))


def raw(live: Live, body: Any, model: str = "gemini-2.5-flash", verb: str = "generateContent") -> httpx.Response:
    url = f"{live.url}/v1beta/models/{model}:{verb}"
    return http.post(url, json=body, headers={"x-goog-api-key": "k"})


def said(text: str, **extra: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **extra}


def test_a_stream_says_what_the_whole_answer_says(emulator: Live) -> None:
    sdk = client(emulator)
    whole = sdk.models.generate_content(model="gemini-2.5-flash", contents="Tell me about juniper")
    chunks = list(sdk.models.generate_content_stream(model="gemini-2.5-flash", contents="Tell me about juniper"))
    assert whole.text and "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert chunks[-1].candidates and chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert whole.usage_metadata is not None and chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count


def test_framing_of_both_streams(emulator: Live) -> None:
    events = raw(emulator, said("x"), verb="streamGenerateContent?alt=sse")
    assert events.headers["content-type"] == "text/event-stream"
    assert events.text.startswith("data: {") and events.text.endswith("}\r\n\r\n")
    array = raw(emulator, said("x"), verb="streamGenerateContent")
    assert array.headers["content-type"].startswith("application/json")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events.text.split("\r\n\r\n")[:-1]]
    assert [c["candidates"] for c in array.json()] == [c["candidates"] for c in chunks]
    fault = raw(emulator, {"contents": []}, verb="streamGenerateContent")
    assert fault.json()[0]["error"]["status"] == "INVALID_ARGUMENT"


def test_tools_through_the_sdk(emulator: Live) -> None:
    function = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
    sdk = client(emulator)
    answer = sdk.models.generate_content(model="gemini-2.5-flash", contents="get_weather for two cities", config=config)
    calls = answer.function_calls or []
    assert [call.name for call in calls] == ["get_weather", "get_weather"]
    for call in calls:
        jsonschema.validate(call.args, SCHEMA)


@pytest.mark.parametrize(("mode", "calls"), [("ANY", 1), ("NONE", 0), ("AUTO", 0)])
def test_calling_modes(emulator: Live, mode: str, calls: int) -> None:
    config = {"functionCallingConfig": {"mode": mode}}
    parts = raw(emulator, said("hi", tools=TOOLS, toolConfig=config)).json()["candidates"][0]["content"]["parts"]
    assert sum("functionCall" in part for part in parts) == calls


def tool_turn(live: Live, model: str) -> list[dict[str, Any]]:
    """A conversation up to a tool's result, as a well-behaved caller sends it."""
    asked = said("get_weather please", tools=TOOLS)
    content = raw(live, asked, model).json()["candidates"][0]["content"]
    response = {"functionResponse": {"name": "get_weather", "response": {"degrees": 9}}}
    return [*asked["contents"], content, {"role": "user", "parts": [response]}]


def test_thought_signatures_come_back(emulator: Live) -> None:
    turns = tool_turn(emulator, "gemini-3-pro-preview")
    part = turns[1]["parts"][0]
    assert part["functionCall"]["id"]
    body = {"contents": turns, "tools": TOOLS}
    answer = raw(emulator, body, "gemini-3-pro-preview")
    assert '"degrees":9' in answer.json()["candidates"][0]["content"]["parts"][0]["text"]
    # SDKs send bytes back in the URL-safe alphabet.
    part["thoughtSignature"] = part["thoughtSignature"].replace("+", "-").replace("/", "_")
    assert raw(emulator, body, "gemini-3-pro-preview").status_code == 200
    part["thoughtSignature"] = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    assert raw(emulator, body, "gemini-3-pro-preview").status_code == 200
    part["thoughtSignature"] = "Zm9yZWlnbg=="
    assert raw(emulator, body, "gemini-3-pro-preview").json()["error"]["message"] == "Corrupted thought signature."
    del part["thoughtSignature"]
    missing = raw(emulator, body, "gemini-3-pro-preview")
    assert missing.status_code == 400
    assert missing.json()["error"]["message"].startswith("Function call is missing a thought_signature")
    assert raw(emulator, body, "gemini-2.5-flash").status_code == 200


def test_thinking_is_shown_when_asked_for(emulator: Live) -> None:
    config = {"thinkingConfig": {"includeThoughts": True}}
    body = raw(emulator, said("x", generationConfig=config)).json()
    parts = body["candidates"][0]["content"]["parts"]
    assert parts[0]["thought"] is True and parts[1]["thoughtSignature"]
    usage = body["usageMetadata"]
    total = usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    assert usage["totalTokenCount"] == total
    silent = raw(emulator, said("x", generationConfig={"thinking_config": {"thinking_budget": 0}})).json()
    assert "thoughtsTokenCount" not in silent["usageMetadata"]


def test_structured_answers_limits_and_candidates(emulator: Live) -> None:
    how: dict[str, Any] = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    text = raw(emulator, said("x", generationConfig=how)).json()["candidates"][0]["content"]["parts"][0]["text"]
    jsonschema.validate(json.loads(text), SCHEMA)
    dialect = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "nullable": True}}, "required": ["n"]}
    how = {"responseMimeType": "application/json", "responseSchema": dialect}
    text = raw(emulator, said("x", generationConfig=how)).json()["candidates"][0]["content"]["parts"][0]["text"]
    assert isinstance(json.loads(text)["n"], int)
    short = raw(emulator, said("x", generationConfig={"maxOutputTokens": 2, "candidateCount": 2})).json()
    assert [one["finishReason"] for one in short["candidates"]] == ["MAX_TOKENS", "MAX_TOKENS"]
    stopped = raw(emulator, said("x", generationConfig={"stopSequences": ["."]})).json()["candidates"][0]
    assert stopped["finishReason"] == "STOP" and "." not in stopped["content"]["parts"][0]["text"]


CALL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
RESPONSE = {"functionResponse": {"name": "f", "response": {}}}
BAD = [
    ({}, "* GenerateContentRequest.contents: contents is not specified"),
    (said("x", max_tokens=3), 'Invalid JSON payload received. Unknown name "maxTokens": Cannot find field.'),
    (
        said("x", generationConfig={"frequency": 1}),
        "Invalid JSON payload received. Unknown name \"frequency\" at 'generation_config': Cannot find field.",
    ),
    (
        said("x", tools=[{"functionDeclarations": [{"name": "f", "parameters": {"$schema": "x"}}]}]),
        "Invalid JSON payload received. Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters'",
    ),
    ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
    ({"contents": [{"role": "user", "parts": [RESPONSE]}]}, "Please ensure that function response turn comes"),
    (
        {"contents": [CALL, {"role": "user", "parts": [RESPONSE, RESPONSE]}]},
        "Please ensure that the number of function response parts is equal",
    ),
    ({"contents": 5}, "Invalid value at 'contents'"),
    ([], "Invalid JSON payload received."),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=[bad[1][:40] for bad in BAD])
def test_bad_requests_are_refused_as_google_does(emulator: Live, body: Any, message: str) -> None:
    answer = raw(emulator, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"].startswith(message)


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_scripted_errors_raise_the_sdk_classes(
    scripted: Callable[[str], Live], status: int, kind: type[errors.APIError], word: str
) -> None:
    sdk = client(scripted(f"replies: [{{status: {status}}}]"))
    with pytest.raises(kind) as caught:
        sdk.models.generate_content(model="gemini-2.5-flash", contents="x")
    assert (caught.value.code, caught.value.status) == (status, word)
    with pytest.raises(kind):
        list(sdk.models.generate_content_stream(model="gemini-2.5-flash", contents="x"))


def test_keys(emulator: Live, scripted: Callable[[str], Live]) -> None:
    missing = http.post(f"{emulator.url}/v1beta/models/g:generateContent", json=said("x"))
    assert (missing.status_code, missing.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    live = scripted("keys: [good]")
    refused, listing = client(live, "bad"), client(emulator)
    with pytest.raises(errors.ClientError) as caught:
        refused.models.generate_content(model="g", contents="x")
    assert caught.value.code == 400 and "API_KEY_INVALID" in str(caught.value.details)
    url = f"{live.url}/v1beta/models/g:generateContent"
    assert http.post(url, params={"key": "good"}, json=said("x")).status_code == 200
    assert next(iter(listing.models.list())).name == "models/gemini-3-pro-preview"


def _fits(schemas: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    """Every field is one the discovery document has, all the way down."""
    for key, item in value.items():
        field = schemas[name]["properties"][key]
        field, items = (field["items"], item) if field.get("type") == "array" else (field, [item])
        for one in items:
            if "$ref" in field and isinstance(one, dict):
                _fits(schemas, field["$ref"], one)


def test_answers_fit_the_discovery_document(emulator: Live, google_discovery: dict[str, Any]) -> None:
    how = {"thinkingConfig": {"includeThoughts": True}}
    for body in (said("x", generationConfig=how), said("get_weather", tools=TOOLS)):
        answer = raw(emulator, body, "gemini-3-pro-preview").json()
        _fits(google_discovery["schemas"], "GenerateContentResponse", answer)
