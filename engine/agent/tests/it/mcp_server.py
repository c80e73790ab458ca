"""An MCP server for tests, over stdio or HTTP. Good and bad manners are chosen by name; no library, so that it can
say what no library would."""

import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

manner = sys.argv[1]
here = os.getcwd()
extra = []
EMPTY = {"type": "object", "properties": {}}


def tool(name, schema=EMPTY, **more):
    return {"name": name, "description": more.pop("description", name), "inputSchema": schema, **more}


def tools():
    listed = [
        tool("echo", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
             description="\x1b[31mSays it\u202e again.\x07"),
        tool("look", annotations={"readOnlyHint": True}),
        tool("kinds"), tool("fail"), tool("refuse"), tool("die"), tool("slow"), tool("freeze"), tool("ask"),
        tool("env"), tool("grow"),
    ]
    if manner == "strange":
        listed += [
            tool("same one"), tool("same_one"),
            tool("big", {"type": "object", "description": "x" * 100_000}),
            tool("elsewhere", {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema"}}}),
            tool("no object", {"type": "string"}),
            tool("x" * 200),
            tool("hidden\u200bname"),
        ]
    if manner == "curious":
        listed += [tool("rounds"), tool("again"), tool("forever"), tool("heavy"), tool("model")]
    return listed + extra


def needs(params, state=None, **requests):
    """A result that is none yet: what is asked, and what is to be given back."""
    asked = {"inputRequests": requests} if requests else {}
    return {"resultType": "input_required", **asked, **({} if state is None else {"requestState": state})}


def curious(name, params):
    state, answers = params.get("requestState"), params.get("inputResponses")
    form = lambda field: {"method": "elicitation/create", "params": {
        "message": "Which?", "requestedSchema": {"type": "object", "properties": {"a": field}}}}
    if name == "rounds":
        if state is None:
            return needs(params, "{ \"n\":1}", one=form({"type": "string", "default": "x"}))
        if state == "{ \"n\":1}":
            return needs(params, "2", one=form({"type": "integer", "default": 7, "maximum": 5}), two=form({"type": "boolean"}))
    if name == "again" and state is None:
        return needs(params, "later")
    if name == "forever":
        return needs(params, one=form({"type": "boolean", "default": True}))
    if name == "heavy":
        return needs(params, "x" * 100_000)
    if name == "model":
        return needs(params, one={"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
    return {"content": [{"type": "text", "text": json.dumps([state, answers])}]}


def wait_for(request):
    """What the other side answers to something we ask."""
    send(request)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") == request["id"] and "method" not in message:
            return message
        handle(message)


def call(message):
    name, arguments = message["params"]["name"], message["params"].get("arguments") or {}
    text = lambda *texts: {"content": [{"type": "text", "text": t} for t in texts]}
    if name in ("rounds", "again", "forever", "heavy", "model"):
        return curious(name, message["params"])
    if name == "echo":
        return text(arguments["text"])
    if name == "look":
        return text("seen")
    if name == "env":
        return text(json.dumps(dict(os.environ)))
    if name == "kinds":
        return {"content": [
            {"type": "text", "text": "one\x1b[2J"},
            {"type": "image", "data": "aGk=", "mimeType": "image/png"},
            {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "file:///a", "name": "a"},
            {"type": "resource", "resource": {"uri": "file:///b", "text": "two"}},
            {"type": "resource", "resource": {"uri": "file:///c", "blob": "aGk="}},
        ]}
    if name == "fail":
        return {**text("it is broken"), "isError": True}
    if name == "die":
        print("something terrible happened", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "freeze":
        time.sleep(600)
    if name == "slow":
        return None
    if name == "ask":
        answers = []
        for number, (method, params) in enumerate([
            ("roots/list", {}),
            ("sampling/createMessage", {"messages": [], "maxTokens": 1}),
            ("elicitation/create", {"message": "Your password?", "requestedSchema": EMPTY}),
            ("nonsense/method", {}),
        ]):
            answer = wait_for({"jsonrpc": "2.0", "id": f"ask-{number}", "method": method, "params": params})
            answers.append(method + " " + json.dumps(answer.get("error", answer.get("result"))))
        return text(*answers)
    if name == "grow":
        extra.append(tool("grown"))
        send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("grown")
    return None


def answer(message):
    """The result of a request, or an error, or None for silence."""
    method = message["method"]
    if method == "initialize":
        return {"result": {"protocolVersion": message["params"]["protocolVersion"],
                           "capabilities": {"tools": {"listChanged": True}},
                           "serverInfo": {"name": "test", "version": "1"}}}
    if method == "tools/list":
        if manner == "endless":
            return {"result": {"tools": tools(), "nextCursor": "again"}}
        return {"result": {"tools": tools()}}
    if method == "ping":
        return {"result": {}}
    if method == "tools/call":
        if message["params"]["name"] == "refuse":
            return {"error": {"code": -32602, "message": "I \x1b[1mdo not\x1b[0m want to\nat all"}}
        result = call(message)
        return None if result is None else {"result": result}
    return {"error": {"code": -32601, "message": "no such method"}}


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def handle(message):
    if "method" in message and "id" in message:
        result = answer(message)
        if result is not None:
            send({"jsonrpc": "2.0", "id": message["id"], **result})
    elif message.get("method") == "notifications/cancelled":
        with open(os.path.join(here, "cancelled"), "w") as file:
            file.write(json.dumps(message["params"]))


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(405)

    do_DELETE = do_GET

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != "Bearer sesame":
            return self.reply(401, b"no \x1b[31mkey", WWW_Authenticate="Bearer")
        if manner == "web-redirect":
            return self.reply(307, Location=f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        if "id" not in message:
            return self.reply(202)
        if message["method"] == "tools/call" and message["params"]["name"] == "die":
            return os._exit(3)
        body = {"jsonrpc": "2.0", "id": message["id"], **answer(message)}
        if message["method"] == "tools/call":
            event = f"event: message\ndata: {json.dumps(body)}\n\n".encode()
            return self.reply(200, event, Content_Type="text/event-stream")
        self.reply(200, json.dumps(body).encode(), Content_Type="application/json", Mcp_Session_Id="s1")


if manner.startswith("web"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    print(server.server_port, flush=True)
    server.serve_forever()
if manner == "mute":
    time.sleep(600)
if manner == "gone":
    print("I never wanted this\x1b[31m", file=sys.stderr)
    sys.exit(7)
if manner == "garbage":
    while True:
        sys.stdout.write("this is { no json\n" * 100)
        sys.stdout.flush()
if manner == "long":
    while True:
        sys.stdout.write("x" * 65536)
        sys.stdout.flush()
if manner == "chatty":
    print("Welcome to my server!\n\n[]\n42\n{\"jsonrpc\": \"2.0\"}", flush=True)
for line in sys.stdin:
    handle(json.loads(line))
