#!/usr/bin/env python3
"""Holds `server.py` against the providers' own clients: what it sends, they must understand, and what they send, it
must take. Run by `.ci/sdk-check`, which installs the clients."""

import sys

import anthropic
import ollama
import openai

import server

PORT = server.start()
BASE = f"http://127.0.0.1:{PORT}"
ANTHROPIC = anthropic.Anthropic(base_url=BASE, api_key="sk-ant-test", max_retries=0)
OPENAI = openai.OpenAI(base_url=f"{BASE}/v1", api_key="sk-test", max_retries=0)
OLLAMA = ollama.Client(host=BASE)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TEXT = "".join(server.TEXT)
checks = 0


def same(what, got, wanted):
    global checks
    checks += 1
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")


def say(scenario):
    return [{"role": "user", "content": f"scenario {scenario}"}]


def with_anthropic(scenario, messages=None):
    tools = [{"name": "get_weather", "description": "d", "input_schema": SCHEMA,
              "cache_control": {"type": "ephemeral"}}]
    with ANTHROPIC.messages.stream(model="claude-x", max_tokens=99, messages=messages or say(scenario), tools=tools,
                                   system=[{"type": "text", "text": "s"}]) as stream:
        return stream.get_final_message()


def with_chat(scenario, messages=None):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    with OPENAI.chat.completions.stream(model="gpt-x", messages=messages or say(scenario), tools=tools,
                                        stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion()


def with_responses(scenario, items=None):
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]
    with OPENAI.responses.stream(model="gpt-x", input=items or say(scenario), tools=tools, store=False,
                                 include=["reasoning.encrypted_content"]) as stream:
        for event in stream:
            if event.type in ("response.completed", "response.incomplete"):
                return event.response
            if event.type == "error":
                raise RuntimeError(event.message)
    sys.exit(f"responses {scenario}: no end")


def with_ollama(scenario, messages=None):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    parts = list(OLLAMA.chat(model="x", messages=messages or say(scenario), tools=tools, stream=True))
    text = "".join(part.message.content or "" for part in parts)
    thinking = "".join(part.message.thinking or "" for part in parts)
    calls = [call for part in parts for call in part.message.tool_calls or []]
    return text, thinking, [(call.function.name, dict(call.function.arguments)) for call in calls], parts[-1]


def calls_of(scenario):
    return [(tool, arguments) for _, tool, arguments in server.ANSWERS[scenario]["calls"]]


def texts():
    for option in ("", " split=1", " split=7", " eol=crlf", " eol=cr"):
        message = with_anthropic("text" + option)
        same("anthropic text", "".join(block.text for block in message.content), TEXT)
        same("anthropic stop", message.stop_reason, "end_turn")
        choice = with_chat("text" + option).choices[0]
        same("chat text", (choice.message.content, choice.finish_reason), (TEXT, "stop"))
        same("responses text", with_responses("text" + option).output_text, TEXT)
        text, _, _, last = with_ollama("text" + option)
        same("ollama text", (text, last.done, last.done_reason), (TEXT, True, "stop"))


def calls():
    import json
    for scenario in ("tool", "parallel", "reasoning"):
        wanted = calls_of(scenario)
        blocks = with_anthropic(scenario).content
        same("anthropic calls", [(b.name, b.input) for b in blocks if b.type == "tool_use"], wanted)
        found = with_chat(scenario).choices[0].message.tool_calls
        same("chat calls", [(c.function.name, json.loads(c.function.arguments)) for c in found], wanted)
        items = with_responses(scenario).output
        same("responses calls",
             [(i.name, json.loads(i.arguments)) for i in items if i.type == "function_call"], wanted)
        same("ollama calls", with_ollama(scenario)[2], wanted)
    blocks = with_anthropic("reasoning").content
    same("anthropic thinking", (blocks[0].thinking, blocks[0].signature), ("Let me see: ü.", "c2lnbmF0dXJl"))
    same("anthropic redacted", blocks[1].data, "cmVkYWN0ZWQ=")
    same("responses reasoning", with_responses("reasoning").output[0].encrypted_content, "gAAAAAenc")
    same("ollama thinking", with_ollama("reasoning")[1], "Let me see: ü.")


def rounds():
    """The second turn: the clients send the results of calls, and the server takes them."""
    blocks = [block.to_dict() for block in with_anthropic("reasoning").content]
    for block in blocks:
        block.pop("parsed_output", None)
        block.pop("caller", None)
    result = {"type": "tool_result", "tool_use_id": "call_Ab1", "content": "sunny", "is_error": False}
    again = [*say("text"), {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    same("anthropic round", with_anthropic("", again).stop_reason, "end_turn")
    call = with_chat("tool").choices[0].message.tool_calls[0]
    sent = {"id": call.id, "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments}}
    again = [*say("text"), {"role": "assistant", "content": "", "tool_calls": [sent]},
             {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    same("chat round", with_chat("", again).choices[0].finish_reason, "stop")
    items = [{"type": "reasoning", "encrypted_content": "gAAAAAenc", "summary": []},
             {"type": "function_call", "call_id": "call_Ab1", "name": "get_weather", "arguments": "{}"},
             {"type": "function_call_output", "call_id": "call_Ab1", "output": "sunny"}]
    same("responses round", with_responses("", [*say("text"), *items]).status, "completed")
    sent = {"function": {"name": "get_weather", "arguments": {}}}
    again = [*say("text"), {"role": "assistant", "content": "", "tool_calls": [sent]},
             {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
    same("ollama round", with_ollama("", again)[3].done, True)


def numbers():
    usage = with_anthropic("usage").usage
    same("anthropic usage", (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens,
                             usage.output_tokens), (400, 4000, 600, 321))
    same("anthropic thinking tokens", usage.output_tokens_details.thinking_tokens, 200)
    usage = with_chat("usage").usage
    same("chat usage", (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens,
                        usage.completion_tokens_details.reasoning_tokens), (5000, 4000, 321, 200))
    usage = with_responses("usage").usage
    same("responses usage", (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens,
                             usage.output_tokens_details.reasoning_tokens), (5000, 4000, 321, 200))
    last = with_ollama("usage")[3]
    same("ollama usage", (last.prompt_eval_count, last.eval_count), (5000, 321))


def stops():
    same("anthropic length", with_anthropic("length").stop_reason, "max_tokens")
    same("anthropic refusal", with_anthropic("refusal").stop_reason, "refusal")
    chunks = OPENAI.chat.completions.create(model="gpt-x", messages=say("length"), stream=True,
                                            stream_options={"include_usage": True})
    same("chat length", [c.choices[0].finish_reason for c in chunks if c.choices][-1], "length")
    same("chat refusal", with_chat("refusal").choices[0].message.refusal, "I cannot help with that.")
    same("responses length", with_responses("length").incomplete_details.reason, "max_output_tokens")
    same("responses refusal", with_responses("refusal").output[0].content[0].refusal, "I cannot help with that.")
    same("ollama length", with_ollama("length")[3].done_reason, "length")


def errors():
    wanted = {"auth": "AuthenticationError", "forbidden": "PermissionDeniedError", "no-model": "NotFoundError",
              "rate-limit": "RateLimitError", "bad": "BadRequestError", "overflow": "BadRequestError",
              "broken": "InternalServerError", "echo": "UnprocessableEntityError"}
    for scenario, name in wanted.items():
        for what, call in (("anthropic", with_anthropic), ("chat", with_chat), ("responses", with_responses)):
            try:
                call(scenario)
            except (anthropic.APIStatusError, openai.APIStatusError) as error:
                same(f"{what} {scenario}", type(error).__name__, name)
                if scenario == "rate-limit":
                    same(f"{what} retry-after", error.response.headers["retry-after"], "7")
                if scenario == "overflow" and what != "anthropic":
                    same(f"{what} overflow", error.code, "context_length_exceeded")
            else:
                sys.exit(f"{what} {scenario}: no error")
        try:
            with_ollama(scenario)
        except ollama.ResponseError as error:
            same(f"ollama {scenario}", error.status_code >= 400, True)
        else:
            sys.exit(f"ollama {scenario}: no error")
    for what, call, kind in (("anthropic", with_anthropic, anthropic.APIStatusError),
                             ("chat", with_chat, openai.APIError), ("responses", with_responses, RuntimeError),
                             ("ollama", with_ollama, ollama.ResponseError)):
        try:
            call("mid-error")
        except kind as error:
            same(f"{what} mid-error", "Overloaded in the middle" in str(error), True)
        else:
            sys.exit(f"{what}: an error in the middle is not seen")


for check in (texts, calls, rounds, numbers, stops, errors):
    check()
print(f"{checks} checks: anthropic {anthropic.__version__}, openai {openai.__version__}, ollama")
