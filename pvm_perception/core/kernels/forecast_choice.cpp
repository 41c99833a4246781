// From evidence to a choice: what the units take in, their code, and the shares of the moves.

#include "forecast.h"

namespace forecast {
namespace {

// Evidence for LANES units: the logarithm of the mean difference over each; and the statistics of each kind.
void weigh(const Frame &f, int u) {
    static_assert(SURE == 2.0f, "the shares are squares");
    const Grid &g = *f.grid;
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
        const Move move = move_of(f, k, u);
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

// The parents' codes of this frame.
void hear_parent(const Frame &f, const Frame &parent) {
    const Grid &g = *f.grid;
    for (int n = 0; n < g.code; ++n)
        for (int row = 0; row < g.rows; row += 2) {
            const float *from = parent.code + (long)n * parent.grid->lanes + row / 2 * (g.cols / 2);
            float *__restrict to = f.inputs + (long)(g.feedback + n) * g.lanes + row * g.cols;
            for (int x = 0; x < g.cols / 2; ++x)
                to[2 * x] = to[2 * x + 1] = from[x];
            std::memcpy(to + g.cols, to, 4 * g.cols);
        }
}

// The mean code of each unit and its neighbours in the frame before; at the edges the nearest units count again.
void hear_neighbours(const Frame &f, const Frame &last) {
    static thread_local Memory<> memory;
    const Grid &g = *f.grid;
    const int units = g.rows * g.cols, end = units - g.cols;
    float *__restrict sums = memory.of(units + 2) + 1;  // over three rows; values beside them are never kept
    for (int n = 0; n < g.code; ++n) {
        const float *codes = last.code + (long)n * g.lanes;
        float *__restrict to = f.inputs + (long)(g.lateral + n) * g.lanes;
        for (int u = g.cols; u < end; ++u)
            sums[u] = codes[u - g.cols] + codes[u] + codes[u + g.cols];
        for (int x = 0; x < g.cols; ++x) {
            sums[x] = 2 * codes[x] + codes[std::min(g.rows - 1, 1) * g.cols + x];
            sums[end + x] = 2 * codes[end + x] + codes[std::max(g.rows - 2, 0) * g.cols + x];
        }
        for (int u = 0; u < units; ++u)
            to[u] = (sums[u - 1] + sums[u] + sums[u + 1]) * (1.0f / 9);
        for (int u = 0; u < units; u += g.cols) {
            const int right = u + g.cols - 1;
            to[u] = (2 * sums[u] + sums[std::min(u + 1, right)]) * (1.0f / 9);
            to[right] = (2 * sums[right] + sums[std::max(right - 1, u)]) * (1.0f / 9);
        }
    }
}

// M outputs of V x LANES units: biases + w^T x, x (depth, lanes), w (depth, pitch).
template <int M, int V>
void product_tile(const float *x, int lanes, int depth, const float *w, int pitch, const float *bias, float *out) {
    Lanes total[M][V];
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v)
            total[m][v] = all(bias[m]);
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
#elif defined(__AVX2__)
constexpr int TALL = 6, WIDE = 2;
#else
constexpr int TALL = 6, WIDE = 2;
#endif

template <int M = TALL>
void product(const float *x, int lanes, int units, int depth, const float *w, int pitch, const float *bias, int outputs,
             float *out) {
    for (; outputs >= M; outputs -= M, w += M, bias += M, out += (long)M * lanes) {
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

// The sum of the terms of move k times their gates, of LANES units.
INLINE Lanes logit_of(const Frame &f, const Lanes gate[TERMS], int k, int u) {
    const Grid &g = *f.grid;
    Lanes prior[PRIORS], logit = {};
    for (int i = 0; i < KINDS; ++i)
        logit += gate[i] * load(f.evidence + ((long)i * g.moves + k) * g.lanes + u);
    prior_terms(f, k, u, move_of(f, k, u), prior);
    for (int i = 0; i < PRIORS; ++i)
        logit += gate[KINDS + i] * prior[i];
    return logit;
}

// The choice of LANES units, the mean move, and the likeliest.
void choose_of(const Frame &f, int u) {
    const Grid &g = *f.grid;
    Lanes gate[TERMS];
    for (int i = 0; i < TERMS; ++i)
        gate[i] = load(f.gates + (long)i * g.lanes + u);
    Lanes most = logit_of(f, gate, 0, u), total = {}, x = {}, y = {};
    Ints best = {};
    store(f.choice + u, most);
    for (int k = 1; k < g.moves; ++k) {
        const Lanes logit = logit_of(f, gate, k, u);
        best = logit > most ? k - (Ints){} : best;
        most = logit > most ? logit : most;
        store(f.choice + (long)k * g.lanes + u, logit);
    }
    for (int k = 0; k < g.moves; ++k) {
        float *at = f.choice + (long)k * g.lanes + u;
        const Move move = move_of(f, k, u);
        Lanes share = exponential(load(at) - most);
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

}  // namespace

// Inputs, codes and gates. Without a frame before, a unit takes in only codes.
void code_units(const Frame &now, const Frame &last, const Frame *parent, const Weights &weights, bool known) {
    const Grid &g = *now.grid;
    const int units = g.rows * g.cols;
    if (known) {
        add_extras(now, last);
        for (int u = 0; u < units; u += LANES)
            weigh(now, u);
    } else {
        std::fill(now.inputs, now.inputs + (long)g.inputs * g.lanes, 0.0f);
    }
    if (parent && g.feedback >= 0)
        hear_parent(now, *parent);
    if (g.lateral >= 0)
        hear_neighbours(now, last);
    product(now.inputs, g.lanes, units, g.inputs, weights.w1, g.code, weights.b1, g.code, now.sums);
    for (int u = 0; u < units; u += LANES)
        normalise(now, u);
    product(now.code, g.lanes, units, g.code, weights.w2, TERMS, weights.b2, TERMS, now.gates);
}

void choose(const Frame &now, const Frame &last) {
    const Grid &g = *now.grid;
    for (int k = 0; k < g.shared; ++k)
        for (int u = 0; u < g.rows * g.cols; u += LANES) {
            const long at = (long)k * g.lanes + u;
            store(now.habit + at, *last.chosen ? logarithm(load(last.choice + at) + RARE) : all(0.0f));
        }
    for (int u = 0; u < g.rows * g.cols; u += LANES)
        choose_of(now, u);
}

}  // namespace forecast
