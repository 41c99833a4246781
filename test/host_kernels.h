// Runs kernels.cu on the host, block after block and phase after phase (see the top of kernels.cu).
//
// Shared memory is new for each block, of exactly the launch's size, and full of NaN: reading what no
// phase wrote spoils the answers, reading past it is seen by the address sanitizer. BACKWARDS runs
// blocks and threads in the opposite order: a phase whose threads meddle with each other's values
// then answers differently.

#include <cmath>
#include <cstdlib>
#include <limits>

#ifdef BACKWARDS
#define ORDER(i, count) for (int i = (count)-1; i >= 0; --i)
#else
#define ORDER(i, count) for (int i = 0; i < (count); ++i)
#endif
#define FUNCTION static inline
#define EACH_THREAD(t) ORDER(t, block.threads)
#define UNROLL
#define KERNEL(name, most_threads, Table, body)                                          \
    extern "C" int name(int grid_x, int grid_y, int threads, int shared_bytes,           \
                        const Frame *frame, const Table *table) {                        \
        if (threads > most_threads || shared_bytes > 48 << 10)                           \
            return 1;                                                                    \
        ORDER(y, grid_y)                                                                 \
        ORDER(x, grid_x) {                                                               \
            float *shared = (float *)std::aligned_alloc(16, (shared_bytes + 15) / 16 * 16); \
            for (int i = 0; i < shared_bytes / 4; ++i)                                   \
                shared[i] = std::numeric_limits<float>::quiet_NaN();                     \
            body(Block{x, y, threads}, *frame, *table, shared);                          \
            std::free(shared);                                                           \
        }                                                                                \
        return 0;                                                                        \
    }                                                                                    \
    extern "C" int name##_table() { return sizeof(Table); }
