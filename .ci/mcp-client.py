#!/usr/bin/env python3
"""`blueprint mcp` as the official Python SDK sees it: a project with one run, every tool once, and what must be refused.

    mcp-client.py BLUEPRINT
"""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

BLUEPRINT = """schema = 1
name = "talk"

[nodes.say]
run = ["sh", "-c", "for n in $(seq 500); do echo line $n; done; printf 'red \\\\033[31m end\\n'"]
workspace = "none"

[nodes.fail]
needs = ["say"]
run = ["false"]
workspace = "none"
"""


def text(result):
    return "\n".join(part.text for part in result.content if part.type == "text")


def failed(result):
    return getattr(result, "is_error", getattr(result, "isError", None))


async def main(program):
    with tempfile.TemporaryDirectory(prefix="mcp-client-") as place:
        await converse(program, pathlib.Path(place))


async def converse(program, place):
    project = place / "project"
    (project / "blueprints" / "talk").mkdir(parents=True)
    (project / "blueprints" / "talk" / "blueprint.toml").write_text(BLUEPRINT)
    (project / "blueprints" / "wrong.toml").write_text("schema = 1\nname = 'wrong'\n[nodes.a]\nneeds = ['b']\nrun = ['true']\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(place)}
    ran = subprocess.run([program, "run", "talk", "--quiet"], cwd=project, env=env, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    before = sorted((path.name, path.stat().st_size) for path in (project / "blueprints").rglob("*"))
    params = StdioServerParameters(command=program, args=["mcp"], env=env, cwd=str(project))
    async with stdio_client(params) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        info = getattr(hello, "server_info", getattr(hello, "serverInfo", None))
        assert info.name == "blueprint", info
        tools = (await session.list_tools()).tools
        names = [tool.name for tool in tools]
        assert names == ["runs", "run", "logs", "check", "plan", "explain"], names
        for tool in tools:
            hints = tool.annotations
            assert getattr(hints, "read_only_hint", getattr(hints, "readOnlyHint", None)) is True, tool

        async def ask(tool, **arguments):
            result = await session.call_tool(tool, arguments)
            return failed(result), text(result)

        wrong, said = await ask("runs")
        runs = json.loads(said)
        assert not wrong and len(runs["runs"]) == 1 and runs["more"] == 0, said
        run = runs["runs"][0]["id"]
        wrong, said = await ask("run", run=run)
        nodes = {node["node"]: node["phase"] for node in json.loads(said)["nodes"]}
        assert not wrong and nodes == {"say": "succeeded", "fail": "failed"}, said
        wrong, said = await ask("logs", run=run, node="say", lines=3)
        assert not wrong and said == "[earlier lines are left out]\nsay | line 499\nsay | line 500\nsay | red  end", said
        wrong, said = await ask("logs", run=run, lines=2000)
        assert not wrong and said.startswith("say | line 1\n"), said
        wrong, said = await ask("logs", run=run, node="fail")
        assert not wrong and said == "nothing was written", said
        wrong, said = await ask("check", blueprint="talk")
        assert not wrong and json.loads(said)["ok"] is True, said
        wrong, said = await ask("check", blueprint="blueprints/wrong.toml")
        found = json.loads(said)
        assert not wrong and found["ok"] is False and found["findings"][0]["place"]["file"] == "blueprints/wrong.toml", said
        wrong, said = await ask("check", text="schema = 1\nname = 'x'\n[nodes.a]\nruns = 1\n")
        found = json.loads(said)
        assert not wrong and found["ok"] is False and found["findings"], said
        wrong, said = await ask("check", text=BLUEPRINT)
        assert not wrong and json.loads(said)["ok"] is True, said
        wrong, said = await ask("plan", blueprint="talk")
        assert not wrong and json.loads(said)["blueprint"] == "talk", said
        code = found["findings"][0]["code"] if found["findings"] else "BP012"
        wrong, said = await ask("explain", what=code)
        assert not wrong and code in said, said
        wrong, said = await ask("explain", what="say", blueprint="talk")
        assert not wrong and "workspace" in said, said

        for tool, arguments, words in [
            ("run", {"run": "no-such-run"}, "there is no run"),
            ("run", {"run": "--help"}, "there is no run"),
            ("logs", {"run": run, "node": "nobody"}, "nobody"),
            ("run", {}, "arguments make no sense"),
            ("run", {"run": run, "more": 1}, "arguments make no sense"),
            ("check", {}, "either"),
            ("check", {"blueprint": "../elsewhere.toml"}, "neither a name nor a path in the project"),
            ("check", {"blueprint": "/etc/passwd"}, "neither a name nor a path in the project"),
            ("plan", {"blueprint": "--state=/tmp/x"}, "there is no blueprint"),
            ("explain", {"what": "x" * 5000}, "longer than"),
        ]:
            wrong, said = await ask(tool, **arguments)
            assert wrong and words in said, (tool, arguments, said)
        try:
            wrong, said = await ask("cancel", run=run)
        except Exception as error:
            wrong, said = True, str(error)
        assert wrong and "there is no tool" in said, said
        many = await asyncio.gather(*(ask("run", run=run) for _ in range(20)))
        assert all(not wrong for wrong, _ in many)
    after = sorted((path.name, path.stat().st_size) for path in (project / "blueprints").rglob("*"))
    assert before == after
    print("the official Python SDK is content with `blueprint mcp`")


asyncio.run(main(os.path.realpath(sys.argv[1])))
