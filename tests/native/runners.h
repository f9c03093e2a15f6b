/* Contexts that have to give the same bits. */
#ifndef KRN_TEST_RUNNERS_H
#define KRN_TEST_RUNNERS_H

#include "check.h"

enum { MAX_RUNNER_THREADS = 4, MAX_RUNNERS = 8 * MAX_RUNNER_THREADS + 1 };

typedef struct {
    krn_context *context;
    /* 0: a host's own loop. */
    int threads;
    char name[32];
} runner;

/* The reference on one thread, then every level to test on 1..max_threads threads, then a host's own loop at the best
 * of these levels, which runs tasks backwards. Returns their number. Where ctest tests a level by itself, the reference
 * is there to be compared with and no more. */
int make_runners(runner runners[MAX_RUNNERS], int max_threads);
void destroy_runners(runner *runners, int count);

#endif
