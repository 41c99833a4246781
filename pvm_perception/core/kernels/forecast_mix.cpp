// The forecast from the choices, and the gradient of its error by the gates.
//
// A unit's window is moved as it chose, and windows overlap with the shares of their pixels. That is to weigh each
// moved picture with the units' choices interpolated between them: so it is done for the moves that all units try,
// line by line; windows of moves that are a unit's own are added one by one.

#include "forecast.h"

#include <array>

namespace forecast {
namespace {

// How the pixels from a line of 16 on lie between units: the left one's place, and the right one's share.
constexpr int BETWEEN[LANES] = {0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4};
constexpr float RIGHT[BLOCK] = {.625f, .875f, .125f, .375f};

// The shares of a window's pixels along an axis, at block `place` of `count`: where a window is missing at an edge,
// the others fill in; outside it is none.
void window_shares(int place, int count, float out[WINDOW]) {
    std::memcpy(out, SHARE, sizeof SHARE);
    for (int i = 0; i < WINDOW && (place == 0 || place == count - 1); ++i) {
        const int at = place * BLOCK - OUTSIDE + i, edge = std::min(at, count * BLOCK - 1 - at);
        out[i] = edge < 0 ? 0.0f : SHARE[i] / (edge < OUTSIDE ? SHARE[OUTSIDE + edge] : 1.0f);
    }
}

// What a line of units chose among the shared moves, own ones that equal one added: (shared, stride), with the edges'
// units repeated before and behind; and which moves any unit chose.
struct Chosen {
    float *shares;
    int stride;
    std::vector<char> any;
};

// Where a unit's window lies in the picture, and the shares of its pixels.
struct Window {
    int top, left;
    float down[WINDOW], right[WINDOW];

    Window(const Grid &g, int unit) : top(unit / g.cols * BLOCK - OUTSIDE), left(unit % g.cols * BLOCK - OUTSIDE) {
        window_shares(unit / g.cols, g.rows, down);
        window_shares(unit % g.cols, g.cols, right);
    }
};

// Add a unit's window of its own move to the forecast.
void add_window(const Frame &f, const Window &window, long at, float share) {
    const Grid &g = *f.grid;
    const bool inside = window.left >= 0 && window.left + WINDOW <= g.width;
    const Eight right = *(const Eight *)window.right * share;
    for (int c = 0; c < COLOURS; ++c)
        for (int y = std::max(-window.top, 0); y < std::min(WINDOW, g.height - window.top); ++y) {
            const Eight part = right * window.down[y] * *(const Eight *)(f.planes + at + (c * (long)g.lines + y) * g.pitch);
            float *to = f.picture + ((long)c * g.height + window.top + y) * g.width + window.left;
            if (inside)
                *(Eight *)to += part;
            else
                for (int x = std::max(-window.left, 0); x < std::min(WINDOW, g.width - window.left); ++x)
                    to[x] += part[x];
        }
}

// What a unit and its siblings chose of the moves that they try together, and that not all units try.
struct Patch {
    int unit;                                // the first of them
    std::vector<const float *> from;         // by move: where its patch begins in the planes
    std::vector<std::array<float, 4>> share; // by move and sibling
};

// Add the four windows of each of a patch's moves to the forecast.
void add_patch(const Frame &f, const Patch &patch) {
    const Grid &g = *f.grid;
    const Window first(g, patch.unit), second(g, patch.unit + g.cols + 1);
    float side[2][LANES] = {};
    for (int i = 0; i < WINDOW; ++i) {
        side[0][i] = first.right[i];
        side[1][BLOCK + i] = second.right[i];
    }
    const Sixteen left = load(side[0]), right = load(side[1]);
    const bool inside = first.left >= 0 && first.left + LANES <= g.width;
    for (int c = 0; c < COLOURS; ++c) {
        Sixteen upper[WINDOW] = {}, lower[WINDOW] = {};  // of the two siblings above, and below
        for (size_t n = 0; n < patch.from.size(); ++n) {
            const std::array<float, 4> &share = patch.share[n];
            const Sixteen above = share[0] * left + share[1] * right, below = share[2] * left + share[3] * right;
            const float *from = patch.from[n] + c * (long)g.lines * g.pitch;
#pragma GCC unroll 8
            for (int y = 0; y < WINDOW; ++y) {
                upper[y] += above * load(from + (long)y * g.pitch);
                lower[y] += below * load(from + (long)(y + BLOCK) * g.pitch);
            }
        }
        for (int y = 0; y < PATCH; ++y) {
            const int line = first.top + y;
            if (line < 0 || line >= g.height)
                continue;
            Sixteen part = {};
            if (y < WINDOW)
                part += first.down[y] * upper[y];
            if (y >= BLOCK)
                part += second.down[y - BLOCK] * lower[y - BLOCK];
            float *to = f.picture + ((long)c * g.height + line) * g.width + first.left;
            if (inside)
                store(to, load(to) + part);
            else
                for (int x = std::max(-first.left, 0); x < std::min(PATCH, g.width - first.left); ++x)
                    to[x] += part[x];
        }
    }
}

// Add what a unit and its siblings chose of the moves that they try together, and their last moves equal to these.
void add_siblings(const Frame &f, int unit, Patch &patch) {
    const Grid &g = *f.grid;
    patch.unit = unit;
    patch.from.clear();
    patch.share.clear();
    for (int k = g.shared; k < g.alike; ++k) {
        if (f.same[(long)(k - g.shared) * g.lanes + unit] >= 0)
            continue;
        std::array<float, 4> share;
        float total = 0.0f;
        for (int i = 0; i < 4; ++i) {
            const int at = sibling(g, unit, i);
            share[i] = f.choice[(long)k * g.lanes + at];
            for (int own = g.alike; own < g.moves; ++own)
                share[i] += f.same[(long)(own - g.shared) * g.lanes + at] == k ? f.choice[(long)own * g.lanes + at] : 0.0f;
            total += share[i];
        }
        if (total == 0.0f)
            continue;
        const int16_t *move = f.moves + (long)k * 2 * g.lanes + unit;
        if (patch_inside(g, unit, move[0], move[g.lanes])) {
            patch.from.push_back(f.planes + displaced(g, unit, move[0], move[g.lanes]));
            patch.share.push_back(share);
            continue;
        }
        for (int i = 0; i < 4; ++i) {
            const int at = sibling(g, unit, i);
            add_window(f, Window(g, at), displaced(g, at, move[0], move[g.lanes]), share[i]);
        }
    }
    if (!patch.from.empty())
        add_patch(f, patch);
}

// Add the shares of a line of units' own move k to those of equal moves that all units try; windows of moves that
// are a unit's alone to the forecast.
void gather_own(const Frame &f, int row, int k, Chosen &line) {
    const Grid &g = *f.grid;
    const float *share = f.choice + (long)k * g.lanes + row * g.cols;
    const int16_t *same = f.same + (long)(k - g.shared) * g.lanes + row * g.cols;
    float total = 0.0f, alone = 0.0f;
    for (int x = 0; x < g.cols; ++x) {
        total += share[x];
        alone += same[x] < 0 ? share[x] : 0.0f;
    }
    if (total == 0.0f)
        return;
    for (int x = 0; x < g.cols; ++x) {
        const bool known = same[x] >= 0 && same[x] < g.shared;
        line.shares[(known ? same[x] : 0) * line.stride + 1 + x] += known ? share[x] : 0.0f;
    }
    for (int x = 0; x < g.cols && alone > 0.0f && k >= g.alike; ++x)
        if (same[x] < 0 && share[x] > 0.0f) {
            const int unit = row * g.cols + x;
            const int16_t *move = f.moves + (long)k * 2 * g.lanes + unit;
            add_window(f, Window(g, unit), displaced(g, unit, move[0], move[g.lanes]), share[x]);
        }
}

// Gather what a line of units chose.
void gather_line(const Frame &f, int row, Chosen &line) {
    const Grid &g = *f.grid;
    for (int k = 0; k < g.shared; ++k)
        std::memcpy(line.shares + k * line.stride + 1, f.choice + (long)k * g.lanes + row * g.cols, 4 * g.cols);
    for (int k = g.shared; k < g.moves; ++k)
        gather_own(f, row, k, line);
    for (int k = 0; k < g.shared; ++k) {
        float *shares = line.shares + k * line.stride, total = 0.0f;
        for (int x = 1; x <= g.cols; ++x)
            total += shares[x];
        line.any[k] = total > 0.0f;
        shares[0] = shares[1];
        shares[g.cols + 1] = shares[g.cols];
    }
}

// Add the pixels between two lines of units, from line `top` of the picture on: `first` to `last` of its four.
void add_between(const Frame &f, const Chosen &upper, const Chosen &lower, int top, int first, int last) {
    const Grid &g = *f.grid;
    Sixteen_i left_of, right_of;
    Sixteen right_share;
    for (int i = 0; i < LANES; ++i) {
        left_of[i] = BETWEEN[i];
        right_of[i] = BETWEEN[i] + 1;
        right_share[i] = RIGHT[i % BLOCK];
    }
    for (int x = 0; x < g.width; x += LANES) {
        Sixteen total[COLOURS][BLOCK] = {};
        for (int k = 0; k < g.shared; ++k) {
            if (!upper.any[k] && !lower.any[k])
                continue;
            const int down = g.tried[2 * k], right = g.tried[2 * k + 1], phase = (right & 1) + 2 * (down & 1);
            const Sixteen above = load(upper.shares + k * upper.stride + x / BLOCK);
            const Sixteen below = load(lower.shares + k * lower.stride + x / BLOCK);
            const Sixteen begin = __builtin_shuffle(above, left_of), end = __builtin_shuffle(below, left_of);
            const Sixteen from = begin + right_share * (__builtin_shuffle(above, right_of) - begin);
            const Sixteen step = end + right_share * (__builtin_shuffle(below, right_of) - end) - from;
            const float *at = line_of(f, 0, phase, top + (down >> 1)) + x + (right >> 1);
            const long colour = (long)g.pitch * g.lines;
#pragma GCC unroll 4
            for (int y = 0; y < BLOCK; ++y) {
                const Sixteen share = from + (.125f + .25f * y) * step;
                for (int c = 0; c < COLOURS; ++c)
                    total[c][y] += share * load(at + c * colour + (long)y * g.pitch);
            }
        }
        const int count = std::min(LANES, g.width - x);
        for (int c = 0; c < COLOURS; ++c)
            for (int y = first; y <= last; ++y) {
                float *to = f.picture + ((long)c * g.height + top + y) * g.width + x;
                if (count == LANES)
                    store(to, load(to) + total[c][y]);
                else
                    for (int i = 0; i < count; ++i)
                        to[i] += total[c][y][i];
            }
    }
}

// The error of a unit's window, with the shares of its pixels.
void window_error(const Frame &f, const Window &window, Eight out[COLOURS][WINDOW]) {
    const Grid &g = *f.grid;
    const bool inside = window.left >= 0 && window.left + WINDOW <= g.width;
    for (int c = 0; c < COLOURS; ++c)
        for (int y = 0; y < WINDOW; ++y) {
            Eight e = {};
            if (window.top + y >= 0 && window.top + y < g.height) {
                const float *from = f.error + ((long)c * g.height + window.top + y) * g.width + window.left;
                if (inside)
                    e = *(const Eight *)from;
                else
                    for (int x = std::max(-window.left, 0); x < std::min(WINDOW, g.width - window.left); ++x)
                        e[x] = from[x];
            }
            out[c][y] = e * *(const Eight *)window.right * window.down[y];
        }
}

// A unit's error times the moved window, for each move that it chose; equal moves once. out: (moves,).
void error_by_move(const Frame &f, int unit, float *out) {
    const Grid &g = *f.grid;
    Eight wrong[COLOURS][WINDOW];
    window_error(f, Window(g, unit), wrong);
    std::vector<char> done(g.moves, 0);
    for (int k = 0; k < g.moves; ++k) {
        out[k] = 0.0f;
        if (f.choice[(long)k * g.lanes + unit] == 0.0f)
            continue;
        const int same = k < g.shared ? -1 : f.same[(long)(k - g.shared) * g.lanes + unit];
        if (same >= 0 && done[same]) {
            out[k] = out[same];
            continue;
        }
        const int16_t *move = f.moves + (long)k * 2 * g.lanes + unit;
        const float *from = f.planes + displaced(g, unit, move[0], move[g.lanes]);
        Eight total = {};
        for (int c = 0; c < COLOURS; ++c)
            for (int y = 0; y < WINDOW; ++y)
                total += wrong[c][y] * *(const Eight *)(from + (c * (long)g.lines + y) * g.pitch);
        out[k] = sum(total);
        done[k] = 1;
    }
}

}  // namespace

// The forecast (COLOURS, height, width).
void mix(const Frame &now) {
    static thread_local Memory memory;
    const Grid &g = *now.grid;
    const int stride = (g.cols + 2 + 2 * LANES) / LANES * LANES;
    float *lines = memory.of(2 * (size_t)g.shared * stride);
    Chosen line[2] = {{lines, stride, std::vector<char>(g.shared)},
                      {lines + g.shared * stride, stride, std::vector<char>(g.shared)}};
    std::fill(now.picture, now.picture + (long)COLOURS * g.height * g.width, 0.0f);
    Patch patch;
    for (int row = 0; row < g.rows && g.alike > g.shared; row += 2)
        for (int col = 0; col < g.cols; col += 2)
            add_siblings(now, row * g.cols + col, patch);
    for (int row = 0; row < g.rows; ++row) {
        const Chosen &upper = line[(row + 1) % 2], &lower = line[row % 2];
        gather_line(now, row, line[row % 2]);
        if (row == 0)
            add_between(now, lower, lower, -OUTSIDE, OUTSIDE, BLOCK - 1);
        else
            add_between(now, upper, lower, row * BLOCK - OUTSIDE, 0, BLOCK - 1);
    }
    const Chosen &end = line[(g.rows + 1) % 2];
    add_between(now, end, end, g.height - OUTSIDE, 0, OUTSIDE - 1);
}

}  // namespace forecast

using namespace forecast;

// Choose how each unit's part moves on, and make the forecast of the next picture. Without a frame before (`known`
// is 0) this picture is expected once more. `motion`: shift right and down as shares of the picture, roll, growth;
// or null.
extern "C" void forecast_foresee(const Frame *now, const Frame *last, const Frame *parent, const Weights *weights,
                                 const float *motion, int known) {
    const Grid &g = *now->grid;
    const int units = g.rows * g.cols;
    *now->moved = motion != nullptr;
    for (int unit = 0; unit < units; ++unit) {
        const int row = unit / g.cols, col = unit % g.cols;
        for (int axis = 0; axis < 2 && parent; ++axis)
            now->parent[axis * g.lanes + unit] =
                2 * parent->mean[axis * parent->grid->lanes + row / 2 * (g.cols / 2) + col / 2];
        if (motion) {  // the content went there, so what is here comes from the other side
            const float y = (row + .5f) * BLOCK - .5f * g.height, x = (col + .5f) * BLOCK - .5f * g.width;
            now->motion[unit] = -(motion[1] * g.height + motion[3] * y + motion[2] * x);
            now->motion[g.lanes + unit] = -(motion[0] * g.width + motion[3] * x - motion[2] * y);
        }
    }
    if (known) {
        try_moves(*now, *last, parent);
        compare_moves(*now, *last);
    }
    code_units(*now, *last, parent, *weights, known);
    if (known) {
        choose(*now, *last);
    } else {
        std::fill(now->choice, now->choice + g.lanes, 1.0f);
        std::fill(now->choice + g.lanes, now->choice + (long)g.moves * g.lanes, 0.0f);
        std::fill(now->mean, now->mean + 2L * g.lanes, 0.0f);
        std::fill(now->likeliest, now->likeliest + 2L * g.lanes, (int16_t)0);
    }
    mix(*now);
    *now->chosen = known;
}

// The gradient of half the squared error by the gates, times `weight`; `gates` is (TERMS, lanes).
extern "C" void forecast_gradient(const Frame *then, float weight, float *gates) {
    static thread_local Memory memory;
    const Grid &g = *then->grid;
    float *by_move = memory.of((size_t)g.moves * (LANES + 1)), *column = by_move + (size_t)g.moves * LANES;
    for (int u = 0; u < g.rows * g.cols; u += LANES) {
        std::fill(by_move, column, 0.0f);
        for (int i = 0; i < std::min(LANES, g.rows * g.cols - u); ++i) {
            error_by_move(*then, u + i, column);
            for (int k = 0; k < g.moves; ++k)
                by_move[k * LANES + i] = column[k];
        }
        Sixteen mean = {}, term[TERMS] = {};
        for (int k = 0; k < g.moves; ++k)
            mean += load(then->choice + (long)k * g.lanes + u) * load(by_move + k * LANES);
        for (int k = 0; k < g.moves; ++k) {  // a larger forecast lowers what came less it
            Sixteen prior[PRIORS];
            const Sixteen by = weight * load(then->choice + (long)k * g.lanes + u) * (mean - load(by_move + k * LANES));
            prior_terms(*then, k, u, prior);
            for (int i = 0; i < KINDS; ++i)
                term[i] += by * load(then->evidence + ((long)i * g.moves + k) * g.lanes + u);
            for (int i = 0; i < PRIORS; ++i)
                term[KINDS + i] += by * prior[i];
        }
        for (int i = 0; i < TERMS; ++i)
            store(gates + (long)i * g.lanes + u, term[i]);
    }
}
