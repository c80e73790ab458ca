#!/usr/bin/env python3
"""Writes benchmark graphs as blueprints, the same on every machine.

    graphs.py chain N KIND            N nodes in a chain
    graphs.py wide N KIND             N independent nodes and a join
    graphs.py layered LAYERS W KIND   LAYERS layers of W nodes, three needs each

KIND is `noop` (a pause of no time) or `true` (the program /bin/true).
"""
import sys

MASK = (1 << 64) - 1


class SplitMix:
    """splitmix64, written out so that the graphs do not depend on a library's random numbers."""

    def __init__(self, seed):
        self.state = seed & MASK

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound


def needs(shape, sizes):
    if shape == "chain":
        return [[] if i == 0 else [i - 1] for i in range(sizes[0])]
    if shape == "wide":
        return [[] for _ in range(sizes[0])] + [list(range(sizes[0]))]
    layers, width = sizes
    random = SplitMix(7)
    graph = []
    for node in range(layers * width):
        layer = node // width
        chosen = set()
        if layer > 0:
            chosen.add((layer - 1) * width + random.below(width))
            low = max(0, layer - 5) * width
            while len(chosen) < 3:
                chosen.add(low + random.below(layer * width - low))
        graph.append(sorted(chosen))
    return graph


def main():
    shape, *sizes, kind = sys.argv[1:]
    action = 'wait = "0s"' if kind == "noop" else 'run = ["/bin/true"]'
    print('schema = 1\nname = "graph"\n[defaults]\nworkspace = "none"')
    for number, before in enumerate(needs(shape, [int(size) for size in sizes])):
        names = ", ".join(f'"n{need}"' for need in before)
        print(f"[nodes.n{number}]\nneeds = [{names}]\n{action}")


main()
