// One frame of a hierarchy on one core of a CPU: the kernels of kernels.cu, from the same tables.
//
// What costs is the products. TILE units share every weight that is read; what they read is copied
// side by side first, where it stays in the first-level cache, and sums stay in registers. What many
// units hear alike (their parent, the top) is multiplied once for each source unit. Input and decode
// are cheap; decode is kernels.cu's own, with one thread to a block.
//
// Below the frame's kernels is what learning takes longest for. Three products, which go by the same index: what
// is read times weights, its transpose times an error, and an error sent back to where it was read; and
// the codes' non-linearity, there and back.
//
// setup.py builds this for several instruction sets; cpu.py takes the best one that runs here.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#define FUNCTION static inline
#define EACH_THREAD(t) for (int t = 0; t < block.threads; ++t)
#define UNROLL
#define KERNEL(name, most_threads, Table, body)
#include "kernels.cu"

// TILE * WIDE sums, WIDE weights and one input lie in vector registers at a time
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 12, WIDE = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, TILE = 4, WIDE = 3;
#elif defined(__aarch64__)
constexpr int LANES = 4, TILE = 4, WIDE = 6;
#else
constexpr int LANES = 4, TILE = 4, WIDE = 2;
#endif
constexpr int DEEP = 640;             // inputs of a unit that are multiplied at a time
constexpr int STRIDE = DEEP + 16;     // floats: an odd number of cache lines apart, or they collide
constexpr int CHUNK = 128;            // units whose errors stay in the first-level cache

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static int padded(int n) { return (n + LANES - 1) / LANES * LANES; }

// Part of what each of some units hears: a stretch of one row of a source.
struct Piece {
    const float *source;
    const int *index;  // the row of unit u is index[u * fan_in]; null: it is row u
    int fan_in, pitch;  // rows of the source are so many floats apart
    int first, width;  // rows of the weights
    float gain;
};
using Pieces = std::vector<Piece>;

// A thread's memory, as large as was ever asked for: the same at every frame.
struct Memory {
    std::vector<float> values;
    float *of(size_t size) {
        if (values.size() < size)
            values.resize(size);
        return values.data();
    }
};
static thread_local Memory tables, sums_of, active_of, mixed_of, line_of, shared_of, packed_of[2], back_of;
static thread_local Pieces input_pieces, own_pieces;
static thread_local std::vector<std::vector<int>> index_of(1);  // by part

// Weights (rows, N) as they are, or with their rows padded to whole vectors.
struct Weights {
    const float *at;
    int columns, pitch;  // N; floats from row to row
};

static Weights pack(const float *w, int rows, int N, Memory &memory = packed_of[0]) {
    const int wide = padded(N);
    if (wide == N)
        return {w, N, N};
    float *to = memory.of((size_t)rows * wide);
    for (int r = 0; r < rows; ++r)
        std::memcpy(to + (size_t)r * wide, w + (size_t)r * N, 4 * N);
    return {to, N, wide};
}

static void add_piece(Pieces &pieces, const float *source, const int *index, int fan_in, int pitch, int first,
                      float gain = 1.0f) {
    for (int at = 0; at < pitch; at += DEEP)
        pieces.push_back({source + at, index, fan_in, pitch, first + at, std::min(DEEP, pitch - at), gain});
}

static void add_part(Pieces &pieces, const InputPart &part, const Frame &frame, int stream) {
    const float *source = source_of(part, frame, stream);
    for (int k = 0; k < part.fan_in; ++k)
        add_piece(pieces, source, part.index + k, part.fan_in, part.width, part.first + k * part.width, part.gain);
}

static bool is_zero(const InputPart &part, const Frame &frame, int stream) {
    return part.gain == 0.0f || (part.past && frame.fresh[stream]);
}

// Add x (M, STRIDE) times w (depth, .) to sums (M, stride): W vectors of each.
template <int M, int W>
static void panel(const float *x, const float *w, int pitch, int depth, float *sums, int stride) {
    Lanes sum[M][W];
    for (int j = 0; j < M; ++j)
        for (int v = 0; v < W; ++v)
            sum[j][v] = *(const Lanes *)(sums + j * stride + v * LANES);
    for (int d = 0; d < depth; ++d, w += pitch) {
        Lanes weight[W];
        for (int v = 0; v < W; ++v)
            weight[v] = *(const Lanes *)(w + v * LANES);
#pragma GCC unroll 16
        for (int j = 0; j < M; ++j) {
            const float value = x[j * STRIDE + d];
#pragma GCC unroll 8
            for (int v = 0; v < W; ++v)
                sum[j][v] += value * weight[v];
        }
    }
    for (int j = 0; j < M; ++j)
        for (int v = 0; v < W; ++v)
            *(Lanes *)(sums + j * stride + v * LANES) = sum[j][v];
}

template <int M, int W = WIDE>
static void columns(const float *x, const Weights &w, int begin, int depth, float *sums, int stride, int n = 0) {
    for (; w.columns - n > (W - 1) * LANES; n += W * LANES)
        panel<M, W>(x, w.at + (long)begin * w.pitch + n, w.pitch, depth, sums + n, stride);
    if constexpr (W > 1)
        columns<M, W - 1>(x, w, begin, depth, sums, stride, n);
}

// Add x (m, STRIDE) times rows begin..begin+depth-1 of w to sums (m, stride).
template <int M = TILE>
static void multiply(const float *x, int m, const Weights &w, int begin, int depth, float *sums, int stride) {
    for (; m >= M; m -= M, x += M * STRIDE, sums += M * stride)
        columns<M>(x, w, begin, depth, sums, stride);
    if constexpr (M > 1)
        multiply<M == 12 ? 8 : M / 2>(x, m, w, begin, depth, sums, stride);
}

static void copy(const float *from, int width, float gain, float *to) {
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        *(Lanes *)(to + i) = gain * *(const Lanes *)(from + i);
    for (; i < width; ++i)
        to[i] = gain * from[i];
}

// Add what units first..first+m-1 read, times its weights, to sums (m, stride); m <= TILE.
static void gather_multiply(const Pieces &pieces, int first, int m, const Weights &w, float *sums, int stride) {
    alignas(64) static thread_local float x[TILE * STRIDE];
    int depth = 0, begin = 0;
    for (const Piece &piece : pieces) {
        if (piece.first != begin + depth || depth + piece.width > DEEP) {
            multiply(x, m, w, begin, depth, sums, stride);
            begin = piece.first, depth = 0;
        }
        for (int j = 0; j < m; ++j) {
            const int unit = first + j, row = piece.index ? piece.index[unit * piece.fan_in] : unit;
            copy(piece.source + (long)row * piece.pitch, piece.width, piece.gain, x + j * STRIDE + depth);
        }
        depth += piece.width;
    }
    multiply(x, m, w, begin, depth, sums, stride);
}

// Multiply a whole array (rows, width) with rows of w, from the first of them, into out (rows, padded(N)).
static void multiply_all(const float *source, int rows, int width, const Weights &w, int begin, float gain,
                         float *out) {
    Pieces &pieces = own_pieces;
    const int wide = padded(w.columns);
    pieces.clear();
    add_piece(pieces, source, nullptr, 0, width, begin, gain);
    std::fill(out, out + rows * wide, 0.0f);
    for (int first = 0; first < rows; first += TILE)
        gather_multiply(pieces, first, std::min(TILE, rows - first), w, out + first * wide, wide);
}

static void run_input(const Frame &frame, const Input &in, int stream) {
    const int cells = in.rows * in.cols, line = in.cols * in.block * 3, piece = 3 * in.block;
    const int width = piece * in.block, lines = in.rows * in.block;
    const unsigned char *pixels = (const unsigned char *)(&frame + 1) + (long)stream * lines * line;
    float *blocks = in.blocks + (long)stream * (cells + 1) * width, *values = line_of.of(line);
    for (int y = 0; y < lines; ++y, pixels += line) {
        for (int i = 0; i < line; ++i)
            values[i] = pixels[i] * in.scale + in.low;
        float *to = blocks + (long)(y / in.block) * in.cols * width + y % in.block * piece;
        for (int x = 0; x < in.cols; ++x)
            std::memcpy(to + x * width, values + x * piece, 4 * piece);
    }
    for (int i = 0; i < MOTION_VALUES; ++i) {
        const float scaled = frame.motion[stream * MOTION_VALUES + i] / in.motion_unit;
        const float held = std::max(-in.motion_limit, std::min(scaled, in.motion_limit));
        in.motion[stream * 2 * MOTION_VALUES + i] = frame.fresh[stream] ? 0.0f : held;
    }
}

static void run_layer(const Frame &frame, const Layer &layer, int stream) {
    const int N = layer.code, S = layer.size, U = layer.units, wide = padded(N);
    const InputPart &signal = layer.signal;
    const float *now = source_of(signal, frame, stream);
    float *codes = layer.codes + frame.half * layer.half + stream * (U + 1) * N;
    float *errors = layer.error + (long)stream * U * S;
    float *prediction = layer.prediction + (long)stream * U * S;
    const Weights w1 = pack(layer.w1, layer.inputs, N), w2 = pack(layer.w2, N, S, packed_of[1]);

    // inputs that many units share are multiplied here, each unit's own are listed
    Pieces &pieces = input_pieces;
    pieces.clear();
    int shared[MAX_PARTS], count = 0;
    size_t size = 0;
    for (int e = 0; e < layer.part_count; ++e) {
        const InputPart &part = layer.parts[e];
        if (is_zero(part, frame, stream))
            continue;
        if (part.fan_in == 1 && part.rows - 1 < U) {
            shared[count++] = e;
            size += (size_t)(part.rows - 1) * wide;
        } else {
            add_part(pieces, part, frame, stream);
        }
    }
    if (layer.error_first >= 0)
        add_piece(pieces, errors, nullptr, 0, S, layer.error_first, layer.error_gain);
    std::sort(pieces.begin(), pieces.end(), [](const Piece &a, const Piece &b) { return a.first < b.first; });
    float *table[MAX_PARTS], *end = tables.of(size);
    for (int k = 0; k < count; ++k) {
        const InputPart &part = layer.parts[shared[k]];
        table[k] = end;
        end += (size_t)(part.rows - 1) * wide;
        multiply_all(source_of(part, frame, stream), part.rows - 1, part.width, w1, part.first, part.gain, table[k]);
    }

    float *sums = sums_of.of(TILE * (size_t)(wide + padded(S))), *change = sums + TILE * wide;
    Pieces &code = own_pieces;
    code.clear();
    add_piece(code, codes, nullptr, 0, N, 0);
    for (int first = 0; first < U; first += TILE) {
        const int m = std::min(TILE, U - first);
        for (int j = 0; j < m; ++j) {
            const int unit = first + j;
            float *error = errors + (long)unit * S, *expected = prediction + (long)unit * S;
            float *sum = sums + j * wide, *next = change + j * padded(S), wrong = 0.0f;
            for (int k = 0; k < signal.fan_in; ++k) {
                const float *row = now + signal.index[unit * signal.fan_in + k] * signal.width;
                const int at = k * signal.width;
                for (int c = 0; c < signal.width; ++c) {
                    error[at + c] = frame.fresh[stream] ? 0.0f : row[c] - expected[at + c];
                    next[at + c] = row[c] + layer.b2[at + c];
                }
            }
            if (layer.surprise) {
                for (int s = 0; s < S; ++s)
                    wrong += error[s] * error[s];
                layer.surprise[stream * U + unit] = wrong / S;
            }
            std::memcpy(sum, layer.b1, 4 * N);
            for (int k = 0; k < count; ++k) {
                const float *part = table[k] + layer.parts[shared[k]].index[unit] * wide;
                for (int n = 0; n < N; ++n)
                    sum[n] += part[n];
            }
        }
        gather_multiply(pieces, first, m, w1, sums, wide);
        for (int j = 0; j < m; ++j) {
            const float *sum = sums + j * wide;
            float *to = codes + (long)(first + j) * N, square = 0.0f;
            for (int n = 0; n < N; ++n)
                square += sum[n] * sum[n];
            const float share = 1.0f / std::sqrt(square / N + layer.norm_floor);
            for (int n = 0; n < N; ++n)
                to[n] = std::max(share * sum[n], layer.slope * (share * sum[n]));
        }
        gather_multiply(code, first, m, w2, change, padded(S));
        for (int j = 0; j < m; ++j)
            std::memcpy(prediction + (long)(first + j) * S, change + j * padded(S), 4 * S);
    }
}

static void run_project(const Frame &frame, const Readout &readout, int stream) {
    const int H = readout.hidden, wide = padded(H);
    float *sums = sums_of.of(TILE * (size_t)wide);
    for (int p = 0; p < readout.projection_count; ++p) {
        const Projection &projection = readout.projections[p];
        Pieces &pieces = input_pieces;
        pieces.clear();
        if (!is_zero(projection.input, frame, stream))
            add_part(pieces, projection.input, frame, stream);
        const Weights w = pack(projection.w, projection.inputs, H);
        for (int first = 0; first < projection.units; first += TILE) {
            const int m = std::min(TILE, projection.units - first);
            std::fill(sums, sums + m * wide, 0.0f);
            gather_multiply(pieces, first, m, w, sums, wide);
            for (int j = 0; j < m; ++j)
                std::memcpy(projection.out + (long)(stream * projection.units + first + j) * H, sums + j * wide, 4 * H);
        }
    }
}

static void run_answer(const Frame &, const Readout &readout, int stream) {
    const int H = readout.hidden, M = readout.mixing, A = readout.answers, C = readout.cells;
    float *active = active_of.of(TILE * (size_t)H), *mixed = mixed_of.of(TILE * (size_t)padded(M));
    float *sums = sums_of.of(TILE * (size_t)padded(A));
    const Weights mix = pack(readout.mix, H, M), w2 = pack(readout.w2, M, A, packed_of[1]);
    Pieces &pieces = input_pieces;
    for (int first = 0; first < C; first += TILE) {
        const int m = std::min(TILE, C - first);
        for (int j = 0; j < m; ++j) {
            const int cell = first + j;
            float *to = active + j * H;
            std::memcpy(to, readout.b1, 4 * H);
            for (int p = 0; p < readout.projection_count; ++p) {
                const Projection &projection = readout.projections[p];
                for (int k = cell * projection.corners; k < (cell + 1) * projection.corners; ++k) {
                    const float *row = projection.out + (long)(stream * projection.units + projection.corner[k]) * H;
                    const float share = projection.share[k];
                    for (int n = 0; n < H && share != 0.0f; ++n)
                        to[n] += share * row[n];
                }
            }
            for (int n = 0; n < H; ++n)
                to[n] = std::max(to[n], 0.0f);
            std::memcpy(mixed + j * padded(M), readout.b_mix, 4 * M);
            std::memcpy(sums + j * padded(A), readout.b2, 4 * A);
        }
        pieces.clear();
        add_piece(pieces, active, nullptr, 0, H, 0);
        gather_multiply(pieces, 0, m, mix, mixed, padded(M));
        for (int i = 0; i < m * padded(M); ++i)
            mixed[i] = std::max(mixed[i], 0.0f);
        pieces.clear();
        for (int at = 0; at < M; at += DEEP)
            pieces.push_back({mixed + at, nullptr, 0, padded(M), at, std::min(DEEP, M - at), 1.0f});
        gather_multiply(pieces, 0, m, w2, sums, padded(A));
        for (int j = 0; j < m; ++j) {
            const float *answer = sums + j * padded(A);
            std::memcpy(readout.out + (long)(stream * C + first + j) * A, answer, 4 * A);
            float *memory = readout.memory + (long)(stream * (C + 1) + first + j) * A;
            for (int target = 0; target < A; target += readout.values_per_target) {
                const float logit = std::max(-readout.logit_limit, std::min(answer[target], readout.logit_limit));
                memory[target] = 1.0f / (1.0f + std::exp(-logit));
                for (int n = target + 1; n < target + readout.values_per_target; ++n)
                    memory[n] = std::max(-readout.size_limit, std::min(answer[n], readout.size_limit)) * memory[target];
            }
        }
    }
}

static void run_decode(const Frame &frame, const Decode &decode, int stream) {
    const int pairs = decode.rows * decode.cols * decode.targets;
    decode_body(Block{0, stream, 1}, frame, decode, shared_of.of(2 * (size_t)pairs + 1));
}

enum Kernel { INPUT, LAYER, PROJECT, ANSWER, DECODE };

struct Call {  // as in cpu.py
    int kernel, streams;
    const Frame *frame;
    const void *table;
};

extern "C" void run(const Call *calls, int count) {
    for (const Call *call = calls; call < calls + count; ++call)
        for (int stream = 0; stream < call->streams; ++stream)
            switch (call->kernel) {
            case INPUT: run_input(*call->frame, *(const Input *)call->table, stream); break;
            case LAYER: run_layer(*call->frame, *(const Layer *)call->table, stream); break;
            case PROJECT: run_project(*call->frame, *(const Readout *)call->table, stream); break;
            case ANSWER: run_answer(*call->frame, *(const Readout *)call->table, stream); break;
            default: run_decode(*call->frame, *(const Decode *)call->table, stream);
            }
}

// What B streams' units read of a source (B, rows, width) through an index (U, fan_in); null: row by row.
struct GatherInput {
    const float *source;
    const long long *index;
    int streams, units, fan_in, rows, width;
    int first;  // row of the weights
};

static const int *narrow(const GatherInput &of, std::vector<int> &index) {
    if (!of.index)
        return nullptr;
    index.assign(of.index, of.index + (size_t)of.units * of.fan_in);
    return index.data();
}

// Write what is read in so many parts times w (rows, N) into out (B, U, N), or add it.
extern "C" void gather_matmul(const GatherInput *of, int parts, const float *weights, int rows, int N, float *out,
                              int adds) {
    const int wide = padded(N);
    const Weights w = pack(weights, rows, N);
    if ((int)index_of.size() < parts)
        index_of.resize(parts);
    for (int p = 0; p < parts; ++p)
        narrow(of[p], index_of[p]);
    float *sums = sums_of.of(TILE * (size_t)wide);
    for (int b = 0; b < of->streams; ++b) {
        Pieces &pieces = input_pieces;
        pieces.clear();
        for (int p = 0; p < parts; ++p)
            for (int k = 0; k < of[p].fan_in; ++k)
                add_piece(pieces, of[p].source + (long)b * of[p].rows * of[p].width,
                          of[p].index ? index_of[p].data() + k : nullptr, of[p].fan_in, of[p].width,
                          of[p].first + k * of[p].width);
        std::sort(pieces.begin(), pieces.end(), [](const Piece &x, const Piece &y) { return x.first < y.first; });
        for (int first = 0; first < of->units; first += TILE) {
            const int m = std::min(TILE, of->units - first);
            float *to = out + ((long)b * of->units + first) * N, *sum = wide == N ? to : sums;
            if (!adds)
                std::fill(sum, sum + (size_t)m * wide, 0.0f);
            else if (sum != to)
                for (int j = 0; j < m; ++j)
                    std::memcpy(sum + j * wide, to + (long)j * N, 4 * N);
            gather_multiply(pieces, first, m, w, sum, wide);
            if (sum != to)
                for (int j = 0; j < m; ++j)
                    std::memcpy(to + (long)j * N, sum + j * wide, 4 * N);
        }
    }
}

// Add the outer products of what `units` read in M of its values with their errors to sums (M, stride).
template <int M, int W>
static void outer_panel(const float *source, const int *row, int fan_in, long pitch, int units,
                        const float *error, int stride_error, float *sums, int stride) {
    Lanes sum[M][W];
    for (int j = 0; j < M; ++j)
        for (int v = 0; v < W; ++v)
            sum[j][v] = *(const Lanes *)(sums + j * stride + v * LANES);
    for (int u = 0; u < units; ++u, error += stride_error) {
        const float *x = source + (row ? row[u * fan_in] : u) * pitch;
        Lanes value[W];
        for (int v = 0; v < W; ++v)
            value[v] = *(const Lanes *)(error + v * LANES);
#pragma GCC unroll 16
        for (int j = 0; j < M; ++j) {
            const float input_value = x[j];
#pragma GCC unroll 8
            for (int v = 0; v < W; ++v)
                sum[j][v] += input_value * value[v];
        }
    }
    for (int j = 0; j < M; ++j)
        for (int v = 0; v < W; ++v)
            *(Lanes *)(sums + j * stride + v * LANES) = sum[j][v];
}

template <int M, int W = WIDE>
static void outer_columns(const float *source, const int *row, int fan_in, long pitch, int units,
                          const float *error, int N, float *sums, int n = 0) {
    const int wide = padded(N);
    for (; N - n > (W - 1) * LANES; n += W * LANES)
        outer_panel<M, W>(source, row, fan_in, pitch, units, error + n, wide, sums + n, wide);
    if constexpr (W > 1)
        outer_columns<M, W - 1>(source, row, fan_in, pitch, units, error, N, sums, n);
}

template <int M = TILE>
static void outer(const float *source, const int *row, int fan_in, long pitch, int width, int units,
                  const float *error, int N, float *sums) {
    for (; width >= M; width -= M, source += M, sums += (size_t)M * padded(N))
        outer_columns<M>(source, row, fan_in, pitch, units, error, N, sums);
    if constexpr (M > 1)
        outer<M == 12 ? 8 : M / 2>(source, row, fan_in, pitch, width, units, error, N, sums);
}

// Write the transpose of what is read times errors (B, U, N) into out (fan_in * width, N).
extern "C" void gather_outer(const GatherInput *of, const float *errors, int N, float *out) {
    const int *index = narrow(*of, index_of[0]), depth = of->fan_in * of->width, wide = padded(N);
    float *sums = wide == N ? out : sums_of.of((size_t)depth * wide);
    std::fill(sums, sums + (size_t)depth * wide, 0.0f);
    for (int b = 0; b < of->streams; ++b) {
        const float *source = of->source + (long)b * of->rows * of->width;
        for (int first = 0; first < of->units; first += CHUNK) {
            const int units = std::min(CHUNK, of->units - first);
            const float *error = pack(errors + ((long)b * of->units + first) * N, units, N).at;
            for (int k = 0; k < of->fan_in; ++k)
                outer(index ? source : source + (long)first * of->width,
                      index ? index + (long)first * of->fan_in + k : nullptr, of->fan_in, of->width, of->width, units,
                      error, N, sums + (size_t)k * of->width * wide);
        }
    }
    if (sums != out)
        for (int d = 0; d < depth; ++d)
            std::memcpy(out + (long)d * N, sums + (size_t)d * wide, 4 * N);
}

// Add errors (B, U, N) times the transpose of w (fan_in * width, N) to the rows that they were read from.
extern "C" void matmul_scatter(const GatherInput *of, const float *errors, const float *w, int N, float *out) {
    const int *index = narrow(*of, index_of[0]), depth = of->fan_in * of->width, wide = padded(depth);
    float *back = back_of.of((size_t)N * wide), *sums = sums_of.of(TILE * (size_t)wide);
    for (int d = 0; d < depth; d += 16)  // in squares, so that neither side skips through memory
        for (int n = 0; n < N; n += 16)
            for (int i = d; i < std::min(d + 16, depth); ++i)
                for (int k = n; k < std::min(n + 16, N); ++k)
                    back[(size_t)k * wide + i] = w[(size_t)i * N + k];
    const Weights weights = {back, depth, wide};
    for (int b = 0; b < of->streams; ++b) {
        Pieces &pieces = input_pieces;
        pieces.clear();
        add_piece(pieces, errors + (long)b * of->units * N, nullptr, 0, N, 0);
        float *below = out + (long)b * of->rows * of->width;
        for (int first = 0; first < of->units; first += TILE) {
            const int m = std::min(TILE, of->units - first);
            std::fill(sums, sums + (size_t)m * wide, 0.0f);
            gather_multiply(pieces, first, m, weights, sums, wide);
            for (int j = 0; j < m; ++j)
                for (int k = 0; k < of->fan_in; ++k) {
                    const int row = index ? index[(first + j) * of->fan_in + k] : first + j;
                    float *to = below + (long)row * of->width;
                    const float *from = sums + (size_t)j * wide + k * of->width;
                    for (int c = 0; c < of->width; ++c)
                        to[c] += from[c];
                }
        }
    }
}

// Bring sums z (units, N) to a root mean square of 1, which sizes keeps, and write their codes into h.
extern "C" void normalise_activate(float *z, float *sizes, float *h, long units, int N, float norm_floor, float leak) {
    for (long u = 0; u < units; ++u, z += N, h += N) {
        float square = 0.0f;
        for (int n = 0; n < N; ++n)
            square += z[n] * z[n];
        sizes[u] = std::sqrt(square / N + norm_floor);
        const float share = 1.0f / sizes[u];
        for (int n = 0; n < N; ++n) {
            z[n] *= share;
            h[n] = std::max(z[n], leak * z[n]);
        }
    }
}

// Write the error of the sums before `normalise_activate` into out (B, U, N), from that of the codes, d.
extern "C" void normalise_activate_backward(const float *d, long pitch, const float *z, const float *sizes, float *out,
                                             int streams, int units, int N, float leak) {
    for (int b = 0; b < streams; ++b) {
        const float *error = d + b * pitch;
        for (int u = 0; u < units; ++u, error += N, z += N, ++sizes, out += N) {
            float along = 0.0f;
            for (int n = 0; n < N; ++n) {
                out[n] = error[n] * (z[n] > 0.0f ? 1.0f : leak);
                along += out[n] * z[n];
            }
            const float share = 1.0f / *sizes, less = along / N;
            for (int n = 0; n < N; ++n)
                out[n] = share * (out[n] - less * z[n]);
        }
    }
}

// The sum of the squared differences of two frames.
extern "C" double squared_difference(const unsigned char *a, const unsigned char *b, long size) {
    long long total = 0;
    for (long begin = 0; begin < size; begin += 4096) {
        int sum = 0;  // holds so many
        for (long i = begin; i < std::min(begin + 4096, size); ++i)
            sum += (a[i] - b[i]) * (a[i] - b[i]);
        total += sum;
    }
    return (double)total;
}

extern "C" int runs_here() {
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
           && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}
