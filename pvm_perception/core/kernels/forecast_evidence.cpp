// Which moves a unit tries, and how well each explains this frame: mean squares over block, window and siblings.

#include "forecast.h"

namespace forecast {
namespace {

constexpr int CELL = OUTSIDE;  // px: side of the cells that blocks and windows are made of, 2 x 2 and 4 x 4 of them
constexpr int REACH = 16;      // half px each way within which an equal move is looked up
constexpr float IN_BLOCK = 1.0f / (COLOURS * BLOCK * BLOCK), IN_WINDOW = 1.0f / (COLOURS * WINDOW * WINDOW);

// A count of values as whole vectors of them.
int padded(int count) { return (count + LANES - 1) / LANES * LANES; }

// Of some of the tried moves, the index of the one that equals an offset, or -1.
struct Lookup {
    int16_t index[2 * REACH + 1][2 * REACH + 1];

    Lookup(const Grid &g, int first, int end) {
        std::memset(index, -1, sizeof index);
        for (int k = end - 1; k >= first; --k)
            index[g.tried[2 * k] + REACH][g.tried[2 * k + 1] + REACH] = k;
    }
    int operator()(int down, int right) const {
        const unsigned y = down + REACH, x = right + REACH;
        return y <= 2 * REACH && x <= 2 * REACH ? index[y][x] : -1;
    }
};

// Write move k of `count` neighbouring units, and which earlier one is equal, so that its evidence is known.
void set_move(const Frame &f, int k, int unit, int count, int down, int right, int same) {
    const Grid &g = *f.grid;
    int16_t *to = f.moves + (long)k * 2 * g.lanes + unit, *equal = f.same + (long)(k - g.shared) * g.lanes + unit;
    for (int i = 0; i < count; ++i) {
        to[i] = down;
        to[g.lanes + i] = right;
        equal[i] = same;
    }
}

// Squared differences of two lines of now, from line y on, and of `last` at each shared move, added up in all
// colours; out: (shared, wide).
void squares(const Frame &now, const Frame &last, const long *at, int y, int wide, float *__restrict out) {
    const Grid &g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const float *seen = line_of(now, 0, 0, y) - OUTSIDE, *before = line_of(last, 0, 0, y) - OUTSIDE;
    for (int x = 0; x < wide; x += LANES) {
        Sixteen line[COLOURS][2];
        for (int c = 0; c < COLOURS; ++c)
            for (int i = 0; i < 2; ++i)
                line[c][i] = load(seen + c * colour + i * g.pitch + x);
        for (int k = 0; k < g.shared; ++k) {
            Sixteen total = {};
            for (int c = 0; c < COLOURS; ++c)
                for (int i = 0; i < 2; ++i) {
                    const Sixteen d = line[c][i] - load(before + at[k] + c * colour + i * g.pitch + x);
                    total += d * d;
                }
            store(out + k * wide + x, total);
        }
    }
}

// Sums of two neighbours each, from in[0] on; writes whole vectors, and reads as far.
void add_pairs(const float *__restrict in, int count, float *__restrict out) {
#if defined(__AVX512F__)
    for (int i = 0; i < count; i += LANES) {
        const Sixteen low = load(in + 2 * i), high = load(in + 2 * i + LANES);
        const Sixteen_i even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
        store(out + i, __builtin_shuffle(low, high, even) + __builtin_shuffle(low, high, even + 1));
    }
#else
    for (int i = 0; i < count; ++i)
        out[i] = in[2 * i] + in[2 * i + 1];
#endif
}

// From four lines of cells, blocks (the two in the middle) and windows of a line of units.
void add_cells(const float *const line[4], int cols, float *__restrict scratch, float *block, float *window) {
    const int cells = 2 * cols + 2, wide = padded(cells);
    float *__restrict sums = scratch, *__restrict windows = scratch + wide, *__restrict pairs = windows + wide;
    for (int i = 0; i < cells; i += LANES) {
        const Sixteen middle = load(line[1] + i) + load(line[2] + i);
        store(sums + i, middle * IN_BLOCK);
        store(windows + i, (load(line[0] + i) + load(line[3] + i) + middle) * IN_WINDOW);
    }
    add_pairs(sums + 1, cols, pairs);
    std::copy(pairs, pairs + cols, block);
    add_pairs(windows, cols + 1, pairs);
    for (int c = 0; c < cols; ++c)
        window[c] = pairs[c] + pairs[c + 1];
}

// The moves that all units try: each line of cells once.
void compare_shared(const Frame &now, const Frame &last) {
    static thread_local Memory memory;
    const Grid &g = *now.grid;
    const int cells = 2 * g.cols + 2, line = padded(cells), wide = padded(CELL * cells);
    float *squared = memory.of((size_t)g.shared * (wide + 4 * line) + 3 * (size_t)line + 2 * LANES);
    float *lines = squared + g.shared * wide;  // (shared, 4, line): a ring
    float *scratch = lines + g.shared * 4 * line;
    float *block = now.evidence, *window = now.evidence + (long)g.moves * g.lanes;
    std::vector<long> at(g.shared);  // of the shared moves in the planes
    for (int k = 0; k < g.shared; ++k)
        at[k] = displaced(g, 0, g.tried[2 * k], g.tried[2 * k + 1]) - displaced(g, 0, 0, 0);
    for (int j = 0; j < 2 * g.rows + 2; ++j) {
        squares(now, last, at.data(), CELL * (j - 1), wide, squared);
        for (int k = 0; k < g.shared; ++k) {
            float *ring = lines + (long)k * 4 * line;
            add_pairs(squared + k * wide, cells, ring + j % 4 * line);
            if (j >= 3 && j % 2) {
                const float *const four[4] = {ring + (j + 1) % 4 * line, ring + (j + 2) % 4 * line,
                                              ring + (j + 3) % 4 * line, ring + j % 4 * line};
                const long to = (long)k * g.lanes + (j - 3) / 2 * g.cols;
                add_cells(four, g.cols, scratch, block + to, window + to);
            }
        }
    }
}

// A unit's window of its own move k, which equals no earlier one.
void compare_alone(const Frame &now, const Frame &last, int k, int unit) {
    const Grid &g = *now.grid;
    const long colour = (long)g.pitch * g.lines;
    const int16_t *move = now.moves + (long)k * 2 * g.lanes + unit;
    const float *seen = now.planes + displaced(g, unit, 0, 0);
    const float *before = last.planes + displaced(g, unit, move[0], move[g.lanes]);
    Eight inner = {}, outer = {};
    for (int c = 0; c < COLOURS; ++c)
        for (int y = 0; y < WINDOW; ++y) {
            const long at = c * colour + y * g.pitch;
            const Eight d = *(const Eight *)(seen + at) - *(const Eight *)(before + at);
            (y < OUTSIDE || y >= OUTSIDE + BLOCK ? outer : inner) += d * d;
        }
    float *block = now.evidence + (long)k * g.lanes + unit;
    *block = ((inner[2] + inner[3]) + (inner[4] + inner[5])) * IN_BLOCK;
    block[(long)g.moves * g.lanes] = sum(inner + outer) * IN_WINDOW;
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
    const float *seen = now.planes + displaced(g, unit, 0, 0);
    const float *before = last.planes + displaced(g, unit, move[0], move[g.lanes]);
    Sixteen cells[PATCH / CELL] = {};
    for (int c = 0; c < COLOURS; ++c)
        for (int y = 0; y < PATCH; ++y) {
            const long at = c * colour + y * g.pitch;
            const Sixteen d = load(seen + at) - load(before + at);
            cells[y / CELL] += d * d;
        }
    for (int i = 0; i < 2; ++i) {
        const Sixteen *first = cells + 2 * i;
        float inner[LANES], both[LANES];
        store(inner, first[1] + first[2]);
        store(both, (first[0] + first[3]) + (first[1] + first[2]));
        for (int j = 0; j < 2; ++j) {
            float *block = now.evidence + (long)k * g.lanes + unit + i * g.cols + j;
            const float *in = inner + BLOCK * j + OUTSIDE;
            *block = ((in[0] + in[1]) + (in[2] + in[3])) * IN_BLOCK;
            block[(long)g.moves * g.lanes] = sum(*(const Eight *)(both + BLOCK * j)) * IN_WINDOW;
        }
    }
}

// The units' own move k: what is known of an equal one, else window by window, or four of them at once.
void compare_own(const Frame &now, const Frame &last, int k) {
    const Grid &g = *now.grid;
    const int units = g.rows * g.cols;
    const int16_t *same = now.same + (long)(k - g.shared) * g.lanes;
    for (int kind = 0; kind < 2; ++kind) {
        const float *from = now.evidence + (long)kind * g.moves * g.lanes;
        float *__restrict to = now.evidence + ((long)kind * g.moves + k) * g.lanes;
        for (int u = 0; u < units; ++u)
            to[u] = from[std::max<int>(same[u], 0) * g.lanes + u];
    }
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
    static thread_local Memory memory;
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

// The moves that are not all units' own: around twice the parent's, then around the unit's last.
void try_moves(const Frame &now, const Frame &last, const Frame *parent) {
    const Grid &g = *now.grid;
    const Lookup shared(g, 0, g.shared), inherited(g, g.shared, g.alike);
    for (int unit = 0; unit < g.rows * g.cols; ++unit) {
        const int row = unit / g.cols, col = unit % g.cols;
        int base[2] = {};  // twice the parent's move, as the siblings took it
        if (parent) {
            const int16_t *move = parent->likeliest + row / 2 * (g.cols / 2) + col / 2;
            for (int axis = 0; axis < 2; ++axis)
                base[axis] = 2 * held(move[axis * parent->grid->lanes], -g.limit, g.limit);
            for (int k = g.shared; k < g.alike && row % 2 == 0 && col % 2 == 0; ++k) {
                const int down = base[0] + g.tried[2 * k], right = base[1] + g.tried[2 * k + 1];
                for (int line = 0; line < 2; ++line)
                    set_move(now, k, unit + line * g.cols, 2, down, right, shared(down, right));
            }
        }
        for (int k = g.alike; k < g.moves; ++k) {
            const int down = held(last.likeliest[unit], -g.limit, g.limit) + g.tried[2 * k];
            const int right = held(last.likeliest[g.lanes + unit], -g.limit, g.limit) + g.tried[2 * k + 1];
            const int all = shared(down, right);
            set_move(now, k, unit, 1, down, right, all < 0 ? inherited(down - base[0], right - base[1]) : all);
        }
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
