// Batch normalisation, addition and ReLU between convolutions in training, forward and backward, for processors.
// kernels/layers.py has the formulas; kernels/processor.py compiles this file, and defines LANES and CHUNKS.
//
// Torch's own operations for them read or write a tensor five to eight times forward and eight to eleven times
// backward, and take longer than the convolutions. Here it is three or four times, and five to eight.
//
// Tensors are channels last: rows are the pixels of all images, C their channels, a multiple of LANES. They hold
// float32 or bfloat16; sums are float32 within a chunk of rows and float64 over the chunks. How rows are divided
// depends on the tensor alone, so that the bits do not depend on the number of threads.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

constexpr long TILE = 16384;  // bytes that stay in the nearest cache

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

static inline Floats load(const float *from) {
    Floats values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline Floats load(const uint16_t *from) {
    Halves halves;
    memcpy(&halves, from, sizeof halves);
    return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

static inline void store(float *to, Floats values) { memcpy(to, &values, sizeof values); }

static inline void store(uint16_t *to, Floats values) {
    Words bits = (Words)values, unordered = (Words)(values != values);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to the nearest, halves to even
    bits = (bits & ~unordered) | (unordered & 0x7fc0);  // to a NaN's bits nothing can be added
    Halves halves = __builtin_convertvector(bits, Halves);
    memcpy(to, &halves, sizeof halves);
}

static inline Floats rectify(Floats x) { return (Floats)((Ints)x & ~(Ints)(x < 0.0f)); }  // NaN stays
static inline Floats where_positive(Floats y, Floats x) { return (Floats)((Ints)x & (Ints)(y > 0.0f)); }

// How count rows are divided: into chunks, whose sums are kept, and those into tiles, read twice in a row.
struct Rows {
    long count, channels, tile, chunks;
    Rows(long count, long channels, long width) : count(count), channels(channels) {
        tile = TILE / (channels * width) < 8 ? 8 : TILE / (channels * width);
        long tiles = (count + tile - 1) / tile;
        chunks = tiles < CHUNKS ? tiles : CHUNKS;
    }
    long start(long chunk) const { return count * chunk / chunks; }
    long share(long thread, long threads) const { return chunks * thread / threads; }  // its first chunk
};

// Calls visit(first row, rows) for every tile of a chunk.
template <class Visit> static inline void over_tiles(const Rows &rows, long chunk, Visit visit) {
    long end = rows.start(chunk + 1);
    for (long at = rows.start(chunk); at < end; at += rows.tile)
        visit(at, end - at < rows.tile ? end - at : rows.tile);
}

// Calls visit(place of a vector of channels, which of four sums it belongs to) for n rows.
template <class Visit> static inline void over_rows(const Rows &rows, long at, long n, long c, Visit visit) {
    long r = 0;
    for (; r + 4 <= n; r += 4)
        for (int sum = 0; sum < 4; sum++) visit((at + r + sum) * rows.channels + c, sum);
    for (; r < n; r++) visit((at + r) * rows.channels + c, 0);
}

// Calls work(chunk) for all chunks, which the threads of a parallel region share; all wait for all.
template <class Work> static inline void over_chunks(const Rows &rows, int threads, Work work) {
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; thread++)
        for (long chunk = rows.share(thread, threads); chunk < rows.share(thread + 1, threads); chunk++)
            work(chunk);
}

// As over_chunks, every thread's last chunk first: what it has just seen may still be in its caches.
template <class Work> static inline void over_chunks_back(const Rows &rows, int threads, Work work) {
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; thread++)
        for (long chunk = rows.share(thread + 1, threads); chunk-- > rows.share(thread, threads);)
            work(chunk);
}

static inline Floats total(const Floats *sums) { return (sums[0] + sums[1]) + (sums[2] + sums[3]); }
static inline void increase(float *at, Floats values) { store(at, load(at) + values); }

// Mean and sum of squared deviations of a chunk; tiles are joined as by Chan, Golub and LeVeque (1983).
template <class T> static void measure(const Rows &rows, long chunk, const T *z, float *mean, float *square) {
    memset(mean, 0, rows.channels * sizeof(float));
    memset(square, 0, rows.channels * sizeof(float));
    over_tiles(rows, chunk, [&](long at, long n) {
        float seen = at - rows.start(chunk), share = n / (seen + n);
        for (long c = 0; c < rows.channels; c += LANES) {
            Floats sums[4] = {}, deviations[4] = {};
            over_rows(rows, at, n, c, [&](long i, int k) { sums[k] += load(z + i); });
            Floats here = total(sums) / (float)n, apart = here - load(mean + c);
            over_rows(rows, at, n, c, [&](long i, int k) {
                Floats deviation = load(z + i) - here;
                deviations[k] += deviation * deviation;
            });
            increase(square + c, total(deviations) + apart * apart * (seen * share));
            increase(mean + c, apart * share);
        }
    });
}

// y = scale * (z - mean) * rstd + shift [+ residual], then ReLU if asked for; running statistics as torch's.
template <class T, bool RESIDUAL, bool RELU>
static void normalize(const T *z, const T *residual, T *y, const float *scale, const float *shift,
                      float *running_mean, float *running_variance, float *mean, float *rstd, float *scratch,
                      long count, long channels, float epsilon, float momentum, int threads) {
    Rows rows(count, channels, sizeof(T));
    float *means = scratch, *squares = means + rows.chunks * channels;
    double *middle = (double *)(squares + rows.chunks * channels), *square = middle + channels;
    auto join = [&] {
        memset(middle, 0, 2 * channels * sizeof(double));
        for (long chunk = 0; chunk < rows.chunks; chunk++) {
            double seen = rows.start(chunk), share = 1 - seen / rows.start(chunk + 1);
            for (long c = 0, i = chunk * channels; c < channels; c++, i++) {
                double apart = means[i] - middle[c];
                square[c] += squares[i] + apart * apart * (seen * share);
                middle[c] += apart * share;
            }
        }
        for (long c = 0; c < channels; c++) {
            mean[c] = middle[c];
            rstd[c] = 1 / std::sqrt(square[c] / count + epsilon);
            running_mean[c] = (1 - momentum) * running_mean[c] + momentum * middle[c];
            double variance = square[c] / (count - 1);
            running_variance[c] = (1 - momentum) * running_variance[c] + momentum * variance;
        }
    };
    auto apply = [&](long chunk) {
        over_tiles(rows, chunk, [&](long at, long n) {
            for (long c = 0; c < channels; c += LANES) {
                Floats a = load(scale + c) * load(rstd + c), b = load(shift + c) - load(mean + c) * a;
                over_rows(rows, at, n, c, [&](long i, int) {
                    Floats value = load(z + i) * a + b;
                    if (RESIDUAL) value += load(residual + i);
                    store(y + i, RELU ? rectify(value) : value);
                });
            }
        });
    };
#pragma omp parallel num_threads(threads)
    {
        over_chunks(rows, threads, [&](long chunk) {
            measure(rows, chunk, z, means + chunk * channels, squares + chunk * channels);
        });
#pragma omp single
        join();
        over_chunks_back(rows, threads, apply);
    }
}

// The gradient of z; of the residual (through the ReLU), if there is one; of scale and shift.
// That of y is dy, or dy + beside. y is read only with a residual: elsewhere its sign follows from z.
template <class T, bool RESIDUAL, bool RELU, bool BESIDE>
static void differentiate(const T *dy, const T *beside, const T *y, const T *z, T *dz, T *dresidual,
                          const float *scale, const float *shift, const float *mean, const float *rstd,
                          float *dscale, float *dshift, float *scratch, long count, long channels,
                          int threads) {
    Rows rows(count, channels, sizeof(T));
    float *sums = scratch, *products = sums + rows.chunks * channels;
    float *slope = products + rows.chunks * channels, *rest = slope + channels;
    auto incoming = [&](long i) { return BESIDE ? load(dy + i) + load(beside + i) : load(dy + i); };
    auto add_up = [&](long chunk) {
        float *sum = sums + chunk * channels, *product = products + chunk * channels;
        memset(sum, 0, channels * sizeof(float));
        memset(product, 0, channels * sizeof(float));
        over_tiles(rows, chunk, [&](long at, long n) {
            for (long c = 0; c < channels; c += LANES) {
                Floats m = load(mean + c), a = load(scale + c) * load(rstd + c), b = load(shift + c) - m * a;
                Floats gradients[4] = {}, correlations[4] = {};
                over_rows(rows, at, n, c, [&](long i, int k) {
                    Floats gradient = incoming(i), value = load(z + i);
                    if (RELU) gradient = where_positive(RESIDUAL ? load(y + i) : value * a + b, gradient);
                    if (RESIDUAL) store(dresidual + i, gradient);
                    gradients[k] += gradient;
                    correlations[k] += gradient * (value - m);
                });
                increase(sum + c, total(gradients));
                increase(product + c, total(correlations));
            }
        });
    };
    auto join = [&](long c) {
        double sum = 0, product = 0;
        for (long i = c; i < rows.chunks * channels; i += channels) {
            sum += sums[i];
            product += products[i];
        }
        double a = (double)scale[c] * rstd[c], b = -a * rstd[c] * rstd[c] * product / count;
        dshift[c] = sum;
        dscale[c] = product * rstd[c];
        slope[c] = b;
        rest[c] = -a * sum / count - b * mean[c];
    };
    auto apply = [&](long chunk) {
        over_tiles(rows, chunk, [&](long at, long n) {
            for (long c = 0; c < channels; c += LANES) {
                Floats a = load(scale + c) * load(rstd + c), b = load(shift + c) - load(mean + c) * a;
                Floats s = load(slope + c), r = load(rest + c);
                over_rows(rows, at, n, c, [&](long i, int) {
                    Floats gradient = RESIDUAL ? load(dresidual + i) : incoming(i), value = load(z + i);
                    if (RELU && !RESIDUAL) gradient = where_positive(value * a + b, gradient);
                    store(dz + i, gradient * a + (value * s + r));
                });
            }
        });
    };
#pragma omp parallel num_threads(threads)
    {
        over_chunks(rows, threads, add_up);
#pragma omp single
        for (long c = 0; c < channels; c++) join(c);
        over_chunks_back(rows, threads, apply);
    }
}

// Calls call(std::true_type()) or call(std::false_type()): what is known at run time, for a template.
template <class Call> static void with(bool value, Call call) {
    value ? call(std::true_type()) : call(std::false_type());
}

#define EXPORT(T, NAME) \
    extern "C" void normalize_##NAME( \
        const T *z, const T *residual, T *y, const float *scale, const float *shift, float *running_mean, \
        float *running_variance, float *mean, float *rstd, float *scratch, long count, long channels, \
        float epsilon, float momentum, int relu, int threads) { \
        with(residual, [=](auto added) { \
            with(relu, [=](auto rectified) { \
                normalize<T, added, rectified>( \
                    z, residual, y, scale, shift, running_mean, running_variance, mean, rstd, scratch, \
                    count, channels, epsilon, momentum, threads); \
            }); \
        }); \
    } \
    extern "C" void differentiate_##NAME( \
        const T *dy, const T *beside, const T *y, const T *z, T *dz, T *dresidual, const float *scale, \
        const float *shift, const float *mean, const float *rstd, float *dscale, float *dshift, \
        float *scratch, long count, long channels, int relu, int threads) { \
        with(dresidual, [=](auto added) { \
            with(relu, [=](auto rectified) { \
                with(beside, [=](auto two) { \
                    differentiate<T, added, rectified, two>( \
                        dy, beside, y, z, dz, dresidual, scale, shift, mean, rstd, dscale, dshift, scratch, \
                        count, channels, threads); \
                }); \
            }); \
        }); \
    }

EXPORT(float, float32)
EXPORT(uint16_t, bfloat16)
