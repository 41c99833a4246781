// The forecast from the choices, and the gradient of its error by the gates.
//
// A unit's window is moved as it chose, and windows overlap with the shares of their pixels. That is to weigh each
// moved picture with the units' choices interpolated between them: so it is done for the moves that all units try,
// line by line. Windows of moves that are a unit's own are added up before, one by one, in the forecast's place, as
// pixels with FINE more bits.
//
// Of the moves that all units try, two a pixel apart are worked off as one: a vector of the moved picture holds, in
// neighbouring lanes, what both put at every second pixel, and another one, a pixel further, what they put at the
// rest. A word is the shares of two moves.

#include "forecast_pixels.h"

#include <array>

namespace forecast {
namespace {

// The shares of a window's pixels along an axis, at block `place` of `count`: where a window is missing at an edge,
// the others fill in; outside it is none.
void window_shares(int place, int count, float out[WINDOW]) {
    std::memcpy(out, SHARE, sizeof SHARE);
    for (int i = 0; i < WINDOW && (place == 0 || place == count - 1); ++i) {
        const int at = place * BLOCK - OUTSIDE + i, edge = std::min(at, count * BLOCK - 1 - at);
        out[i] = edge < 0 ? 0.0f : SHARE[i] / (edge < OUTSIDE ? SHARE[OUTSIDE + edge] : 1.0f);
    }
}

// Where a unit's window lies in the picture, and the shares of its pixels.
struct Window {
    int top, left;
    float down[WINDOW], right[WINDOW];

    Window(const Grid &g, int unit) : top(unit / g.cols * BLOCK - OUTSIDE), left(unit % g.cols * BLOCK - OUTSIDE) {
        window_shares(unit / g.cols, g.rows, down);
        window_shares(unit % g.cols, g.cols, right);
    }
};

// A share as a factor of `scaled`; 1 is one step less.
int16_t factor(float share) { return std::min((int)(share * 32768 + .5f), 32767); }

// A share with WHOLE bits.
int16_t fixed(float share) { return (int)(share * (1 << WHOLE) + .5f); }

// A line of windows, FINE, to the forecast's; `count` pixels of it from x = `left` on, which may lie outside.
template <class V> INLINE void add_line(const Frame &f, int c, int y, int left, int count, V part) {
    const Grid &g = *f.grid;
    int16_t *to = f.picture + ((long)c * g.height + y) * g.width;
    constexpr int WIDE = sizeof(V) / 2;
    if (left >= 0 && left + WIDE <= g.width) {
        write(to + left, read<V>(to + left) + part);
        return;
    }
    for (int x = std::max(-left, 0); x < std::min({count, WIDE, g.width - left}); ++x)
        to[left + x] += part[x];
}

// The sum of moved pictures of V, lines of one colour, with their shares: two moves at a time, pixels in turn.
template <class V, class Sums, int LINES>
INLINE void add_moves(const int16_t *const *from, const V *shares, int stride, int moves, int pitch, V *out) {
    Sums low[LINES] = {}, high[LINES] = {};
    for (int n = 0; n < moves; n += 2) {
        const V one = shares[n * stride], two = shares[(n + 1) * stride];
        const V first = lower(one, two), second = upper(one, two);
#pragma GCC unroll 8
        for (int y = 0; y < LINES; ++y) {
            const V a = read<V>(from[n] + (long)y * pitch), b = read<V>(from[n + 1] + (long)y * pitch);
            low[y] = add_products(low[y], lower(a, b), first);
            high[y] = add_products(high[y], upper(a, b), second);
        }
    }
    constexpr int BITS = WHOLE - FINE;
    for (int y = 0; y < LINES; ++y)
        out[y] = narrow((low[y] + (1 << (BITS - 1))) >> BITS, (high[y] + (1 << (BITS - 1))) >> BITS);
}

// What one unit, or four siblings, chose of moves of their own.
struct Own {
    static constexpr int MOST = 9 * 9 + 1;         // moves: `inherit` is 4 at most; and one that makes them even
    const int16_t *from[MOST];                     // by move: where its window, or its patch, begins in the planes
    std::array<float, 4> share[MOST];              // by move and sibling
    int moves = 0;

    void add(const int16_t *at, const std::array<float, 4> &of) {
        from[moves] = at;
        share[moves++] = of;
    }
    // Make the number of moves even: one that has no share.
    void pair() {
        if (moves % 2)
            add(from[moves - 1], {});
    }
};

// Add a unit's windows of its own moves to the forecast.
void add_windows(const Frame &f, int unit, Own &own) {
    const Grid &g = *f.grid;
    const Window window(g, unit);
    Eight_px right, shares[Own::MOST];
    for (int x = 0; x < WINDOW; ++x)
        right[x] = factor(window.right[x]);
    for (int n = 0; n < own.moves; ++n)
        shares[n] = scaled((Eight_px){} + fixed(own.share[n][0]), right);
    for (int c = 0; c < COLOURS; ++c) {
        const int16_t *from[Own::MOST];
        for (int n = 0; n < own.moves; ++n)
            from[n] = own.from[n] + c * (long)g.lines * g.pitch;
        Eight_px out[WINDOW];
        add_moves<Eight_px, Four, WINDOW>(from, shares, 1, own.moves, g.pitch, out);
        for (int y = std::max(-window.top, 0); y < std::min(WINDOW, g.height - window.top); ++y)
            add_line(f, c, window.top + y, window.left, WINDOW, scaled(out[y], (Eight_px){} + factor(window.down[y])));
    }
}

// Add four siblings' windows of the moves that they try together to the forecast: as patches, in strips.
void add_patches(const Frame &f, int unit, Own &own) {
    const Grid &g = *f.grid;
    constexpr int WIDE = sizeof(Strip) / 2;
    const Window first(g, unit), second(g, unit + g.cols + 1);
    for (int x = 0; x < PATCH; x += WIDE) {
        Strip left, right, shares[2 * Own::MOST];  // of the two siblings above, and below
        for (int i = 0; i < WIDE; ++i) {
            left[i] = x + i < WINDOW ? factor(first.right[x + i]) : 0;
            right[i] = x + i >= BLOCK && x + i < PATCH ? factor(second.right[x + i - BLOCK]) : 0;
        }
        for (int n = 0; n < 2 * own.moves; ++n) {
            const float *of = own.share[n / 2].data() + n % 2 * 2;
            shares[n] = scaled((Strip){} + fixed(of[0]), left) + scaled((Strip){} + fixed(of[1]), right);
        }
        for (int c = 0; c < COLOURS; ++c)
            for (int below = 0; below < 2; ++below) {
                const Window &window = below ? second : first;
                const int16_t *from[Own::MOST];
                for (int n = 0; n < own.moves; ++n)
                    from[n] = own.from[n] + (c * (long)g.lines + below * BLOCK) * g.pitch + x;
                Strip out[WINDOW];
                add_moves<Strip, Strip_sums, WINDOW>(from, shares + below, 2, own.moves, g.pitch, out);
                for (int y = 0; y < WINDOW; ++y) {
                    const int line = window.top + y;
                    if (line >= 0 && line < g.height)
                        add_line(f, c, line, first.left + x, PATCH - x, scaled(out[y], (Strip){} + factor(window.down[y])));
                }
            }
    }
}

// Add what a unit and its siblings chose of the moves that they try together, and their last moves equal to these.
// `shares` is memory: (alike - shared, 4).
void add_siblings(const Frame &f, int unit, float *shares) {
    const Grid &g = *f.grid;
    const int inherited = g.alike - g.shared;
    const int16_t *same = f.same + unit;
    bool any = false;
    for (int k = 0; k < inherited; ++k)
        any |= same[(long)k * g.lanes] < 0;
    if (!any)
        return;
    for (int i = 0; i < 4; ++i) {
        const int at = sibling(g, unit, i);
        for (int k = 0; k < inherited; ++k)
            shares[4 * k + i] = f.choice[(long)(g.shared + k) * g.lanes + at];
        for (int own = g.alike; own < g.moves; ++own) {
            const int equal = f.same[(long)(own - g.shared) * g.lanes + at] - g.shared;
            if (equal >= 0)
                shares[4 * equal + i] += f.choice[(long)own * g.lanes + at];
        }
    }
    Own patches, alone[4];
    for (int k = 0; k < inherited; ++k) {
        const float *share = shares + 4 * k;
        if (same[(long)k * g.lanes] >= 0 || share[0] + share[1] + share[2] + share[3] == 0.0f)
            continue;
        const int16_t *move = f.moves + (long)(g.shared + k) * 2 * g.lanes + unit;
        if (patch_inside(g, unit, move[0], move[g.lanes]))
            patches.add(f.planes + displaced(g, unit, move[0], move[g.lanes]), {share[0], share[1], share[2], share[3]});
        else
            for (int i = 0; i < 4; ++i) {
                const int at = sibling(g, unit, i);
                alone[i].add(f.planes + displaced(g, at, move[0], move[g.lanes]), {share[i]});
            }
    }
    if (patches.moves) {
        patches.pair();
        add_patches(f, unit, patches);
    }
    for (int i = 0; i < 4; ++i)
        if (alone[i].moves) {
            alone[i].pair();
            add_windows(f, sibling(g, unit, i), alone[i]);
        }
}

// Add what units chose of moves that are theirs alone.
void add_alone(const Frame &f) {
    const Grid &g = *f.grid;
    for (int u = 0; u < g.rows * g.cols; u += LANES) {
        bool any = false;
        for (int k = g.alike; k < g.moves; ++k)
            any |= Alike(f.same + (long)(k - g.shared) * g.lanes + u).negative;
        for (int unit = u; any && unit < std::min(u + LANES, g.rows * g.cols); ++unit) {
            Own own;
            for (int k = g.alike; k < g.moves; ++k) {
                const float share = f.choice[(long)k * g.lanes + unit];
                const int16_t *move = f.moves + (long)k * 2 * g.lanes + unit;
                if (share > 0.0f && f.same[(long)(k - g.shared) * g.lanes + unit] < 0)
                    own.add(f.planes + displaced(g, unit, move[0], move[g.lanes]), {share});
            }
            if (own.moves) {
                own.pair();
                add_windows(f, unit, own);
            }
        }
    }
}

// Two of the moves that all units try, a pixel apart; or one, and -1. Where the picture's corner, moved by the first,
// lies in the planes.
struct Word {
    int first, second;
    long at;
};

std::vector<Word> words_of(const Grid &g) {
    std::vector<Word> words;
    std::vector<char> taken(g.shared, 0);
    for (int k = 0; k < g.shared; ++k) {
        if (taken[k])
            continue;
        const int down = g.tried[2 * k], right = g.tried[2 * k + 1], phase = (right & 1) + 2 * (down & 1);
        const long line = (long)phase * COLOURS * g.lines + g.margin + (down >> 1);
        Word word = {k, -1, line * g.pitch + g.margin + (right >> 1)};
        for (int j = k + 1; j < g.shared && word.second < 0; ++j)
            if (!taken[j] && g.tried[2 * j] == down && g.tried[2 * j + 1] == right + 2)
                word.second = j;
        if (word.second >= 0)
            taken[word.second] = 1;
        words.push_back(word);
    }
    return words;
}

// What a line of units chose among the shared moves, own ones that equal one added: words (words, stride), with the
// edges' units repeated before and behind; and which words any unit chose.
struct Chosen {
    int32_t *shares;
    std::vector<char> any;
};

// Write the shares of the moves that all units try, own ones that equal one added: (shared, lanes).
void gather(const Frame &f, float *shares) {
    const Grid &g = *f.grid;
    std::memcpy(shares, f.choice, 4 * (size_t)g.shared * g.lanes);
    for (int k = g.shared; k < g.moves; ++k)
        for (int u = 0; u < g.rows * g.cols; u += LANES) {
            const float *share = f.choice + (long)k * g.lanes + u;
            const int16_t *same = f.same + (long)(k - g.shared) * g.lanes + u;
            if (Alike(same).equal) {
                float *to = shares + (long)same[0] * g.lanes + u;
                if (same[0] >= 0 && same[0] < g.shared)
                    store(to, load(to) + load(share));
                continue;
            }
            for (int i = 0; i < LANES; ++i) {
                const bool known = same[i] >= 0 && same[i] < g.shared;
                shares[(long)(known ? same[i] : 0) * g.lanes + u + i] += known ? share[i] : 0.0f;
            }
        }
}

// Write the words of a line of units; shares: (shared, lanes).
void write_words(const Grid &g, int row, const std::vector<Word> &words, const float *shares, int stride, Chosen &line) {
    const Lanes whole = all(1 << WHOLE), half = all(.5f), none = {};
    shares += row * g.cols;
    for (size_t n = 0; n < words.size(); ++n) {
        const float *first = shares + (long)words[n].first * g.lanes;
        const float *second = words[n].second < 0 ? nullptr : shares + (long)words[n].second * g.lanes;
        int32_t *to = line.shares + n * stride;
        Ints any = {};
        for (int x = 0; x < g.cols; x += LANES) {
            const int count = std::min(LANES, g.cols - x);
            const Lanes two = second ? read_part<Lanes>(second + x, count) : none;
            const Ints word = in_ints(read_part<Lanes>(first + x, count) * whole + half) | in_ints(two * whole + half) << 16;
            any |= word;
            store(to + x + 1, word);
        }
        uint64_t parts[sizeof any / 8], some = 0;
        std::memcpy(parts, &any, sizeof any);
        for (uint64_t part : parts)
            some |= part;
        line.any[n] = some != 0;
        to[0] = to[1];
        to[g.cols + 1] = to[g.cols];
    }
}

// How the even pixels of a line, or the odd ones, lie between units: the place of the left one, and the right one's
// share, for both moves of a word.
struct Between {
    Ints left;
    Pixels right[2];  // of the even pixels, of the odd ones

    Between() {
        for (int i = 0; i < LANES; ++i) {
            left[i] = (i + 1) / 2;
            for (int move = 0; move < 2; ++move) {
                right[0][2 * i + move] = (i % 2 ? .125f : .625f) * (1 << 15);
                right[1][2 * i + move] = (i % 2 ? .375f : .875f) * (1 << 15);
            }
        }
    }
    Pixels words(const int32_t *units, int odd) const {
        const Ints all = load(units);
        const Pixels begin = (Pixels)__builtin_shuffle(all, left);
        return begin + scaled((Pixels)__builtin_shuffle(all, left + 1) - begin, right[odd]);
    }
};

// Pixels between two lines of units, from line `top` of the picture on and from x on: the sums of the even ones, or of
// the odd ones.
void add_words(const Frame &f, const std::vector<Word> &words, const Chosen &above, const Chosen &below, int stride,
               int top, int x, int odd, const Between &between, Ints out[COLOURS][BLOCK]) {
    const Grid g = *f.grid;
    const long colour = 2 * (long)g.pitch * g.lines, pitch = 2 * g.pitch;  // bytes
    Ints sum[COLOURS][BLOCK] = {};
    for (size_t n = 0; n < words.size(); ++n) {
        if (!above.any[n] && !below.any[n])
            continue;
        const long units = n * stride + x / BLOCK;
        const Pixels begin = between.words(above.shares + units, odd);
        const Pixels change = between.words(below.shares + units, odd) - begin;
        const char *at = (const char *)(f.planes + words[n].at + (long)top * g.pitch + x + odd);
#pragma GCC unroll 4
        for (int y = 0; y < BLOCK; ++y) {
            const int16_t way = (2 * y + 1) << 12;
            const Pixels share = begin + scaled(change, (Pixels){} + way);
#pragma GCC unroll 3
            for (int c = 0; c < COLOURS; ++c)
                sum[c][y] = add_products(sum[c][y], read<Pixels>(at + c * colour + y * pitch), share);
        }
    }
    std::memcpy(out, sum, sizeof sum);
}

// Add the pixels between two lines of units, from line `top` of the picture on: `first` to `last` of its four.
void add_between(const Frame &f, const std::vector<Word> &words, const Chosen &above, const Chosen &below, int stride,
                 int top, int first, int last) {
    const Grid &g = *f.grid;
    const Between between;
    const Ints half = (Ints){} + (1 << (WHOLE - 1));
    for (int x = 0; x < g.width; x += 2 * LANES) {
        Ints sums[2][COLOURS][BLOCK];
        for (int odd = 0; odd < 2; ++odd)
            add_words(f, words, above, below, stride, top, x, odd, between, sums[odd]);
        const int count = std::min(2 * LANES, g.width - x);
        for (int c = 0; c < COLOURS; ++c)
            for (int y = first; y <= last; ++y) {
                int16_t *to = f.picture + ((long)c * g.height + top + y) * g.width + x;
                const Ints own = (Ints)read_part<Pixels>(to, count);
                const Ints even = sums[0][c][y] + (own << 16 >> 16) * (1 << (WHOLE - FINE));
                const Ints odd = sums[1][c][y] + (own >> 16) * (1 << (WHOLE - FINE));
                write_part(to, (Pixels)(((even + half) >> WHOLE & 0xffff) | (odd + half) >> WHOLE << 16), count);
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
                const int16_t *from = f.error + ((long)c * g.height + window.top + y) * g.width + window.left;
                if (inside)
                    e = in_floats(*(const Eight_px *)from);
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
        const int16_t *from = f.planes + displaced(g, unit, move[0], move[g.lanes]);
        Eight total = {};
        for (int c = 0; c < COLOURS; ++c)
            for (int y = 0; y < WINDOW; ++y)
                total += wrong[c][y] * in_floats(*(const Eight_px *)(from + (c * (long)g.lines + y) * g.pitch));
        out[k] = sum(total) * SQUARE;
        done[k] = 1;
    }
}

}  // namespace

// The forecast (COLOURS, height, width).
void mix(const Frame &now) {
    static thread_local Memory<> floats;
    static thread_local Memory<int32_t> integers;
    const Grid &g = *now.grid;
    const std::vector<Word> words = words_of(g);
    const int stride = (g.cols + 2 + 2 * LANES) / LANES * LANES;
    float *shares = floats.of((size_t)g.shared * g.lanes + 4 * (g.alike - g.shared));
    int32_t *lines = integers.of(2 * words.size() * stride);
    Chosen line[2] = {{lines, std::vector<char>(words.size())},
                      {lines + words.size() * stride, std::vector<char>(words.size())}};
    std::fill(now.picture, now.picture + (long)COLOURS * g.height * g.width, 0);
    for (int row = 0; row < g.rows && g.alike > g.shared; row += 2)
        for (int col = 0; col < g.cols; col += 2)
            add_siblings(now, row * g.cols + col, shares + (size_t)g.shared * g.lanes);
    add_alone(now);
    gather(now, shares);
    for (int row = 0; row < g.rows; ++row) {
        const Chosen &upper = line[(row + 1) % 2], &lower = line[row % 2];
        write_words(g, row, words, shares, stride, line[row % 2]);
        if (row == 0)
            add_between(now, words, lower, lower, stride, -OUTSIDE, OUTSIDE, BLOCK - 1);
        else
            add_between(now, words, upper, lower, stride, row * BLOCK - OUTSIDE, 0, BLOCK - 1);
    }
    const Chosen &end = line[(g.rows + 1) % 2];
    add_between(now, words, end, end, stride, g.height - OUTSIDE, 0, OUTSIDE - 1);
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
    choose(*now, *last, parent, *weights, known);
    mix(*now);
    *now->chosen = known;
}

// The gradient of half the squared error by the gates, times `weight`; `gates` is (TERMS, lanes).
extern "C" void forecast_gradient(const Frame *then, float weight, float *gates) {
    static thread_local Memory<> memory;
    const Grid &g = *then->grid;
    float *by_move = memory.of((size_t)g.moves * (LANES + 1)), *column = by_move + (size_t)g.moves * LANES;
    for (int u = 0; u < g.rows * g.cols; u += LANES) {
        std::fill(by_move, column, 0.0f);
        for (int i = 0; i < std::min(LANES, g.rows * g.cols - u); ++i) {
            error_by_move(*then, u + i, column);
            for (int k = 0; k < g.moves; ++k)
                by_move[k * LANES + i] = column[k];
        }
        Lanes mean = {}, term[TERMS] = {};
        for (int k = 0; k < g.moves; ++k)
            mean += load(then->choice + (long)k * g.lanes + u) * load(by_move + k * LANES);
        for (int k = 0; k < g.moves; ++k) {  // a larger forecast lowers what came less it
            Lanes prior[PRIORS];
            const Lanes by = weight * load(then->choice + (long)k * g.lanes + u) * (mean - load(by_move + k * LANES));
            prior_terms(*then, g, k, u, move_of(*then, g, k, u), prior);
            for (int i = 0; i < KINDS; ++i)
                term[i] += by * load(then->evidence + ((long)i * g.moves + k) * g.lanes + u);
            for (int i = 0; i < PRIORS; ++i)
                term[KINDS + i] += by * prior[i];
        }
        for (int i = 0; i < TERMS; ++i)
            store(gates + (long)i * g.lanes + u, term[i]);
    }
}
