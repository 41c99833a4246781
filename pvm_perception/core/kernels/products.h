// The products of the CPU's kernels: what units read of a source, times weights.
//
// TILE units share every weight that is read, their sums stay in registers, and what they read stays where it is: a
// row is an address. Sources and weights are read in words of 32 bits. A word is one number (Floats: learning, and
// frames on other processors than x86), or two neighbouring 16-bit integers (Pairs: frames on x86). The processor
// multiplies two pairs and adds both products to a sum of 32 bits, in one instruction where there is VNNI, so twice
// the numbers are multiplied at a time, and half the memory is read.
//
// With pairs, a row holds round(value * steps), at most LARGEST either way, and a column of weights is divided by a
// scale of its own and rounded. packing.py chooses the scale so that the sum over the rows that are multiplied at a
// time stays below 2^31: it is at most the largest integer times the sum of the column's integers without their
// signs; or, of codes, whose norm is known, the norm times that of the column's integers (Cauchy-Schwarz), row by
// row. So integers are summed exactly, and all that is lost is lost in rounding values and weights.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// TILE * WIDE sums, WIDE weights and one input lie in vector registers at a time
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 12, WIDE = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, TILE = 4, WIDE = 3;
#elif defined(__aarch64__)
constexpr int LANES = 4, TILE = 4, WIDE = 6;
#else
constexpr int LANES = 4, TILE = 4, WIDE = 3;
#endif
constexpr int DEEP = 640;        // words of a unit that are multiplied at a time
constexpr int MOST_PIECES = 64;  // rows of a unit that are multiplied at a time
constexpr int AHEAD = 8;         // rows of weights that are fetched before they are multiplied
constexpr int LARGEST = 16383;  // of a row's integers, as in packing.py

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static int padded(int n) { return (n + LANES - 1) / LANES * LANES; }

struct Floats {
    static constexpr bool IN_PAIRS = false;
    typedef float Word;
    typedef Lanes Sums;
    static Sums add(Sums sums, Word x, Sums w) { return sums + x * w; }
    static Lanes values(Sums sums, const float *, float) { return sums; }
    static int pitch(int width) { return width; }
    static float step(const float *, int) { return 1.0f; }
    static void write(const float *values, int width, float, float, Word *to) {
        if (to != values)
            std::memcpy(to, values, 4 * width);
    }
};

#if defined(__SSE2__) && !defined(FLOATS)  // FLOATS: for tests
struct Pairs {
    static constexpr bool IN_PAIRS = true;
    typedef int Word __attribute__((may_alias));
    typedef Ints Sums;
    static Sums add(Sums sums, Word x, Sums w) {
#if defined(__AVX512VNNI__)
        return (Sums)_mm512_dpwssd_epi32((__m512i)sums, _mm512_set1_epi32(x), (__m512i)w);
#elif defined(__AVX512F__)
        return sums + (Sums)_mm512_madd_epi16(_mm512_set1_epi32(x), (__m512i)w);
#elif defined(__AVXVNNI__)
        return (Sums)_mm256_dpwssd_avx_epi32((__m256i)sums, _mm256_set1_epi32(x), (__m256i)w);
#elif defined(__AVX2__)
        return sums + (Sums)_mm256_madd_epi16(_mm256_set1_epi32(x), (__m256i)w);
#else
        return sums + (Sums)_mm_madd_epi16(_mm_set1_epi32(x), (__m128i)w);
#endif
    }
    static Lanes values(Sums sums, const float *scale, float step) {
        return step * *(const Lanes *)scale * __builtin_convertvector(sums, Lanes);
    }

    static int pitch(int width) { return (width + 1) / 2; }  // words of so many values

    // What an integer counts in a row whose largest value, either way, is LARGEST integers.
    static float step(const float *values, int width) {
        float most = 1e-30f;
        Word bits = *(const Word *)&most;  // without the sign, the bits of numbers are ordered as the numbers are
        for (int i = 0; i < width; ++i)
            bits = std::max(bits, ((const Word *)values)[i] & 0x7fffffff);
        std::memcpy(&most, &bits, 4);
        return most / LARGEST;
    }

    // Write values as integers, so many to 1; what is no number becomes the lowest.
    static void write(const float *values, int width, float steps, float largest, Word *to) {
        short *integers = (short *)to;
#pragma GCC ivdep
        for (int i = 0; i < width; ++i) {
            const float held = std::max(-largest, std::min(steps * values[i], largest));
            integers[i] = (int)(held + (LARGEST + 0.5f)) - LARGEST;  // rounds: what is cast is positive
        }
        if (width % 2)
            integers[width] = 0;
    }
};
using Number = Pairs;  // of a frame's products
#else
using Number = Floats;
#endif

// Weights (depth, N), their rows padded to whole vectors.
template <class Kind> struct Weights {
    const typename Kind::Word *at;
    const float *scale;  // (N,), padded too: what an integer counts
    int columns, pitch;  // N; words from row to row
};

// What units read of a source, and its weights.
template <class Kind> struct Product {
    const typename Kind::Word *source;
    const int *index;  // (U, fan_in): the rows of each unit; null: unit u reads row u
    int fan_in;
    int depth, pitch;  // words of a row that are read; words from row to row
    Weights<Kind> weights;
    int together;        // rows of a unit that are multiplied at a time; 1 where they are deeper than DEEP
    const float *steps;  // of each of TILE units: what 1 counts in its row; null: 1
};

// Add rows (pieces, TILE) of so many words times w to sums (M, stride), from column n: W vectors of each.
template <class Kind, int M, int W>
static void panel(const typename Kind::Word *const *rows, int pieces, int depth, const Weights<Kind> &w, int n,
                  const float *steps, float *sums, int stride) {
    typename Kind::Sums sum[M][W] = {};
    const typename Kind::Word *at = w.at + n;
    for (int p = 0; p < pieces; ++p, rows += TILE) {
        const typename Kind::Word *x[M];
        for (int j = 0; j < M; ++j)
            x[j] = rows[j];
        for (int d = 0; d < depth; ++d, at += w.pitch) {
            typename Kind::Sums weight[W];
            for (int v = 0; v < W; ++v) {
                weight[v] = *(const typename Kind::Sums *)(at + v * LANES);
                __builtin_prefetch(at + AHEAD * w.pitch + v * LANES);
            }
#pragma GCC unroll 16
            for (int j = 0; j < M; ++j) {
                const typename Kind::Word value = x[j][d];
#pragma GCC unroll 8
                for (int v = 0; v < W; ++v)
                    sum[j][v] = Kind::add(sum[j][v], value, weight[v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int j = 0; j < M; ++j)
#pragma GCC unroll 8
        for (int v = 0; v < W; ++v)
            *(Lanes *)(sums + j * stride + n + v * LANES) +=
                Kind::values(sum[j][v], w.scale + n + v * LANES, steps ? steps[j] : 1.0f);
}

template <class Kind, int M, int W = WIDE>
static void columns(const typename Kind::Word *const *rows, int pieces, int depth, const Weights<Kind> &w,
                    const float *steps, float *sums, int stride, int n = 0) {
    for (; w.columns - n > (W - 1) * LANES; n += W * LANES)
        panel<Kind, M, W>(rows, pieces, depth, w, n, steps, sums, stride);
    if constexpr (W > 1)
        columns<Kind, M, W - 1>(rows, pieces, depth, w, steps, sums, stride, n);
}

template <class Kind, int M = TILE>
static void tile(const typename Kind::Word *const *rows, int pieces, int depth, int m, const Weights<Kind> &w,
                 const float *steps, float *sums, int stride) {
    for (; m >= M; m -= M, rows += M, steps += steps ? M : 0, sums += M * stride)
        columns<Kind, M>(rows, pieces, depth, w, steps, sums, stride);
    if constexpr (M > 1)
        tile<Kind, M == 12 ? 8 : M / 2>(rows, pieces, depth, m, w, steps, sums, stride);
}

// Add what units first..first+m-1 read, times its weights, to sums (m, stride); m <= TILE.
template <class Kind>
static void multiply(const Product<Kind> &of, int first, int m, float *sums, int stride) {
    const typename Kind::Word *rows[MOST_PIECES * TILE];
    Weights<Kind> w = of.weights;
    for (int begin = 0; begin < of.fan_in; begin += of.together) {
        const int pieces = std::min(of.together, of.fan_in - begin);
        for (int from = 0; from < of.depth; from += DEEP) {
            const int depth = std::min(DEEP, of.depth - from);
            for (int p = 0; p < pieces; ++p)
                for (int j = 0; j < m; ++j) {
                    const int unit = first + j, row = of.index ? of.index[unit * of.fan_in + begin + p] : unit;
                    rows[p * TILE + j] = of.source + (long)row * of.pitch + from;
                }
            tile<Kind>(rows, pieces, depth, m, w, of.steps, sums, stride);
            w.at += (long)pieces * depth * w.pitch;
        }
    }
}
