"""Box of the largest component at a few thresholds, by runs; `satkit.boxes` is its public face.

Where there are only a few levels, as in SAT's own evaluation, rows are long runs of one level. A
map is cut into runs once; then each level joins its few hundred runs by union–find, which costs
less than the forest of `satkit._engine`. The boxes are the same.
"""

from __future__ import annotations

import numpy as np

from satkit._engine import compiled

START, END, LEVEL = range(3)  # columns of a run
#: Columns of a node, a run of some level or above: its component's box and size if it is the
#: component's first one, its parent, and its own columns
X0, Y0, X1, Y1, SIZE, PARENT, FROM, TO = range(8)


def scratch(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Arrays that `trace` works in, for maps [height, width]; each thread needs its own."""
    return (
        np.zeros((height, -(-width // 8) * 8), np.int8),  # levels; 0 in what fills up the last word
        np.empty(height + 1, np.int32),  # first run of each row
        np.empty((height * width, 3), np.int32),  # runs
        np.empty((height * width, 8), np.int32),  # nodes
    )


def trace(
    values: np.ndarray, thresholds: np.ndarray, room: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Box of the 8-connected component with most pixels, above every threshold.

    Args:
        values: Float [H, W].
        thresholds: [K], ascending, of the same type; at most 127.
        room: From `scratch`.

    Returns:
        As `satkit._engine.trace` gives it for the largest component: int32 [K, 4], -1 where
        nothing is above the threshold; no bars.
    """
    table = np.full((len(thresholds), 4), -1, np.int32)
    level, first, runs, nodes = room
    _fill(values, thresholds, level, level.view(np.int64), first, runs, nodes, table)
    return table, np.empty((0, 6), np.int32)


@compiled
def _fill(values, thresholds, level, words, first, runs, nodes, table):  # type: ignore[no-untyped-def]
    """Fill the table [K, 4]: one call, since threads wait for each other between calls."""
    _count(values, thresholds, level)
    _cut(level, words, values.shape[1], runs, first)
    for k in range(len(table)):
        used = _join(runs, first, k + 1, nodes)
        _find_largest(nodes[:used], table[k])


@compiled
def _count(values, thresholds, level):  # type: ignore[no-untyped-def]
    """Level of each pixel: how many thresholds it exceeds."""
    level[:] = 0
    for y in range(values.shape[0]):
        for threshold in thresholds:
            for x in range(values.shape[1]):
                level[y, x] += np.int8(values[y, x] > threshold)


@compiled
def _cut(level, words, width, runs, first):  # type: ignore[no-untyped-def]
    """Runs (start, end, level) of equal pixels above level 0, and each row's first run [H + 1].

    Levels [H, W] are also read as words [H, W / 8]: a long run is eight pixels at a time.
    """
    used = 0
    for y in range(len(level)):
        row, x = level[y], 0
        first[y] = used
        while x < width:
            start, value = x, row[x]
            x = _run_end(row, words[y], x, width)
            if value:
                runs[used, START], runs[used, END], runs[used, LEVEL] = start, x, value
                used += 1
    first[len(level)] = used


@compiled
def _run_end(row, words, x, width):  # type: ignore[no-untyped-def]
    """End of the run that starts at a pixel; it may lie beyond the row where the level is 0."""
    value = row[x]
    x += 1
    while x < width and x % 8 and row[x] == value:
        x += 1
    if x >= width or x % 8:
        return x
    word, equal = x // 8, np.int64(0x0101010101010101) * value
    while word < len(words) and words[word] == equal:
        word += 1
    x = 8 * word
    while x < width and row[x] == value:
        x += 1
    return x


@compiled
def _join(runs, first, least, nodes):  # type: ignore[no-untyped-def]
    """Components of the runs at a level or above: nodes with box, size and parent.

    Returns the number of nodes; a node that is its own parent is a component.
    """
    used, above = 0, 0  # nodes; the first one of the row above
    for y in range(len(first) - 1):
        own = used
        for i in range(first[y], first[y + 1]):
            if runs[i, LEVEL] < least:
                continue
            start, end = runs[i, START], runs[i, END]
            if used > own and nodes[used - 1, TO] == start:  # goes on, at another level
                used -= 1
                start = nodes[used, FROM]
            nodes[used, FROM], nodes[used, TO] = start, end
            nodes[used, X0], nodes[used, Y0], nodes[used, X1], nodes[used, Y1] = (
                start,
                y,
                end,
                y + 1,
            )
            nodes[used, SIZE], nodes[used, PARENT] = end - start, used
            used += 1
        _join_rows(nodes, above, own, used)
        above = own
    return used


@compiled
def _join_rows(nodes, above, own, end):  # type: ignore[no-untyped-def]
    """Unite nodes above … own - 1 with those of the next row, own … end - 1, where they touch."""
    i, j = above, own
    while i < own and j < end:
        if nodes[i, FROM] <= nodes[j, TO] and nodes[j, FROM] <= nodes[i, TO]:
            _unite(nodes, i, j)
        if nodes[i, TO] < nodes[j, TO]:
            i += 1
        else:
            j += 1


@compiled
def _unite(nodes, i, j):  # type: ignore[no-untyped-def]
    """Merge the components of two nodes into that of the one that comes first."""
    i, j = _root(nodes, i), _root(nodes, j)
    if i == j:
        return
    keep, lose = min(i, j), max(i, j)
    nodes[lose, PARENT] = keep
    nodes[keep, X0] = min(nodes[keep, X0], nodes[lose, X0])
    nodes[keep, Y0] = min(nodes[keep, Y0], nodes[lose, Y0])
    nodes[keep, X1] = max(nodes[keep, X1], nodes[lose, X1])
    nodes[keep, Y1] = max(nodes[keep, Y1], nodes[lose, Y1])
    nodes[keep, SIZE] += nodes[lose, SIZE]


@compiled
def _root(nodes, i):  # type: ignore[no-untyped-def]
    while nodes[i, PARENT] != i:
        nodes[i, PARENT] = nodes[nodes[i, PARENT], PARENT]
        i = nodes[i, PARENT]
    return i


@compiled
def _find_largest(nodes, box):  # type: ignore[no-untyped-def]
    """Write the box [4] of the largest component; the first of equal ones."""
    best = -1
    for i in range(len(nodes)):
        if nodes[i, PARENT] == i and (best < 0 or nodes[i, SIZE] > nodes[best, SIZE]):
            best = i
    if best >= 0:
        box[:] = nodes[best, :SIZE]
