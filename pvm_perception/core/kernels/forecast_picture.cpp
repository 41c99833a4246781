// The picture of a scale with its half pixels, what of the forecast came true, and how surprising that was.

#include "forecast_pixels.h"

namespace forecast {
namespace {

constexpr float CLEAN = 3e-5f;      // as in core/forecast.py
constexpr float FORGOTTEN = .03f;   // share of a frame in the running mean error of a unit
constexpr float SUDDEN = 9.0f;      // times the usual error beyond which an error does not raise what is usual

// Half a pixel further, by cubic interpolation: out lies between b and c.
void between(const int16_t *a, const int16_t *b, const int16_t *c, const int16_t *d, int count, int16_t *__restrict out) {
    for (int x = 0; x < count; ++x) {  // 9 (b + c) - (a + d) sixteenths, rounded, within 16 bits
        const int16_t near = b[x] + c[x], far = a[x] + d[x];
        out[x] = (int16_t)(near + ((int16_t)(near - far + 8) >> 3)) >> 1;
    }
}

// What lies outside of the shown part (top, left, rows, cols) repeats its edge.
void repeat_edges(const Frame &f) {
    const Grid &g = *f.grid;
    const int32_t *shown = f.shown;
    const int top = shown[0] + g.margin, left = shown[1] + g.margin, bottom = top + shown[2], right = left + shown[3];
    for (int c = 0; c < COLOURS; ++c) {
        int16_t *whole = plane(f, c, 0);
        for (int y = top; y < bottom; ++y) {
            int16_t *line = whole + (long)y * g.pitch;
            std::fill(line, line + left, line[left]);
            std::fill(line + right, line + g.pitch, line[right - 1]);
        }
        for (int y = 0; y < g.lines; ++y)
            if (y < top || y >= bottom)
                std::memcpy(whole + (long)y * g.pitch, whole + (long)(y < top ? top : bottom - 1) * g.pitch,
                            sizeof *whole * g.pitch);
    }
}

// Whole planes at a time, since few vectors fill a line: what comes of pixels in different lines is written over.
void half_pixels(const Frame &f) {
    const Grid &g = *f.grid;
    const int pitch = g.pitch, size = pitch * g.lines;
    for (int c = 0; c < COLOURS; ++c) {
        const int16_t *whole = plane(f, c, 0);
        int16_t *half = plane(f, c, 1);
        between(whole, whole + 1, whole + 2, whole + 3, size - 3, half + 1);
        for (int end = pitch; end <= size; end += pitch) {
            half[end - pitch] = half[end - pitch + 1];
            half[end - 1] = half[end - 2] = whole[end - 1];
        }
        for (int phase = 0; phase < 2; ++phase) {
            const int16_t *from = plane(f, c, phase);
            int16_t *to = plane(f, c, phase + 2);
            between(from, from + pitch, from + 2 * pitch, from + 3 * pitch, size - 3 * pitch, to + pitch);
            for (int y : {0, g.lines - 2, g.lines - 1}) {
                const int16_t *line[4];
                for (int i = 0; i < 4; ++i)
                    line[i] = from + held(y - 1 + i, 0, g.lines - 1) * pitch;
                between(line[0], line[1], line[2], line[3], pitch, to + y * pitch);
            }
        }
    }
}

// The sums of two neighbours' squares as those of pixels of 0..1, over units: their means.
void mean_of_blocks(const int32_t *line, int cols, float *out) {
    for (int x = 0; x < cols; ++x)
        out[x] = (line[2 * x] + line[2 * x + 1]) * (SQUARE / (COLOURS * BLOCK * BLOCK));
}

// The mean of each unit of a line and its neighbours; at the edges the nearest count again. `column` is memory: (cols,).
void around(const Grid &g, const float *values, int row, float *__restrict column, float *__restrict out) {
    const float *line = values + row * g.cols, *above = values + std::max(row - 1, 0) * g.cols;
    const float *below = values + std::min(row + 1, g.rows - 1) * g.cols;
    const int end = g.cols - 1;
    for (int x = 0; x <= end; ++x)
        column[x] = (above[x] + line[x] + below[x]) * (1.0f / 9);
    for (int x = 1; x < end; ++x)
        out[x] = column[x - 1] + column[x] + column[x + 1];
    out[0] = 2 * column[0] + column[std::min(1, end)];
    out[end] = 2 * column[end] + column[std::max(end - 1, 0)];
}

}  // namespace
}  // namespace forecast

using namespace forecast;

// Take a picture (height, width, 3) uint8.
extern "C" void forecast_see(const Frame *now, const uint8_t *image) {
    const Grid &g = *now->grid;
    for (int y = 0; y < g.height; ++y, image += COLOURS * g.width) {
        int16_t *__restrict blue = line_of(*now, 0, 0, y), *__restrict green = line_of(*now, 1, 0, y);
        int16_t *__restrict red = line_of(*now, 2, 0, y);
        for (int x = 0; x < g.width; ++x) {
            blue[x] = image[3 * x] * (WHITE / 255);
            green[x] = image[3 * x + 1] * (WHITE / 255);
            red[x] = image[3 * x + 2] * (WHITE / 255);
        }
    }
    repeat_edges(*now);
    half_pixels(*now);
}

// Take the picture of a scale twice as fine: means of 2 x 2 pixels.
extern "C" void forecast_halve(const Frame *now, const Frame *finer) {
    const Grid &g = *now->grid;
    for (int c = 0; c < COLOURS; ++c)
        for (int y = 0; y < g.height; ++y) {
            const int16_t *a = line_of(*finer, c, 0, 2 * y), *b = line_of(*finer, c, 0, 2 * y + 1);
            int16_t *__restrict to = line_of(*now, c, 0, y);
            for (int x = 0; x < g.width; ++x)
                to[x] = (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2;
        }
    repeat_edges(*now);
    half_pixels(*now);
}

// What came less the forecast, 0 outside of the shown part; each block's mean squares of it and of the change since
// the frame before.
extern "C" void forecast_compare(const Frame *now, const Frame *last) {
    static thread_local Memory<int16_t> mask;
    static thread_local Memory<int32_t> sums;
    const Grid &g = *now->grid;
    const int32_t *shown = now->shown;
    const int wide = (g.width / (2 * LANES) + 1) * LANES;  // pairs of pixels, as whole vectors
    int16_t *inside = mask.of(2 * wide);
    int32_t *wrong = sums.of(2 * wide), *changed = wrong + wide;
    for (int x = 0; x < 2 * wide; ++x)
        inside[x] = x >= shown[1] && x < shown[1] + shown[3] ? -1 : 0;
    for (int row = 0; row < g.rows; ++row) {
        for (int x = 0; x < g.width; x += 2 * LANES) {
            const int count = std::min(2 * LANES, g.width - x);
            Ints error_squares = {}, change_squares = {};
            for (int c = 0; c < COLOURS; ++c)
                for (int y = row * BLOCK; y < (row + 1) * BLOCK; ++y) {
                    const long at = ((long)c * g.height + y) * g.width + x;
                    Pixels error = {};
                    if (y >= shown[0] && y < shown[0] + shown[2]) {
                        const Pixels seen = load(line_of(*now, c, 0, y) + x), part = load(inside + x);
                        const Pixels change = (seen - load(line_of(*last, c, 0, y) + x)) & part;
                        error = (seen - read_part<Pixels>(now->picture + at, count)) & part;
                        error_squares = add_products(error_squares, error, error);
                        change_squares = add_products(change_squares, change, change);
                    }
                    write_part(now->error + at, error, count);
                }
            store(wrong + x / 2, error_squares);
            store(changed + x / 2, change_squares);
        }
        mean_of_blocks(wrong, g.cols, now->wrong + row * g.cols);
        mean_of_blocks(changed, g.cols, now->changed + row * g.cols);
    }
}

// The mean square, over the whole picture, of how far the forecast departs from this frame where it is shown.
extern "C" float forecast_departure(const Frame *now) {
    const Grid &g = *now->grid;
    const int32_t *shown = now->shown;
    Lanes total = {};
    for (int c = 0; c < COLOURS; ++c)
        for (int y = shown[0]; y < shown[0] + shown[2]; ++y) {
            const int16_t *seen = line_of(*now, c, 0, y) + shown[1];
            const int16_t *expected = now->picture + ((long)c * g.height + y) * g.width + shown[1];
            Ints squares = {};
            for (int x = 0; x < shown[3]; x += 2 * LANES) {
                const int count = std::min(2 * LANES, shown[3] - x);
                const Pixels change = read_part<Pixels>(expected + x, count) - read_part<Pixels>(seen + x, count);
                squares = add_products(squares, change, change);
            }
            total += in_floats(squares);
        }
    float sum = 0.0f;
    for (int i = 0; i < LANES; ++i)
        sum += total[i];
    return sum * SQUARE / (COLOURS * g.height * g.width);
}

// The squared error around each unit over the sum of what is usual there and of the frame's median; then what is
// usual (units,) takes the error in. `surprise` is (units,).
extern "C" void forecast_judge(const Frame *now, float *usual, float *surprise) {
    static thread_local Memory<> memory;
    const Grid &g = *now->grid;
    const int units = g.rows * g.cols;
    float *sorted = memory.of(units + 2 * (size_t)g.cols), *column = sorted + units, *expected = column + g.cols;
    std::copy(now->wrong, now->wrong + units, sorted);
    std::nth_element(sorted, sorted + units / 2, sorted + units);
    float middle = sorted[units / 2];
    if (units % 2 == 0)
        middle = .5f * (middle + *std::max_element(sorted, sorted + units / 2));
    middle += CLEAN;
    if (std::none_of(usual, usual + units, [](float value) { return value != 0.0f; }))
        std::fill(usual, usual + units, middle);
    for (int row = 0; row < g.rows; ++row) {
        float *here = surprise + row * g.cols;
        around(g, now->wrong, row, column, here);
        around(g, usual, row, column, expected);
        for (int x = 0; x < g.cols; ++x)
            here[x] /= expected[x] + middle;
    }
    for (int u = 0; u < units; ++u)
        usual[u] += FORGOTTEN * (std::min(now->wrong[u], SUDDEN * usual[u]) - usual[u]);
}
