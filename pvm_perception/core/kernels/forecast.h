// How each part of a picture moved, and what comes next if that goes on: the compiled part of core/forecast.py.
//
// A unit owns a block of BLOCK x BLOCK pixels of its scale's picture and judges moves by a window around it. The
// functions work on a Frame, all that one scale makes of one frame of one stream; core/forecast_frame.py lists the
// arrays with their shapes, and core/forecast_reference.py computes the same in NumPy: it is the oracle.
//
// Layout. Whatever the units have is a row of `lanes` values for each kind of value, unit after unit as they lie in
// the picture, line by line: evidence (KINDS, moves, lanes), inputs (D, lanes), code (N, lanes). So a vector is one
// value of 16 neighbouring units, nothing is summed across a vector, and what units choose apart they compute
// together. `lanes` is beyond the last unit an odd number of cache lines, or the rows would collide in the cache;
// the lanes beyond hold zeros, or numbers that nobody reads.
//
// Planes hold a picture with a margin, (PHASES, COLOURS, lines, pitch), at whole pixels and half a pixel to the
// right, down, and both: a move is an address. Vectors read up to 15 values past a line, into the margin of the next.
//
// The moves that all units try are worked off line by line of the picture, so that no square is taken twice where
// windows overlap; most of the other moves of a unit are among these (`same`). Of the rest, those that a unit tries
// with its three siblings are compared as one patch, the others window by window.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to what is inlined only

namespace forecast {

constexpr int BLOCK = 4, WINDOW = 8, OUTSIDE = (WINDOW - BLOCK) / 2;
constexpr int PATCH = WINDOW + BLOCK;  // px: side of the windows of four siblings together
constexpr int COLOURS = 3, PHASES = 4;
constexpr int KINDS = 3, STATISTICS = 6;           // of evidence: block, window, siblings; of each, its statistics
constexpr int PRIORS = 7, TERMS = KINDS + PRIORS;  // of a choice
constexpr int EXTRAS = 17;                         // inputs between statistics and codes
constexpr int LANES = 16;
constexpr float SHARE[WINDOW] = {.125f, .375f, .625f, .875f, .875f, .625f, .375f, .125f};  // of a window's pixels
constexpr float QUIET = 1e-4f;  // squared difference that means nothing
constexpr float SURE = 2.0f;    // sharpness of the statistics' mean move
constexpr float LEAST = 3e-3f;  // of the likeliest move's share: those below are left out of the choice
constexpr float RARE = 1e-3f;   // added to a share before its logarithm is taken
constexpr float NORM_FLOOR = 1e-3f, LEAK = .1f;  // of codes, as in core/activations.py

struct Grid {  // one scale's geometry, as in kernels/forecast.py
    int rows, cols, lanes;     // units; values in a row of them
    int height, width;         // px of the picture
    int margin, pitch, lines;  // px around the picture; of a plane: values in a line, lines
    int moves, shared, alike;  // moves of a unit; of these, from the first: all units' moves; those of its siblings
    int code, inputs;          // N, D
    int feedback, lateral;     // the inputs' rows with the parent's and the neighbours' codes; -1: not heard
    int limit;                 // half px: the largest of moves that are followed
    const int16_t *tried;      // (moves, 2) down, right, half px: of all; around twice the parent's; around the last
};

struct Frame {  // of one stream and scale, as in kernels/forecast.py
    const Grid *grid;
    float *planes;                        // (PHASES, COLOURS, lines, pitch)
    int16_t *moves, *same;                // (moves, 2, lanes) half px; (moves - shared, lanes) an earlier equal one, or -1
    float *evidence, *choice, *habit;     // (KINDS, moves, lanes), (moves, lanes), (shared, lanes)
    float *inputs, *sums, *sizes, *code;  // (D, lanes), (N, lanes), (lanes,), (N, lanes)
    float *gates;                         // (TERMS, lanes)
    float *parent, *motion, *mean;        // (2, lanes) px: the parent's move, the robot's motion's, the one expected
    int16_t *likeliest;                   // (2, lanes) half px
    int32_t *chosen, *moved;              // 1: there was a frame before, the robot's motion is known
    int32_t *shown;                       // (4,) top, left, rows, cols of what a camera filled of the picture
    float *picture, *error;               // (COLOURS, height, width): the forecast, and what came less it
    float *wrong, *changed;               // (lanes,) mean squares of a block's error and change
};

struct Weights {
    const float *w1, *b1, *w2, *b2;  // (D, N), (N,), (N, TERMS), (TERMS,)
};

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Sixteen __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Sixteen_i __attribute__((vector_size(64), aligned(4), may_alias));
typedef int16_t Sixteen_h __attribute__((vector_size(32), aligned(2), may_alias));

INLINE Sixteen load(const float *at) { return *(const Sixteen *)at; }
static inline void store(float *at, Sixteen v) { *(Sixteen *)at = v; }
INLINE Sixteen all(float value) { return value - (Sixteen){}; }

// Moves in half pixels as pixels.
INLINE Sixteen in_pixels(const int16_t *at) {
    return .5f * __builtin_convertvector(*(const Sixteen_h *)at, Sixteen);
}

INLINE float sum(Eight v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

INLINE float sum(Sixteen v) {
    Eight low, high;
    std::memcpy(&low, &v, 32);
    std::memcpy(&high, (const char *)&v + 32, 32);
    return sum(low + high);
}

// 1 / v, to 1e-7 of it.
INLINE Sixteen reciprocal(Sixteen v) {
#if defined(__AVX512F__)
    const Sixteen first = (Sixteen)_mm512_rcp14_ps((__m512)v);
    return first * (2.0f - v * first);
#else
    return 1.0f / v;
#endif
}

// Natural logarithm of positive, finite values, to 1e-6.
INLINE Sixteen logarithm(Sixteen v) {
    Sixteen_i bits;
    std::memcpy(&bits, &v, sizeof bits);
    const Sixteen_i exponent = (bits - 0x3f3504f3) >> 23;  // so that the rest lies about 1
    bits -= exponent << 23;
    Sixteen m;
    std::memcpy(&m, &bits, sizeof m);
    const Sixteen t = m - 1.0f, s = t * t;
    const Sixteen low = -.50000964f + t * .33320601f, middle = -.24913706f + t * .20417171f;
    const Sixteen high = -.18633638f + t * .12137455f;
    return __builtin_convertvector(exponent, Sixteen) * .69314718f + (t + s * (low + s * (middle + s * high)));
}

// Exponential of values that are not above 0, to 3e-6 of it.
INLINE Sixteen exponential(Sixteen v) {
    v = v < -80.0f ? all(-80.0f) : v;
    const Sixteen_i n = __builtin_convertvector(v * 1.44269504f - .5f, Sixteen_i);
    const Sixteen r = v - __builtin_convertvector(n, Sixteen) * .69314718f;
    const Sixteen series = 1.0f + r * (1.0f + r * (.5f + r * (.16666667f + r * (.04166667f + r * .00833333f))));
    const Sixteen_i bits = (n + 127) << 23;
    Sixteen power;
    std::memcpy(&power, &bits, sizeof power);
    return series * power;
}

static inline float level(float square) { return .3f * std::log(square + QUIET) + 1.5f; }
INLINE Sixteen level(Sixteen square) { return .3f * logarithm(square + QUIET) + 1.5f; }

static inline int held(int value, int low, int high) { return std::min(std::max(value, low), high); }

static inline float *plane(const Frame &f, int channel, int phase) {
    return f.planes + (phase * COLOURS + channel) * (long)f.grid->pitch * f.grid->lines;
}

// A plane's line at the picture's left edge.
static inline float *line_of(const Frame &f, int channel, int phase, int y) {
    const Grid &g = *f.grid;
    return plane(f, channel, phase) + (long)(y + g.margin) * g.pitch + g.margin;
}

// The first px of a unit's window, displaced by whole pixels of a move in half pixels.
static inline int window_y(const Grid &g, int unit, int down) { return unit / g.cols * BLOCK - OUTSIDE + (down >> 1); }
static inline int window_x(const Grid &g, int unit, int right) { return unit % g.cols * BLOCK - OUTSIDE + (right >> 1); }

// Sibling i of 4 of the unit above and to the left of the others; 0 is the unit itself.
static inline int sibling(const Grid &g, int unit, int i) { return unit + i / 2 * g.cols + i % 2; }

// Where a unit's window begins in the planes, displaced by a move; far outside, where all pixels repeat the edge, it
// stops.
static inline long displaced(const Grid &g, int unit, int down, int right) {
    const long line = held(window_y(g, unit, down), -g.margin, g.height + g.margin - WINDOW) + g.margin;
    const int left = held(window_x(g, unit, right), -g.margin, g.width + g.margin - WINDOW) + g.margin;
    const int phase = (right & 1) + 2 * (down & 1);
    return ((long)phase * COLOURS * g.lines + line) * g.pitch + left;
}

// Whether the windows of a unit and its siblings lie in the planes, displaced by a move, as one patch; a line below
// it, since vectors read past its last one.
static inline bool patch_inside(const Grid &g, int unit, int down, int right) {
    const int y = window_y(g, unit, down), x = window_x(g, unit, right);
    return y >= -g.margin && y + PATCH < g.height + g.margin && x >= -g.margin && x + PATCH <= g.width + g.margin;
}

// A thread's memory, as large as was ever asked for.
struct Memory {
    std::vector<float> values;
    float *of(size_t size) {
        if (values.size() < size)
            values.resize(size);
        return values.data();
    }
};

// The prior terms of move k of 16 units: stay, near the parent's, habit, near the robot's, right, down, small.
INLINE void prior_terms(const Frame &f, int k, int u, Sixteen out[PRIORS]) {
    const Grid &g = *f.grid;
    const int16_t *move = f.moves + (long)k * 2 * g.lanes + u;
    const Sixteen down = in_pixels(move), right = in_pixels(move + g.lanes), none = {};
    const auto near = [&](const float *of) {
        const Sixteen y = down - load(of + u), x = right - load(of + g.lanes + u);
        return none - logarithm(x * x + y * y + 1.0f);
    };
    out[0] = (down == none) & (right == none) ? all(1.0f) : none;
    out[1] = near(f.parent);
    out[3] = *f.moved ? near(f.motion) : none;
    out[2] = k < g.shared ? load(f.habit + (long)k * g.lanes + u) : none;
    out[4] = right * .5f;
    out[5] = down * .5f;
    out[6] = (right * right + down * down) * -.12f;
}

void try_moves(const Frame &now, const Frame &last, const Frame *parent);
void compare_moves(const Frame &now, const Frame &last);
void code_units(const Frame &now, const Frame &last, const Frame *parent, const Weights &weights, bool known);
void choose(const Frame &now, const Frame &last);
void mix(const Frame &now);

}  // namespace forecast
