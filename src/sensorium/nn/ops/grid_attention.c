/* Structured attention: attention over the rows of a grid whose logits are sums of one table an axis.
 *
 *     logit[n, m] = sum_k query[n, k] values[k, m] + scale[m] * sum_axes table[n, i_axis(m)]
 *
 * One source for AVX-512, AVX2 and NEON: grid_attention_pass.h is written with the compiler's vector extensions and included
 * once for each width; which one runs is chosen at run time. A plain C ABI: Python calls it with ctypes, which releases the
 * interpreter's lock. Memory grows with the axes of the grid, never with latents x rows.
 *
 * Words: a line is the rows that differ along the last axis only; `padded` is its length in whole vectors; a block is up to
 * BLOCK latents of one example and head, which share each load of a line; a group is up to GROUP value channels, which a
 * pass keeps in registers.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_AXES 8
#define MOST_THREADS 256
#define BLOCK 4
#define GROUP 4
#define CHUNKS 16 /* parts of an example's lines that threads share for the gradient of the rows */
#define LOG2E 1.4426950408889634f
#define LOWEST (-3.0e38f) /* finite: the difference of two of them is a number */
#define INLINE static inline __attribute__((always_inline))

/* Mirrored field by field in compiled.py. Arrays are C-ordered; a stride is in floats from one example to the next, 0 where
 * all examples share. */
typedef struct {
    int64_t batch, heads, latents, channels, rows, axes, shape[MOST_AXES], query_stride, tables_stride;
    const float *query;  /* batch, heads, latents, channels */
    const float *tables; /* batch, heads, latents, sum of shape */
    const float *values; /* batch, channels, rows */
    const float *scale;  /* batch, rows */
    const uint8_t *mask; /* batch, rows, 0 where absent; or null */
    float *sums, *marginals, *log_sum;
    /* Gradients of a loss: of the results (log_sum's less what the softmax takes away), and of the arguments. */
    const float *grad_sums, *grad_marginals, *grad_log_sum;
    float *grad_query, *grad_tables;
    float *grad_values, *grad_scale; /* null where nothing needs them */
} Problem;

/* The lines of one example. A vector may reach beyond the end of its line: there it finds numbers of a next line or, where
 * none follows, of a copy with room behind it. `absent` takes them away, and masked rows with them. */
typedef struct {
    const Problem *problem;
    int64_t width, padded, count, entries, first[MOST_AXES], at[MOST_AXES], number;
    const float *values, *scale;
    const uint8_t *mask;
    float *copy, *absent;
    int lacking; /* whether `absent` is of any use */
} Lines;

typedef struct {
    const float *values, *scale, *absent;
    int64_t stride; /* of values, from one channel to the next */
} Line;

static Lines lines_of(const Problem *p, int lanes) {
    Lines lines = {.problem = p, .width = p->shape[p->axes - 1]};
    lines.padded = (lines.width + lanes - 1) / lanes * lanes;
    lines.count = p->rows / lines.width;
    lines.lacking = p->mask || lines.padded != lines.width;
    for (int64_t axis = 0; axis < p->axes; axis++) {
        lines.first[axis] = lines.entries;
        lines.entries += p->shape[axis];
    }
    return lines;
}

static void fill_absent(Lines *lines) {
    for (int64_t x = 0; x < lines->padded; x++)
        lines->absent[x] =
            x < lines->width && (!lines->mask || lines->mask[lines->number * lines->width + x]) ? 0 : LOWEST;
}

/* Start at line `number` of an example; `room` is for (channels + 2) x padded floats. */
static void start(Lines *lines, int64_t example, int64_t number, float *room) {
    const Problem *p = lines->problem;
    lines->values = p->values + example * p->channels * p->rows;
    lines->scale = p->scale + example * p->rows;
    lines->mask = p->mask ? p->mask + example * p->rows : NULL;
    lines->copy = room;
    lines->absent = room + (p->channels + 1) * lines->padded;
    memset(room, 0, sizeof(float) * (p->channels + 1) * lines->padded);
    lines->number = number;
    for (int64_t axis = p->axes - 2; axis >= 0; axis--) {
        lines->at[axis] = number % p->shape[axis];
        number /= p->shape[axis];
    }
    if (lines->lacking) fill_absent(lines);
}

static void next(Lines *lines) {
    lines->number++;
    for (int64_t axis = lines->problem->axes - 2; axis >= 0; axis--) {
        if (++lines->at[axis] < lines->problem->shape[axis]) break;
        lines->at[axis] = 0;
    }
    if (lines->mask && lines->number < lines->count) fill_absent(lines);
}

INLINE Line line_of(const Lines *lines) {
    const Problem *p = lines->problem;
    int64_t from = lines->number * lines->width;
    const float *absent = lines->lacking ? lines->absent : NULL;
    if (from + lines->padded <= p->rows) return (Line){lines->values + from, lines->scale + from, absent, p->rows};
    for (int64_t k = 0; k <= p->channels; k++)
        memcpy(lines->copy + k * lines->padded, (k < p->channels ? lines->values + k * p->rows : lines->scale) + from,
               sizeof(float) * lines->width);
    return (Line){lines->copy, lines->copy + p->channels * lines->padded, absent, lines->padded};
}

/* A block of latents: where its numbers are, and copies of them in the order in which the passes want them. */
typedef struct {
    int64_t example, latent, count; /* `latent` counts over examples and heads */
    const float *query, *tables;    /* of its first latent */
} Block;

static Block block_of(const Problem *p, int64_t unit, int64_t entries) {
    int64_t blocks = (p->latents + BLOCK - 1) / BLOCK, pair = unit / blocks, first = unit % blocks * BLOCK;
    int64_t example = pair / p->heads, inside = pair % p->heads * p->latents + first;
    Block block = {example, pair * p->latents + first, p->latents - first < BLOCK ? p->latents - first : BLOCK,
                   p->query + example * p->query_stride + inside * p->channels,
                   p->tables + example * p->tables_stride + inside * entries};
    return block;
}

/* channels x BLOCK from latents x channels; zeros for latents that are not there. */
static void turn(float *to, const float *from, int64_t count, int64_t channels) {
    for (int64_t k = 0; k < channels; k++)
        for (int64_t l = 0; l < BLOCK; l++) to[k * BLOCK + l] = l < count ? from[l * channels + k] : 0;
}

/* BLOCK x padded from the last axis of latents x entries, zeros elsewhere. */
static void spread(float *to, const float *from, int64_t count, const Lines *lines) {
    memset(to, 0, sizeof(float) * BLOCK * lines->padded);
    for (int64_t l = 0; l < count; l++)
        memcpy(to + l * lines->padded, from + (l + 1) * lines->entries - lines->width, sizeof(float) * lines->width);
}

/* What the leading axes' tables add up to on this line, for each latent. */
INLINE void leading(float base[BLOCK], const float *tables, int64_t count, const Lines *lines) {
    for (int64_t l = 0; l < BLOCK; l++) {
        base[l] = 0;
        for (int64_t axis = 0; l < count && axis < lines->problem->axes - 1; axis++)
            base[l] += tables[l * lines->entries + lines->first[axis] + lines->at[axis]];
    }
}

typedef int Work(const Problem *, int64_t unit);

typedef struct {
    const Problem *problem;
    Work *work;
    int64_t units;
    atomic_llong next;
    atomic_int failed;
} Team;

static void *labour(void *argument) {
    Team *team = argument;
    for (int64_t unit; (unit = atomic_fetch_add(&team->next, 1)) < team->units;)
        if (team->work(team->problem, unit)) atomic_store(&team->failed, 1);
    return NULL;
}

/* torch's own team of threads (GOMP_parallel of the libgomp it has loaded), or null. Its threads spin for a while after
 * each operator: threads of ours would have to fight them for the cores. */
typedef void Parallel(void (*work)(void *), void *argument, unsigned threads, unsigned flags);
static Parallel *team_of_torch;

void sensorium_use_team(Parallel *parallel) { team_of_torch = parallel; }

static void labour_in_team(void *argument) { labour(argument); }

/* Without that team, threads live as long as one call. Returns 0, or 1 where there was no memory. */
static int share(const Problem *problem, Work *work, int64_t units, int threads) {
    Team team = {problem, work, units, 0, 0};
    pthread_t others[MOST_THREADS];
    int started = 0;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > units) threads = (int)units;
    if (team_of_torch && threads > 1) {
        team_of_torch(labour_in_team, &team, (unsigned)threads, 0);
        return team.failed;
    }
    while (started < threads - 1 && !pthread_create(&others[started], NULL, labour, &team)) started++;
    labour(&team);
    while (started) pthread_join(others[--started], NULL);
    return team.failed;
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, TARGET)

#define TARGET plain
#define LANES 4
#if defined(__ARM_NEON)
#include <arm_neon.h>
#define MAXIMUM(a, b) ((Floats)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b)))
#else
#define MAXIMUM(a, b) ((Floats)(((Ints)(a) & ((a) > (b))) | ((Ints)(b) & ~((a) > (b)))))
#endif
#include "grid_attention_pass.h"
#undef MAXIMUM
#undef TARGET
#undef LANES

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET avx2
#define LANES 8
#define MAXIMUM(a, b) ((Floats)_mm256_max_ps((__m256)(a), (__m256)(b)))
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include "grid_attention_pass.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef MAXIMUM
#undef TARGET
#undef LANES

#define TARGET avx512
#define LANES 16
#define MAXIMUM(a, b) ((Floats)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define WHOLE(x) ((Floats)_mm512_roundscale_ps((__m512)(x), _MM_FROUND_TO_NEAREST_INT))
#define TIMES_POWER_OF_TWO(y, n) ((Floats)_mm512_scalef_ps((__m512)(y), (__m512)(n)))
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#include "grid_attention_pass.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef MAXIMUM
#undef TARGET
#undef LANES
#endif

static const struct {
    const char *name;
    Work *forward, *backward, *backward_rows;
} TARGETS[] = {
#if defined(__ARM_NEON)
    {"NEON", forward_plain, backward_plain, backward_rows_plain},
#else
    {"vectors of 4", forward_plain, backward_plain, backward_rows_plain},
#endif
#if defined(__x86_64__)
    {"AVX2", forward_avx2, backward_avx2, backward_rows_avx2},
    {"AVX-512", forward_avx512, backward_avx512, backward_rows_avx512},
#endif
};

/* How many targets can run here: numbered from 0, the best is the last. */
int sensorium_targets(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int widest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    return wide ? wide + widest + 1 : 1;
#else
    return 1;
#endif
}

const char *sensorium_target_name(int target) { return TARGETS[target].name; }

int sensorium_grid_attention(const Problem *problem, int target, int threads) {
    int64_t units = problem->batch * problem->heads * ((problem->latents + BLOCK - 1) / BLOCK);
    return share(problem, TARGETS[target].forward, units, threads);
}

int sensorium_grid_attention_backward(const Problem *problem, int target, int threads) {
    int64_t units = problem->batch * problem->heads * ((problem->latents + BLOCK - 1) / BLOCK);
    if (share(problem, TARGETS[target].backward, units, threads)) return 1;
    return problem->grad_values ? share(problem, TARGETS[target].backward_rows, problem->batch * CHUNKS, threads) : 0;
}
