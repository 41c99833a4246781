// The picture of a scale with its half pixels, what of the forecast came true, and how surprising that was.

#include "forecast.h"

namespace forecast {
namespace {

constexpr float CLEAN = 3e-5f;      // as in core/forecast.py
constexpr float FORGOTTEN = .03f;   // share of a frame in the running mean error of a unit
constexpr float SUDDEN = 9.0f;      // times the usual error beyond which an error does not raise what is usual

// Half a pixel further, by cubic interpolation: out lies between b and c.
void between(const float *a, const float *b, const float *c, const float *d, int count, float *__restrict out) {
    for (int x = 0; x < count; ++x)
        out[x] = .5625f * (b[x] + c[x]) - .0625f * (a[x] + d[x]);
}

// What lies outside of the shown part (top, left, rows, cols) repeats its edge.
void repeat_edges(const Frame &f) {
    const Grid &g = *f.grid;
    const int32_t *shown = f.shown;
    const int top = shown[0] + g.margin, left = shown[1] + g.margin, bottom = top + shown[2], right = left + shown[3];
    for (int c = 0; c < COLOURS; ++c) {
        float *whole = plane(f, c, 0);
        for (int y = top; y < bottom; ++y) {
            float *line = whole + (long)y * g.pitch;
            std::fill(line, line + left, line[left]);
            std::fill(line + right, line + g.pitch, line[right - 1]);
        }
        for (int y = 0; y < g.lines; ++y)
            if (y < top || y >= bottom)
                std::memcpy(whole + (long)y * g.pitch, whole + (long)(y < top ? top : bottom - 1) * g.pitch,
                            4 * g.pitch);
    }
}

void half_pixels(const Frame &f) {
    const Grid &g = *f.grid;
    const int pitch = g.pitch;
    for (int c = 0; c < COLOURS; ++c) {
        const float *whole = plane(f, c, 0);
        float *half = plane(f, c, 1);
        for (int y = 0; y < g.lines; ++y) {
            const float *from = whole + (long)y * pitch;
            float *to = half + (long)y * pitch;
            between(from, from + 1, from + 2, from + 3, pitch - 3, to + 1);
            to[0] = to[1];
            to[pitch - 1] = to[pitch - 2] = from[pitch - 1];
        }
        for (int phase = 0; phase < 2; ++phase)
            for (int y = 0; y < g.lines; ++y) {
                const float *line[4];
                for (int i = 0; i < 4; ++i)
                    line[i] = plane(f, c, phase) + (long)held(y - 1 + i, 0, g.lines - 1) * pitch;
                between(line[0], line[1], line[2], line[3], pitch, plane(f, c, phase + 2) + (long)y * pitch);
            }
    }
}

// Write the error and add up squares of a line, along the picture: of the error and of the change.
void compare_line(const float *now, const float *before, const float *forecast, const float *shown, int width,
                  float *__restrict error, float *__restrict wrong, float *__restrict changed) {
    for (int x = 0; x < width; ++x) {
        const float e = (now[x] - forecast[x]) * shown[x], change = (now[x] - before[x]) * shown[x];
        error[x] = e;
        wrong[x] += e * e;
        changed[x] += change * change;
    }
}

void mean_of_blocks(const float *line, int cols, float *out) {
    for (int x = 0; x < cols; ++x)
        out[x] = ((line[BLOCK * x] + line[BLOCK * x + 1]) + (line[BLOCK * x + 2] + line[BLOCK * x + 3]))
                 * (1.0f / (COLOURS * BLOCK * BLOCK));
}

// The mean of each unit and its neighbours; at the edges the nearest count again.
float around(const Grid &g, const float *values, int row, int col) {
    float total = 0.0f;
    for (int y = row - 1; y <= row + 1; ++y)
        for (int x = col - 1; x <= col + 1; ++x)
            total += values[held(y, 0, g.rows - 1) * g.cols + held(x, 0, g.cols - 1)];
    return total / 9;
}

}  // namespace
}  // namespace forecast

using namespace forecast;

// Take a picture (height, width, 3) uint8.
extern "C" void forecast_see(const Frame *now, const uint8_t *image) {
    const Grid &g = *now->grid;
    for (int y = 0; y < g.height; ++y, image += COLOURS * g.width) {
        float *__restrict blue = line_of(*now, 0, 0, y), *__restrict green = line_of(*now, 1, 0, y);
        float *__restrict red = line_of(*now, 2, 0, y);
        for (int x = 0; x < g.width; ++x) {
            blue[x] = image[3 * x] * (1.0f / 255);
            green[x] = image[3 * x + 1] * (1.0f / 255);
            red[x] = image[3 * x + 2] * (1.0f / 255);
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
            const float *a = line_of(*finer, c, 0, 2 * y), *b = line_of(*finer, c, 0, 2 * y + 1);
            float *__restrict to = line_of(*now, c, 0, y);
            for (int x = 0; x < g.width; ++x)
                to[x] = .25f * ((a[2 * x] + a[2 * x + 1]) + (b[2 * x] + b[2 * x + 1]));
        }
    repeat_edges(*now);
    half_pixels(*now);
}

// What came less the forecast, 0 outside of the shown part; each block's mean squares of it and of the change since
// the frame before.
extern "C" void forecast_compare(const Frame *now, const Frame *last) {
    static thread_local Memory memory;
    const Grid &g = *now->grid;
    const int32_t *shown = now->shown;
    float *inside = memory.of(3 * (size_t)g.width), *wrong = inside + g.width, *changed = wrong + g.width;
    for (int x = 0; x < g.width; ++x)
        inside[x] = x >= shown[1] && x < shown[1] + shown[3];
    for (int row = 0; row < g.rows; ++row) {
        std::fill(wrong, wrong + 2 * g.width, 0.0f);
        for (int c = 0; c < COLOURS; ++c)
            for (int y = row * BLOCK; y < (row + 1) * BLOCK; ++y) {
                const long at = ((long)c * g.height + y) * g.width;
                if (y < shown[0] || y >= shown[0] + shown[2])
                    std::fill(now->error + at, now->error + at + g.width, 0.0f);
                else
                    compare_line(line_of(*now, c, 0, y), line_of(*last, c, 0, y), now->picture + at, inside, g.width,
                                 now->error + at, wrong, changed);
            }
        mean_of_blocks(wrong, g.cols, now->wrong + row * g.cols);
        mean_of_blocks(changed, g.cols, now->changed + row * g.cols);
    }
}

// The mean square, over the whole picture, of how far the forecast departs from this frame where it is shown.
extern "C" float forecast_departure(const Frame *now) {
    const Grid &g = *now->grid;
    const int32_t *shown = now->shown;
    float total = 0.0f;
    for (int c = 0; c < COLOURS; ++c)
        for (int y = shown[0]; y < shown[0] + shown[2]; ++y) {
            const float *seen = line_of(*now, c, 0, y), *expected = now->picture + ((long)c * g.height + y) * g.width;
            for (int x = shown[1]; x < shown[1] + shown[3]; ++x)
                total += (expected[x] - seen[x]) * (expected[x] - seen[x]);
        }
    return total / (COLOURS * g.height * g.width);
}

// The squared error around each unit over the sum of what is usual there and of the frame's median; then what is
// usual (units,) takes the error in. `surprise` is (units,).
extern "C" void forecast_judge(const Frame *now, float *usual, float *surprise) {
    static thread_local Memory memory;
    const Grid &g = *now->grid;
    const int units = g.rows * g.cols;
    float *sorted = memory.of(units);
    std::copy(now->wrong, now->wrong + units, sorted);
    std::nth_element(sorted, sorted + units / 2, sorted + units);
    float middle = sorted[units / 2];
    if (units % 2 == 0)
        middle = .5f * (middle + *std::max_element(sorted, sorted + units / 2));
    middle += CLEAN;
    if (std::none_of(usual, usual + units, [](float value) { return value != 0.0f; }))
        std::fill(usual, usual + units, middle);
    for (int row = 0; row < g.rows; ++row)
        for (int col = 0; col < g.cols; ++col)
            surprise[row * g.cols + col] = around(g, now->wrong, row, col) / (around(g, usual, row, col) + middle);
    for (int u = 0; u < units; ++u)
        usual[u] += FORGOTTEN * (std::min(now->wrong[u], SUDDEN * usual[u]) - usual[u]);
}
