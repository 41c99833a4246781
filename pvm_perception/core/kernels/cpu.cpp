// One frame of a hierarchy on one core of a CPU: the kernels of kernels.cu, from the same tables.
//
// What costs is the products, products.h. What many units hear alike (their parent, the top) is multiplied
// once for each source unit. Each source is written twice: as numbers, and as the words that products read.
// Input and decode are cheap; decode is kernels.cu's own, with one thread to a block.
//
// Below the frame's kernels is what learning takes longest for. Three products, which go by the same index: what
// is read times weights, its transpose times an error, and an error sent back to where it was read; and
// the codes' non-linearity, there and back.
//
// setup.py builds this for several instruction sets; cpu.py takes the best one that runs here.

#include "products.h"

#define FUNCTION static inline
#define EACH_THREAD(t) for (int t = 0; t < block.threads; ++t)
#define UNROLL
#define KERNEL(name, most_threads, Table, body)
#define fmaxf std::max<float>  // the library's own are calls
#define fminf std::min<float>
#include "kernels.cu"

constexpr int CHUNK = 128;  // units whose errors stay in the first-level cache

// A thread's memory, as large as was ever asked for: the same at every frame.
struct Memory {
    std::vector<float> values;
    float *of(size_t size) {
        if (values.size() < size)
            values.resize(size);
        return values.data();
    }
};
static thread_local Memory words_of, tables, sums_of, active_of, mixed_of, line_of, shared_of, packed_of, back_of;
static thread_local std::vector<Product<Floats>> products;
static thread_local std::vector<std::vector<int>> index_of(1);  // by part

// Weights (rows, N) as they are, or with their rows padded to whole vectors.
static Weights<Floats> pack(const float *w, int rows, int N) {
    const int wide = padded(N);
    if (wide == N)
        return {w, nullptr, N, N};
    float *to = packed_of.of((size_t)rows * wide);
    for (int r = 0; r < rows; ++r)
        std::memcpy(to + (size_t)r * wide, w + (size_t)r * N, 4 * N);
    return {to, nullptr, N, wide};
}

static Weights<Number> weights_of(const Packed &packed, int N) {
    return {(const Number::Word *)packed.at, packed.scale, N, padded(N)};
}

static bool is_zero(const InputPart &part, const Frame &frame, int stream) {
    return part.gain == 0.0f || (part.past && frame.fresh[stream]);
}

// What units of N sums read of one part.
static Product<Number> product_of(const InputPart &part, const Frame &frame, int stream, int N) {
    const Words &words = part.words;
    const long row = (frame.half ^ part.past) * (part.half / part.width) + stream * part.rows;
    return {(const Number::Word *)words.at + row * words.pitch, part.index, part.fan_in, words.pitch, words.pitch,
            weights_of(part.packed, N), part.packed.together, nullptr};
}

// What each unit reads of a row of its own.
static Product<Number> own_row(const Number::Word *source, int width, int pitch, const Packed &packed, int N,
                               const float *steps = nullptr) {
    return {source, nullptr, 1, Number::pitch(width), pitch, weights_of(packed, N), 1, steps};
}

// Multiply all rows of a part's source, but the last, which is zero, into out (rows, padded(N)).
static void multiply_all(Product<Number> product, int rows, float *out) {
    const int wide = product.weights.pitch;
    product.index = nullptr;
    std::fill(out, out + rows * wide, 0.0f);
    for (int first = 0; first < rows; first += TILE)
        multiply(product, first, std::min(TILE, rows - first), out + first * wide, wide);
}

// Write a row of a source as words, which products read.
static void write_row(const Words &to, long row, const float *values, int width) {
    Number::write(values, width, to.steps, to.largest, (Number::Word *)to.at + row * to.pitch);
}

// Write a row with a scale of its own; return what 1 counts in it.
static float write_scaled(const float *values, int width, Number::Word *to) {
    const float step = Number::step(values, width);
    Number::write(values, width, 1.0f / step, LARGEST, to);
    return step;
}

static void run_input(const Frame &frame, const Input &in, int stream) {
    const int cells = in.rows * in.cols, line = in.cols * in.block * 3, piece = 3 * in.block;
    const int width = piece * in.block, lines = in.rows * in.block;
    const unsigned char *pixels = (const unsigned char *)(&frame + 1) + (long)stream * lines * line;
    float *blocks = in.blocks + (long)stream * (cells + 1) * width, *values = line_of.of(line);
    float *motion = in.motion + stream * 2 * MOTION_VALUES;
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
        motion[i] = frame.fresh[stream] ? 0.0f : held;
    }
    for (int cell = 0; cell < cells; ++cell)
        write_row(in.block_words, stream * (cells + 1) + cell, blocks + cell * width, width);
    write_row(in.motion_words, stream * 2, motion, MOTION_VALUES);
}

static void run_layer(const Frame &frame, const Layer &layer, int stream) {
    const int N = layer.code, S = layer.size, U = layer.units, wide = padded(N);
    const InputPart &signal = layer.signal;
    const float *now = source_of(signal, frame, stream);
    float *codes = layer.codes + frame.half * layer.half + stream * (U + 1) * N;
    float *errors = layer.error + (long)stream * U * S;
    float *prediction = layer.prediction + (long)stream * U * S;

    // inputs that many units share are multiplied here, each unit's own are listed
    Product<Number> own[MAX_PARTS];
    int shared[MAX_PARTS], count = 0, own_count = 0;
    size_t size = 0;
    for (int e = 0; e < layer.part_count; ++e) {
        const InputPart &part = layer.parts[e];
        if (is_zero(part, frame, stream))
            continue;
        if (part.fan_in == 1 && part.rows - 1 < U) {
            shared[count++] = e;
            size += (size_t)(part.rows - 1) * wide;
        } else {
            own[own_count++] = product_of(part, frame, stream, N);
        }
    }
    float *table[MAX_PARTS], *end = tables.of(size);
    for (int k = 0; k < count; ++k) {
        const InputPart &part = layer.parts[shared[k]];
        table[k] = end;
        end += (size_t)(part.rows - 1) * wide;
        multiply_all(product_of(part, frame, stream, N), part.rows - 1, table[k]);
    }

    const bool hears_error = layer.error_first >= 0;
    const int pitch = Number::pitch(S);
    Number::Word *words = (Number::Word *)words_of.of(TILE * (size_t)pitch);
    float steps[TILE];
    const Product<Number> wrong_of = own_row(words, S, pitch, layer.packed_error, N, steps);
    const long row = frame.half * (layer.half / N) + stream * (U + 1);
    const Number::Word *code = (const Number::Word *)layer.code_words.at + row * layer.code_words.pitch;
    const Product<Number> change_of = own_row(code, N, layer.code_words.pitch, layer.packed_w2, S);
    float *sums = sums_of.of(TILE * (size_t)(wide + padded(S))), *change = sums + TILE * wide;
    for (int first = 0; first < U; first += TILE) {
        const int m = std::min(TILE, U - first);
        for (int j = 0; j < m; ++j) {
            const int unit = first + j;
            float *error = errors + (long)unit * S, *expected = prediction + (long)unit * S;
            float *sum = sums + j * wide, *next = change + j * padded(S), wrong = 0.0f;
            for (int k = 0; k < signal.fan_in; ++k) {
                const float *row = now + signal.index[unit * signal.fan_in + k] * signal.width;
                const int at = k * signal.width;
#pragma GCC ivdep
                for (int c = 0; c < signal.width; ++c) {
                    error[at + c] = frame.fresh[stream] ? 0.0f : row[c] - expected[at + c];
                    next[at + c] = row[c] + layer.b2[at + c];
                }
            }
            if (hears_error)
                steps[j] = write_scaled(error, S, words + j * pitch);
            if (layer.surprise) {
                for (int s = 0; s < S; ++s)
                    wrong += error[s] * error[s];
                layer.surprise[stream * U + unit] = wrong / S;
            }
            std::memcpy(sum, layer.b1, 4 * N);
            for (int k = 0; k < count; ++k) {
                const float *part = table[k] + layer.parts[shared[k]].index[unit] * wide;
                for (int n = 0; n < wide; n += LANES)
                    *(Lanes *)(sum + n) += *(const Lanes *)(part + n);
            }
        }
        for (int k = 0; k < own_count; ++k)
            multiply(own[k], first, m, sums, wide);
        if (hears_error)
            multiply(wrong_of, 0, m, sums, wide);
        for (int j = 0; j < m; ++j) {
            const float *sum = sums + j * wide;
            float *to = codes + (long)(first + j) * N, square = 0.0f;
            for (int n = 0; n < N; ++n)
                square += sum[n] * sum[n];
            const float share = 1.0f / std::sqrt(square / N + layer.norm_floor);
#pragma GCC ivdep
            for (int n = 0; n < N; ++n)
                to[n] = std::max(share * sum[n], layer.slope * (share * sum[n]));
            write_row(layer.code_words, row + first + j, to, N);
        }
        multiply(change_of, first, m, change, padded(S));
        for (int j = 0; j < m; ++j)
            std::memcpy(prediction + (long)(first + j) * S, change + j * padded(S), 4 * S);
    }
}

static void run_project(const Frame &frame, const Readout &readout, int stream) {
    const int H = readout.hidden, wide = padded(H);
    float *sums = sums_of.of(TILE * (size_t)wide);
    for (int p = 0; p < readout.projection_count; ++p) {
        const Projection &projection = readout.projections[p];
        const Product<Number> product = product_of(projection.input, frame, stream, H);
        const bool zero = is_zero(projection.input, frame, stream);
        for (int first = 0; first < projection.units; first += TILE) {
            const int m = std::min(TILE, projection.units - first);
            std::fill(sums, sums + m * wide, 0.0f);
            if (!zero)
                multiply(product, first, m, sums, wide);
            for (int j = 0; j < m; ++j)
                std::memcpy(projection.out + (long)(stream * projection.units + first + j) * H, sums + j * wide, 4 * H);
        }
    }
}

static void run_answer(const Frame &, const Readout &readout, int stream) {
    const int H = readout.hidden, M = readout.mixing, A = readout.answers, C = readout.cells;
    float *active = active_of.of(TILE * (size_t)H), *mixed = mixed_of.of(TILE * (size_t)padded(M));
    float *sums = sums_of.of(TILE * (size_t)padded(A));
    const int pitch = Number::pitch(std::max(H, M));
    Number::Word *words = (Number::Word *)words_of.of(TILE * (size_t)pitch);
    float steps[TILE];
    const Product<Number> mix = own_row(words, H, pitch, readout.packed_mix, M, steps);
    const Product<Number> w2 = own_row(words, M, pitch, readout.packed_w2, A, steps);
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
#pragma GCC ivdep
                    for (int n = 0; n < H; ++n)
                        to[n] += share * row[n];
                }
            }
            for (int n = 0; n < H; ++n)
                to[n] = std::max(to[n], 0.0f);
            std::memcpy(mixed + j * padded(M), readout.b_mix, 4 * M);
            std::memcpy(sums + j * padded(A), readout.b2, 4 * A);
        }
        for (int j = 0; j < m; ++j)
            steps[j] = write_scaled(active + j * H, H, words + j * pitch);
        multiply(mix, 0, m, mixed, padded(M));
        for (int i = 0; i < m * padded(M); ++i)
            mixed[i] = std::max(mixed[i], 0.0f);
        for (int j = 0; j < m; ++j)
            steps[j] = write_scaled(mixed + j * padded(M), M, words + j * pitch);
        multiply(w2, 0, m, sums, padded(A));
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
            write_row(readout.memory_words, stream * (C + 1) + first + j, memory, A);
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

static Product<Floats> product_of(const GatherInput &of, const int *index, Weights<Floats> w) {
    w.at += (long)of.first * w.pitch;
    const int together = std::min(std::max(DEEP / of.width, 1), MOST_PIECES);
    return {of.source, index, of.fan_in, of.width, of.width, w, together, nullptr};
}

// Write what is read in so many parts times w (rows, N) into out (B, U, N), or add it.
extern "C" void gather_matmul(const GatherInput *of, int parts, const float *weights, int rows, int N, float *out,
                              int adds) {
    const int wide = padded(N);
    const Weights<Floats> w = pack(weights, rows, N);
    if ((int)index_of.size() < parts)
        index_of.resize(parts);
    products.clear();
    for (int p = 0; p < parts; ++p)
        products.push_back(product_of(of[p], narrow(of[p], index_of[p]), w));
    float *sums = sums_of.of(TILE * (size_t)wide);
    for (int b = 0; b < of->streams; ++b) {
        for (int first = 0; first < of->units; first += TILE) {
            const int m = std::min(TILE, of->units - first);
            float *to = out + ((long)b * of->units + first) * N, *sum = wide == N ? to : sums;
            if (!adds)
                std::fill(sum, sum + (size_t)m * wide, 0.0f);
            else if (sum != to)
                for (int j = 0; j < m; ++j)
                    std::memcpy(sum + j * wide, to + (long)j * N, 4 * N);
            for (const Product<Floats> &product : products)
                multiply(product, first, m, sum, wide);
            if (sum != to)
                for (int j = 0; j < m; ++j)
                    std::memcpy(to + (long)j * N, sum + j * wide, 4 * N);
        }
        for (int p = 0; p < parts; ++p)
            products[p].source += (long)of[p].rows * of[p].width;
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
    const Weights<Floats> weights = {back, nullptr, depth, wide};
    for (int b = 0; b < of->streams; ++b) {
        const Product<Floats> product = {errors + (long)b * of->units * N, nullptr, 1, N, N, weights, 1, nullptr};
        float *below = out + (long)b * of->rows * of->width;
        for (int first = 0; first < of->units; first += TILE) {
            const int m = std::min(TILE, of->units - first);
            std::fill(sums, sums + (size_t)m * wide, 0.0f);
            multiply(product, first, m, sums, wide);
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

extern "C" int lanes() { return LANES; }

extern "C" int reads_pairs() { return Number::IN_PAIRS; }

extern "C" int runs_here() {
#if defined(__AVX512VNNI__)
    if (!__builtin_cpu_supports("avx512vnni"))
        return 0;
#elif defined(__AVXVNNI__)
    if (!__builtin_cpu_supports("avxvnni"))
        return 0;
#endif
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
           && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}
