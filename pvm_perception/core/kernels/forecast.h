// How each part of a picture moved, and what comes next if that goes on: the compiled part of core/forecast.py.
//
// A unit owns a block of BLOCK x BLOCK pixels of its scale's picture and judges moves by a window around it. The
// functions work on a Frame, all that one scale makes of one frame of one stream; core/forecast_frame.py lists the
// arrays with their shapes, and core/forecast_reference.py computes the same in NumPy: it is the oracle.
//
// Layout. Whatever the units have is a row of `lanes` values for each kind of value, unit after unit as they lie in
// the picture, line by line: evidence (KINDS, moves, lanes), inputs (D, lanes), code (N, lanes). So a vector is one
// value of LANES neighbouring units, nothing is summed across a vector, and what units choose apart they compute
// together. `lanes` is beyond the last unit an odd number of cache lines, or the rows would collide in the cache;
// the lanes beyond hold zeros, or numbers that nobody reads.
//
// Planes hold a picture with a margin, (PHASES, COLOURS, lines, pitch), at whole pixels and half a pixel to the
// right, down, and both: a move is an address. Vectors read past a line, into the next, at most 2 * LANES pixels.
//
// Pixels are 16-bit integers, WHITE of them to 1: the means of 2 x 2 bytes are exact. With half as many, rounding lost a
// ball that left the picture. Interpolated twice, they lie between -574 and 2614. Now's are whole ones, so two that are
// compared differ by at most 2614, and the squares of a window, 192 of them, add up to less than 2^31: sums of squares
// and of products are exact in 32 bits. One instruction multiplies two neighbouring pixels and adds the products: the
// squares of a cell's line, which is two pixels wide, or what two moves a pixel apart add to one pixel of a forecast.
//
// What writes vectors in a loop takes Frame and Grid as copies: a vector may lie anywhere, so that the compiler would
// read all that is behind a pointer again after each.
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

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
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
#if defined(__AVX512F__)
constexpr int LANES = 16;  // values in a vector
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int WHITE = 2040;             // a pixel of 1
constexpr int WHOLE = 14, FINE = 3;     // bits: a share of 1; of a pixel, below what it counts, while windows add up
constexpr float SQUARE = 1.0f / ((float)WHITE * WHITE);  // of pixels, as those of 0..1
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
    int16_t *planes;                      // (PHASES, COLOURS, lines, pitch) pixels
    int16_t *moves, *same;                // (moves, 2, lanes) half px; (moves - shared, lanes) an earlier equal one, or -1
    float *evidence, *choice, *habit;     // (KINDS, moves, lanes), (moves, lanes), (shared, lanes)
    float *inputs, *sums, *sizes, *code;  // (D, lanes), (N, lanes), (lanes,), (N, lanes)
    float *gates;                         // (TERMS, lanes)
    float *parent, *motion, *mean;        // (2, lanes) px: the parent's move, the robot's motion's, the one expected
    int16_t *likeliest;                   // (2, lanes) half px
    int32_t *chosen, *moved;              // 1: there was a frame before, the robot's motion is known
    int32_t *shown;                       // (4,) top, left, rows, cols of what a camera filled of the picture
    int16_t *picture, *error;             // (COLOURS, height, width) pixels: the forecast, and what came less it
    float *wrong, *changed;               // (lanes,) mean squares of a block's error and change
};

struct Weights {
    const float *w1, *b1, *w2, *b2;  // (D, N), (N,), (N, TERMS), (TERMS,)
};

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int16_t Shorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int16_t Pixels __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

INLINE Lanes load(const float *at) { return *(const Lanes *)at; }
INLINE Ints load(const int32_t *at) { return *(const Ints *)at; }
INLINE Pixels load(const int16_t *at) { return *(const Pixels *)at; }
INLINE void store(float *at, Lanes v) { *(Lanes *)at = v; }
INLINE void store(int32_t *at, Ints v) { *(Ints *)at = v; }
INLINE void store(int16_t *at, Pixels v) { *(Pixels *)at = v; }
INLINE Lanes all(float value) { return value - (Lanes){}; }
INLINE Ints in_ints(Lanes v) { return __builtin_convertvector(v, Ints); }
INLINE Ints widened(Shorts v) { return __builtin_convertvector(v, Ints); }
INLINE Lanes in_floats(Ints v) { return __builtin_convertvector(v, Lanes); }

// A vector from any address, and to it: templates forget that vectors need not be aligned.
template <class V> INLINE V read(const void *at) {
    V v;
    std::memcpy(&v, at, sizeof v);
    return v;
}
template <class V> INLINE void write(void *at, V v) { std::memcpy(at, &v, sizeof v); }

// The first `count` values of a vector, the others 0; only these are read, and written.
template <class V, class Value> INLINE V read_part(const Value *at, int count) {
    if (count * sizeof(Value) >= sizeof(V))
        return read<V>(at);
#if defined(__AVX512BW__)
    if constexpr (sizeof(V) == 64)
        return (V)_mm512_maskz_loadu_epi8((1ull << count * sizeof(Value)) - 1, at);
#endif
    V v = {};
    std::memcpy(&v, at, count * sizeof(Value));
    return v;
}
template <class V, class Value> INLINE void write_part(Value *at, V v, int count) {
    if (count * sizeof(Value) >= sizeof(V))
        return write(at, v);
#if defined(__AVX512BW__)
    if constexpr (sizeof(V) == 64)
        return _mm512_mask_storeu_epi8(at, (1ull << count * sizeof(Value)) - 1, (__m512i)v);
#endif
    std::memcpy(at, &v, count * sizeof(Value));
}

// Moves in half pixels as pixels.
INLINE Lanes in_pixels(const int16_t *at) { return .5f * __builtin_convertvector(*(const Shorts *)at, Lanes); }

INLINE float sum(Eight v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

// 1 / v, to 1e-7 of it.
INLINE Lanes reciprocal(Lanes v) {
#if defined(__AVX512F__)
    const Lanes first = (Lanes)_mm512_rcp14_ps((__m512)v);
    return first * (2.0f - v * first);
#else
    return 1.0f / v;
#endif
}

template <int COUNT> INLINE Lanes polynomial(Lanes x, const float (&of)[COUNT]) {
    Lanes sum = all(of[COUNT - 1]);
    for (int i = COUNT - 2; i >= 0; --i)
        sum = sum * x + of[i];
    return sum;
}

// Natural logarithm of positive, finite values, to 2e-6.
INLINE Lanes logarithm(Lanes v) {
    static constexpr float OF_1_TO_2[] = {-2.10719538f, 4.23718323f,  -3.70278477f, 2.27804806f,
                                          -.878160722f, .190718554f, -.0178076999f};
#if defined(__AVX512F__)
    const Lanes exponent = (Lanes)_mm512_getexp_ps((__m512)v);
    const Lanes m = (Lanes)_mm512_getmant_ps((__m512)v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
#else
    const Ints bits = read<Ints>(&v), fraction = (bits & 0x7fffff) | 0x3f800000;
    const Lanes exponent = in_floats((bits >> 23) - 127), m = read<Lanes>(&fraction);
#endif
    return exponent * .69314718f + polynomial(m, OF_1_TO_2);
}

// Two to a power that is not above 0, to 3e-6 of it.
INLINE Lanes power_of_two(Lanes v) {
    static constexpr float OF_HALVES[] = {.999999261f, .693121815f, .240247448f, .055917862f, .00957010178f};
#if defined(__AVX512F__)
    const Lanes whole = (Lanes)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return (Lanes)_mm512_scalef_ps((__m512)polynomial(v - whole, OF_HALVES), (__m512)whole);
#else
    v = v < -120.0f ? all(-120.0f) : v;
    const Ints whole = in_ints(v - .5f);
    const Lanes series = polynomial(v - in_floats(whole), OF_HALVES);
    const Ints bits = read<Ints>(&series) + (whole << 23);
    return read<Lanes>(&bits);
#endif
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

static inline float level(float square) { return .3f * std::log(square + QUIET) + 1.5f; }
INLINE Lanes level(Lanes square) { return .3f * logarithm(square + QUIET) + 1.5f; }

static inline int held(int value, int low, int high) { return std::min(std::max(value, low), high); }

static inline int16_t *plane(const Frame &f, int channel, int phase) {
    return f.planes + (phase * COLOURS + channel) * (long)f.grid->pitch * f.grid->lines;
}

// A plane's line at the picture's left edge.
static inline int16_t *line_of(const Frame &f, int channel, int phase, int y) {
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
template <class Value = float> struct Memory {
    std::vector<Value> values;
    Value *of(size_t size) {
        if (values.size() < size)
            values.resize(size);
        return values.data();
    }
};

// A unit's move, px, in one vector of neighbouring units.
struct Move {
    Lanes down, right;
};

// Move k of LANES units, which is the same in all where all units try it.
INLINE Move move_of(const Frame &f, const Grid &g, int k, int u) {
    if (k < g.shared)
        return {all(.5f * g.tried[2 * k]), all(.5f * g.tried[2 * k + 1])};
    const int16_t *at = f.moves + (long)k * 2 * g.lanes + u;
    return {in_pixels(at), in_pixels(at + g.lanes)};
}

// The prior terms of move k of LANES units: stay, near the parent's, habit, near the robot's, right, down, small.
INLINE void prior_terms(const Frame &f, const Grid &g, int k, int u, const Move &move, Lanes out[PRIORS]) {
    const Lanes none = {}, way = move.right * move.right + move.down * move.down;
    const auto near = [&](const float *of) {
        const Lanes y = move.down - load(of + u), x = move.right - load(of + g.lanes + u);
        return none - logarithm(x * x + y * y + 1.0f);
    };
    out[0] = way == none ? all(1.0f) : none;
    out[1] = near(f.parent);
    out[3] = *f.moved ? near(f.motion) : none;
    out[2] = k < g.shared ? load(f.habit + (long)k * g.lanes + u) : none;
    out[4] = move.right * .5f;
    out[5] = move.down * .5f;
    out[6] = way * -.12f;
}

struct Rows {  // lines of units
    int first, end;
};

void try_moves(const Frame &now, const Frame &last, const Frame *parent);
void compare_shared(const Frame &now, const Frame &last);
void compare_own(const Frame &now, const Frame &last, const Rows &rows);
void choose(const Frame &now, const Frame &last, const Frame *parent, const Weights &weights, bool known);
void mix(const Frame &now);

}  // namespace forecast
