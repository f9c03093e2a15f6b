/* Threads, locks and waiting, as Windows and POSIX spell them. Nothing but krn_thread_start can fail. */
#ifndef KRN_THREADS_H
#define KRN_THREADS_H

/* What a thread runs: KRN_THREAD_MAIN(name) { ...; return 0; }, with its argument in `argument`. */
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <process.h>

typedef HANDLE krn_thread;
typedef SRWLOCK krn_mutex;
typedef CONDITION_VARIABLE krn_condition;
typedef unsigned(__stdcall *krn_thread_main)(void *argument);
#define KRN_THREAD_MAIN(name) static unsigned __stdcall name(void *argument)

/* Not CreateThread: the C library keeps something for each thread. */
static inline int krn_thread_start(krn_thread *thread, krn_thread_main body, void *argument) {
    *thread = (HANDLE)_beginthreadex(NULL, 0, body, argument, 0, NULL);
    return *thread != NULL;
}

static inline void krn_thread_join(krn_thread thread) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

static inline void krn_thread_yield(void) { SwitchToThread(); }

static inline void krn_mutex_init(krn_mutex *mutex) { InitializeSRWLock(mutex); }
static inline void krn_mutex_destroy(krn_mutex *mutex) { (void)mutex; }
static inline void krn_mutex_lock(krn_mutex *mutex) { AcquireSRWLockExclusive(mutex); }
static inline void krn_mutex_unlock(krn_mutex *mutex) { ReleaseSRWLockExclusive(mutex); }

static inline void krn_condition_init(krn_condition *condition) { InitializeConditionVariable(condition); }
static inline void krn_condition_destroy(krn_condition *condition) { (void)condition; }
static inline void krn_condition_wake_all(krn_condition *condition) { WakeAllConditionVariable(condition); }
static inline void krn_condition_wait(krn_condition *condition, krn_mutex *mutex) {
    SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}
#else
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

typedef pthread_t krn_thread;
typedef pthread_mutex_t krn_mutex;
typedef pthread_cond_t krn_condition;
typedef void *(*krn_thread_main)(void *argument);
#define KRN_THREAD_MAIN(name) static void *name(void *argument)

static inline int krn_thread_start(krn_thread *thread, krn_thread_main body, void *argument) {
    return pthread_create(thread, NULL, body, argument) == 0;
}

static inline void krn_thread_join(krn_thread thread) { pthread_join(thread, NULL); }
static inline void krn_thread_yield(void) { sched_yield(); }

static inline void krn_mutex_init(krn_mutex *mutex) { pthread_mutex_init(mutex, NULL); }
static inline void krn_mutex_destroy(krn_mutex *mutex) { pthread_mutex_destroy(mutex); }
static inline void krn_mutex_lock(krn_mutex *mutex) { pthread_mutex_lock(mutex); }
static inline void krn_mutex_unlock(krn_mutex *mutex) { pthread_mutex_unlock(mutex); }

static inline void krn_condition_init(krn_condition *condition) { pthread_cond_init(condition, NULL); }
static inline void krn_condition_destroy(krn_condition *condition) { pthread_cond_destroy(condition); }
static inline void krn_condition_wake_all(krn_condition *condition) { pthread_cond_broadcast(condition); }
static inline void krn_condition_wait(krn_condition *condition, krn_mutex *mutex) {
    pthread_cond_wait(condition, mutex);
}
#endif

#endif
