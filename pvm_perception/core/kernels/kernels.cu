// One frame of a hierarchy (preset `robot`) as few kernels: input, one per layer, project, answer,
// decode.
//
// A kernel's body is written for a whole block: EACH_THREAD(t) { ... } is one phase, between two
// barriers. On the device each thread runs the phase once; a host compiler may define the three
// macros below otherwise, and run the threads of a phase one after the other, which is how the
// kernels are tested without a GPU. So nothing but shared memory lives from one phase to the next,
// and no thread leaves a phase early.
//
// TU units of a layer share a block, and each weight read serves all of them. Their inputs lie in
// shared memory unit by unit innermost, (D, TU), so that one wide load feeds TU multiply-adds.
//
// The structs are filled by plan.py, which lists the same fields in the same order.

#ifdef __CUDACC__
#define FUNCTION static __device__ __forceinline__
#define EACH_THREAD(t) \
    for (int t = threadIdx.x, once = 1; once; once = 0, __syncthreads())
#define KERNEL(name, most_threads, Table, body)                                      \
    extern "C" __global__ void __launch_bounds__(most_threads, 1)                       \
        name(const Frame *frame, const Table *table) {                               \
        extern __shared__ float4 shared[];                                           \
        body(Block{(int)blockIdx.x, (int)blockIdx.y, (int)blockDim.x}, *frame, *table, \
             (float *)shared);                                                       \
    }
#define UNROLL _Pragma("unroll 8")
#endif

constexpr int STREAMS = 4, MAX_PARTS = 8, MOTION_VALUES = 4, SQUARES = 8, MAX_BOXES = 8, BOX_VALUES = 6;

struct Frame {  // what the host sends with every frame; the pixels follow it
    int half;                              // which half of each pair of codes is this frame's
    int fresh[STREAMS];                    // 1: the stream's first frame, it has no past
    float motion[STREAMS * MOTION_VALUES];
};

struct Words {  // a source as the CPU's products read it (products.h); those here read the numbers themselves
    void *at;
    int pitch;             // words from row to row
    float steps, largest;  // integers to 1; the largest integer, either way
};

struct Packed {  // weights as the CPU's products read them
    const void *at;
    const float *scale;  // what an integer of a sum counts in each column
    int together;        // rows of a unit that are multiplied at a time
};

struct InputPart {  // where TU units find one part of their inputs
    const float *source;  // (2 or 1, B, rows, width); the last row of each stream is zero
    const int *index;     // (U, fan_in): source rows of each unit
    int fan_in, width, rows;
    int half;   // floats from one frame's codes to the other's; 0: there is only one
    int past;   // 1: read the codes of the frame before
    int first;  // row of the weights at which this part begins
    float gain;
    Words words;
    Packed packed;
};

struct Input {
    float *blocks, *motion;  // (B, rows * cols + 1, 3 * block^2), (B, 2, MOTION_VALUES)
    int rows, cols, block;
    float scale, low, motion_unit, motion_limit;
    Words block_words, motion_words;
};

struct Layer {
    InputPart parts[MAX_PARTS];
    InputPart signal;  // the units' own blocks, which they predict
    const float *w1, *b1, *w2, *b2;
    float *codes, *prediction, *error;  // (2, B, U + 1, N), (B, U, S), (B, U, S)
    float *surprise;  // (B, U): each unit's mean squared error; null: nobody asks for it
    int part_count, inputs, code, size, units, half;  // ears in use, D, N, S, U
    int error_first;  // row of the weights at which the error begins; -1: it is no input
    float error_gain, slope, norm_floor;
    Words code_words;
    Packed packed_error, packed_w2;
};

struct Projection {  // one product of the readout, and how its rows come to the cells
    InputPart input;
    const float *w;
    float *out;          // (B, U, H)
    const int *corner;   // (cells, corners) rows of `out`
    const float *share;  // (cells, corners) what each counts
    int units, inputs, corners, first_block;
};

struct Readout {
    Projection projections[MAX_PARTS];
    const float *b1, *mix, *b_mix, *w2, *b2;
    float *memory, *out;  // (B, cells + 1, answers), (B, cells, answers)
    int projection_count, hidden, mixing, answers, cells;
    int values_per_target;  // answers about one target, presence first
    float logit_limit, size_limit;  // largest presence logit and box answer that are remembered, either way
    Words memory_words;
    Packed packed_mix, packed_w2;
};

struct Decode {
    const float *out, *wrong;  // (B, cells, answers); (B, U): mean squared error of layer 1's units
    float *found;  // (B, targets, MAX_BOXES, BOX_VALUES): x, y, w, h, score, presence (0: none), best first
    float *mean;   // (B,) of `wrong`
    int rows, cols, targets, values_per_target, units;
    float down, right, unit;  // px: a cell's height and width; side of a box that an answer of 0 means
    float size_limit;  // largest size answer that counts, either way
};

struct Block { int x, y, threads; };  // its place (y: the stream) and its size

template <int TU> struct alignas(TU >= 4 ? 16 : 4 * TU) Row { float of[TU]; };

FUNCTION int least(int a, int b) { return a < b ? a : b; }

FUNCTION const float *source_of(const InputPart &part, const Frame &frame, int stream) {
    return part.source + (frame.half ^ part.past) * part.half + stream * part.rows * part.width;
}

// Copy what units first..first+TU-1 read of one part into x, as far as thread t has to.
// Neighbouring threads take neighbouring values of one source row, so that reads are whole lines.
template <int TU>
FUNCTION void gather(const InputPart &part, const Frame &frame, int stream, int first, int units,
                     Row<TU> *x, int t, int threads) {
    const float *source = source_of(part, frame, stream);
    const bool is_zero = part.past && frame.fresh[stream];
    const int lanes = least(part.width, threads), groups = threads / lanes;
    const int group = t / lanes, lane = t - group * lanes;
    if (group < groups)
        for (int i = group; i < part.fan_in * TU; i += groups) {
            const int j = i % TU, k = i / TU, unit = least(first + j, units - 1);
            const float *row = source + part.index[unit * part.fan_in + k] * part.width;
            for (int c = lane; c < part.width; c += lanes)
                x[part.first + k * part.width + c].of[j] = is_zero ? 0.0f : part.gain * row[c];
        }
}

// Add up thread t's share of x (D, TU) times w (D, N): every slices-th row, for one column.
template <int TU>
FUNCTION void product(const Row<TU> *x, const float *w, int D, int N, Row<TU> *partial, int t,
                      int threads) {
    const int slices = threads / N;
    if (t >= slices * N)
        return;
    const int slice = t / N, n = t - slice * N;
    Row<TU> sum = {};
    UNROLL
    for (int d = slice; d < D; d += slices) {
        const float weight = w[d * N + n];
        const Row<TU> row = x[d];
        for (int j = 0; j < TU; ++j)
            sum.of[j] += weight * row.of[j];
    }
    partial[t] = sum;
}

template <int TU>
FUNCTION float total(const Row<TU> *partial, int N, int threads, int n, int j) {
    float sum = 0.0f;
    for (int slice = 0; slice < threads / N; ++slice)
        sum += partial[slice * N + n].of[j];
    return sum;
}

FUNCTION void input_body(Block block, const Frame &frame, const Input &in, float *) {
    const unsigned char *pixels = (const unsigned char *)(&frame + 1);
    const int width = 3 * in.block * in.block, cells = in.rows * in.cols;
    EACH_THREAD(t) {
        const int i = block.x * block.threads + t;
        if (i < cells * width) {
            const int cell = i / width, v = i % width;
            const int y = cell / in.cols * in.block + v / (3 * in.block);
            const int x = cell % in.cols * in.block * 3 + v % (3 * in.block);
            const int line = in.cols * in.block * 3;
            const unsigned char pixel = pixels[(block.y * in.rows * in.block + y) * line + x];
            in.blocks[(block.y * (cells + 1)) * width + i] = pixel * in.scale + in.low;
        }
        if (i < MOTION_VALUES) {
            const float scaled = frame.motion[block.y * MOTION_VALUES + i] / in.motion_unit;
            const float held = fmaxf(-in.motion_limit, fminf(scaled, in.motion_limit));
            in.motion[block.y * 2 * MOTION_VALUES + i] = frame.fresh[block.y] ? 0.0f : held;
        }
    }
}

// signal and context in, code and prediction out: what `Encoder.forward` computes.
template <int TU>
FUNCTION void layer_body(Block block, const Frame &frame, const Layer &layer, float *shared) {
    const int N = layer.code, S = layer.size, D = layer.inputs, U = layer.units;
    const int stream = block.y, first = block.x * TU;
    Row<TU> *partial = (Row<TU> *)shared, *x = partial + block.threads;
    Row<TU> *code = x, *squares = x + N;  // the inputs are no longer needed when these are written
    const InputPart &signal = layer.signal;
    const float *now = source_of(signal, frame, stream);

    EACH_THREAD(t) {
        for (int e = 0; e < layer.part_count; ++e)
            gather<TU>(layer.parts[e], frame, stream, first, U, x, t, block.threads);
        for (int i = t; i < S * TU; i += block.threads) {
            const int j = i / S, s = i - j * S, unit = first + j, k = s / signal.width;
            float error = 0.0f;
            if (unit < U) {
                const float *row = now + signal.index[unit * signal.fan_in + k] * signal.width;
                const int at = (stream * U + unit) * S + s;
                if (!frame.fresh[stream])
                    error = row[s - k * signal.width] - layer.prediction[at];
                layer.error[at] = error;
            }
            if (layer.error_first >= 0)
                x[layer.error_first + s].of[j] = layer.error_gain * error;
        }
    }
    EACH_THREAD(t) { product<TU>(x, layer.w1, D, N, partial, t, block.threads); }
    EACH_THREAD(t) {
        for (int i = t; i < N * TU; i += block.threads) {
            const int n = i / TU, j = i % TU;
            code[n].of[j] = layer.b1[n] + total<TU>(partial, N, block.threads, n, j);
        }
    }
    EACH_THREAD(t) {
        for (int i = t; i < SQUARES * TU; i += block.threads) {
            const int p = i / TU, j = i % TU;
            float sum = 0.0f;
            for (int n = p; n < N; n += SQUARES)
                sum += code[n].of[j] * code[n].of[j];
            squares[p].of[j] = sum;
            if (layer.surprise && first + j < U) {
                const float *error = layer.error + (stream * U + first + j) * S;
                float wrong = 0.0f;
                for (int s = p; s < S; s += SQUARES)
                    wrong += error[s] * error[s];
                partial[p].of[j] = wrong;  // what lay there is in `code`
            }
        }
    }
    EACH_THREAD(t) {
        float *codes = layer.codes + frame.half * layer.half + stream * (U + 1) * N;
        for (int j = t; layer.surprise && j < TU && first + j < U; j += block.threads) {
            float wrong = 0.0f;
            for (int p = 0; p < SQUARES; ++p)
                wrong += partial[p].of[j];
            layer.surprise[stream * U + first + j] = wrong / S;
        }
        for (int i = t; i < N * TU; i += block.threads) {
            const int j = i / N, n = i - j * N;
            float square = 0.0f;
            for (int p = 0; p < SQUARES; ++p)
                square += squares[p].of[j];
            const float y = code[n].of[j] / sqrtf(square / N + layer.norm_floor);
            code[n].of[j] = fmaxf(y, layer.slope * y);
            if (first + j < U)
                codes[(first + j) * N + n] = code[n].of[j];
        }
    }
    EACH_THREAD(t) {
        for (int s = t; s < S; s += block.threads) {
            const int k = s / signal.width, c = s - k * signal.width;
            Row<TU> change = {};
            UNROLL
            for (int n = 0; n < N; ++n) {
                const float weight = layer.w2[n * S + s];
                const Row<TU> row = code[n];
                for (int j = 0; j < TU; ++j)
                    change.of[j] += weight * row.of[j];
            }
            for (int j = 0; j < TU; ++j) {
                const int unit = first + j;
                if (unit < U) {
                    const int row = signal.index[unit * signal.fan_in + k];
                    layer.prediction[(stream * U + unit) * S + s] =
                        change.of[j] + layer.b2[s] + now[row * signal.width + c];
                }
            }
        }
    }
}

// Every layer's codes, and the readout's memory of the frame before, times the readout's weights; each
// layer on its own grid, since interpolating the products is less work than interpolating codes.
template <int TU>
FUNCTION void project_body(Block block, const Frame &frame, const Readout &readout, float *shared) {
    int p = readout.projection_count - 1;
    while (block.x < readout.projections[p].first_block)
        --p;
    const Projection &projection = readout.projections[p];
    const int H = readout.hidden, first = (block.x - projection.first_block) * TU;
    Row<TU> *partial = (Row<TU> *)shared, *x = partial + block.threads;
    EACH_THREAD(t) {
        gather<TU>(projection.input, frame, block.y, first, projection.units, x, t, block.threads);
    }
    EACH_THREAD(t) { product<TU>(x, projection.w, projection.inputs, H, partial, t, block.threads); }
    EACH_THREAD(t) {
        for (int i = t; i < H * TU; i += block.threads) {
            const int n = i / TU, j = i % TU;
            if (first + j < projection.units)
                projection.out[(block.y * projection.units + first + j) * H + n] =
                    total<TU>(partial, H, block.threads, n, j);
        }
    }
}

// Sum at each cell, rectify, mix, answer, and write the memory.
template <int TU>
FUNCTION void answer_body(Block block, const Frame &, const Readout &readout, float *shared) {
    const int H = readout.hidden, M = readout.mixing, A = readout.answers, C = readout.cells;
    const int stream = block.y, first = block.x * TU;
    Row<TU> *partial = (Row<TU> *)shared, *active = partial + block.threads, *mixed = active + H;
    Row<TU> *answer = mixed + M;
    EACH_THREAD(t) {
        for (int i = t; i < H * TU; i += block.threads) {
            const int j = i / H, n = i - j * H, cell = least(first + j, C - 1);
            float sum = readout.b1[n];
            for (int p = 0; p < readout.projection_count; ++p) {
                const Projection &projection = readout.projections[p];
                for (int k = cell * projection.corners; k < (cell + 1) * projection.corners; ++k)
                    sum += projection.share[k]
                           * projection.out[(stream * projection.units + projection.corner[k]) * H + n];
            }
            active[n].of[j] = fmaxf(sum, 0.0f);
        }
    }
    EACH_THREAD(t) { product<TU>(active, readout.mix, H, M, partial, t, block.threads); }
    EACH_THREAD(t) {
        for (int i = t; i < M * TU; i += block.threads) {
            const int n = i / TU, j = i % TU;
            mixed[n].of[j] =
                fmaxf(readout.b_mix[n] + total<TU>(partial, M, block.threads, n, j), 0.0f);
        }
    }
    EACH_THREAD(t) { product<TU>(mixed, readout.w2, M, A, partial, t, block.threads); }
    EACH_THREAD(t) {
        for (int i = t; i < A * TU; i += block.threads) {
            const int j = i / A, n = i - j * A;
            answer[n].of[j] = readout.b2[n] + total<TU>(partial, A, block.threads, n, j);
            if (first + j < C)
                readout.out[(stream * C + first + j) * A + n] = answer[n].of[j];
        }
    }
    EACH_THREAD(t) {
        for (int i = t; i < A * TU; i += block.threads) {
            const int j = i / A, n = i - j * A, target = n / readout.values_per_target * readout.values_per_target;
            const float logit = fmaxf(-readout.logit_limit, fminf(answer[target].of[j], readout.logit_limit));
            const float presence = 1.0f / (1.0f + expf(-logit));
            const float box = fmaxf(-readout.size_limit, fminf(answer[n].of[j], readout.size_limit)) * presence;
            if (first + j < C)
                readout.memory[(stream * (C + 1) + first + j) * A + n] = n == target ? presence : box;
        }
    }
}

// One peak's box, as `Cells.decode` of cells.py makes it: the mean of the answers around it that agree.
FUNCTION void write_box(const Decode &decode, const float *out, const float *heat, int cell, int target,
                        float *found) {
    const int T = decode.targets, A = T * decode.values_per_target, row = cell / decode.cols;
    const int col = cell - row * decode.cols;
    const float *peak = out + cell * A + target * decode.values_per_target;
    const float x0 = (col + 0.5f + peak[1]) * decode.right, y0 = (row + 0.5f + peak[2]) * decode.down;
    const float limit = decode.size_limit;
    const float w0 = decode.unit * expf(fmaxf(-limit, fminf(peak[3], limit)));
    const float h0 = decode.unit * expf(fmaxf(-limit, fminf(peak[4], limit)));
    float total = 0.0f, x = 0.0f, y = 0.0f, wide = 0.0f, high = 0.0f, agreement = -1.0f;
    int inside = -1;  // neither counts the peak itself
    for (int r = row - 1; r <= row + 1; ++r)
        for (int c = col - 1; c <= col + 1; ++c) {
            if (r < 0 || r >= decode.rows || c < 0 || c >= decode.cols)
                continue;
            const int near = r * decode.cols + c;
            const float *answer = out + near * A + target * decode.values_per_target;
            const float log_w = fmaxf(-limit, fminf(answer[3], limit));
            const float log_h = fmaxf(-limit, fminf(answer[4], limit));
            const float w = decode.unit * expf(log_w), h = decode.unit * expf(log_h);
            const float at_x = (c + 0.5f + answer[1]) * decode.right;
            const float at_y = (r + 0.5f + answer[2]) * decode.down;
            const float dx = at_x - x0, dy = at_y - y0;
            if (fabsf(dx) < w0 / 4 && fabsf(dy) < h0 / 4) {
                const float k = heat[near * T + target] * heat[near * T + target];
                total += k, x += k * at_x, y += k * at_y, wide += k * log_w, high += k * log_h;
            }
            const float both =
                fmaxf(fminf(dx + w / 2, w0 / 2) - fmaxf(dx - w / 2, -w0 / 2), 0.0f)
                * fmaxf(fminf(dy + h / 2, h0 / 2) - fmaxf(dy - h / 2, -h0 / 2), 0.0f);
            agreement += both / (w * h + w0 * h0 - both);
            ++inside;
        }
    const float share = 1.0f / fmaxf(total, 1e-12f), presence = heat[cell * T + target];
    const float w = decode.unit * expf(share * wide), h = decode.unit * expf(share * high);
    found[0] = share * x - w / 2;
    found[1] = share * y - h / 2;
    found[2] = w;
    found[3] = h;
    found[4] = presence * sqrtf(fmaxf(agreement, 0.0f) / fmaxf((float)inside, 1.0f));
    found[5] = presence;
}

// Peaks of each target's presence, the strongest first, as boxes. One block does a whole stream.
FUNCTION void decode_body(Block block, const Frame &, const Decode &decode, float *shared) {
    const int T = decode.targets, C = decode.rows * decode.cols, A = T * decode.values_per_target;
    const int stream = block.y;
    const float *out = decode.out + stream * C * A;
    float *found = decode.found + stream * T * MAX_BOXES * BOX_VALUES;
    float *heat = shared, *peaks = heat + C * T, *sums = peaks + C * T;
    EACH_THREAD(t) {
        for (int i = t; i < C * T; i += block.threads)
            heat[i] = 1.0f / (1.0f + expf(-out[i / T * A + i % T * decode.values_per_target]));
        for (int i = t; i < T * MAX_BOXES; i += block.threads)
            found[i * BOX_VALUES + BOX_VALUES - 1] = 0.0f;
        sums[t] = 0.0f;
        for (int u = t; u < decode.units; u += block.threads)
            sums[t] += decode.wrong[stream * decode.units + u];
    }
    EACH_THREAD(t) {
        for (int i = t; i < C * T; i += block.threads) {
            const int row = i / T / decode.cols, col = i / T % decode.cols;
            float highest = heat[i];
            for (int r = row - 1; r <= row + 1; ++r)
                for (int c = col - 1; c <= col + 1; ++c)
                    if (r >= 0 && r < decode.rows && c >= 0 && c < decode.cols)
                        highest = fmaxf(highest, heat[(r * decode.cols + c) * T + i % T]);
            peaks[i] = heat[i] >= highest ? heat[i] : -1.0f;
        }
        if (t == 0) {
            float sum = 0.0f;
            for (int k = 0; k < block.threads; ++k)
                sum += sums[k];
            decode.mean[stream] = sum / decode.units;
        }
    }
    EACH_THREAD(t) {
        for (int i = t; i < C * T; i += block.threads) {
            const int cell = i / T, target = i % T;
            int rank = peaks[i] < 0.0f ? MAX_BOXES : 0;
            for (int c = 0; c < C && rank < MAX_BOXES; ++c) {
                const float other = peaks[c * T + target];
                rank += other > peaks[i] || (other == peaks[i] && c < cell);
            }
            if (rank < MAX_BOXES)
                write_box(decode, out, heat, cell, target,
                          found + (target * MAX_BOXES + rank) * BOX_VALUES);
        }
    }
}

KERNEL(input_blocks, 256, Input, input_body)
KERNEL(layer_8, 256, Layer, layer_body<8>)
KERNEL(layer_4, 512, Layer, layer_body<4>)
KERNEL(layer_2, 1024, Layer, layer_body<2>)
KERNEL(layer_1, 1024, Layer, layer_body<1>)
KERNEL(project_8, 256, Readout, project_body<8>)
KERNEL(project_4, 512, Readout, project_body<4>)
KERNEL(project_2, 1024, Readout, project_body<2>)
KERNEL(project_1, 1024, Readout, project_body<1>)
KERNEL(answer_8, 256, Readout, answer_body<8>)
KERNEL(answer_4, 512, Readout, answer_body<4>)
KERNEL(answer_2, 1024, Readout, answer_body<2>)
KERNEL(answer_1, 1024, Readout, answer_body<1>)
KERNEL(decode, 256, Decode, decode_body)
