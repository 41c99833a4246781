// From evidence to a choice: what the units take in, their code, and the shares of the moves.

#include "forecast.h"

namespace forecast {
namespace {

// Evidence for LANES units: the logarithm of the mean difference over each; and the statistics of each kind.
void weigh(Frame f, int u) {
    static_assert(SURE == 2.0f, "the shares are squares");
    const Grid g = *f.grid;
    float *differ[KINDS];
    Lanes stay[KINDS], total[KINDS] = {}, least[KINDS];
    for (int i = 0; i < KINDS; ++i) {
        differ[i] = f.evidence + (long)i * g.moves * g.lanes + u;
        stay[i] = least[i] = load(differ[i]);
    }
    for (int k = 0; k < g.moves; ++k)
        for (int i = 0; i < KINDS; ++i) {
            const Lanes d = load(differ[i] + (long)k * g.lanes);
            total[i] += d;
            least[i] = d < least[i] ? d : least[i];
        }
    Lanes level_of_mean[KINDS], shares[KINDS] = {}, x[KINDS] = {}, y[KINDS] = {}, squares[KINDS] = {};
    for (int i = 0; i < KINDS; ++i) {
        level_of_mean[i] = logarithm(total[i] * (1.0f / g.moves) + QUIET);
        least[i] += QUIET;
    }
    for (int k = 0; k < g.moves; ++k) {
        const Move move = move_of(f, g, k, u);
        const Lanes way = move.right * move.right + move.down * move.down;
        for (int i = 0; i < KINDS; ++i) {
            float *at = differ[i] + (long)k * g.lanes;
            const Lanes d = load(at) + QUIET, ratio = least[i] * reciprocal(d), share = ratio * ratio;
            store(at, level_of_mean[i] - logarithm(d));
            shares[i] += share;
            x[i] += share * move.right;
            y[i] += share * move.down;
            squares[i] += share * way;
        }
    }
    for (int i = 0; i < KINDS; ++i) {
        const Lanes each = 1.0f / shares[i], mean_x = x[i] * each, mean_y = y[i] * each;
        Lanes spread = squares[i] * each - mean_x * mean_x - mean_y * mean_y;
        spread = spread > 0.0f ? spread : all(0.0f);
        const Lanes out[STATISTICS] = {.3f * logarithm(stay[i] + QUIET) + 1.5f,
                                       .3f * logarithm(least[i]) + 1.5f,
                                       .3f * level_of_mean[i] + 1.5f,
                                       .25f * mean_x,
                                       .25f * mean_y,
                                       .5f * logarithm(spread + .05f) + .5f};
        for (int n = 0; n < STATISTICS; ++n)
            store(f.inputs + (long)(i * STATISTICS + n) * g.lanes + u, out[n]);
    }
}

float mean_of(const float *values, int count) {
    float total = 0.0f;
    for (int i = 0; i < count; ++i)
        total += values[i];
    return total / count;
}

// What the whole frame says of the moves that all units try: the extra inputs 8 to 11, before the evidence is weighed.
void whole_frame(const Frame &f, float out[4]) {
    static thread_local Memory<> memory;
    const Grid &g = *f.grid;
    const int units = g.rows * g.cols;
    float *whole = memory.of(g.shared), shares = 0.0f, down = 0.0f, right = 0.0f;
    for (int k = 0; k < g.shared; ++k)
        whole[k] = mean_of(f.evidence + (long)k * g.lanes, units);
    const float least = *std::min_element(whole, whole + g.shared);
    for (int k = 0; k < g.shared; ++k) {
        const float ratio = (least + QUIET) / (whole[k] + QUIET);
        shares += ratio * ratio;
        down += ratio * ratio * g.tried[2 * k];
        right += ratio * ratio * g.tried[2 * k + 1];
    }
    out[0] = level(whole[0]);
    out[1] = level(least);
    out[2] = down / shares / 8;
    out[3] = right / shares / 8;
}

// What the units know besides the evidence: EXTRAS rows of the inputs.
void add_extras(const Frame &f, const Frame &last) {
    const Grid &g = *f.grid;
    const int units = g.rows * g.cols;
    float *row[EXTRAS], whole[4];
    for (int i = 0; i < EXTRAS; ++i)
        row[i] = f.inputs + (long)(KINDS * STATISTICS + i) * g.lanes;
    whole_frame(f, whole);
    const float wrong = level(mean_of(f.wrong, units)), changed = level(mean_of(f.changed, units));
    const float moved = *f.moved, chosen = *last.chosen;
    for (int u = 0; u < units; u += LANES) {
        const Lanes own[2] = {level(load(f.wrong + u)), level(load(f.changed + u))};
        for (int i = 0; i < 2; ++i) {
            const Lanes motion = .25f * load(f.motion + i * g.lanes + u);
            const Lanes above = motion < 4.0f ? motion : all(4.0f);
            store(row[i] + u, .25f * load(f.parent + i * g.lanes + u));
            store(row[2 + i] + u, .25f * load(last.mean + i * g.lanes + u));
            store(row[4 + i] + u, own[i]);
            store(row[14 + i] + u, moved * (above > -4.0f ? above : all(-4.0f)));
        }
        store(row[6] + u, all(wrong));
        store(row[7] + u, all(changed));
        for (int i = 0; i < 4; ++i)
            store(row[8 + i] + u, all(whole[i]));
        store(row[12] + u, all(chosen));
        store(row[13] + u, own[0] - own[1]);
        store(row[16] + u, all(moved));
    }
}

// Spread the parents' values over their children, of some lines of units.
void spread(const Grid &g, const Grid &above, const float *values, int count, const Rows &rows, float *out) {
    for (int n = 0; n < count; ++n)
        for (int row = rows.first; row < rows.end; row += 2) {
            const float *from = values + (long)n * above.lanes + row / 2 * (g.cols / 2);
            float *__restrict to = out + (long)n * g.lanes + row * g.cols;
            for (int x = 0; x < g.cols / 2; ++x)
                to[2 * x] = to[2 * x + 1] = from[x];
            std::memcpy(to + g.cols, to, 4 * g.cols);
        }
}

// The mean code of each unit and its neighbours in the frame before; at the edges the nearest units count again.
void hear_neighbours(const Frame &f, const Frame &last, const Rows &rows) {
    static thread_local Memory<> memory;
    const Grid &g = *f.grid;
    const int begin = rows.first * g.cols, end = rows.end * g.cols;
    float *__restrict sums = memory.of(end - begin + 2) + 1 - begin;  // over three lines; those beside are never kept
    for (int n = 0; n < g.code; ++n) {
        const float *codes = last.code + (long)n * g.lanes;
        float *__restrict to = f.inputs + (long)(g.lateral + n) * g.lanes;
        for (int u = std::max(begin, g.cols); u < std::min(end, (g.rows - 1) * g.cols); ++u)
            sums[u] = codes[u - g.cols] + codes[u] + codes[u + g.cols];
        for (int row : {0, g.rows - 1})
            if (row >= rows.first && row < rows.end)
                for (int x = 0; x < g.cols; ++x)
                    sums[row * g.cols + x] = codes[std::max(row - 1, 0) * g.cols + x] + codes[row * g.cols + x]
                                             + codes[std::min(row + 1, g.rows - 1) * g.cols + x];
        for (int u = begin; u < end; ++u)
            to[u] = (sums[u - 1] + sums[u] + sums[u + 1]) * (1.0f / 9);
        for (int u = begin; u < end; u += g.cols) {
            const int right = u + g.cols - 1;
            to[u] = (2 * sums[u] + sums[std::min(u + 1, right)]) * (1.0f / 9);
            to[right] = (2 * sums[right] + sums[std::max(right - 1, u)]) * (1.0f / 9);
        }
    }
}

// M outputs of V x LANES units: biases, or what is there, + w^T x; x (depth, lanes), w (depth, pitch).
template <int M, int V>
void product_tile(const float *x, int lanes, int depth, const float *w, int pitch, const float *bias, float *out) {
    Lanes total[M][V];
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v)
            total[m][v] = bias ? all(bias[m]) : load(out + (long)m * lanes + LANES * v);
    for (int d = 0; d < depth; ++d, x += lanes, w += pitch) {
        Lanes value[V];
        for (int v = 0; v < V; ++v)
            value[v] = load(x + LANES * v);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < V; ++v)
                total[m][v] += w[m] * value[v];
    }
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v)
            store(out + (long)m * lanes + LANES * v, total[m][v]);
}

#if defined(__AVX512F__)
constexpr int TALL = 12, WIDE = 2;
#else
constexpr int TALL = 6, WIDE = 2;
#endif

template <int M = TALL>
void product(const float *x, int lanes, int units, int depth, const float *w, int pitch, const float *bias, int outputs,
             float *out) {
    for (; outputs >= M; outputs -= M, w += M, bias += bias ? M : 0, out += (long)M * lanes) {
        int u = 0;
        for (; u + WIDE * LANES < units + LANES; u += WIDE * LANES)
            product_tile<M, WIDE>(x + u, lanes, depth, w, pitch, bias, out + u);
        for (; u < units; u += LANES)
            product_tile<M, 1>(x + u, lanes, depth, w, pitch, bias, out + u);
    }
    if constexpr (M > 1)
        product<(M > 4 ? M / 2 - M / 2 % 2 : M / 2)>(x, lanes, units, depth, w, pitch, bias, outputs, out);
}

// Bring sums to a root mean square of 1; a leaky rectifier makes the codes.
void normalise(const Frame &f, int u) {
    const Grid &g = *f.grid;
    Lanes square = {};
    for (int n = 0; n < g.code; ++n) {
        const Lanes z = load(f.sums + (long)n * g.lanes + u);
        square += z * z;
    }
    Lanes size = square * (1.0f / g.code) + NORM_FLOOR;
    float root[LANES];
    store(root, size);
    for (float &r : root)
        r = std::sqrt(r);
    size = load(root);
    const Lanes share = 1.0f / size;
    store(f.sizes + u, size);
    for (int n = 0; n < g.code; ++n) {
        const Lanes z = share * load(f.sums + (long)n * g.lanes + u);
        store(f.sums + (long)n * g.lanes + u, z);
        store(f.code + (long)n * g.lanes + u, z > LEAK * z ? z : LEAK * z);
    }
}

constexpr float PER_POWER = 1.44269504f;  // logits are powers of two: 1 / ln 2

// The sum of the terms of move k times their gates, of LANES units.
INLINE Lanes logit_of(const Frame &f, const Grid &g, const Lanes gate[TERMS], int k, int u) {
    Lanes prior[PRIORS], logit = {};
    for (int i = 0; i < KINDS; ++i)
        logit += gate[i] * load(f.evidence + ((long)i * g.moves + k) * g.lanes + u);
    prior_terms(f, g, k, u, move_of(f, g, k, u), prior);
    for (int i = 0; i < PRIORS; ++i)
        logit += gate[KINDS + i] * prior[i];
    return logit;
}

// The choice of LANES units, the mean move, and the likeliest.
void choose_of(Frame f, const Frame &last, int u) {
    const Grid g = *f.grid;
    const bool chosen = *last.chosen;
    const float *before = last.choice + u;
    for (int k = 0; k < g.shared; ++k)
        store(f.habit + (long)k * g.lanes + u, chosen ? logarithm(load(before + (long)k * g.lanes) + RARE) : all(0.0f));
    Lanes gate[TERMS];
    for (int i = 0; i < TERMS; ++i)
        gate[i] = PER_POWER * load(f.gates + (long)i * g.lanes + u);
    Lanes most = logit_of(f, g, gate, 0, u), total = {}, x = {}, y = {};
    Ints best = {};
    store(f.choice + u, most);
    for (int k = 1; k < g.moves; ++k) {
        const Lanes logit = logit_of(f, g, gate, k, u);
        best = logit > most ? k - (Ints){} : best;
        most = logit > most ? logit : most;
        store(f.choice + (long)k * g.lanes + u, logit);
    }
    for (int k = 0; k < g.moves; ++k) {
        float *at = f.choice + (long)k * g.lanes + u;
        const Move move = move_of(f, g, k, u);
        Lanes share = power_of_two(load(at) - most);
        share = share < LEAST ? all(0.0f) : share;
        store(at, share);
        total += share;
        x += share * move.right;
        y += share * move.down;
    }
    const Lanes each = 1.0f / total;
    for (int k = 0; k < g.moves; ++k)
        store(f.choice + (long)k * g.lanes + u, each * load(f.choice + (long)k * g.lanes + u));
    store(f.mean + u, y * each);
    store(f.mean + g.lanes + u, x * each);
    for (int i = 0; i < LANES; ++i)
        for (int axis = 0; axis < 2; ++axis)
            f.likeliest[axis * g.lanes + u + i] = f.moves[((long)best[i] * 2 + axis) * g.lanes + u + i];
}

// What the units of some lines take in besides the evidence, and their codes and gates. `above`: what the parents'
// codes add to their sums, (N, lanes of the parents).
void code_rows(const Frame &now, const Frame &last, const Frame *parent, const Weights &weights, const float *above,
               const Rows &rows) {
    const Grid &g = *now.grid;
    const int first = rows.first * g.cols, units = (rows.end - rows.first) * g.cols;
    if (above) {
        spread(g, *parent->grid, parent->code, g.code, rows, now.inputs + (long)g.feedback * g.lanes);
        spread(g, *parent->grid, above, g.code, rows, now.sums);
    }
    product(now.inputs + first, g.lanes, units, KINDS * STATISTICS + EXTRAS, weights.w1, g.code,
            above ? nullptr : weights.b1, g.code, now.sums + first);
    if (g.lateral >= 0) {
        hear_neighbours(now, last, rows);
        product(now.inputs + (long)g.lateral * g.lanes + first, g.lanes, units, g.code, weights.w1 + g.lateral * g.code,
                g.code, nullptr, g.code, now.sums + first);
    }
    for (int u = first; u < first + units; u += LANES)
        normalise(now, u);
    product(now.code + first, g.lanes, units, g.code, weights.w2, TERMS, weights.b2, TERMS, now.gates + first);
}

}  // namespace

// Evidence, inputs, codes, gates and choices, some lines of units at a time, so that what they are made of stays near.
// Without a frame before, a unit takes in only codes, and stays.
void choose(const Frame &now, const Frame &last, const Frame *parent, const Weights &weights, bool known) {
    static thread_local Memory<> memory;
    const Grid &g = *now.grid;
    float *above = nullptr;
    if (parent && g.feedback >= 0) {  // summed up once for all four siblings
        const Grid &coarse = *parent->grid;
        above = memory.of((size_t)g.code * coarse.lanes);
        product(parent->code, coarse.lanes, coarse.rows * coarse.cols, g.code, weights.w1 + g.feedback * g.code, g.code,
                weights.b1, g.code, above);
    }
    if (known) {
        try_moves(now, last, parent);
        compare_shared(now, last);
        add_extras(now, last);
    } else {
        std::fill(now.inputs, now.inputs + (long)g.inputs * g.lanes, 0.0f);
        std::fill(now.choice, now.choice + g.lanes, 1.0f);
        std::fill(now.choice + g.lanes, now.choice + (long)g.moves * g.lanes, 0.0f);
        std::fill(now.mean, now.mean + 2L * g.lanes, 0.0f);
        std::fill(now.likeliest, now.likeliest + 2L * g.lanes, (int16_t)0);
    }
    int count = 8;  // of lines: siblings', and as many as make whole vectors; of fewer, loops over lines are too short
    while (count * g.cols % LANES && count < g.rows)
        count += 2;
    for (int row = 0; row < g.rows; row += count) {
        const Rows rows = {row, std::min(row + count, g.rows)};
        if (known) {
            compare_own(now, last, rows);
            for (int u = rows.first * g.cols; u < rows.end * g.cols; u += LANES)
                weigh(now, u);
        }
        code_rows(now, last, parent, weights, above, rows);
        for (int u = rows.first * g.cols; u < rows.end * g.cols && known; u += LANES)
            choose_of(now, last, u);
    }
}

}  // namespace forecast
