"""An agent for tests that speaks the agent client protocol, with good and bad manners. No library, so that it can say
what no library would."""

import json, sys, time

manner = sys.argv[1]


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**update):
    send(method="session/update", params={"sessionId": "s1", "update": update})


def say(text, kind="agent_message_chunk"):
    update(sessionUpdate=kind, content={"type": "text", "text": text})


def ask(id, method, **params):
    send(id=id, method=method, params={"sessionId": "s1", **params})
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") == id and "method" not in message:
            return message


def permission(id, kind, options=("allow_always", "allow_once", "reject_once")):
    options = [{"optionId": f"id-{option}", "name": option, "kind": option} for option in options]
    call = {"toolCallId": str(id), "title": f"do a {kind}\x1b[31m", **({"kind": kind} if kind else {})}
    return ask(id, "session/request_permission", toolCall=call, options=options)["result"]["outcome"]


def work(prompt):
    if manner == "good":
        print("warming up", file=sys.stderr, flush=True)
        say("I think of ses", "agent_thought_chunk")
        say("ame", "agent_thought_chunk")
        update(sessionUpdate="tool_call", toolCallId="1", title="Reads the README", kind="read", status="pending")
        update(sessionUpdate="usage_update", used=10, size=100, cost={"amount": 0.0123, "currency": "USD"})
        say("You said: " + prompt + "\n")
        say('{"ok": ')
        say("true}\n")
        return "end_turn"
    if manner == "asks":
        answers = {
            "read": permission(101, "read"),
            "edit": permission(102, "edit"),
            "execute": permission(103, "execute"),
            "unknown": permission(104, "something new"),
            "none": permission(105, None),
            "always": permission(106, "read", ["allow_always"]),
            "file": ask(107, "fs/read_text_file", path="/etc/passwd"),
            "terminal": ask(108, "terminal/create", command="sh"),
        }
        say(json.dumps({"answers": answers}))
        return "end_turn"
    if manner == "refuses":
        return "refusal"
    if manner == "odd":
        return "whatever"
    if manner == "floods":
        while True:
            say("x" * 60000)
    if manner == "long line":
        sys.stdout.write("x" * (5 << 20))
        sys.stdout.flush()
        time.sleep(600)
    if manner == "dies":
        print("no more\x1b[31m", file=sys.stderr, flush=True)
        sys.exit(9)
    if manner == "talks on":
        say('{"ok": true}\n')
        say("x" * 2_000_000)
        return "end_turn"
    if manner == "stops":
        say("half of it")
        for line in sys.stdin:
            if json.loads(line).get("method") == "session/cancel":
                say(", and no more")
                return "cancelled"
    time.sleep(600)


if manner == "greets":
    print("Hello! This is an agent.\n{}\n[1, 2]", flush=True)
    manner = "good"
if manner == "deaf":
    time.sleep(600)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        assert message["params"]["clientCapabilities"]["fs"] == {"readTextFile": False, "writeTextFile": False}
        send(id=id, result={"protocolVersion": 7 if manner == "new" else 1, "agentCapabilities": {}})
    elif method == "session/new":
        if manner == "locked":
            send(id=id, error={"code": -32000, "message": "Authentication required\x1b[31m: sesame"})
            continue
        assert message["params"]["cwd"].startswith("/") and message["params"]["mcpServers"] == []
        send(id=id, result={"sessionId": "s1"})
    elif method == "session/prompt":
        assert message["params"]["sessionId"] == "s1"
        send(id=id, result={"stopReason": work(message["params"]["prompt"][0]["text"])})
