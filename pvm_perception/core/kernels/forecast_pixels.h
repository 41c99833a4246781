// Arithmetic on vectors of 16-bit pixels and shares, as each processor has it; forecast.h says what they count.
//
// Rows of pictures are worked off in the widest vectors there are, Pixels; the 12 pixels of a patch in strips, of 16
// pixels where there are vectors of them, else of 8; those of a window in eights.

#pragma once
#include "forecast.h"

namespace forecast {

#if defined(__SSE2__) && !defined(FLOATS)  // FLOATS: as on other processors, for tests
#define X86_PIXELS
#endif

typedef int16_t Eight_px __attribute__((vector_size(16), aligned(2), may_alias));
typedef int32_t Four __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__AVX2__)
typedef int16_t Strip __attribute__((vector_size(32), aligned(2), may_alias));
typedef int32_t Strip_sums __attribute__((vector_size(32), aligned(4), may_alias));
#else
typedef Eight_px Strip;
typedef Four Strip_sums;
#endif

// The sums plus the products of pixels, two neighbours in each lane.
INLINE Four add_products(Four sums, Eight_px a, Eight_px b) {
#if defined(X86_PIXELS)
    return sums + (Four)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__) && !defined(FLOATS)
    const int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    return sums + (Four)vpaddq_s32(low, vmull_high_s16((int16x8_t)a, (int16x8_t)b));
#else
    for (int i = 0; i < 4; ++i)
        sums[i] += a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    return sums;
#endif
}

// a * b / 2^15, rounded.
INLINE Eight_px scaled(Eight_px a, Eight_px b) {
#if defined(__SSSE3__) && defined(X86_PIXELS)
    return (Eight_px)_mm_mulhrs_epi16((__m128i)a, (__m128i)b);
#elif defined(X86_PIXELS)
    const Eight_px high = (Eight_px)_mm_mulhi_epi16((__m128i)a, (__m128i)b);
    const Eight_px low = (Eight_px)_mm_mullo_epi16((__m128i)a, (__m128i)b);
    return (high << 1) + ((low >> 15) & 1) + ((low >> 14) & 1);
#elif defined(__aarch64__) && !defined(FLOATS)
    return (Eight_px)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b);
#else
    for (int i = 0; i < 8; ++i)
        a[i] = (a[i] * b[i] + (1 << 14)) >> 15;
    return a;
#endif
}

// Pixels of two pictures in turn: those of the lower half of each 8, and of the upper.
INLINE Eight_px lower(Eight_px a, Eight_px b) {
    return __builtin_shuffle(a, b, (Eight_px){0, 8, 1, 9, 2, 10, 3, 11});
}
INLINE Eight_px upper(Eight_px a, Eight_px b) {
    return __builtin_shuffle(a, b, (Eight_px){4, 12, 5, 13, 6, 14, 7, 15});
}

// The sums of lower and upper halves as pixels in their places.
INLINE Eight_px narrow(Four low, Four high) {
#if defined(X86_PIXELS)
    return (Eight_px)_mm_packs_epi32((__m128i)low, (__m128i)high);
#else
    return __builtin_shuffle((Eight_px)low, (Eight_px)high, (Eight_px){0, 2, 4, 6, 8, 10, 12, 14});
#endif
}

#if defined(__AVX2__)
INLINE Strip_sums add_products(Strip_sums sums, Strip a, Strip b) {
#if defined(__AVX512VNNI__)
    return (Strip_sums)_mm256_dpwssd_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
#elif defined(__AVXVNNI__)
    return (Strip_sums)_mm256_dpwssd_avx_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
#else
    return sums + (Strip_sums)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#endif
}
INLINE Strip scaled(Strip a, Strip b) { return (Strip)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b); }
INLINE Strip lower(Strip a, Strip b) { return (Strip)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b); }
INLINE Strip upper(Strip a, Strip b) { return (Strip)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b); }
INLINE Strip narrow(Strip_sums low, Strip_sums high) {
    return (Strip)_mm256_packs_epi32((__m256i)low, (__m256i)high);
}
#endif

#if defined(__AVX512F__)
INLINE Ints add_products(Ints sums, Pixels a, Pixels b) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
#else
    return sums + (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#endif
}
INLINE Pixels scaled(Pixels a, Pixels b) { return (Pixels)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b); }
#endif

INLINE Eight in_floats(Eight_px v) { return __builtin_convertvector(v, Eight); }

// Sums of two neighbouring lanes each, of two vectors that follow each other.
INLINE Ints add_neighbours(Ints low, Ints high) {
    Ints even = {};
    for (int i = 0; i < LANES; ++i)
        even[i] = 2 * i;
    return __builtin_shuffle(low, high, even) + __builtin_shuffle(low, high, even + 1);
}

}  // namespace forecast
