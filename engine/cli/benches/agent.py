#!/usr/bin/env python3
"""What an agent costs before its model has said a word: the time from the start of the process to the first request at
the model's server, and the memory of the session while it waits for the answer.

    python3 engine/cli/benches/agent.py BLUEPRINT [--rounds N]

Prints the least and the median of each. The goals are 100 ms and 60 MB, with a release build on a quiet machine."""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

SETTINGS = """
[tiers]
generated = "process"
[models.aliases]
coding = ["near/model"]
[models.providers.near]
kind     = "anthropic"
base_url = "http://127.0.0.1:%d/v1"
[models.known."near/model"]
window = 100000
price  = { input = 3.0, output = 15.0 }
"""
NODE = """schema = 1
name   = "think"
[budget]
cost_usd = 1.0
[nodes.think]
agent = { prompt = "Think.", model = "coding" }
tools = ["fs.*", "shell", "git.*"]
"""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("blueprint", type=os.path.abspath)
    arguments.add_argument("--rounds", type=int, default=15)
    asked = arguments.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    times, resident = [], []
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        project = place / "project"
        (project / "blueprints").mkdir(parents=True)
        (project / "blueprints/think.toml").write_text(NODE)
        config = place / "home/.config/blueprint"
        config.mkdir(parents=True)
        (config / "config.toml").write_text(SETTINGS % listener.getsockname()[1])
        environment = {"PATH": os.environ["PATH"], "HOME": str(place / "home")}
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
            subprocess.run(git + words, cwd=project, env=environment, check=True)
        for _ in range(asked.rounds):
            began = time.perf_counter()
            child = subprocess.Popen(
                [asked.blueprint, "run", "think", "--quiet"], cwd=project, env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            connection, _ = listener.accept()
            connection.recv(65536)
            times.append(1000 * (time.perf_counter() - began))
            status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
            resident.append(int(status.split("VmRSS:")[1].split()[0]) / 1000)
            child.kill()
            child.wait()
            connection.close()
    print(json.dumps({
        "rounds": asked.rounds,
        "first_request_ms": {"least": round(min(times), 1), "median": round(statistics.median(times), 1)},
        "resident_mb": {"least": round(min(resident), 1), "median": round(statistics.median(resident), 1)},
    }))


if __name__ == "__main__":
    main()
