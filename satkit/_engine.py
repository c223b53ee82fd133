"""Boxes of all components of a map at all thresholds, compiled; `satkit.boxes` is its public face.

Done plainly, components are labelled anew at each of up to 1000 thresholds. But as the threshold
falls, pixels only join: components appear, grow and merge (a *component tree*). So a map is read
once, and what remains is a forest of a few dozen nodes:

1. *Levels.* A pixel's level is the number of distinct thresholds that it exceeds.
2. *Slopes.* Each row is cut at its valleys; between two of them it rises to one peak and falls. A
   slope whose peak has a neighbour above or below that is as high leads on to that one's slope.
   The slopes that lead to the same summit are a *basin*. Its part above any level is connected,
   as each pixel has a path to the summit that never descends. So basins, and not pixels, are the
   elements of the forest.
3. *Edges.* Two basins join at the highest level at which they touch.
4. *Cells and gains.* What the pixels of one level add to the box and to the size of a basin is
   one cell and one gain, in tables [levels, basins]. Only *tips* can extend the box of a component:
   pixels without neighbours on one side that are as high.
5. *Sweep.* From the highest level to the lowest, edges unite the components (union–find), cells and
   gains let them grow. Then the largest is known, and each that changed has a new box. A box that
   stays the same over a range of thresholds is one *bar*.

**OpenCV's contours.** Their size is the *polygon area* through the centres of the border pixels,
and contours of holes count too. A polygon's area is a sum over squares of 2x2 pixels: 1 for four
set pixels, 1/2 for three. So twice the area grows by 1 at the third and by 1 at the fourth highest
of each square's levels. It includes holes, so the largest contour is found on the map with its
holes filled. Holes come from the same sweep on the map turned upside down, where components are
4-connected and all that reaches the border of the map is *outside*. The level at which a hole
joins the outside is also the level to which it is filled.

Grids have a border of one pixel around the map, so that every pixel has eight neighbours. Basin 0
is what exceeds no threshold, basin 1 is the outside, and the others follow. Memory grows with
levels times basins: little for the smooth maps of a model, 35 MB for 224x224 pixels of pure noise.
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)

OUTSIDE = 1
FAR = 1 << 30  # start of a minimum: larger than any coordinate
TIP, RIM = 1, 2  # marks of a pixel that can extend a box, or touches another basin
FIRST, X0, X1, Y1, SIZE, STAMP, BAR = range(7)  # columns of a component; the first four of a cell
OPEN, CLOSED = 4, 5  # columns of a bar, after its box: levels


# Levels


@compiled
def first_outside(maps, low, high):  # type: ignore[no-untyped-def]
    """Index of the first map [N, H, W] with a value that is not in low–high, or -1."""
    for i in range(len(maps)):
        wrong = 0
        for y in range(maps.shape[1]):
            for x in range(maps.shape[2]):
                wrong += not (maps[i, y, x] >= low) & (maps[i, y, x] <= high)
        if wrong:
            return i
    return -1


@compiled
def grey_levels(values, thresholds, level):  # type: ignore[no-untyped-def]
    """Levels of the 8-bit values above ``int(threshold * max)``.

    Args:
        values: Float [H, W] in 0–1.
        thresholds: Float64 [T].
        level: Int16 [H, W]; filled.

    Returns:
        Number K of distinct thresholds, and which of them [T] belongs to each threshold.
    """
    top = np.int16(0)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            level[y, x] = np.int16(values[y, x] * np.float32(255))
            top = max(top, level[y, x])
    rows = (thresholds * top).astype(np.int64)
    level_of = np.zeros(257, np.int16)
    for row in rows:
        level_of[row + 1] = 1
    for grey in range(1, 257):
        level_of[grey] += level_of[grey - 1]
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            level[y, x] = level_of[level[y, x]]
    return np.int64(level_of[256]), level_of[rows].astype(np.int64)


@compiled
def threshold_levels(values, thresholds, level):  # type: ignore[no-untyped-def]
    """Levels of float values.

    Args:
        values: Float [H, W] in 0–1.
        thresholds: [K], ascending, of the same type.
        level: Int16 [H, W]; filled.
    """
    height, width = values.shape
    parts = values.dtype.type(4096)
    below = np.searchsorted(thresholds, np.arange(4097) / parts).astype(np.int16)
    for y in range(height):
        for x in range(width):
            k = below[np.int64(values[y, x] * parts)]  # thresholds below the value's 1/4096
            while k < len(thresholds) and thresholds[k] < values[y, x]:
                k += 1
            level[y, x] = k


@compiled
def _bounds(level):  # type: ignore[no-untyped-def]
    """Smallest rectangle with all pixels above level 0: first and end row, first and end column."""
    height, width = level.shape
    columns = np.zeros(width, np.int16)
    first, last = height, -1
    for y in range(height):
        any_in_row = np.int16(0)
        for x in range(width):
            columns[x] |= level[y, x]
            any_in_row |= level[y, x]
        if any_in_row:
            first, last = min(first, y), y
    if last < 0:
        return 0, 0, 0, 0
    inside = np.flatnonzero(columns)
    return first, last + 1, inside[0], inside[-1] + 1


# One map


def scratch(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Arrays that `trace` works in, for maps [height, width]; each thread needs its own."""
    pixels, framed = height * width, (height + 2) * (width + 2)
    return (
        np.empty((3, framed), np.int16),  # levels, the same upside down, and with holes filled
        np.empty(framed, np.int32),  # slopes, then basins
        np.empty((height + 2) * (width + 9), np.uint8),  # marks
        np.zeros((3, pixels + 2), np.int32),  # slopes: row, column of the peak, where it leads
        np.empty((4 * pixels, 3), np.int32),  # edges: two basins and their level
        np.empty((2 * pixels, 6), np.int32),  # bars
    )


def trace(
    level: np.ndarray, room: tuple[np.ndarray, ...], count: int, contours: bool, want_all: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Box of the largest component above every level, and the bars of all components.

    Args:
        level: Int16 [H, W], 0 … count.
        room: From `scratch`; what was returned from it before is overwritten.
        count: K, number of levels that a pixel can exceed.
        contours: See `satkit.boxes.Protocol`.
        want_all: Whether to record bars.

    Returns:
        Int32 [K, 4], -1 where nothing is above the level; int32 [n, 6], boxes and the first and
        last of the K rows in which they stand.
    """
    table, no_table = np.full((count, 4), -1, np.int32), np.empty((0, 4), np.int32)
    y0, y1, x0, x1 = _bounds(level)
    height, width = y1 - y0 + 2, x1 - x0 + 2  # of the rectangle that matters, with its border
    grids = room[0][:, : height * width].reshape(3, height, width)
    basin = room[1][: height * width].reshape(height, width)
    stride = (width + 7) // 8 * 8
    marks = room[2][: height * stride].reshape(height, stride)
    work, bars = (basin, marks, *room[3:]), room[5]
    framed, upside_down, filled = grids
    framed[:], filled[:], marks[:] = 0, 0, 0
    framed[1:-1, 1:-1] = level[y0:y1, x0:x1]
    holes = used = 0
    if contours:
        np.subtract(count, framed, out=upside_down)
        merges, basins, holes = _sweep(upside_down, work, count, True, True, no_table, 0, want_all)
        used = holes
        bars[:holes, OPEN:] = count - bars[:holes, OPEN:] - (0, 1)
    if contours and basins > OUTSIDE + 1:  # the largest contour is that of the filled map
        _fill(framed, basin, merges, basins, count, filled)
        _sweep(filled, work, count, False, True, table, used, False)
        if want_all:
            used = _sweep(framed, work, count, False, True, no_table, used, True)[2]
    else:
        used = _sweep(framed, work, count, False, contours, table, used, want_all)[2]
    bars[holes:used, OPEN:] = bars[holes:used, [CLOSED, OPEN]] - (0, 1)
    bars[:used, :OPEN] += (x0, y0, x0, y0)
    table[table[:, 2] >= 0] += (x0, y0, x0, y0)
    return table, bars[:used]


@compiled
def _sweep(level, work, count, holes, contours, table, used, record):  # type: ignore[no-untyped-def]
    """Grow the components of a grid from the top level down.

    Args:
        level: Int16 [H + 2, W + 2], 0 … count.
        work: Basins and marks [H + 2, …], slopes, edges and bars to work in; see `scratch`.
        count: K.
        holes: 4-connected, joined by the border; otherwise 8-connected.
        contours: Size is the polygon area, and the last of equal ones is the largest.
        table: [K, 4] for the box of the largest component above every level, or empty.
        used: Number of bars in use.
        record: Whether to add bars.

    Returns:
        Merges [n, 3] (basin, basin that it took up, level); the number of basins, with those of
        number 0 and 1; the number of bars in use.
    """
    basin, marks, slopes, edges, bars = work
    slope_count = _cut_rows(level, basin, slopes, np.int32(holes))
    basins = _join_slopes(level, basin, slopes[:, :slope_count], not holes)
    cells = np.zeros((count + 1, basins, 4), np.int32)
    gains = np.zeros((2, count + 1, basins), np.int32)
    if holes:
        _mark_holes(level, basin, marks)
    else:
        _mark(level, basin, marks)
    edge_count = _collect(level, basin, marks, cells, edges, not holes)
    if len(table):
        _measure(level, basin, gains, contours)
    order, start = _by_level(edges[:edge_count], count)
    parent, nodes = _forest(basins)
    touched = np.empty(basins, np.int32)
    merges = np.empty((basins, 3), np.int32)
    merged = 0
    lead = np.array([0, -1, FAR])  # the largest component: its number, size and first pixel
    for now in range(count, 0, -1):
        changed = 0
        for e in order[start[now] : start[now + 1]]:
            a, b = _find(parent, edges[e, 0]), _find(parent, edges[e, 1])
            if a != b:
                keep, lose = min(a, b), max(a, b)
                _unite(parent, nodes, keep, lose, bars, now)
                merges[merged, 0], merges[merged, 1], merges[merged, 2] = keep, lose, now
                merged += 1
                changed = _touch(nodes, keep, now, touched, changed)
        for i in range(OUTSIDE + 1, basins):
            gain = gains[0, now, i] + gains[1, now, i]
            if gain or cells[now, i, Y1]:
                root = _find(parent, i)
                _grow(nodes, root, cells[now], i)
                nodes[root, SIZE] += gain
                changed = _touch(nodes, root, now, touched, changed)
        if len(table):
            if changed:
                _update_lead(parent, nodes, touched[:changed], lead, contours)
            if lead[0]:
                x0, y0, x1, y1 = _box(nodes, lead[0], 0)
                table[now - 1, 0], table[now - 1, 1] = x0, y0
                table[now - 1, 2], table[now - 1, 3] = x1, y1
        if record:
            used = _record(parent, nodes, touched[:changed], bars, used, now, int(holes))
    return merges[:merged], basins, used


@compiled
def _fill(level, basin, merges, basins, count, filled):  # type: ignore[no-untyped-def]
    """Raise each basin of the upside-down grid to the level at which it joins the outside."""
    drained = np.zeros(basins, np.int16)  # level of the upside-down grid
    drained[OUTSIDE] = count
    for i in range(len(merges) - 1, -1, -1):
        drained[merges[i, 1]] = min(merges[i, 2], drained[merges[i, 0]])
    floor = (count - drained).astype(np.int16)
    floor[0] = 0  # the highest level: nothing to fill
    for y in range(1, level.shape[0] - 1):
        for x in range(1, level.shape[1] - 1):
            filled[y, x] = max(level[y, x], floor[basin[y, x]])


# Basins


@compiled
def _cut_rows(level, slope, slopes, outside):  # type: ignore[no-untyped-def]
    """Number the slopes of all rows from 2 up, and note their rows and peaks.

    Args:
        level: Int16 [H + 2, W + 2].
        slope: Int32 [H + 2, W + 2]; filled. 0 where the level is 0.
        slopes: Int32 [3, ≥ n + 2]; filled: row, first column of the peak.
        outside: Number of the border, 0 or 1; slopes that start at the left border are its.

    Returns:
        n + 2.
    """
    slope[0], slope[-1], slope[:, 0], slope[:, -1] = outside, outside, outside, outside
    count = OUTSIDE
    for y in range(1, level.shape[0] - 1):
        row, own = level[y], slope[y]
        number, peak, last, rising = outside, 0, row[0], False
        for x in range(1, len(row) - 1):
            value = row[x]
            higher = value > last
            if higher & (not rising):
                slopes[1, number] = peak
                count += 1
                number = np.int32(count)
                slopes[0, number] = y
            peak = x if higher else peak
            rising = higher | (rising & (value == last))
            own[x] = number if value > 0 else 0
            last = value
        slopes[1, number] = peak
    return count + 1


@compiled
def _join_slopes(level, grid, slopes, diagonal):  # type: ignore[no-untyped-def]
    """Replace the numbers of slopes in a grid by those of basins. Returns the number of basins."""
    rows, peaks, parent = slopes
    for i in range(len(parent)):
        parent[i] = i
    for i in range(OUTSIDE + 1, len(parent)):
        parent[i] = _leads_to(level, grid, rows[i], peaks[i], parent, diagonal)
    number = np.zeros(len(parent), np.int32)
    number[OUTSIDE] = OUTSIDE
    basins = OUTSIDE + 1
    for i in range(OUTSIDE + 1, len(parent)):
        if parent[i] == i:
            number[i] = basins
            basins += 1
    for i in range(len(parent)):
        number[i] = number[_find(parent, i)]
    for y in range(1, level.shape[0] - 1):
        own = grid[y]
        for x in range(1, len(own) - 1):
            own[x] = number[own[x]]
    return basins


@compiled
def _leads_to(level, grid, y, peak, parent, diagonal):  # type: ignore[no-untyped-def]
    """Slope to which a peak leads, itself on a summit: a higher neighbour's, or an equal one's."""
    height, own = level[y, peak], grid[y, peak]
    for near in (y - 1, y + 1):  # in most cases
        if level[near, peak] > height:
            return _find(parent, grid[near, peak])
    end = peak + 1  # of the peak's run of equal pixels
    while end < level.shape[1] and level[y, end] == height:
        end += 1
    if end == level.shape[1]:
        return np.int32(OUTSIDE)
    if level[y, end] > height:  # the border
        return _find(parent, grid[y, end])
    equal = own
    for near in (y - 1, y + 1):
        for x in range(peak - diagonal, end + diagonal):
            if level[near, x] > height:
                return _find(parent, grid[near, x])
            if level[near, x] == height and equal == own:
                equal = _find(parent, grid[near, x])
    return equal


# Cells and edges


@compiled
def _mark(level, basin, marks):  # type: ignore[no-untyped-def]
    """Mark pixels that can extend the box of an 8-connected component, or join two.

    A neighbour further out, or as far out and earlier in the sweep, makes a pixel no tip.
    """
    for y in range(1, level.shape[0] - 1):
        above, own, below = level[y - 1], level[y], level[y + 1]
        b_own, b_below, out = basin[y], basin[y + 1], marks[y]
        for x in range(1, level.shape[1] - 1):
            nw, n, ne, w = above[x - 1], above[x], above[x + 1], own[x - 1]
            e, sw, s, se = own[x + 1], below[x - 1], below[x], below[x + 1]
            p, b = own[x], b_own[x]
            tip = max(nw, n, ne, w) < p  # also the first pixel in raster order
            tip |= (max(sw, s, se, w) < p) & (e <= p)
            tip |= (max(nw, w, sw, n) < p) & (s <= p)
            tip |= (max(ne, e, se, n) < p) & (s <= p)
            rim = (b_own[x + 1] ^ b) | (b_below[x - 1] ^ b)
            rim |= (b_below[x] ^ b) | (b_below[x + 1] ^ b)
            out[x] = np.uint8(tip) | (np.uint8((rim != 0) & (p > 0)) << 1)


@compiled
def _mark_holes(level, basin, marks):  # type: ignore[no-untyped-def]
    """The same for 4-connected holes in the upside-down grid."""
    for y in range(1, level.shape[0] - 1):
        above, own, below = level[y - 1], level[y], level[y + 1]
        b_above, b_own, b_below, out = basin[y - 1], basin[y], basin[y + 1], marks[y]
        for x in range(1, level.shape[1] - 1):
            n, w, e, s, p, b = above[x], own[x - 1], own[x + 1], below[x], own[x], b_own[x]
            tip = (max(n, w) < p) & (e <= p)
            tip |= (max(s, w) < p) & (e <= p)
            tip |= (max(w, n) < p) & (s <= p)
            tip |= (max(e, n) < p) & (s <= p)
            rim = (b_above[x] ^ b) | (b_own[x + 1] ^ b) | (b_below[x] ^ b)
            out[x] = np.uint8(tip & (b != OUTSIDE)) | (np.uint8(rim != 0) << 1)


@compiled
def _collect(level, basin, marks, cells, edges, diagonal):  # type: ignore[no-untyped-def]
    """Put the boxes of tips into cells, and list where basins touch. Returns the number of edges.

    Of the edges of a pair of basins only those matter that are higher than the ones before; a
    small memory of pairs leaves out most of the others.
    """
    stride = level.shape[1]
    levels, basins = level.reshape(-1), basin.reshape(-1)
    around = np.array([1, stride - 1, stride, stride + 1] if diagonal else [-stride, 1, stride])
    tips, rims = np.empty(stride + 1, np.int32), np.empty(stride + 1, np.int32)
    memory = np.zeros((1024, 3), np.int32)
    count = 0
    for y in range(1, level.shape[0] - 1):
        tip_count, rim_count = _marked(marks[y], tips, rims)
        for i in range(tip_count):
            _put(cells, level[y, tips[i]], basin[y, tips[i]], y, tips[i])
        for i in range(rim_count):
            p = y * stride + rims[i]
            for step in around:
                now, q = min(levels[p], levels[p + step]), p + step
                if basins[p] == basins[q] or now == 0:
                    continue
                a, b = min(basins[p], basins[q]), max(basins[p], basins[q])
                m = (a * 37 + b) & 1023
                if memory[m, 0] == a and memory[m, 1] == b and memory[m, 2] >= now:
                    continue
                memory[m, 0], memory[m, 1], memory[m, 2] = a, b, now
                edges[count, 0], edges[count, 1], edges[count, 2] = a, b, now
                count += 1
    return count


@compiled
def _marked(row, tips, rims):  # type: ignore[no-untyped-def]
    """List the columns of tips and of rim pixels in a row of marks. Returns both counts."""
    words = row.view(np.uint64)  # eight pixels at a time, as few are marked
    tip_count = rim_count = 0
    for w in range(len(words)):
        if words[w] != 0:
            for x in range(8 * w, 8 * w + 8):  # without branches, which would be hard to predict
                tips[tip_count] = rims[rim_count] = x
                tip_count += row[x] & 1
                rim_count += row[x] >> 1
    return tip_count, rim_count


@compiled
def _put(cells, now, i, y, x):  # type: ignore[no-untyped-def]
    """Add a pixel (both coordinates from 1) to the box of a cell."""
    place = (y << 16) | x
    fresh = cells[now, i, Y1] == 0
    cells[now, i, FIRST] = place if fresh else min(cells[now, i, FIRST], place)
    cells[now, i, X0] = x - 1 if fresh else min(cells[now, i, X0], x - 1)
    cells[now, i, X1] = max(cells[now, i, X1], x)
    cells[now, i, Y1] = y  # rows come in order


@compiled
def _measure(level, basin, gains, contours):  # type: ignore[no-untyped-def]
    """What each level adds to the size of each basin.

    Args:
        level: Int16 [H + 2, W + 2].
        basin: Int32 [H + 2, W + 2].
        gains: Int32 [2, K + 1, n], zeros; filled. Their sum over the first axis is the number of
            pixels or, for contours, twice the polygon area: by the third highest levels of the
            squares, and by the fourth.
        contours: See `satkit.boxes.Protocol`.
    """
    width, flat = level.shape[1], gains.reshape(-1)
    plane, basins = np.int32(gains[0].size), np.int32(gains.shape[2])
    third, fourth = np.zeros(width, np.int32), np.zeros(width, np.int32)  # places in `flat`
    for y in range(1, level.shape[0] - 1):
        own, below, b_own = level[y], level[y + 1], basin[y]
        if not contours:
            _count_row(own, b_own, gains[0])
            continue
        for x in range(1, width - 2):  # the square of this pixel and those to the right and below
            a, b, c, d = own[x], own[x + 1], below[x], below[x + 1]
            low, high = min(a, b), max(a, b)
            low_2, high_2 = min(c, d), max(c, d)
            i = b_own[x + 1] if b > a else b_own[x]  # its level is among the three highest
            third[x] = min(max(low, low_2), min(high, high_2)) * basins + i
            fourth[x] = min(low, low_2) * basins + i + plane
        for x in range(1, width - 2):
            flat[np.uint32(third[x])] += 1
            flat[np.uint32(fourth[x])] += 1


@compiled
def _count_row(level, basin, gains):  # type: ignore[no-untyped-def]
    """Add the pixels of one row to gains [K + 1, n], run by run."""
    start = 1
    for x in range(2, len(level)):
        if level[x] != level[start] or basin[x] != basin[start]:
            gains[level[start], basin[start]] += x - start
            start = x


@compiled
def _by_level(edges, count):  # type: ignore[no-untyped-def]
    """Counting sort: the order of edges by level, and where each level starts [K + 2]."""
    start = np.zeros(count + 2, np.int32)
    for edge in edges:
        start[edge[2] + 1] += 1
    for k in range(1, count + 2):
        start[k] += start[k - 1]
    end = start.copy()
    order = np.empty(len(edges), np.int32)
    for i in range(len(edges)):
        order[end[edges[i, 2]]] = i
        end[edges[i, 2]] += 1
    return order, start


# Components: a union–find forest over basins


@compiled
def _forest(basins):  # type: ignore[no-untyped-def]
    """Parents [n] and nodes [n, 7] of components without pixels; 0 is no component."""
    nodes = np.zeros((basins, 7), np.int32)
    nodes[:, FIRST] = nodes[:, X0] = FAR
    nodes[:, STAMP] = nodes[:, BAR] = -1
    nodes[0, SIZE] = -1
    return np.arange(basins).astype(np.int32), nodes


@compiled
def _find(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _grow(nodes, i, parts, j):  # type: ignore[no-untyped-def]
    """Add the box of a cell, or of another node, to a node."""
    if parts[j, Y1]:
        nodes[i, FIRST] = min(nodes[i, FIRST], parts[j, FIRST])
        nodes[i, X0] = min(nodes[i, X0], parts[j, X0])
        nodes[i, X1] = max(nodes[i, X1], parts[j, X1])
        nodes[i, Y1] = max(nodes[i, Y1], parts[j, Y1])


@compiled
def _unite(parent, nodes, keep, lose, bars, now):  # type: ignore[no-untyped-def]
    """Merge a component into another; its bar ends."""
    parent[lose] = keep
    _grow(nodes, keep, nodes, lose)
    nodes[keep, SIZE] += nodes[lose, SIZE]
    if nodes[lose, BAR] >= 0:
        bars[nodes[lose, BAR], CLOSED] = now


@compiled
def _touch(nodes, root, now, touched, changed):  # type: ignore[no-untyped-def]
    """Note a component as changed at this level, once. Returns the number of noted ones."""
    if nodes[root, STAMP] == now:
        return changed
    nodes[root, STAMP] = now
    touched[changed] = root
    return changed + 1


@compiled
def _beats(nodes, a, b, last_wins):  # type: ignore[no-untyped-def]
    """Whether component a is larger than b; of equal ones, the first or last in raster order."""
    if nodes[a, SIZE] != nodes[b, SIZE]:
        return nodes[a, SIZE] > nodes[b, SIZE]
    if last_wins:
        return nodes[a, FIRST] > nodes[b, FIRST]
    return nodes[a, FIRST] < nodes[b, FIRST]


@compiled
def _update_lead(parent, nodes, touched, lead, last_wins):  # type: ignore[no-untyped-def]
    """Find the largest component after a level.

    It is the one that led before (or what that became) or one that changed, unless the leader's
    first pixel moved up and an equal one that did not change now comes last: then all are asked.
    """
    best = _find(parent, lead[0])
    fell = last_wins and nodes[best, SIZE] == lead[1] and nodes[best, FIRST] < lead[2]
    for i in range(len(parent) if fell else len(touched)):
        root = _find(parent, i if fell else touched[i])
        if nodes[root, Y1] and _beats(nodes, root, best, last_wins):
            best = root
    lead[0], lead[1], lead[2] = best, nodes[best, SIZE], nodes[best, FIRST]


@compiled
def _box(nodes, i, margin):  # type: ignore[no-untyped-def]
    """Box of a component, half-open xyxy, with a margin around it."""
    x0, y0 = nodes[i, X0] - margin, (nodes[i, FIRST] >> 16) - 1 - margin
    return x0, y0, nodes[i, X1] + margin, nodes[i, Y1] + margin


@compiled
def _record(parent, nodes, touched, bars, used, now, margin):  # type: ignore[no-untyped-def]
    """Close the bars of components whose box changed, and open new ones.

    Returns the number of bars in use.
    """
    for i in touched:
        root = _find(parent, i)
        if root == OUTSIDE:
            continue
        x0, y0, x1, y1 = _box(nodes, root, margin)
        bar = nodes[root, BAR]
        if bar >= 0:
            same = bars[bar, 0] == x0 and bars[bar, 1] == y0
            if same and bars[bar, 2] == x1 and bars[bar, 3] == y1:
                continue
            bars[bar, CLOSED] = now
        bars[used, 0], bars[used, 1], bars[used, 2], bars[used, 3] = x0, y0, x1, y1
        bars[used, OPEN], bars[used, CLOSED] = now, 0
        nodes[root, BAR] = used
        used += 1
    return used


# Scores


@compiled
def _pair_iou(boxes, j, truth, extra):  # type: ignore[no-untyped-def]
    """IoU of box j and the best of some ground-truth boxes [m, 4]; see `satkit.boxes.iou`."""
    best = 0.0
    x0, y0, x1, y1 = boxes[j, 0], boxes[j, 1], boxes[j, 2], boxes[j, 3]
    area = max(x1 - x0 + extra, 0.0) * max(y1 - y0 + extra, 0.0)
    for i in range(len(truth)):
        width = min(x1, truth[i, 2]) - max(x0, truth[i, 0]) + extra
        height = min(y1, truth[i, 3]) - max(y0, truth[i, 1]) + extra
        if width <= 0 or height <= 0:
            continue
        own = (truth[i, 2] - truth[i, 0] + extra) * (truth[i, 3] - truth[i, 1] + extra)
        overlap = width * height
        best = max(best, overlap / (area + own - overlap))
    return best


@compiled
def table_ious(table, truth, extra):  # type: ignore[no-untyped-def]
    """Best IoU [K] of each row of a table of boxes."""
    out = np.empty(len(table))
    for j in range(len(table)):
        same = j > 0
        for k in range(4):
            same = same and table[j, k] == table[j - 1, k]
        out[j] = out[j - 1] if same else _pair_iou(table, j, truth, extra)
    return out


@compiled
def raise_to_bars(best, bars, truth, extra):  # type: ignore[no-untyped-def]
    """Raise the best IoU of each row to that of the bars which span it, in place."""
    for i in range(len(bars)):
        value = _pair_iou(bars, i, truth, extra)
        for j in range(bars[i, 4], bars[i, 5] + 1):
            best[j] = max(best[j], value)


@compiled
def histograms(maps, masks, counted, thresholds):  # type: ignore[no-untyped-def]
    """Number of pixels outside and inside masks, by the last threshold <= value.

    Args:
        maps: Float [N, H, W] in 0–1.
        masks: Bool [N, H, W].
        counted: Bool [N, H, W], pixels that count.
        thresholds: Float64 [T], ascending from 0.

    Returns:
        Int64 [2, T].
    """
    cells = 4096
    first = np.searchsorted(thresholds, np.arange(cells + 1) / cells, side="right") - 1
    above = np.append(thresholds[1:], np.inf)
    counts = np.zeros((3, len(thresholds)), np.int64)
    for i in range(len(maps)):
        for y in range(maps.shape[1]):
            for x in range(maps.shape[2]):
                value = maps[i, y, x]
                k = first[np.int64(value * cells)]
                k += above[k] <= value  # one step is nearly always enough
                while above[k] <= value:
                    k += 1
                counts[np.int64(masks[i, y, x]) if counted[i, y, x] else 2, k] += 1
    return counts[:2]
