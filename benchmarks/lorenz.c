/* The machine's limit: Lorenz '63 by classical Runge-Kutta in C, compiled where the benchmark runs.

   Components as separate arrays, VECTORS vectors of trajectories in registers, the time loop innermost, OpenMP over
   blocks. rho(t) = rho0 + rate t, evaluated at the three stage times; rho0 may differ from trajectory to trajectory.
   Compile once for each precision: -DREAL=double or -DREAL=float. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __AVX512F__
#define BYTES 64
#define VECTORS 3
#else
#define BYTES 32
#define VECTORS 4 /* measured best with sixteen registers */
#endif
#define LANES (BYTES / (int)sizeof(REAL))
#define BLOCK (VECTORS * LANES)
typedef REAL vec __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));

#define SIGMA ((REAL)10)
#define BETA ((REAL)(8.0 / 3.0))

/* One step with the fewest operations, of any type that has arithmetic. */
#define RK4(T, x, y, z, r1, r2, r3, h)                                                                     \
    do {                                                                                                   \
        const REAL h2 = (h) / 2, h3 = (h) / 3, h6 = (h) / 6;                                               \
        T a = y - x, q = x * ((r1) - z) - y, w = x * y - BETA * z;                                         \
        T X = x + SIGMA * h2 * a, Y = y + h2 * q, Z = z + h2 * w;                                          \
        T A = x + SIGMA * h6 * a, Q = y + h6 * q, W = z + h6 * w;                                          \
        a = Y - X, q = X * ((r2) - Z) - Y, w = X * Y - BETA * Z;                                           \
        X = x + SIGMA * h2 * a, Y = y + h2 * q, Z = z + h2 * w;                                            \
        A += SIGMA * h3 * a, Q += h3 * q, W += h3 * w;                                                     \
        a = Y - X, q = X * ((r2) - Z) - Y, w = X * Y - BETA * Z;                                           \
        X = x + SIGMA * (h) * a, Y = y + (h) * q, Z = z + (h) * w;                                         \
        A += SIGMA * h3 * a, Q += h3 * q, W += h3 * w;                                                     \
        a = Y - X, q = X * ((r3) - Z) - Y, w = X * Y - BETA * Z;                                           \
        x = A + SIGMA * h6 * a, y = Q + h6 * q, z = W + h6 * w;                                            \
    } while (0)

/* The same as one writes it down: k1, k2, k3, k4. */
#define TEXTBOOK(x, y, z, r1, r2, r3, h)                                                                   \
    do {                                                                                                   \
        const REAL ax = SIGMA * (y - x), ay = x * ((r1) - z) - y, az = x * y - BETA * z;                   \
        REAL X = x + (h) / 2 * ax, Y = y + (h) / 2 * ay, Z = z + (h) / 2 * az;                             \
        const REAL bx = SIGMA * (Y - X), by = X * ((r2) - Z) - Y, bz = X * Y - BETA * Z;                   \
        X = x + (h) / 2 * bx, Y = y + (h) / 2 * by, Z = z + (h) / 2 * bz;                                  \
        const REAL cx = SIGMA * (Y - X), cy = X * ((r2) - Z) - Y, cz = X * Y - BETA * Z;                   \
        X = x + (h) * cx, Y = y + (h) * cy, Z = z + (h) * cz;                                              \
        const REAL dx = SIGMA * (Y - X), dy = X * ((r3) - Z) - Y, dz = X * Y - BETA * Z;                   \
        x += (h) / 6 * (ax + 2 * bx + 2 * cx + dx), y += (h) / 6 * (ay + 2 * by + 2 * cy + dy);            \
        z += (h) / 6 * (az + 2 * bz + 2 * cz + dz);                                                        \
    } while (0)

/* One trajectory, `samples` states of 3 numbers, `substeps` steps apart; the first is the start. */
static inline __attribute__((always_inline)) void trajectory(
    const REAL *u0, REAL *out, int64_t samples, int64_t substeps, REAL h, REAL rho0, REAL rate, int textbook) {
    REAL x = u0[0], y = u0[1], z = u0[2];
    for (int64_t n = 0; n < samples; n++) {
        out[3 * n] = x, out[3 * n + 1] = y, out[3 * n + 2] = z;
        for (int64_t k = n * substeps; n < samples - 1 && k < (n + 1) * substeps; k++) {
            const REAL r1 = rho0 + rate * (k * h), r2 = r1 + rate * (h / 2), r3 = r1 + rate * h;
            if (textbook)
                TEXTBOOK(x, y, z, r1, r2, r3, h);
            else
                RK4(REAL, x, y, z, r1, r2, r3, h);
        }
    }
}

void single_textbook(const REAL *u0, REAL *out, int64_t samples, int64_t substeps, REAL h, REAL rho0, REAL rate) {
    trajectory(u0, out, samples, substeps, h, rho0, rate, 1);
}

void single_fewest(const REAL *u0, REAL *out, int64_t samples, int64_t substeps, REAL h, REAL rho0, REAL rate) {
    trajectory(u0, out, samples, substeps, h, rho0, rate, 0);
}

/* The time loop over `count` vectors of trajectories that stay in registers. */
static inline __attribute__((always_inline)) void block(
    int count, REAL *u, const REAL *rho0, REAL *record, int64_t num, int64_t first, int64_t steps, int64_t every, REAL h,
    REAL rate) {
    vec x[VECTORS], y[VECTORS], z[VECTORS], r[VECTORS];
    for (int v = 0; v < count; v++) {
        x[v] = *(vec *)(u + first + v * LANES);
        y[v] = *(vec *)(u + num + first + v * LANES);
        z[v] = *(vec *)(u + 2 * num + first + v * LANES);
        r[v] = *(const vec *)(rho0 + first + v * LANES);
    }
    for (int64_t k = 0; k < steps; k++) {
        const REAL drift = rate * (k * h);
#pragma GCC unroll 8
        for (int v = 0; v < count; v++) {
            const vec r1 = r[v] + drift, r2 = r1 + rate * (h / 2), r3 = r1 + rate * h;
            RK4(vec, x[v], y[v], z[v], r1, r2, r3, h);
        }
        if (every > 0 && (k + 1) % every == 0) {
            REAL *row = record + (k / every) * 3 * num + first;
            for (int v = 0; v < count; v++) {
                *(vec *)(row + v * LANES) = x[v];
                *(vec *)(row + num + v * LANES) = y[v];
                *(vec *)(row + 2 * num + v * LANES) = z[v];
            }
        }
    }
    for (int v = 0; v < count; v++) {
        *(vec *)(u + first + v * LANES) = x[v];
        *(vec *)(u + num + first + v * LANES) = y[v];
        *(vec *)(u + 2 * num + first + v * LANES) = z[v];
    }
}

/* How many trajectories the number of all of them must be a multiple of. */
int64_t lanes(void) { return LANES; }

/* num trajectories (a multiple of LANES), u = x[num], y[num], z[num]. Where every > 0 the state after every `every`
   steps is stored too: record[step][component][num]. rho0 per trajectory. */
void ensemble(REAL *u, const REAL *rho0, REAL *record, int64_t num, int64_t steps, int64_t every, REAL h, REAL rate) {
    const int64_t whole = num / BLOCK * BLOCK;
#pragma omp parallel for schedule(static) if (num > 4 * BLOCK)
    for (int64_t first = 0; first < whole; first += BLOCK)
        block(VECTORS, u, rho0, record, num, first, steps, every, h, rate);
    for (int64_t first = whole; first < num; first += LANES)
        block(1, u, rho0, record, num, first, steps, every, h, rate);
}
