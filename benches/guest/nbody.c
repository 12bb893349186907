/* Bodies under their own gravity, in double precision: loads, stores, multiplications and additions, a square
 * root and a division per pair and step, and next to nothing else.
 *
 *   nbody [STEPS]      default 100000; prints "nbody STEPS SECONDS ENERGY-BEFORE ENERGY-AFTER"
 *
 * The compiler joins multiplications and additions (fmadd.d). One binary gives the same energies on every
 * machine that rounds as IEEE 754 says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BODIES 6
#define STEP 0.001

struct body {
    double at[3], speed[3], mass;
};

static struct body bodies[BODIES];

/* A heavy body in the middle, lighter ones on tilted circles around it, the whole at rest. */
static void place(void) {
    double momentum[3] = {0, 0, 0};
    bodies[0].mass = 40;
    for (int i = 1; i < BODIES; i++) {
        struct body *b = &bodies[i];
        double radius = 1.5 * i, speed = sqrt(bodies[0].mass / radius);
        b->mass = 0.01 * i;
        b->at[i % 2] = radius;
        b->at[2] = 0.05 * i;
        b->speed[(i + 1) % 2] = i % 2 ? speed : -speed;
        for (int k = 0; k < 3; k++)
            momentum[k] += b->mass * b->speed[k];
    }
    for (int k = 0; k < 3; k++)
        bodies[0].speed[k] = -momentum[k] / bodies[0].mass;
}

static void advance(void) {
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double d[3], square = 0;
            for (int k = 0; k < 3; k++) {
                d[k] = a->at[k] - b->at[k];
                square += d[k] * d[k];
            }
            double pull = STEP / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                a->speed[k] -= d[k] * b->mass * pull;
                b->speed[k] += d[k] * a->mass * pull;
            }
        }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].at[k] += STEP * bodies[i].speed[k];
}

static double energy(void) {
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        double square = 0;
        for (int k = 0; k < 3; k++)
            square += bodies[i].speed[k] * bodies[i].speed[k];
        sum += 0.5 * bodies[i].mass * square;
        for (int j = i + 1; j < BODIES; j++) {
            double distance = 0;
            for (int k = 0; k < 3; k++)
                distance += (bodies[i].at[k] - bodies[j].at[k]) * (bodies[i].at[k] - bodies[j].at[k]);
            sum -= bodies[i].mass * bodies[j].mass / sqrt(distance);
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    long steps = argc > 1 ? atol(argv[1]) : 100000;
    struct timespec from, to;
    place();
    double before = energy();
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < steps; i++)
        advance();
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
    printf("nbody %ld %.3f %.15g %.15g\n", steps, seconds, before, energy());
    return 0;
}
