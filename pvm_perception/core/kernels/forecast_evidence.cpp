// Which moves a unit tries, and how well each explains this frame: mean squares over block, window and siblings.

#include "forecast_pixels.h"

namespace forecast {
namespace {

constexpr int CELL = OUTSIDE;  // px: side of the cells that blocks and windows are made of, 2 x 2 and 4 x 4 of them
static_assert(CELL == 2, "a cell's line is two pixels, whose squares one instruction adds");
constexpr int REACH = 16;      // half px each way within which an equal move is looked up
constexpr float IN_BLOCK = SQUARE / (COLOURS * BLOCK * BLOCK), IN_WINDOW = SQUARE / (COLOURS * WINDOW * WINDOW);

// Of some of the tried moves, the index of the one that equals an offset, or -1.
struct Lookup {
    static constexpr int SIDE = 2 * REACH + 3;  // with what lies outside
    int32_t index[SIDE * SIDE];

    Lookup(const Grid &g, int first, int end) {
        std::fill(index, index + SIDE * SIDE, -1);
        for (int k = end - 1; k >= first; --k)
            index[(g.tried[2 * k] + REACH + 1) * SIDE + g.tried[2 * k + 1] + REACH + 1] = k;
    }
    int operator()(int down, int right) const {
        return index[held(down + REACH + 1, 0, SIDE - 1) * SIDE + held(right + REACH + 1, 0, SIDE - 1)];
    }
};

// Squared differences of now and of `last` at each shared move, in all colours: of two lines of cells, from line y of
// the picture on. With those of the two above, `above`, they make what a line of units sums over, cell by cell: the
// two lines of cells of its blocks, the four of its windows. above, out: (shared, 2, wide).
void squares(const Frame &now, const Frame &last, const long *at, int y, int wide, int32_t *__restrict above,
             int32_t *__restrict out) {
    const Grid &g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const int16_t *seen = line_of(now, 0, 0, y) - OUTSIDE, *before = line_of(last, 0, 0, y) - OUTSIDE;
    for (int x = 0; x < wide; x += LANES) {
        Pixels line[COLOURS][2 * CELL];
        for (int c = 0; c < COLOURS; ++c)
            for (int i = 0; i < 2 * CELL; ++i)
                line[c][i] = load(seen + c * colour + i * g.pitch + CELL * x);
        for (int k = 0; k < g.shared; ++k) {
            Ints cells[2] = {};
            const int16_t *from = before + at[k] + CELL * x;
#pragma GCC unroll 3
            for (int c = 0; c < COLOURS; ++c)
#pragma GCC unroll 4
                for (int i = 0; i < 2 * CELL; ++i) {
                    const Pixels d = line[c][i] - load(from + c * colour + i * g.pitch);
                    cells[i / CELL] = add_products(cells[i / CELL], d, d);
                }
            int32_t *kept = above + 2 * k * wide + x, *to = out + 2 * k * wide + x;
            const Ints both = cells[0] + cells[1];
            store(to, load(kept) + cells[0]);
            store(to + wide, load(kept + wide) + both);
            store(kept, cells[1]);
            store(kept + wide, both);
        }
    }
}

// From lines of the cells of blocks and of windows, those of a line of units.
void add_cells(const int32_t *blocks, const int32_t *windows, int cols, float *block, float *window) {
    for (int c = 0; c < cols; c += LANES) {
        const int32_t *inner = blocks + 2 * c + 1, *outer = windows + 2 * c;
        const Ints in = add_neighbours(load(inner), load(inner + LANES));
        const Ints both = add_neighbours(load(outer) + load(outer + 2), load(outer + LANES) + load(outer + LANES + 2));
        write_part(block + c, in_floats(in) * IN_BLOCK, cols - c);
        write_part(window + c, in_floats(both) * IN_WINDOW, cols - c);
    }
}

// The moves that all units try: each line of the picture once.
void compare_shared(const Frame &now, const Frame &last) {
    static thread_local Memory<int32_t> memory;
    const Grid &g = *now.grid;
    const int wide = (2 * g.cols + 2 + LANES - 1) / LANES * LANES, size = 2 * g.shared * wide;
    int32_t *above = memory.of(2 * (size_t)size + 4 * LANES), *lines = above + size;
    float *block = now.evidence, *window = now.evidence + (long)g.moves * g.lanes;
    std::vector<long> at(g.shared);  // of the shared moves in the planes
    for (int k = 0; k < g.shared; ++k)
        at[k] = displaced(g, 0, g.tried[2 * k], g.tried[2 * k + 1]) - displaced(g, 0, 0, 0);
    for (int row = -1; row < g.rows; ++row) {
        squares(now, last, at.data(), (row + 1) * BLOCK - OUTSIDE, wide, above, lines);
        for (int k = 0; k < g.shared && row >= 0; ++k) {
            const int32_t *line = lines + 2 * k * wide;
            const long to = (long)k * g.lanes + row * g.cols;
            add_cells(line, line + wide, g.cols, block + to, window + to);
        }
    }
}

// A unit's window of its own move k, which equals no earlier one.
void compare_alone(const Frame &now, const Frame &last, int k, int unit) {
    const Grid &g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const int16_t *move = now.moves + (long)k * 2 * g.lanes + unit;
    const int16_t *seen = now.planes + displaced(g, unit, 0, 0);
    const int16_t *before = last.planes + displaced(g, unit, move[0], move[g.lanes]);
    Four inner = {}, outer = {};
#pragma GCC unroll 3
    for (int c = 0; c < COLOURS; ++c)
#pragma GCC unroll 8
        for (int y = 0; y < WINDOW; ++y) {
            const long at = c * colour + y * g.pitch;
            const Eight_px d = *(const Eight_px *)(seen + at) - *(const Eight_px *)(before + at);
            Four &sums = y < OUTSIDE || y >= OUTSIDE + BLOCK ? outer : inner;
            sums = add_products(sums, d, d);
        }
    float *block = now.evidence + (long)k * g.lanes + unit;
    outer += inner;
    *block = (inner[1] + inner[2]) * IN_BLOCK;
    block[(long)g.moves * g.lanes] = ((outer[0] + outer[1]) + (outer[2] + outer[3])) * IN_WINDOW;
}

// The four windows of a unit and its siblings, of their move k: as one patch, no square twice.
void compare_siblings(const Frame &now, const Frame &last, int k, int unit) {
    const Grid &g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const int16_t *move = now.moves + (long)k * 2 * g.lanes + unit;
    if (!patch_inside(g, unit, move[0], move[g.lanes])) {
        for (int i = 0; i < 4; ++i)
            compare_alone(now, last, k, sibling(g, unit, i));
        return;
    }
    const int16_t *seen = now.planes + displaced(g, unit, 0, 0);
    const int16_t *before = last.planes + displaced(g, unit, move[0], move[g.lanes]);
    constexpr int LINES = PATCH / CELL, STRIP = sizeof(Strip) / 2;
    int32_t windows[2][8], blocks[2][8];
    for (int x = 0; x < PATCH; x += STRIP) {
        Strip_sums sums[LINES] = {};
#pragma GCC unroll 3
        for (int c = 0; c < COLOURS; ++c)
#pragma GCC unroll 12
            for (int y = 0; y < PATCH; ++y) {
                const long at = c * colour + y * g.pitch + x;
                const Strip d = *(const Strip *)(seen + at) - *(const Strip *)(before + at);
                sums[y / CELL] = add_products(sums[y / CELL], d, d);
            }
        for (int i = 0; i < 2; ++i) {
            const Strip_sums middle = sums[2 * i + 1] + sums[2 * i + 2];
            std::memcpy(blocks[i] + x / CELL, &middle, sizeof middle);
            const Strip_sums four = middle + sums[2 * i] + sums[2 * i + 3];
            std::memcpy(windows[i] + x / CELL, &four, sizeof four);
        }
    }
    for (int i = 0; i < 4; ++i) {
        const int32_t *in = blocks[i / 2] + i % 2 * 2, *all = windows[i / 2] + i % 2 * 2;
        float *block = now.evidence + (long)k * g.lanes + sibling(g, unit, i);
        *block = (in[1] + in[2]) * IN_BLOCK;
        block[(long)g.moves * g.lanes] = ((all[0] + all[1]) + (all[2] + all[3])) * IN_WINDOW;
    }
}

// Whether all of LANES values are the same, and whether any is negative.
struct Alike {
    bool equal, negative;

    Alike(const int16_t *values) {
        uint64_t words[LANES / 4], differ = 0, signs = 0;
        std::memcpy(words, values, sizeof words);
        const uint64_t first = (uint16_t)values[0] * 0x0001000100010001ull;
        for (uint64_t word : words) {
            differ |= word ^ first;
            signs |= word;
        }
        equal = !differ;
        negative = signs & 0x8000800080008000ull;
    }
};

// The units' own move k: what is known of an equal one, else window by window, or four of them at once.
void compare_own(const Frame &now, const Frame &last, int k) {
    const Grid &g = *now.grid;
    const int units = g.rows * g.cols;
    const long kind = (long)g.moves * g.lanes;
    const int16_t *same = now.same + (long)(k - g.shared) * g.lanes;
    bool unknown = false;
    for (int u = 0; u < units; u += LANES) {
        const Alike alike(same + u);
        const float *from = now.evidence + u;
        float *__restrict to = now.evidence + (long)k * g.lanes + u;
        unknown |= alike.negative;
        if (!alike.equal) {
            for (int i = 0; i < LANES; ++i) {
                const int at = std::max<int>(same[u + i], 0) * g.lanes + i;
                to[i] = from[at];
                to[kind + i] = from[kind + at];
            }
        } else if (!alike.negative) {
            store(to, load(from + (long)same[u] * g.lanes));
            store(to + kind, load(from + kind + (long)same[u] * g.lanes));
        }
    }
    if (!unknown)
        return;
    if (k >= g.alike) {
        for (int u = 0; u < units; ++u)
            if (same[u] < 0)
                compare_alone(now, last, k, u);
        return;
    }
    for (int row = 0; row < g.rows; row += 2)
        for (int u = row * g.cols; u < (row + 1) * g.cols; u += 2)
            if (same[u] < 0)
                compare_siblings(now, last, k, u);
}

// The mean of the windows of a unit and its three siblings, for the moves that they try alike.
void average_siblings(const Frame &now) {
    static thread_local Memory<> memory;
    const Grid &g = *now.grid;
    const float *windows = now.evidence + (long)g.moves * g.lanes;
    float *means = now.evidence + 2 * (long)g.moves * g.lanes, *column = memory.of(g.cols);
    for (int k = 0; k < g.alike; ++k, windows += g.lanes, means += g.lanes)
        for (int row = 0; row < g.rows; row += 2) {
            const int first = std::min(row, std::max(g.rows - 2, 0)), second = std::min(first + 1, g.rows - 1);
            const float *upper = windows + first * g.cols, *lower = windows + second * g.cols;
            float *__restrict sums = column, *__restrict out = means + row * g.cols;
            for (int x = 0; x < g.cols; ++x)
                sums[x] = .25f * (upper[x] + lower[x]);
            for (int x = 0; x + 1 < g.cols; x += 2)
                out[x] = out[x + 1] = sums[x] + sums[x + 1];
            if (g.cols % 2)
                out[g.cols - 1] = sums[g.cols - 1] + sums[std::max(g.cols - 2, 0)];
            if (row + 1 < g.rows)
                std::memcpy(out + g.cols, out, 4 * g.cols);
        }
    std::memcpy(means, windows, 4 * (long)(g.moves - g.alike) * g.lanes);
}

}  // namespace

// The moves that are not all units' own: around twice the parent's, then around the unit's last. Of each, an earlier
// equal one, whose evidence is known.
void try_moves(const Frame &now, const Frame &last, const Frame *parent) {
    static thread_local Memory<int16_t> memory;
    const Grid &g = *now.grid;
    const int units = g.rows * g.cols;
    const Lookup shared(g, 0, g.shared), inherited(g, g.shared, g.alike);
    int16_t *base = memory.of(4 * (size_t)g.lanes), *own = base + 2 * g.lanes;  // (2, lanes) each
    for (int axis = 0; axis < 2; ++axis)
        for (int u = 0; u < units; ++u) {
            const int row = u / g.cols, col = u % g.cols, at = axis * g.lanes + u;
            const int above = parent ? axis * parent->grid->lanes + row / 2 * (g.cols / 2) + col / 2 : 0;
            base[at] = parent ? 2 * held(parent->likeliest[above], -g.limit, g.limit) : 0;
            own[at] = held(last.likeliest[at], -g.limit, g.limit);
        }
    for (int k = g.shared; k < g.moves; ++k) {
        int16_t *__restrict down = now.moves + (long)k * 2 * g.lanes, *__restrict right = down + g.lanes;
        int16_t *__restrict same = now.same + (long)(k - g.shared) * g.lanes;
        const int16_t *around = k < g.alike ? base : own;
        for (int u = 0; u < units; ++u) {
            down[u] = around[u] + g.tried[2 * k];
            right[u] = around[g.lanes + u] + g.tried[2 * k + 1];
            same[u] = shared(down[u], right[u]);
        }
        for (int u = 0; u < units && k >= g.alike; ++u)
            same[u] = same[u] < 0 ? inherited(down[u] - base[u], right[u] - base[g.lanes + u]) : same[u];
    }
}

// Differences of each kind, (KINDS, moves, lanes), in the place of the evidence.
void compare_moves(const Frame &now, const Frame &last) {
    const Grid &g = *now.grid;
    compare_shared(now, last);
    for (int k = g.shared; k < g.moves; ++k)
        compare_own(now, last, k);
    average_siblings(now);
}

}  // namespace forecast
