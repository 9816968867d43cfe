/* The passes of grid_attention.c for vectors of LANES floats. Included once a target: no include guard, on purpose. */

#define Floats NAME(Floats)
#define Ints NAME(Ints)
#define Loose NAME(Loose)
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* at any address */

#define LOAD(from) ((Floats)(*(const Loose *)(from)))
#define STORE(to, what) (*(Loose *)(to) = (what))
#define ADD(to, what) STORE(to, LOAD(to) + (what))
#define ALL(number) ((Floats){} + (number))

/* 2^x for x <= 0: a polynomial on [-1/2, 1/2], relative error 2.4e-7, times a power of two; 0 far below. */
INLINE Floats NAME(power_of_two)(Floats x) {
#ifdef WHOLE
    Floats whole = WHOLE(x), f = x - whole;
#else
    x = MAXIMUM(x, ALL(-127.0f));
    Floats shifted = x + 12582912.0f; /* 1.5 * 2^23: the integer nearest to x is now in the low bits */
    Floats f = x - (shifted - 12582912.0f);
#endif
    Floats y = ALL(1.3390353e-3f);
    y = y * f + 9.6184373e-3f;
    y = y * f + 5.5503324e-2f;
    y = y * f + 2.4022652e-1f;
    y = y * f + 6.9314720e-1f;
    y = y * f + 1.0f;
#ifdef WHOLE
    return TIMES_POWER_OF_TWO(y, whole);
#else
    return y * (Floats)(((Ints)shifted + 127) << 23);
#endif
}

INLINE float NAME(total)(Floats x) {
    float lane[LANES] __attribute__((aligned(4 * LANES)));
    *(Floats *)lane = x;
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

INLINE float NAME(highest)(Floats x) {
    float lane[LANES] __attribute__((aligned(4 * LANES)));
    *(Floats *)lane = x;
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
    return lane[0];
}

/* out[l, x] = scale[x] (base[l] + table[l, x]) + sum_k weight[k, l] values[k, x] + absent[x] over one group of channels;
 * the first group brings the table and `absent`, the last one finds the highest of each latent. */
INLINE void NAME(combine_group)(const int first, const int last, const int group, Line line, int64_t padded, int64_t from,
                                const float *weight, const float *base, const float *table, float *out, Floats *top) {
    for (int64_t x = 0; x < padded; x += LANES) {
        Floats u[GROUP], scale = {}, absent = {};
        if (first) scale = LOAD(line.scale + x);
        if (first && line.absent) absent = LOAD(line.absent + x);
        for (int k = 0; k < group; k++) u[k] = LOAD(line.values + (from + k) * line.stride + x);
        for (int l = 0; l < BLOCK; l++) {
            float *at = out + l * padded + x;
            Floats z = first ? scale * (LOAD(table + l * padded + x) + base[l]) : LOAD(at);
            if (first && line.absent) z += absent;
            for (int k = 0; k < group; k++) z += u[k] * weight[(from + k) * BLOCK + l];
            STORE(at, z);
            if (last) top[l] = MAXIMUM(top[l], z);
        }
    }
}

INLINE void NAME(combine)(int64_t channels, Line line, int64_t padded, const float *weight, const float *base,
                          const float *table, float *out, Floats *top) {
#define CALL(first, last, group) \
    NAME(combine_group)(first, last, group, line, padded, from, weight, base, table, out, top)
    int64_t from = 0;
    switch (channels) { /* the usual numbers in one pass */
        case 1: CALL(1, 1, 1); return;
        case 2: CALL(1, 1, 2); return;
        case 3: CALL(1, 1, 3); return;
        case 4: CALL(1, 1, 4); return;
    }
    CALL(1, 0, GROUP);
    for (from = GROUP; from + GROUP < channels; from += GROUP) CALL(0, 0, GROUP);
    switch (channels - from) {
        case 1: CALL(0, 1, 1); return;
        case 2: CALL(0, 1, 2); return;
        case 3: CALL(0, 1, 3); return;
        case 4: CALL(0, 1, 4); return;
    }
#undef CALL
}

/* p = exp(logit - peak), or in the backward pass p (grad + constant), summed up in every way that is wanted:
 * sums[k, l] += p values[k]; marginal[l, x] += p scale; and returned in `line_total`, `mass`: sums over x of p scale and p. */
INLINE void NAME(accumulate_group)(const int backward, const int first, const int more, const int group, Line line, int64_t padded,
                                   int64_t from, const float *peak, const float *grad, const float *constant,
                                   float *logits, Floats *sums, float *marginal, Floats *line_total, Floats *mass) {
    Floats sum[GROUP][BLOCK];
    for (int k = 0; k < group; k++)
        for (int l = 0; l < BLOCK; l++) sum[k][l] = sums[(from + k) * BLOCK + l];
    for (int64_t x = 0; x < padded; x += LANES) {
        Floats u[GROUP], scale = {};
        if (first) scale = LOAD(line.scale + x);
        for (int k = 0; k < group; k++) u[k] = LOAD(line.values + (from + k) * line.stride + x);
        for (int l = 0; l < BLOCK; l++) {
            float *at = logits + l * padded + x;
            Floats p = LOAD(at);
            if (first) {
                p = NAME(power_of_two)(p * LOG2E - peak[l]);
                if (backward) p *= LOAD(grad + l * padded + x) + constant[l];
                else mass[l] += p;
                if (more) STORE(at, p);
                Floats scaled = p * scale;
                line_total[l] += scaled;
                ADD(marginal + l * padded + x, scaled);
            }
            for (int k = 0; k < group; k++) sum[k][l] += p * u[k];
        }
    }
    for (int k = 0; k < group; k++)
        for (int l = 0; l < BLOCK; l++) sums[(from + k) * BLOCK + l] = sum[k][l];
}

INLINE void NAME(accumulate)(const int backward, int64_t channels, Line line, int64_t padded, const float *peak,
                             const float *grad, const float *constant, float *logits, Floats *sums, float *marginal,
                             Floats *line_total, Floats *mass) {
#define CALL(first, more, group)                                                                                       \
    NAME(accumulate_group)(backward, first, more, group, line, padded, from, peak, grad, constant, logits, sums, marginal,  \
                           line_total, mass)
    int64_t from = 0;
    switch (channels) {
        case 1: CALL(1, 0, 1); return;
        case 2: CALL(1, 0, 2); return;
        case 3: CALL(1, 0, 3); return;
        case 4: CALL(1, 0, 4); return;
    }
    CALL(1, 1, GROUP);
    for (from = GROUP; from + GROUP <= channels; from += GROUP) CALL(0, 0, GROUP);
    switch (channels - from) {
        case 1: CALL(0, 0, 1); return;
        case 2: CALL(0, 0, 2); return;
        case 3: CALL(0, 0, 3); return;
    }
#undef CALL
}

/* Memory for a unit of work: floats, from an aligned start; null where there is none. */
INLINE float *NAME(room)(int64_t floats) {
    return aligned_alloc(4 * LANES, (size_t)(4 * floats + 4 * LANES - 1) / (4 * LANES) * (4 * LANES));
}

static int NAME(forward)(const Problem *p, int64_t unit) {
    Lines lines = lines_of(p, LANES);
    Block block = block_of(p, unit, lines.entries);
    int64_t padded = lines.padded, channels = p->channels, lead = lines.entries - lines.width;
    float *room = NAME(room)(channels * BLOCK * LANES + (3 * BLOCK + channels + 2) * padded + BLOCK * (lead + channels));
    if (!room) return 1;
    Floats *sums = (Floats *)room;
    float *table = room + channels * BLOCK * LANES, *logits = table + BLOCK * padded, *marginal = logits + BLOCK * padded;
    float *copy = marginal + BLOCK * padded, *leads = copy + (channels + 2) * padded, *weight = leads + BLOCK * lead;
    memset(sums, 0, sizeof(Floats) * channels * BLOCK);
    memset(marginal, 0, sizeof(float) * BLOCK * padded);
    memset(leads, 0, sizeof(float) * BLOCK * lead);
    turn(weight, block.query, block.count, channels);
    spread(table, block.tables, block.count, &lines);

    Floats mass[BLOCK] = {};
    float peak[BLOCK], base[BLOCK];
    for (int l = 0; l < BLOCK; l++) peak[l] = LOWEST;
    for (start(&lines, block.example, 0, copy); lines.number < lines.count; next(&lines)) {
        Line line = line_of(&lines);
        Floats top[BLOCK], line_total[BLOCK] = {};
        for (int l = 0; l < BLOCK; l++) top[l] = ALL(LOWEST);
        leading(base, block.tables, block.count, &lines);
        NAME(combine)(channels, line, padded, weight, base, table, logits, top);
        for (int l = 0; l < BLOCK; l++) {
            float highest = NAME(highest)(top[l]) * LOG2E;
            if (highest <= peak[l]) continue;
            /* A new highest: all that was summed up until now is in units of the old one. */
            float factor = exp2f(peak[l] - highest);
            peak[l] = highest;
            mass[l] *= factor;
            for (int64_t k = 0; k < channels; k++) sums[k * BLOCK + l] *= factor;
            for (int64_t x = 0; x < padded; x += LANES)
                STORE(marginal + l * padded + x, LOAD(marginal + l * padded + x) * factor);
            for (int64_t i = 0; i < lead; i++) leads[l * lead + i] *= factor;
        }
        NAME(accumulate)(0, channels, line, padded, peak, NULL, NULL, logits, sums, marginal, line_total, mass);
        for (int l = 0; l < BLOCK; l++) {
            float total = NAME(total)(line_total[l]);
            for (int64_t axis = 0; axis < p->axes - 1; axis++) leads[l * lead + lines.first[axis] + lines.at[axis]] += total;
        }
    }
    for (int64_t l = 0; l < block.count; l++) {
        float whole = NAME(total)(mass[l]);
        int some = peak[l] > LOWEST / 2; /* else every row is masked */
        float share = some ? 1 / whole : 0;
        float *marginals = p->marginals + (block.latent + l) * lines.entries;
        p->log_sum[block.latent + l] = some ? peak[l] / LOG2E + logf(whole) : -INFINITY;
        for (int64_t k = 0; k < channels; k++)
            p->sums[(block.latent + l) * channels + k] = NAME(total)(sums[k * BLOCK + l]) * share;
        for (int64_t i = 0; i < lead; i++) marginals[i] = leads[l * lead + i] * share;
        for (int64_t x = 0; x < lines.width; x++) marginals[lead + x] = marginal[l * padded + x] * share;
    }
    free(room);
    return 0;
}

/* What both backward passes know of a block. */
#define Known NAME(Known)
typedef struct {
    float *table, *grad_marginal_line, *weight, *grad_weight, *logits, *grads;
    const float *grad_marginals;
    float peak[BLOCK], constant[BLOCK];
} Known;

INLINE float *NAME(divide)(Known *known, float *room, int64_t padded, int64_t channels) {
    known->table = room;
    known->grad_marginal_line = known->table + BLOCK * padded;
    known->logits = known->grad_marginal_line + BLOCK * padded;
    known->grads = known->logits + BLOCK * padded;
    known->weight = known->grads + BLOCK * padded;
    known->grad_weight = known->weight + BLOCK * channels;
    return known->grad_weight + BLOCK * channels;
}

INLINE void NAME(know)(Known *known, const Problem *p, const Block *block, const Lines *lines) {
    known->grad_marginals = p->grad_marginals + block->latent * lines->entries;
    turn(known->weight, block->query, block->count, p->channels);
    turn(known->grad_weight, p->grad_sums + block->latent * p->channels, block->count, p->channels);
    spread(known->table, block->tables, block->count, lines);
    spread(known->grad_marginal_line, known->grad_marginals, block->count, lines);
    for (int64_t l = 0; l < BLOCK; l++) {
        float log_sum = l < block->count ? p->log_sum[block->latent + l] : 0;
        known->peak[l] = log_sum > LOWEST ? log_sum * LOG2E : -LOWEST; /* no row was present: every weight is 0 */
        known->constant[l] = l < block->count ? p->grad_log_sum[block->latent + l] : 0;
    }
}

/* The logits of a line once more, and beside them the gradient of the loss with respect to each weight. */
INLINE Line NAME(recall)(const Known *known, const Block *block, const Lines *lines, float base[BLOCK],
                         float grad_base[BLOCK]) {
    Line line = line_of(lines), present = line;
    present.absent = NULL;
    Floats top[BLOCK];
    for (int l = 0; l < BLOCK; l++) top[l] = ALL(LOWEST);
    leading(base, block->tables, block->count, lines);
    leading(grad_base, known->grad_marginals, block->count, lines);
    int64_t channels = lines->problem->channels;
    NAME(combine)(channels, line, lines->padded, known->weight, base, known->table, known->logits, top);
    NAME(combine)(channels, present, lines->padded, known->grad_weight, grad_base, known->grad_marginal_line, known->grads, top);
    return line;
}

static int NAME(backward)(const Problem *p, int64_t unit) {
    Lines lines = lines_of(p, LANES);
    Block block = block_of(p, unit, lines.entries);
    int64_t padded = lines.padded, channels = p->channels, lead = lines.entries - lines.width;
    float *room = NAME(room)(channels * BLOCK * LANES + (5 * BLOCK + channels + 2) * padded + 2 * BLOCK * channels);
    if (!room) return 1;
    Floats *sums = (Floats *)room, mass[BLOCK];
    Known known;
    float *marginal = NAME(divide)(&known, room + channels * BLOCK * LANES, padded, channels);
    float base[BLOCK], grad_base[BLOCK], *grad_tables = p->grad_tables + block.latent * lines.entries;
    memset(sums, 0, sizeof(Floats) * channels * BLOCK);
    memset(marginal, 0, sizeof(float) * BLOCK * padded);
    memset(grad_tables, 0, sizeof(float) * block.count * lines.entries);
    NAME(know)(&known, p, &block, &lines);
    for (start(&lines, block.example, 0, marginal + BLOCK * padded); lines.number < lines.count; next(&lines)) {
        Floats line_total[BLOCK] = {};
        Line line = NAME(recall)(&known, &block, &lines, base, grad_base);
        NAME(accumulate)(1, channels, line, padded, known.peak, known.grads, known.constant, known.logits, sums, marginal,
                         line_total, mass);
        for (int l = 0; l < block.count; l++) {
            float total = NAME(total)(line_total[l]);
            for (int64_t axis = 0; axis < p->axes - 1; axis++)
                grad_tables[l * lines.entries + lines.first[axis] + lines.at[axis]] += total;
        }
    }
    for (int64_t l = 0; l < block.count; l++) {
        for (int64_t k = 0; k < channels; k++)
            p->grad_query[(block.latent + l) * channels + k] = NAME(total)(sums[k * BLOCK + l]);
        memcpy(grad_tables + l * lines.entries + lead, marginal + l * padded, sizeof(float) * lines.width);
    }
    free(room);
    return 0;
}

/* The gradients of values and scale, for one of CHUNKS parts of an example's lines: each line sums over all latents. */
static int NAME(backward_rows)(const Problem *p, int64_t unit) {
    Lines lines = lines_of(p, LANES);
    int64_t example = unit / CHUNKS, chunk = unit % CHUNKS;
    int64_t begin = lines.count * chunk / CHUNKS, end = lines.count * (chunk + 1) / CHUNKS;
    int64_t padded = lines.padded, channels = p->channels, blocks = p->heads * ((p->latents + BLOCK - 1) / BLOCK);
    if (begin == end) return 0;
    float *room = NAME(room)((4 * BLOCK + channels + 2 + (end - begin) * (channels + 1)) * padded + 2 * BLOCK * channels);
    if (!room) return 1;
    Known known;
    float *copy = NAME(divide)(&known, room, padded, channels), *grad_rows = copy + (channels + 2) * padded;
    float base[BLOCK], grad_base[BLOCK];
    memset(grad_rows, 0, sizeof(float) * (end - begin) * (channels + 1) * padded);
    for (int64_t b = example * blocks; b < (example + 1) * blocks; b++) {
        Block block = block_of(p, b, lines.entries);
        NAME(know)(&known, p, &block, &lines);
        for (start(&lines, example, begin, copy); lines.number < end; next(&lines)) {
            float *grad_values = grad_rows + (lines.number - begin) * (channels + 1) * padded;
            float *grad_scale = grad_values + channels * padded;
            NAME(recall)(&known, &block, &lines, base, grad_base);
            for (int64_t x = 0; x < padded; x += LANES) {
                Floats sum = LOAD(grad_scale + x);
                for (int l = 0; l < block.count; l++) {
                    int64_t at = l * padded + x;
                    Floats weight = NAME(power_of_two)(LOAD(known.logits + at) * LOG2E - known.peak[l]);
                    Floats grad = weight * (LOAD(known.grads + at) + known.constant[l]);
                    STORE(known.logits + at, weight);
                    STORE(known.grads + at, grad);
                    sum += grad * (LOAD(known.table + at) + base[l]) + weight * (LOAD(known.grad_marginal_line + at) + grad_base[l]);
                }
                STORE(grad_scale + x, sum);
            }
            for (int64_t k = 0; k < channels; k++)
                for (int64_t x = 0; x < padded; x += LANES) {
                    Floats sum = LOAD(grad_values + k * padded + x);
                    for (int l = 0; l < block.count; l++)
                        sum += LOAD(known.grads + l * padded + x) * known.weight[k * BLOCK + l] +
                               LOAD(known.logits + l * padded + x) * known.grad_weight[k * BLOCK + l];
                    STORE(grad_values + k * padded + x, sum);
                }
        }
    }
    for (int64_t number = begin; number < end; number++) {
        const float *from = grad_rows + (number - begin) * (channels + 1) * padded;
        for (int64_t k = 0; k <= channels; k++)
            memcpy((k < channels ? p->grad_values + (example * channels + k) * p->rows : p->grad_scale + example * p->rows) +
                       number * lines.width,
                   from + k * padded, sizeof(float) * lines.width);
    }
    free(room);
    return 0;
}

#undef Floats
#undef Ints
#undef Loose
#undef Known
#undef LOAD
#undef STORE
#undef ADD
#undef ALL
