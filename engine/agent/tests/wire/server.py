#!/usr/bin/env python3
"""Small servers that speak the wire formats of model providers, for tests: Anthropic Messages, OpenAI Chat Completions
and Responses as server-sent events, Ollama as lines of JSON. Streaming only. Listens on a free port of the loopback
and prints it. `verify.py` holds it against the providers' own clients; a request they would not send is refused.

What it answers is chosen by the request, in this order: the header `x-scenario`, the first text of the last user
message when it starts with `scenario `, else plain text. `scenario NAME key=value...`:

  text reasoning tool parallel usage length refusal nameless     answers
  rate-limit rate-date rate-reset overloaded broken gateway      errors with a status
  auth forbidden no-model bad billing overflow echo redirect
  flaky truncated cut malformed mid-error silent stall           errors of the way there

  split=N  the body in chunks of N bytes        first=K  only the first chunk of K      end=K  only the first K bytes
  eol=crlf|cr  how lines of events end          key=S  names a request, for `flaky`, `/log` and `/closed`
"""

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = ["Hel", "lo, ", "wörld ✓ ", "😀 \"quoted\"\n", "end."]
CITY = {"city": "Zürich \"☃\" \\ 😀", "days": 3, "units": {"wind": "km/h"}}
USAGE = {"input": 120, "read": 0, "write": 0, "output": 17, "reasoning": 0}
CALL = ("call_Ab1", "get_weather", CITY)

ANSWERS = {
    "text": {"text": TEXT},
    "reasoning": {"thinking": ["Let me ", "see: ü."], "text": ["I will look."], "calls": [CALL],
                  "usage": {**USAGE, "reasoning": 9}},
    "tool": {"text": ["Let me look."], "calls": [CALL]},
    "parallel": {"calls": [CALL, ("call_Cd2", "get_time", {}), ("call_Ef3", "get_weather", {"city": "Bern"})]},
    "usage": {"text": ["ok"], "usage": {"input": 5000, "read": 4000, "write": 600, "output": 321, "reasoning": 200}},
    "length": {"text": ["cut o"], "stop": "length"},
    "refusal": {"text": ["I cannot help with that."], "stop": "refusal"},
    "nameless": {"calls": [CALL, ("call_Cd2", "get_time", {})]},
}


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pieces(text, size=5):
    return [text[at:at + size] for at in range(0, len(text), size)] or [""]


# What an answer is, on each wire: a list of (event or None, data).

def anthropic(answer, model, _scenario):
    usage = answer.get("usage", USAGE)
    fresh = usage["input"] - usage["read"] - usage["write"]
    start = {"input_tokens": fresh, "cache_creation_input_tokens": usage["write"],
             "cache_read_input_tokens": usage["read"],
             "cache_creation": {"ephemeral_5m_input_tokens": usage["write"], "ephemeral_1h_input_tokens": 0},
             "output_tokens": 1, "service_tier": "standard"}
    out = [{"type": "message_start", "message": {
        "id": "msg_01", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": start}}, {"type": "ping"}]
    blocks = []
    if "thinking" in answer:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer["thinking"]]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
        blocks.append(({"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}, []))
    if "text" in answer:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer["text"]]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for name, tool, arguments in answer.get("calls", []):
        raw = pieces(dumps(arguments)) if arguments else [""]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in raw]
        blocks.append(({"type": "tool_use", "id": name, "name": tool, "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        out.append({"type": "content_block_start", "index": index, "content_block": block})
        out += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        out.append({"type": "content_block_stop", "index": index})
    stop = {"length": "max_tokens", "refusal": "refusal"}.get(answer.get("stop"))
    stop = stop or ("tool_use" if "calls" in answer else "end_turn")
    end = {"output_tokens": usage["output"]}
    if usage["reasoning"]:
        end["output_tokens_details"] = {"thinking_tokens": usage["reasoning"]}
    out.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": end})
    out.append({"type": "message_stop"})
    return [(item["type"], dumps(item)) for item in out]


def chat(answer, model, scenario):
    usage = answer.get("usage", USAGE)
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760000000, "model": model,
            "system_fingerprint": "fp_1"}

    def chunk(delta, finish=None):
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
                "usage": None}

    out = [chunk({"role": "assistant", "content": "", "refusal": None})]
    refused = answer.get("stop") == "refusal"
    out += [chunk({"reasoning_content": piece}) for piece in answer.get("thinking", [])]
    out += [chunk({"refusal" if refused else "content": piece}) for piece in answer.get("text", [])]
    for index, (name, tool, arguments) in enumerate(answer.get("calls", [])):
        # Some servers number every call 0 and tell them apart by their names only.
        index = 0 if scenario == "nameless" else index
        first = {"index": index, "id": name, "type": "function", "function": {"name": tool, "arguments": ""}}
        out.append(chunk({"tool_calls": [first]}))
        for piece in pieces(dumps(arguments)):
            out.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    finish = {"length": "length"}.get(answer.get("stop")) or ("tool_calls" if "calls" in answer else "stop")
    out.append(chunk({}, finish))
    out.append({**head, "choices": [], "usage": {
        "prompt_tokens": usage["input"], "completion_tokens": usage["output"],
        "total_tokens": usage["input"] + usage["output"],
        "prompt_tokens_details": {"cached_tokens": usage["read"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage["reasoning"], "audio_tokens": 0,
                                      "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}})
    return [(None, dumps(item)) for item in out] + [(None, "[DONE]")]


def responses(answer, model, _scenario):
    usage = answer.get("usage", USAGE)
    base = {"id": "resp_1", "object": "response", "created_at": 1760000000, "model": model, "error": None,
            "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
            "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0}
    out = [{"type": "response.created", "response": {**base, "status": "in_progress", "output": []}},
           {"type": "response.in_progress", "response": {**base, "status": "in_progress", "output": []}}]
    items = []
    if "thinking" in answer:
        at, item = len(items), {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": ""}
        out.append({"type": "response.output_item.added", "output_index": at, "item": item})
        place = {"item_id": "rs_1", "output_index": at, "summary_index": 0}
        whole = "".join(answer["thinking"])
        out.append({"type": "response.reasoning_summary_part.added", **place,
                    "part": {"type": "summary_text", "text": ""}})
        out += [{"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
                for piece in answer["thinking"]]
        out.append({"type": "response.reasoning_summary_text.done", **place, "text": whole})
        part = {"type": "summary_text", "text": whole}
        out.append({"type": "response.reasoning_summary_part.done", **place, "part": part})
        item = {**item, "summary": [part], "encrypted_content": "gAAAAAenc"}
        out.append({"type": "response.output_item.done", "output_index": at, "item": item})
        items.append(item)
    if "text" in answer:
        at, place = len(items), {"item_id": "msg_1", "output_index": len(items), "content_index": 0}
        refused = answer.get("stop") == "refusal"
        kind, field = ("refusal", "refusal") if refused else ("output_text", "text")
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        out.append({"type": "response.output_item.added", "output_index": at, "item": item})
        empty = {"type": kind, field: ""} | ({} if refused else {"annotations": []})
        out.append({"type": "response.content_part.added", **place, "part": empty})
        extra = {} if refused else {"logprobs": []}
        out += [{"type": f"response.{kind}.delta", **place, **extra, "delta": piece} for piece in answer["text"]]
        whole = "".join(answer["text"])
        out.append({"type": f"response.{kind}.done", **place, **extra, field: whole})
        part = {**empty, field: whole}
        out.append({"type": "response.content_part.done", **place, "part": part})
        item = {**item, "status": "completed", "content": [part]}
        out.append({"type": "response.output_item.done", "output_index": at, "item": item})
        items.append(item)
    for number, (name, tool, arguments) in enumerate(answer.get("calls", [])):
        at, raw = len(items), dumps(arguments)
        item = {"id": f"fc_{number}", "type": "function_call", "status": "in_progress", "call_id": name,
                "name": tool, "arguments": ""}
        place = {"item_id": item["id"], "output_index": at}
        out.append({"type": "response.output_item.added", "output_index": at, "item": item})
        out += [{"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in pieces(raw)]
        out.append({"type": "response.function_call_arguments.done", **place, "name": tool, "arguments": raw})
        item = {**item, "status": "completed", "arguments": raw}
        out.append({"type": "response.output_item.done", "output_index": at, "item": item})
        items.append(item)
    cut = answer.get("stop") == "length"
    status = "incomplete" if cut else "completed"
    out.append({"type": f"response.{status}", "response": {
        **base, "status": status, "output": items,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "usage": {"input_tokens": usage["input"], "input_tokens_details": {"cached_tokens": usage["read"]},
                  "output_tokens": usage["output"],
                  "output_tokens_details": {"reasoning_tokens": usage["reasoning"]},
                  "total_tokens": usage["input"] + usage["output"]}}})
    return [(item["type"], dumps({**item, "sequence_number": number})) for number, item in enumerate(out)]


def ollama(answer, model, _scenario):
    usage = answer.get("usage", USAGE)
    head = {"model": model, "created_at": "2026-01-02T03:04:05.678Z"}

    def line(message):
        return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False}

    out = [line({"thinking": piece}) for piece in answer.get("thinking", [])]
    out += [line({"content": piece}) for piece in answer.get("text", [])]
    out += [line({"tool_calls": [{"id": name, "function": {"index": index, "name": tool, "arguments": arguments}}]})
            for index, (name, tool, arguments) in enumerate(answer.get("calls", []))]
    out.append({**head, "message": {"role": "assistant", "content": ""}, "done": True,
                "done_reason": "length" if answer.get("stop") == "length" else "stop", "total_duration": 5000000,
                "load_duration": 1000, "prompt_eval_count": usage["input"], "prompt_eval_cached_count": usage["read"],
                "prompt_eval_duration": 1000, "eval_count": usage["output"], "eval_duration": 1000})
    return [(None, dumps(item)) for item in out]


# What is wrong with a request, or None.

def known(body, fields):
    unknown = set(body) - set(fields.split())
    return f"unknown fields: {sorted(unknown)}" if unknown else None


def paired(asked, given):
    return None if asked == given else f"calls {asked} are answered by {given}"


def wrong_anthropic(body, headers):
    version = headers.get("anthropic-version")
    if version not in ("2023-06-01", "2026-10-21"):
        return f"anthropic-version: {version!r} is not a valid version"
    if version == "2026-10-21" and {"temperature", "top_p", "top_k"} & set(body):
        return "temperature: extra inputs are not permitted"
    if not headers.get("x-api-key") and not headers.get("authorization"):
        return "x-api-key header is required"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        return "max_tokens: field required"
    asked = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            return "a message without content"
        if any(block["type"] == "text" and not block["text"] for block in blocks):
            return "text content blocks must be non-empty"
        if any(block["type"] == "tool_use" and not isinstance(block["input"], dict) for block in blocks):
            return "tool_use.input: input should be a valid dictionary"
        given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if wrong := paired(asked, given):
            return wrong
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
    marks = dumps(body).count('"cache_control"')
    if marks > 4:
        return f"a maximum of 4 blocks with cache_control may be provided, found {marks}"
    for tool in body.get("tools", []):
        if tool["input_schema"].get("type") != "object":
            return "tools.input_schema.type: field required"
    return known(body, "model messages max_tokens system tools tool_choice stream temperature thinking output_config"
                       " metadata stop_sequences top_p top_k service_tier")


def wrong_chat(body, headers):
    if not headers.get("authorization", "").startswith("Bearer "):
        return "no bearer"
    asked = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if not asked or asked[0] != message["tool_call_id"]:
                return f"a tool message must answer {asked}"
            asked = asked[1:]
            continue
        if asked:
            return f"calls {asked} are not answered"
        if message["role"] not in ("system", "developer", "user", "assistant"):
            return f"role {message['role']}"
        for call in message.get("tool_calls", []):
            if call["type"] != "function" or not isinstance(json.loads(call["function"]["arguments"]), dict):
                return "tool_calls.function.arguments: must be an object in a text"
        asked = [call["id"] for call in message.get("tool_calls", [])]
    if "max_tokens" in body and "max_completion_tokens" in body:
        return "max_tokens and max_completion_tokens"
    if (body.get("stream_options") or {}).get("include_usage") is not True:
        return "this server wants stream_options.include_usage"
    return known(body, "model messages max_tokens max_completion_tokens tools tool_choice stream stream_options"
                       " temperature reasoning_effort prompt_cache_key parallel_tool_calls top_p")


def wrong_responses(body, headers):
    if not headers.get("authorization", "").startswith("Bearer "):
        return "no bearer"
    asked, items = [], body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind = item.get("type", "message")
        if kind == "function_call":
            if not isinstance(json.loads(item["arguments"]), dict):
                return "function_call.arguments: must be an object in a text"
            asked.append(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in asked:
                return f"no call {item['call_id']}"
            asked.remove(item["call_id"])
        elif kind == "reasoning":
            if not item.get("encrypted_content") or "summary" not in item:
                return "reasoning without content"
        elif kind == "message":
            if asked:
                return f"calls {asked} are not answered"
        else:
            return f"unknown item {kind}"
    return known(body, "model input instructions max_output_tokens tools tool_choice stream store include temperature"
                       " reasoning prompt_cache_key parallel_tool_calls top_p")


def wrong_ollama(body, _headers):
    asked = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if not asked or asked[0] != message.get("tool_name"):
                return f"a tool message must answer {asked}"
            asked = asked[1:]
            continue
        if asked:
            return f"calls {asked} are not answered"
        calls = message.get("tool_calls", [])
        if any(not isinstance(call["function"]["arguments"], dict) for call in calls):
            return "json: cannot unmarshal into api.ToolCallFunctionArguments"
        asked = [call["function"]["name"] for call in calls]
    return known(body, "model messages stream options tools think format keep_alive truncate shift logprobs"
                       " top_logprobs")


def user_texts(body):
    last = ""
    for message in (body.get("messages") or body.get("input") or []) if not isinstance(body.get("input"), str) else []:
        if message.get("role") != "user":
            continue
        content = message["content"]
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        last = next((part for part in parts if part), last)
    return body["input"] if isinstance(body.get("input"), str) else last


class Wire:
    def __init__(self, name, stream, wrong):
        self.name, self.stream, self.wrong = name, stream, wrong

    def error(self, kind, message, code=None):
        if self.name == "anthropic":
            return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        if self.name == "ollama":
            return {"error": message}
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


WIRES = {
    "/v1/messages": Wire("anthropic", anthropic, wrong_anthropic),
    "/v1/chat/completions": Wire("chat", chat, wrong_chat),
    "/v1/responses": Wire("responses", responses, wrong_responses),
    "/api/chat": Wire("ollama", ollama, wrong_ollama),
}

OVERFLOW = {
    "anthropic": (400, "invalid_request_error", "prompt is too long: 210001 tokens > 200000 maximum", None),
    "chat": (400, "invalid_request_error", "This model's maximum context length is 128000 tokens. However, your "
             "messages resulted in 130001 tokens. Please reduce the length of the messages.",
             "context_length_exceeded"),
    "responses": (400, "invalid_request_error", "Your input exceeds the context window of this model. Please adjust "
                  "your input and try again.", "context_length_exceeded"),
    "ollama": (400, "", "the input length exceeds the context length", None),
}


def failures(wire, body):
    """Scenario: (status, headers, body)."""
    openai = wire.name in ("chat", "responses")
    limited = wire.error("rate_limit_error" if not openai else "requests",
                         "Rate limit reached for requests", "rate_limit_exceeded")
    if wire.name == "anthropic":
        resets = {"anthropic-ratelimit-requests-remaining": "12",
                  "anthropic-ratelimit-requests-reset": "2026-01-02T03:59:59Z",
                  "anthropic-ratelimit-tokens-remaining": "0",
                  "anthropic-ratelimit-tokens-reset": "2026-01-02T03:05:35Z"}
    else:
        resets = {"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "6m0s",
                  "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m29.5s"}
    status, kind, message, code = OVERFLOW[wire.name]
    billing = ((400, wire.error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."))
               if wire.name == "anthropic" else
               (429, wire.error("insufficient_quota", "You exceeded your current quota, please check your plan.",
                                "insufficient_quota")) if openai else
               (402, wire.error("", "insufficient credits")))
    return {
        "rate-limit": (429, {"retry-after": "7"}, limited),
        "rate-date": (429, {"retry-after": "Fri, 02 Jan 2026 03:04:50 GMT"}, limited),
        "rate-reset": (429, resets, limited),
        "overloaded": (529 if wire.name == "anthropic" else 503, {"retry-after": "2"},
                       wire.error("overloaded_error", "Overloaded")),
        "broken": (500, {}, wire.error("api_error", "Internal server error")),
        "gateway": (502, {"content-type": "text/html"}, "<html>Bad\x1b[31m gateway</html>"),
        "auth": (401, {}, wire.error("authentication_error", "invalid x-api-key", "invalid_api_key")),
        "forbidden": (403, {}, wire.error("permission_error", "Your key may not use this model")),
        "no-model": (404, {}, wire.error("not_found_error", "model: nope", "model_not_found")),
        "bad": (400, {}, wire.error("invalid_request_error", "temperature: must\nbe \x1b[1mless than 2")),
        "billing": (billing[0], {}, billing[1]),
        "overflow": (status, {}, wire.error(kind, message, code)),
        "echo": (422, {}, wire.error("invalid_request_error", "cannot read this: " + dumps(body))),
        "redirect": (307, {"location": "/elsewhere"}, ""),
    }


class State:
    """What was asked, and which connections their clients have closed."""

    def __init__(self):
        self.lock = threading.Condition()
        self.log, self.closed, self.seen = [], set(), {}

    def note_closed(self, key):
        with self.lock:
            self.closed.add(key)
            self.lock.notify_all()

    def wait_closed(self, key):
        with self.lock:
            return self.lock.wait_for(lambda: key in self.closed, timeout=10)

    def count(self, key):
        with self.lock:
            self.seen[key] = self.seen.get(key, 0) + 1
            return self.seen[key]


STATE = State()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return "Fri, 02 Jan 2026 03:04:05 GMT"

    def whole(self, status, body, headers=None):
        headers = dict(headers or {})
        raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", headers.pop("content-type", "application/json"))
        self.send_header("content-length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self):
        if self.path == "/log":
            self.whole(200, STATE.log)
        elif self.path.startswith("/closed/"):
            self.whole(200, {"closed": STATE.wait_closed(self.path.rsplit("/", 1)[1])})
        else:
            self.whole(404, {"error": "nothing here"})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        wire = next((wire for path, wire in WIRES.items() if self.path.endswith(path)), None)
        if wire is None:
            return self.whole(404, {"error": {"message": f"no such page: {self.path}"}})
        body = json.loads(raw)
        text = self.headers.get("x-scenario") or user_texts(body)
        words = text.split() if text.startswith("scenario ") else ["scenario", "text"]
        scenario = words[1]
        options = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        with STATE.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            STATE.log.append({"wire": wire.name, "path": self.path, "scenario": scenario, "headers": headers,
                              "key": options.get("key"), "body": body})
        try:
            wrong = wire.wrong(body, headers)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            wrong = f"cannot read the request: {error!r}"
        if wrong is None and body.get("stream") is not True:
            wrong = "this server only streams"
        if wrong:
            return self.whole(400, wire.error("invalid_request_error", wrong))
        failing = failures(wire, body).get(scenario)
        if failing:
            status, headers, body = failing
            return self.whole(status, body, headers)
        self.answer(wire, scenario, options, body)

    def answer(self, wire, scenario, options, request):
        key = options.get("key", "")
        if scenario == "silent":
            return self.until_closed(key)
        if scenario == "flaky" and STATE.count(key) == 1:
            return self.whole(500, wire.error("api_error", "Internal server error"))
        answer = ANSWERS.get(scenario) or (ANSWERS["tool"] if scenario in ("truncated", "cut") else ANSWERS["text"])
        events = wire.stream(answer, request["model"], scenario)
        if scenario in ("truncated", "cut", "stall"):
            events = events[:len(events) // 2]
        if scenario == "malformed":
            middle = len(events) // 2
            events[middle] = (events[middle][0], events[middle][1][:-5])
        if scenario == "mid-error":
            kind = "overloaded_error" if wire.name == "anthropic" else "server_error"
            error = wire.error(kind, "Overloaded in the middle", "server_error")
            if wire.name == "responses":
                error = {"type": "error", "code": "server_error", "message": "Overloaded in the middle",
                         "param": None, "sequence_number": 3}
            name = "error" if wire.name in ("anthropic", "responses") else None
            events = events[:len(events) // 2] + [(name, dumps(error))]
        body = self.encoded(wire, events, options.get("eol"))
        if "end" in options:
            body = body[:int(options["end"])]
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson" if wire.name == "ollama" else "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-length", str(len(body)))
        self.end_headers()
        size = int(options.get("split", "0")) or len(body) or 1
        cuts = list(range(int(options.get("first", size)), len(body), size))
        chunks = [body[start:end] for start, end in zip([0] + cuts, cuts + [len(body)])]
        self.wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk))
        if scenario == "stall":
            return self.until_closed(key)
        if scenario == "cut":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_WR)
        self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def encoded(wire, events, eol):
        if wire.name == "ollama":
            return "".join(f"{data}\n" for _, data in events).encode()
        end = {"crlf": "\r\n", "cr": "\r"}.get(eol, "\n")
        blocks = [": a comment\n\n"]
        blocks += [(f"event: {event}\n" if event else "") + f"data: {data}\n\n" for event, data in events]
        return "".join(blocks).replace("\n", end).encode()

    def until_closed(self, key):
        self.close_connection = True
        try:
            while self.connection.recv(4096):
                pass
        except OSError:
            pass
        STATE.note_closed(key)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


def start():
    """A server of its own thread, and its port: for `verify.py`."""
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


if __name__ == "__main__":
    listening = Server(("127.0.0.1", 0), Handler)
    print(listening.server_address[1], flush=True)
    # Whoever started it holds its standard input: when that ends, so does the server.
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    sys.stdin.read()
