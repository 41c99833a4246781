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
    Ints operator()(Ints down, Ints right) const {
        const Ints at = inside(down + REACH + 1) * SIDE + inside(right + REACH + 1);
#if defined(__AVX512F__)
        return (Ints)_mm512_i32gather_epi32((__m512i)at, index, 4);
#elif defined(__AVX2__)
        return (Ints)_mm256_i32gather_epi32(index, (__m256i)at, 4);
#else
        Ints found;
        for (int i = 0; i < LANES; ++i)
            found[i] = index[at[i]];
        return found;
#endif
    }

private:
    static Ints inside(Ints at) {
        at = at < 0 ? (Ints){} : at;
        return at < SIDE - 1 ? at : (Ints){} + (SIDE - 1);
    }
};

// Squared differences of now and of `last` at each shared move, in all colours: of two lines of cells, from line y of
// the picture on. With those of the two above, `above`, they make what a line of units sums over, cell by cell: the
// two lines of cells of its blocks, the four of its windows. at: of moves in the planes; above, out: (moves, 2, wide).
void squares(const Frame &now, const Frame &last, const long *at, int moves, int y, int wide, int32_t *__restrict above,
             int32_t *__restrict out) {
    const Grid g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const int16_t *seen = line_of(now, 0, 0, y) - OUTSIDE, *before = line_of(last, 0, 0, y) - OUTSIDE;
    for (int x = 0; x < wide; x += LANES) {
        Pixels line[COLOURS][2 * CELL];
        for (int c = 0; c < COLOURS; ++c)
            for (int i = 0; i < 2 * CELL; ++i)
                line[c][i] = load(seen + c * colour + i * g.pitch + CELL * x);
        for (int k = 0; k < moves; ++k) {
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

// What is known of the own move k of some units, from an equal one; returns whether it is not known of any.
bool copy_known(const Frame &now, int k, int first, int end) {
    const Grid &g = *now.grid;
    const long kind = (long)g.moves * g.lanes;
    const int16_t *same = now.same + (long)(k - g.shared) * g.lanes;
    bool unknown = false;
    for (int u = first; u < end; u += LANES) {
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
    return unknown;
}

// The mean of the windows of a unit and its three siblings, for the moves that they try alike.
void average_siblings(const Frame &now, const Rows &rows) {
    const Grid &g = *now.grid;
    const float *windows = now.evidence + (long)g.moves * g.lanes;
    float *means = now.evidence + 2 * (long)g.moves * g.lanes;
    Ints other = {};  // the sibling beside
    for (int i = 0; i < LANES; ++i)
        other[i] = i ^ 1;
    for (int k = 0; k < g.alike; ++k, windows += g.lanes, means += g.lanes)
        for (int row = rows.first; row < rows.end; row += 2) {
            const int first = std::min(row, std::max(g.rows - 2, 0)), second = std::min(first + 1, g.rows - 1);
            const float *upper = windows + first * g.cols, *lower = windows + second * g.cols;
            float *out = means + row * g.cols;
            for (int x = 0; x < g.cols; x += LANES) {
                const int count = std::min(LANES, g.cols - x);
                const Lanes sums = .25f * (read_part<Lanes>(upper + x, count) + read_part<Lanes>(lower + x, count));
                const Lanes mean = sums + __builtin_shuffle(sums, other);
                write_part(out + x, mean, count);
                if (row + 1 < g.rows)
                    write_part(out + g.cols + x, mean, count);
            }
            const int end = g.cols - 1, before = std::max(end - 1, 0);
            for (int y = 0; y < 2 && row + y < g.rows && g.cols % 2; ++y)  // the last has no sibling beside it
                out[y * g.cols + end] = .25f * ((upper[end] + lower[end]) + (upper[before] + lower[before]));
        }
    const int begin = rows.first * g.cols, units = (rows.end - rows.first) * g.cols;
    for (int k = g.alike; k < g.moves; ++k, windows += g.lanes, means += g.lanes)
        std::memcpy(means + begin, windows + begin, 4 * units);
}

}  // namespace

// The moves that are not all units' own: around twice the parent's, then around the unit's last. Of each, an earlier
// equal one, whose evidence is known. Where neighbouring units moved alike, one is looked up for all.
void try_moves(const Frame &now, const Frame &last, const Frame *parent) {
    static thread_local Memory<int16_t> memory;
    const Grid &g = *now.grid;
    const int units = g.rows * g.cols;
    const Lookup shared(g, 0, g.shared), inherited(g, g.shared, g.alike);
    int16_t *around = memory.of(4 * (size_t)g.lanes);  // (2, 2, lanes): what is added to, of the parent's and the last
    for (int axis = 0; axis < 2; ++axis) {
        int16_t *__restrict twice = around + axis * g.lanes, *__restrict kept = twice + 2 * g.lanes;
        std::fill(twice, twice + g.lanes, 0);
        for (int row = 0; row < g.rows && parent; ++row) {
            const int16_t *above = parent->likeliest + axis * parent->grid->lanes + row / 2 * (g.cols / 2);
            for (int x = 0; x < g.cols; ++x)
                twice[row * g.cols + x] = 2 * held(above[x / 2], -g.limit, g.limit);
        }
        for (int u = 0; u < units; ++u)
            kept[u] = held(last.likeliest[axis * g.lanes + u], -g.limit, g.limit);
        std::fill(twice + units, twice + g.lanes, twice[units - 1]);
        std::fill(kept + units, kept + g.lanes, kept[units - 1]);
    }
    for (int u = 0; u < units; u += LANES) {
        const int16_t *base = around + u;
        const bool alike[2] = {Alike(base).equal && Alike(base + g.lanes).equal,
                               Alike(base + 2 * g.lanes).equal && Alike(base + 3 * g.lanes).equal};
        for (int k = g.shared; k < g.moves; ++k) {
            const bool own = k >= g.alike;
            const int16_t y = g.tried[2 * k], x = g.tried[2 * k + 1], *from = base + own * 2 * g.lanes;
            const Shorts down = read<Shorts>(from) + y, right = read<Shorts>(from + g.lanes) + x;
            int16_t *to = now.moves + (long)k * 2 * g.lanes + u, *same = now.same + (long)(k - g.shared) * g.lanes + u;
            write(to, down);
            write(to + g.lanes, right);
            if (alike[0] && alike[own]) {
                int16_t equal = shared(down[0], right[0]);
                if (own && equal < 0)
                    equal = inherited(down[0] - base[0], right[0] - base[g.lanes]);
                write(same, (Shorts){} + equal);
                continue;
            }
            Ints equal = shared(widened(down), widened(right));
            if (own) {
                const Shorts above_y = read<Shorts>(base), above_x = read<Shorts>(base + g.lanes);
                equal = equal < 0 ? inherited(widened(down - above_y), widened(right - above_x)) : equal;
            }
            write(same, __builtin_convertvector(equal, Shorts));
        }
    }
}

// Mean squares of the moves that all units try: each line of the picture once, so many moves at a time that their lines stay near.
void compare_shared(const Frame &now, const Frame &last) {
    static thread_local Memory<int32_t> memory;
    constexpr int TOGETHER = 14;
    const Grid &g = *now.grid;
    const int wide = (2 * g.cols + 2 + LANES - 1) / LANES * LANES, size = 2 * TOGETHER * wide;
    int32_t *above = memory.of(2 * (size_t)size + 4 * LANES), *lines = above + size;
    long at[TOGETHER];
    for (int from = 0; from < g.shared; from += TOGETHER) {
        const int moves = std::min(TOGETHER, g.shared - from);
        for (int k = 0; k < moves; ++k)
            at[k] = displaced(g, 0, g.tried[2 * (from + k)], g.tried[2 * (from + k) + 1]) - displaced(g, 0, 0, 0);
        for (int row = -1; row < g.rows; ++row) {
            squares(now, last, at, moves, (row + 1) * BLOCK - OUTSIDE, wide, above, lines);
            for (int k = 0; k < moves && row >= 0; ++k) {
                const int32_t *line = lines + 2 * k * wide;
                float *block = now.evidence + (long)(from + k) * g.lanes + row * g.cols;
                add_cells(line, line + wide, g.cols, block, block + (long)g.moves * g.lanes);
            }
        }
    }
}

// The moves that are units' own, of some lines, after those that all try; and what siblings see together. A unit's moves
// follow each other, since their windows lie near each other.
void compare_own(const Frame &now, const Frame &last, const Rows &rows) {
    const Grid &g = *now.grid;
    const int first = rows.first * g.cols, end = rows.end * g.cols;
    bool unknown = false;
    for (int k = g.shared; k < g.alike; ++k)
        unknown |= copy_known(now, k, first, end);
    for (int row = rows.first; row < rows.end && unknown; row += 2)
        for (int u = row * g.cols; u < (row + 1) * g.cols; u += 2)
            for (int k = g.shared; k < g.alike; ++k)
                if (now.same[(long)(k - g.shared) * g.lanes + u] < 0)
                    compare_siblings(now, last, k, u);
    unknown = false;
    for (int k = g.alike; k < g.moves; ++k)
        unknown |= copy_known(now, k, first, end);
    for (int u = first; u < end && unknown; ++u)
        for (int k = g.alike; k < g.moves; ++k)
            if (now.same[(long)(k - g.shared) * g.lanes + u] < 0)
                compare_alone(now, last, k, u);
    average_siblings(now, rows);
}

}  // namespace forecast
