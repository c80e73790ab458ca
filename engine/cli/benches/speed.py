#!/usr/bin/env python3
"""Prints how fast the program is, as ratios to a floor measured in the same rounds. Asserts nothing.

    speed.py BLUEPRINT [--floor FLOOR] [--rounds N]

FLOOR is a program that does the least an honest durable engine does on the same graphs (a start and a finish row a
node in an SQLite journal, finishes committed before successors start), called as
`FLOOR engine GRAPH.json --dir DIR [--commit ready] [--sync normal] [--jobs J]` and printing "run_s":SECONDS.
Without it only our own figures are printed.
"""
import argparse, json, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).parent
WORKLOADS = {
    # name: (graph, ours, floor)
    "W1 chain of 1,000, FULL": (["chain", "1000", "noop"], [], []),
    "W1 chain of 1,000, NORMAL": (["chain", "1000", "noop"], ["--sync", "normal"], ["--sync", "normal"]),
    "W2 1,000 wide and a join, FULL": (["wide", "1000", "noop"], [], ["--commit", "ready"]),
    "W3 10,000 nodes in 100 layers, FULL": (["layered", "100", "100", "noop"], [], ["--commit", "ready"]),
    "W3 1,000 nodes in 10 layers, FULL": (["layered", "10", "100", "noop"], [], ["--commit", "ready"]),
    "W4 200 programs, 2 at a time, FULL": (["layered", "20", "10", "true"], ["--sandbox", "none", "--jobs", "2"], ["--jobs", "2"]),
    "W5 one node, process start to end": (["chain", "1", "noop"], [], []),
}


def as_json(shape):
    """The same graph in the form the floor reads."""
    text = subprocess.run([sys.executable, HERE / "graphs.py", *shape], capture_output=True, text=True, check=True).stdout
    preds = [[int(n) for n in re.findall(r"n(\d+)", line)] for line in text.splitlines() if line.startswith("needs")]
    kind = "true" if shape[-1] == "true" else "noop"
    return text, json.dumps({"name": shape[0], "kind": kind, "n": len(preds), "edges": sum(map(len, preds)), "preds": preds})


def timed(command, cwd):
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{command} ended with {status}")
    return wall, usage.ru_maxrss / 1024, out.decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blueprint", type=pathlib.Path)
    parser.add_argument("--floor", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    blueprint, floor = args.blueprint.resolve(), args.floor and args.floor.resolve()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f} at the start, {args.rounds} rounds, medians; whole processes")
    print(f"{'workload':38} {'ours s':>8} {'floor s':>8} {'ratio':>6} {'MiB':>5}")
    with tempfile.TemporaryDirectory() as place:
        for name, (shape, flags, floor_flags) in WORKLOADS.items():
            text, graph = as_json(shape)
            rows = []
            for number in range(args.rounds + 1):
                folder = pathlib.Path(place) / "round"
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "floor").mkdir(parents=True)
                (folder / "g.toml").write_text(text)
                (folder / "g.json").write_text(graph)
                ours, rss, _ = timed([blueprint, "run", "./g.toml", "--quiet", "--state", "state", "-C", ".", *flags], folder)
                theirs = None
                if floor:
                    theirs, _, _ = timed([floor, "engine", "g.json", "--dir", "floor", *floor_flags], folder)
                if number > 0:  # the first round warms up
                    rows.append((ours, theirs, ours / theirs if theirs else None, rss))
            median = lambda column: statistics.median(row[column] for row in rows)
            base = f"{median(1):8.3f} {median(2):6.2f}" if floor else f"{'-':>8} {'-':>6}"
            print(f"{name:38} {median(0):8.3f} {base} {median(3):5.0f}", flush=True)


main()
