// How each part of a picture moved, and what comes next if that goes on: the compiled part of core/forecast.py.
//
// A unit owns a block of BLOCK x BLOCK pixels of its scale's picture and judges moves by a window around it. Planes
// hold a picture with a margin, at whole and at half pixels, so that a move is an address. Arrays of a value for
// each unit and move have rows of `stride` values, of which the first `moves` count.
//
// core/forecast_reference.py computes the same in NumPy and is the oracle of these functions.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed within this file only, all inlined

namespace {

constexpr int BLOCK = 4, WINDOW = 8, OUTSIDE = (WINDOW - BLOCK) / 2;
constexpr int COLOURS = 3, PHASES = 4;  // planes: whole pixels, half right, half down, both
constexpr int KINDS = 3, STATISTICS = 6;          // of evidence: block, window, siblings; of each, its statistics
constexpr int PRIORS = 7, TERMS = KINDS + PRIORS;  // of a choice
constexpr float SHARE[WINDOW] = {.125f, .375f, .625f, .875f, .875f, .625f, .375f, .125f};  // of a window's pixels
constexpr float QUIET = 1e-4f;    // squared difference that means nothing
constexpr float SURE = 2.0f;      // sharpness of the statistics' mean move
constexpr float LEAST = 3e-3f;    // of the likeliest move's share: those below are left out of the choice
constexpr float RARE = 1e-3f;     // added to a share before its logarithm is taken

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Sixteen __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Sixteen_i __attribute__((vector_size(64), aligned(4), may_alias));

struct Grid {  // as in kernels/forecast.py
    int rows, cols;            // units
    int height, width;         // px of the picture
    int margin, pitch, lines;  // px around the picture; of a plane: values in a line, lines
    int moves, stride;         // moves of a unit; values in a row of them
    int shared, alike;         // of these, from the first: all units' moves; those that siblings share, too
};

inline long plane_size(const Grid &g) { return (long)g.pitch * g.lines; }

inline float *plane(const Grid &g, const float *planes, int channel, int phase) {
    return (float *)planes + (phase * COLOURS + channel) * plane_size(g);
}

// The place of a displaced window in a phase's plane; far outside, where all pixels repeat the edge, it stops.
struct Place {
    int phase;
    long at;
};

inline Place displaced(const Grid &g, int unit, const int16_t *move) {
    const int down = move[0], right = move[1];
    int y = unit / g.cols * BLOCK - OUTSIDE + (down >> 1), x = unit % g.cols * BLOCK - OUTSIDE + (right >> 1);
    y = std::min(std::max(y, -g.margin), g.height + g.margin - WINDOW);
    x = std::min(std::max(x, -g.margin), g.width + g.margin - WINDOW);
    return {(right & 1) + 2 * (down & 1), (long)(y + g.margin) * g.pitch + x + g.margin};
}

inline long window_at(const Grid &g, int unit) {
    return (long)(unit / g.cols * BLOCK - OUTSIDE + g.margin) * g.pitch + unit % g.cols * BLOCK - OUTSIDE + g.margin;
}

inline float sum(Eight v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

inline float sum(Sixteen v) {
    Eight low, high;
    std::memcpy(&low, &v, 32);
    std::memcpy(&high, (const char *)&v + 32, 32);
    return sum(low + high);
}

inline float least_of(Sixteen v) {
    float least = v[0];
    for (int i = 1; i < 16; ++i)
        least = std::min(least, v[i]);
    return least;
}

inline Sixteen all(float value) { return value - (Sixteen){}; }

// Natural logarithm of positive, finite values, to 2e-7.
inline Sixteen logarithm(Sixteen v) {
    Sixteen_i bits;
    std::memcpy(&bits, &v, sizeof bits);
    const Sixteen_i exponent = (bits - 0x3f3504f3) >> 23;  // so that the rest lies about 1
    bits -= exponent << 23;
    Sixteen m;
    std::memcpy(&m, &bits, sizeof m);
    const Sixteen t = (m - 1.0f) / (m + 1.0f), s = t * t;
    const Sixteen series = t * (2.0f + s * (0.6666666f + s * (0.4000001f + s * (0.2857142f + s * 0.2222222f))));
    return __builtin_convertvector(exponent, Sixteen) * 0.69314718f + series;
}

// Exponential of values that are not above 0.
inline Sixteen exponential(Sixteen v) {
    v = v < -80.0f ? all(-80.0f) : v;
    const Sixteen_i n = __builtin_convertvector(v * 1.44269504f - 0.5f, Sixteen_i);
    const Sixteen r = v - __builtin_convertvector(n, Sixteen) * 0.69314718f;
    const Sixteen series = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f + r * (0.04166667f + r * (
                           0.00833333f + r * 0.00138889f)))));
    const Sixteen_i bits = (n + 127) << 23;
    Sixteen power;
    std::memcpy(&power, &bits, sizeof power);
    return series * power;
}

inline Sixteen load(const float *at) { return *(const Sixteen *)at; }
inline void store(float *at, Sixteen v) { *(Sixteen *)at = v; }

inline void line_between(const float *const line[4], int width, float *out) {
    for (int x = 0; x < width; ++x)
        out[x] = .5625f * (line[1][x] + line[2][x]) - .0625f * (line[0][x] + line[3][x]);
}

// Moves of a unit as pixels of its scale, right and down.
inline void moves_in_pixels(const Grid &g, const int16_t *moves, float *right, float *down) {
    for (int k = 0; k < g.stride; ++k) {
        down[k] = .5f * moves[2 * k];
        right[k] = .5f * moves[2 * k + 1];
    }
}

// What a unit knows beside the evidence, the same of every move k: the terms' values follow from it.
struct Known {
    const float *parent, *motion;  // moves, px down and right: of the parent, and by the robot's own motion
    float moved;                   // whether the robot's motion is known: 1 or 0
    const float *habit;            // (stride) logarithm of the last choice's shares
};

// The prior terms of moves k to k + 15: stay, near the parent's, habit, near the robot's, right, down, small.
inline void priors(const Known &known, int k, Sixteen right, Sixteen down, Sixteen out[PRIORS]) {
    const Sixteen none = {};
    const Sixteen_i still = (right == none) & (down == none);
    out[0] = still ? all(1.0f) : none;
    const float *near[2] = {known.parent, known.motion};
    for (int i = 0; i < 2; ++i) {
        const Sixteen x = right - near[i][1], y = down - near[i][0];
        out[1 + 2 * i] = none - logarithm(x * x + y * y + 1.0f);
    }
    out[2] = load(known.habit + k);
    out[3] *= known.moved;
    out[4] = right * .5f;
    out[5] = down * .5f;
    out[6] = (right * right + down * down) * -.12f;
}

}  // namespace

extern "C" {

// The picture (height, width, 3) uint8 as the colours' planes at whole pixels, 0..1.
void forecast_picture(const Grid *grid, const uint8_t *image, float *planes) {
    const Grid &g = *grid;
    for (int y = 0; y < g.height; ++y)
        for (int c = 0; c < COLOURS; ++c) {
            float *line = plane(g, planes, c, 0) + (long)(y + g.margin) * g.pitch + g.margin;
            const uint8_t *from = image + (long)y * g.width * COLOURS + c;
            for (int x = 0; x < g.width; ++x)
                line[x] = from[COLOURS * x] * (1.0f / 255);
        }
}

// The picture of the scale above, half as high and wide: means of 2 x 2 pixels.
void forecast_halve(const Grid *fine, const float *from, const Grid *coarse, float *planes) {
    for (int c = 0; c < COLOURS; ++c)
        for (int y = 0; y < coarse->height; ++y) {
            const float *a = plane(*fine, from, c, 0) + (long)(2 * y + fine->margin) * fine->pitch + fine->margin;
            const float *b = a + fine->pitch;
            float *to = plane(*coarse, planes, c, 0) + (long)(y + coarse->margin) * coarse->pitch + coarse->margin;
            for (int x = 0; x < coarse->width; ++x)
                to[x] = .25f * ((a[2 * x] + a[2 * x + 1]) + (b[2 * x] + b[2 * x + 1]));
        }
}

// What lies outside of the shown part (top, left, rows, cols) repeats its edge; then the half pixels.
void forecast_fill(const Grid *grid, const int *shown, float *planes) {
    const Grid &g = *grid;
    const int top = shown[0] + g.margin, left = shown[1] + g.margin;
    const int bottom = top + shown[2], right = left + shown[3];
    for (int c = 0; c < COLOURS; ++c) {
        float *whole = plane(g, planes, c, 0);
        for (int y = top; y < bottom; ++y) {
            float *line = whole + (long)y * g.pitch;
            std::fill(line, line + left, line[left]);
            std::fill(line + right, line + g.pitch, line[right - 1]);
        }
        for (int y = 0; y < g.lines; ++y)
            if (y < top || y >= bottom)
                std::memcpy(whole + (long)y * g.pitch, whole + (long)(y < top ? top : bottom - 1) * g.pitch,
                            4 * g.pitch);
    }
    for (int c = 0; c < COLOURS; ++c) {
        const float *whole = plane(g, planes, c, 0);
        float *half = plane(g, planes, c, 1);
        for (int y = 0; y < g.lines; ++y) {
            const float *from = whole + (long)y * g.pitch;
            float *to = half + (long)y * g.pitch;
            for (int x = 1; x < g.pitch - 2; ++x)
                to[x] = .5625f * (from[x] + from[x + 1]) - .0625f * (from[x - 1] + from[x + 2]);
            to[0] = to[1];
            to[g.pitch - 1] = to[g.pitch - 2] = from[g.pitch - 1];
        }
        for (int phase = 0; phase < 2; ++phase) {
            const float *from = plane(g, planes, c, phase);
            float *to = plane(g, planes, c, phase + 2);
            for (int y = 0; y < g.lines; ++y) {
                const float *line[4];
                for (int i = 0; i < 4; ++i)
                    line[i] = from + (long)std::min(std::max(y - 1 + i, 0), g.lines - 1) * g.pitch;
                line_between(line, g.pitch, to + (long)y * g.pitch);
            }
        }
    }
}

// The moves that are not all units' own: `inherited` ones around twice the parent's (rows / 2, cols / 2, 2), then
// `kept` ones around the unit's last move (units, 2); half pixels, none further than `limit`. Without a parent: none.
void forecast_moves(const Grid *grid, const int16_t *parent, const int16_t *last, const int16_t *inherited,
                    const int16_t *kept, int limit, int16_t *moves) {
    const Grid &g = *grid;
    const auto held = [limit](int v, int times) { return std::min(std::max(v, -limit), limit) * times; };
    for (int unit = 0; unit < g.rows * g.cols; ++unit, last += 2, moves += 2 * g.stride) {
        int16_t *to = moves + 2 * g.shared;
        const int16_t *above = parent + 2 * (unit / g.cols / 2 * (g.cols / 2) + unit % g.cols / 2);
        for (int k = 0; k < g.alike - g.shared; ++k, to += 2) {
            to[0] = held(above[0], 2) + inherited[2 * k];
            to[1] = held(above[1], 2) + inherited[2 * k + 1];
        }
        for (int k = 0; k < g.moves - g.alike; ++k, to += 2) {
            to[0] = held(last[0], 1) + kept[2 * k];
            to[1] = held(last[1], 1) + kept[2 * k + 1];
        }
    }
}

// How well each move explains this frame: mean squared difference over the block and over the window.
void forecast_evidence(const Grid *grid, const float *now, const float *before, const int16_t *moves, float *block,
                       float *window) {
    const Grid &g = *grid;
    for (int unit = 0; unit < g.rows * g.cols; ++unit, moves += 2 * g.stride, block += g.stride, window += g.stride) {
        Eight seen[COLOURS][WINDOW];
        for (int c = 0; c < COLOURS; ++c)
            for (int y = 0; y < WINDOW; ++y)
                seen[c][y] = *(const Eight *)(plane(g, now, c, 0) + window_at(g, unit) + (long)y * g.pitch);
        for (int k = 0; k < g.moves; ++k) {
            const Place place = displaced(g, unit, moves + 2 * k);
            Eight inner = {}, outer = {};
            for (int c = 0; c < COLOURS; ++c) {
                const float *from = plane(g, before, c, place.phase) + place.at;
                for (int y = 0; y < WINDOW; ++y) {
                    const Eight d = seen[c][y] - *(const Eight *)(from + (long)y * g.pitch);
                    (y < OUTSIDE || y >= OUTSIDE + BLOCK ? outer : inner) += d * d;
                }
            }
            block[k] = ((inner[2] + inner[3]) + (inner[4] + inner[5])) * (1.0f / (COLOURS * BLOCK * BLOCK));
            window[k] = sum(inner + outer) * (1.0f / (COLOURS * WINDOW * WINDOW));
        }
        for (int k = g.moves; k < g.stride; ++k)
            block[k] = window[k] = block[0];
    }
}

// Evidence (units, KINDS, stride): log of its mean over log of each, of block, window and siblings' windows; and the
// statistics of each kind: log of staying's, the least and the mean difference, the mean move (right, down), its spread.
void forecast_weigh(const Grid *grid, const float *block, const float *window, const int16_t *moves, float *evidence,
                    float *statistics, int statistics_stride) {
    const Grid &g = *grid;
    alignas(64) float siblings[256], right[256], down[256], tried[256];
    for (int k = 0; k < g.stride; ++k)
        tried[k] = k < g.moves;
    for (int unit = 0; unit < g.rows * g.cols; ++unit, moves += 2 * g.stride, statistics += statistics_stride) {
        const int row = std::min(unit / g.cols & ~1, std::max(g.rows - 2, 0));
        const int col = std::min(unit % g.cols & ~1, std::max(g.cols - 2, 0));
        const int lower = g.rows > 1 ? g.cols : 0, next = g.cols > 1 ? 1 : 0;
        const float *a = window + (long)(row * g.cols + col) * g.stride, *own = window + (long)unit * g.stride;
        for (int k = 0; k < g.stride; ++k)
            siblings[k] = k < g.alike ? .25f * ((a[k] + a[next * g.stride + k])
                                                + (a[lower * g.stride + k] + a[(lower + next) * g.stride + k]))
                                      : own[k];
        moves_in_pixels(g, moves, right, down);
        const float *kinds[KINDS] = {block + (long)unit * g.stride, own, siblings};
        for (int i = 0; i < KINDS; ++i, evidence += g.stride) {
            const float *differ = kinds[i];
            Sixteen lowest = load(differ), all_of = {};
            for (int k = 0; k < g.stride; k += 16) {
                const Sixteen d = load(differ + k);
                const Sixteen counts = load(tried + k);
                const Sixteen lower = counts > 0.0f ? d : lowest;
                lowest = lower < lowest ? lower : lowest;
                all_of += counts * d;
            }
            const float mean = sum(all_of) / g.moves + QUIET, least = least_of(lowest);
            const Sixteen level = logarithm(all(mean)), best = level - logarithm(all(least + QUIET));
            Sixteen totals = {}, rights = {}, downs = {}, squares = {};
            for (int k = 0; k < g.stride; k += 16) {
                const Sixteen e = level - logarithm(load(differ + k) + QUIET);
                store(evidence + k, e);
                const Sixteen weight = load(tried + k) * exponential((e - best) * SURE);
                const Sixteen r = load(right + k), d = load(down + k);
                totals += weight;
                rights += weight * r;
                downs += weight * d;
                squares += weight * (r * r + d * d);
            }
            const float total = sum(totals), x = sum(rights) / total, y = sum(downs) / total;
            const float spread = std::max(sum(squares) / total - x * x - y * y, 0.0f);
            float *to = statistics + i * STATISTICS;
            to[0] = .3f * std::log(differ[0] + QUIET) + 1.5f;
            to[1] = .3f * std::log(least + QUIET) + 1.5f;
            to[2] = .3f * std::log(mean) + 1.5f;
            to[3] = .25f * x;
            to[4] = .25f * y;
            to[5] = .5f * std::log(spread + .05f) + .5f;
        }
    }
}

// The mean of the codes (units, width) of a unit and its neighbours; at the edges the nearest units count again.
void forecast_neighbours(const Grid *grid, const float *codes, int width, float *out, int out_stride) {
    const Grid &g = *grid;
    for (int y = 0; y < g.rows; ++y)
        for (int x = 0; x < g.cols; ++x, out += out_stride) {
            std::fill(out, out + width, 0.0f);
            for (int dy = -1; dy <= 1; ++dy)
                for (int dx = -1; dx <= 1; ++dx) {
                    const int row = std::min(std::max(y + dy, 0), g.rows - 1);
                    const int col = std::min(std::max(x + dx, 0), g.cols - 1);
                    const float *code = codes + (long)(row * g.cols + col) * width;
                    for (int n = 0; n < width; ++n)
                        out[n] += code[n];
                }
            for (int n = 0; n < width; ++n)
                out[n] *= 1.0f / 9;
        }
}

// The choice among the moves (units, stride), the mean move (units, 2: down, right, px) and the likeliest's index.
void forecast_choose(const Grid *grid, const float *evidence, const float *gates, int gates_stride,
                     const int16_t *moves, const float *parent, const float *motion, int moved, const float *last,
                     float *habit, float *choice, float *mean, int32_t *likeliest) {
    const Grid &g = *grid;
    alignas(64) float right[256], down[256];
    for (int unit = 0; unit < g.rows * g.cols; ++unit, moves += 2 * g.stride, evidence += KINDS * g.stride,
             gates += gates_stride, habit += g.stride, choice += g.stride) {
        moves_in_pixels(g, moves, right, down);
        std::fill(habit, habit + g.stride, 0.0f);
        if (last)
            for (int k = 0; k < g.shared; k += 16) {
                const Sixteen share = logarithm(load(last + (long)unit * g.stride + k) + RARE);
                for (int j = 0; j < std::min(16, g.shared - k); ++j)
                    habit[k + j] = share[j];
            }
        const Known known = {parent + 2 * unit, motion + 2 * unit, (float)moved, habit};
        for (int k = 0; k < g.stride; k += 16) {
            Sixteen prior[PRIORS], logit = {};
            priors(known, k, load(right + k), load(down + k), prior);
            for (int i = 0; i < KINDS; ++i)
                logit += gates[i] * load(evidence + i * g.stride + k);
            for (int i = 0; i < PRIORS; ++i)
                logit += gates[KINDS + i] * prior[i];
            store(choice + k, logit);
        }
        std::fill(choice + g.moves, choice + g.stride, -1e30f);
        Sixteen highest = load(choice), totals = {}, rights = {}, downs = {};
        for (int k = 16; k < g.stride; k += 16) {
            const Sixteen logit = load(choice + k);
            highest = logit > highest ? logit : highest;
        }
        const float most = -least_of(-highest);
        int best = 0;
        while (best + 1 < g.moves && choice[best] != most)  // none is, where the weights are not finite
            ++best;
        for (int k = 0; k < g.stride; k += 16) {
            Sixteen share = exponential(load(choice + k) - most);
            share = share < LEAST ? all(0.0f) : share;
            store(choice + k, share);
            totals += share;
            rights += share * load(right + k);
            downs += share * load(down + k);
        }
        const float total = sum(totals);
        for (int k = 0; k < g.stride; k += 16)
            store(choice + k, load(choice + k) / total);
        mean[2 * unit] = sum(downs) / total;
        mean[2 * unit + 1] = sum(rights) / total;
        likeliest[unit] = best;
    }
}

// The forecast (COLOURS, height, width): windows moved as chosen, overlapping with the shares of their pixels.
void forecast_mix(const Grid *grid, const float *choice, const int16_t *moves, const float *now, float *out) {
    const Grid &g = *grid;
    const int pitch = g.width, size = g.height * g.width;
    std::fill(out, out + COLOURS * size, 0.0f);
    const Eight share = *(const Eight *)SHARE;
    for (int unit = 0; unit < g.rows * g.cols; ++unit, moves += 2 * g.stride, choice += g.stride) {
        Eight mixed[COLOURS][WINDOW] = {};
        for (int k = 0; k < g.moves; ++k) {
            if (choice[k] == 0.0f)
                continue;
            const Place place = displaced(g, unit, moves + 2 * k);
            for (int c = 0; c < COLOURS; ++c) {
                const float *from = plane(g, now, c, place.phase) + place.at;
                for (int y = 0; y < WINDOW; ++y)
                    mixed[c][y] += choice[k] * *(const Eight *)(from + (long)y * g.pitch);
            }
        }
        const int top = unit / g.cols * BLOCK - OUTSIDE, left = unit % g.cols * BLOCK - OUTSIDE;
        for (int c = 0; c < COLOURS; ++c)
            for (int y = std::max(top, 0); y < std::min(top + WINDOW, g.height); ++y) {
                float *to = out + (long)c * size + (long)y * pitch + left;
                const Eight part = mixed[c][y - top] * (share * SHARE[y - top]);
                if (left >= 0 && left + WINDOW <= g.width)
                    *(Eight *)to += part;
                else
                    for (int x = 0; x < WINDOW; ++x)
                        if (left + x >= 0 && left + x < g.width)
                            to[x] += part[x];
            }
    }
    for (int c = 0; c < COLOURS; ++c)  // at the edges one of the windows that overlap is missing
        for (int y = 0; y < g.height; ++y) {
            float *line = out + (long)c * size + (long)y * pitch;
            const int near = std::min(y, g.height - 1 - y);
            if (near < OUTSIDE)
                for (int x = 0; x < g.width; ++x)
                    line[x] /= SHARE[OUTSIDE + near];
            for (int x = 0; x < OUTSIDE; ++x) {
                line[x] /= SHARE[OUTSIDE + x];
                line[g.width - 1 - x] /= SHARE[OUTSIDE + x];
            }
        }
}

// What came, less a forecast, (COLOURS, height, width), 0 outside of the shown part; each block's mean squares of it
// and of the change since the frame before.
void forecast_errors(const Grid *grid, const int *shown, const float *now, const float *before, const float *forecast,
                     float *error, float *wrong, float *changed) {
    const Grid &g = *grid;
    std::fill(wrong, wrong + g.rows * g.cols, 0.0f);
    std::fill(changed, changed + g.rows * g.cols, 0.0f);
    std::fill(error, error + COLOURS * g.height * g.width, 0.0f);
    for (int c = 0; c < COLOURS; ++c)
        for (int y = shown[0]; y < shown[0] + shown[2]; ++y) {
            const long at = (long)(y + g.margin) * g.pitch + g.margin;
            const float *a = plane(g, now, c, 0) + at, *b = plane(g, before, c, 0) + at;
            const long line = ((long)c * g.height + y) * g.width;
            float *w = wrong + y / BLOCK * g.cols, *d = changed + y / BLOCK * g.cols;
            for (int x = shown[1]; x < shown[1] + shown[3]; ++x) {
                const float e = a[x] - forecast[line + x], change = a[x] - b[x];
                error[line + x] = e;
                w[x / BLOCK] += e * e;
                d[x / BLOCK] += change * change;
            }
        }
    for (int unit = 0; unit < g.rows * g.cols; ++unit) {
        wrong[unit] *= 1.0f / (COLOURS * BLOCK * BLOCK);
        changed[unit] *= 1.0f / (COLOURS * BLOCK * BLOCK);
    }
}

// The gradient of half the squared error by the gates (units, TERMS), times `weight`; `error` as from forecast_errors.
void forecast_gradient(const Grid *grid, const float *error, const float *planes, const float *choice,
                       const float *evidence, const int16_t *moves, const float *parent, const float *motion,
                       int moved, const float *habit, float weight, float *gates, int gates_stride) {
    const Grid &g = *grid;
    alignas(64) float right[256], down[256], by_logit[256];
    const int size = g.height * g.width;
    for (int unit = 0; unit < g.rows * g.cols; ++unit, moves += 2 * g.stride, evidence += KINDS * g.stride,
             gates += gates_stride, habit += g.stride, choice += g.stride) {
        Eight wrong[COLOURS][WINDOW];
        const int top = unit / g.cols * BLOCK - OUTSIDE, left = unit % g.cols * BLOCK - OUTSIDE;
        for (int c = 0; c < COLOURS; ++c)
            for (int y = 0; y < WINDOW; ++y) {
                const int line = top + y;
                Eight e = {};
                if (line >= 0 && line < g.height) {
                    const int edge = std::min(line, g.height - 1 - line);
                    const float down_share = SHARE[y] / (edge < OUTSIDE ? SHARE[OUTSIDE + edge] : 1.0f);
                    const float *from = error + (long)c * size + (long)line * g.width + left;
                    if (left >= OUTSIDE && left + WINDOW <= g.width - OUTSIDE)
                        e = *(const Eight *)from * (*(const Eight *)SHARE * down_share);
                    else
                        for (int x = 0; x < WINDOW; ++x)
                            if (left + x >= 0 && left + x < g.width) {
                                const int side = std::min(left + x, g.width - 1 - left - x);
                                e[x] = from[x] * SHARE[x] * down_share / (side < OUTSIDE ? SHARE[OUTSIDE + side] : 1.0f);
                            }
                }
                wrong[c][y] = e;
            }
        float mean = 0.0f;
        for (int k = 0; k < g.stride; ++k) {
            by_logit[k] = 0.0f;
            if (choice[k] == 0.0f)
                continue;
            const Place place = displaced(g, unit, moves + 2 * k);
            Eight total = {};
            for (int c = 0; c < COLOURS; ++c) {
                const float *from = plane(g, planes, c, place.phase) + place.at;
                for (int y = 0; y < WINDOW; ++y)
                    total += wrong[c][y] * *(const Eight *)(from + (long)y * g.pitch);
            }
            by_logit[k] = sum(total);
            mean += choice[k] * by_logit[k];
        }
        moves_in_pixels(g, moves, right, down);
        const Known known = {parent + 2 * unit, motion + 2 * unit, (float)moved, habit};
        Sixteen term[TERMS] = {};
        for (int k = 0; k < g.stride; k += 16) {
            Sixteen by = {}, prior[PRIORS];
            for (int j = 0; j < 16; ++j)  // a larger forecast lowers what came less it
                by[j] = weight * choice[k + j] * (mean - by_logit[k + j]);
            priors(known, k, load(right + k), load(down + k), prior);
            for (int i = 0; i < KINDS; ++i)
                term[i] += by * load(evidence + i * g.stride + k);
            for (int i = 0; i < PRIORS; ++i)
                term[KINDS + i] += by * prior[i];
        }
        for (int i = 0; i < TERMS; ++i)
            gates[i] = sum(term[i]);
    }
}

}
