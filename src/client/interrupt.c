/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Signals that are handled while a thread spins. Such a wait makes no system call that could end
 * with EINTR, and would sleep on although the handler told the program to stop. Blocking signals
 * while spinning would cost two system calls a wait.
 *
 * The kernel tells for nothing: when it delivers a signal to a thread, or preempts it, outside of
 * the restartable sequence that the thread announced (rseq(2)), it takes the announcement back. So
 * a sequence that is nowhere is announced, and looked for later. If it is gone, a signal may have
 * been handled; a wait says -EINTR then, if the program has a handler at all. Once in some hundred
 * spins it was but a preemption: what epoll(7) may say to a program with handlers anyway. Where a
 * spinner gives the CPU away (spin.c) every turn of another would look like a signal: there signals
 * are held back, and the sequence is announced again before they are let through.
 *
 * Not done where the C library does not register sequences (glibc before 2.35).
 *
 * Under a host that puts handlers off until the thread leaves (host.h) there is no guessing: it
 * says whether one waits. A signal must not slip in between that question and the sleep, or its
 * handler would wait for ever. The handler that the host has installed ends the sleep by
 * host_interrupt(), which takes the time away that the thread is about to sleep: the kernel reads
 * it when the system call begins, and from then on the signal itself ends it.
 */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "client/client_priv.h"
#include "client/host.h"

static bool (*told)(void);
static __thread struct timespec *volatile asleep __attribute__((tls_model("initial-exec")));
static __thread bool timed __attribute__((tls_model("initial-exec")));

void interrupt_by(bool (*interrupted)(void))
{
	told = interrupted;
}

bool interrupt_is_told(void)
{
	return told != NULL;
}

void interrupt_sleep(struct timespec *ts)
{
	if (told == NULL)
		return;
	asleep = ts;
	atomic_signal_fence(memory_order_seq_cst);
	if (told())
		*ts = (struct timespec){0, 0};
}

bool interrupt_woke(void)
{
	asleep = NULL;
	return told != NULL && told();
}

void interrupt_timed(bool t)
{
	timed = t;
}

bool host_timed(void)
{
	return timed;
}

void host_interrupt(void)
{
	struct timespec *ts = asleep;

	if (ts != NULL)
		*ts = (struct timespec){0, 0};
}

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>

#define TEXT_OF(x) TEXT(x)
#define TEXT(x)	   #x

/* Where an aborted sequence would go on. It never does: there is no code in it. */
extern const char interrupt_nowhere[] __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n"
	".long " TEXT_OF(RSEQ_SIG) "\n"
				   ".globl interrupt_nowhere\n"
				   ".hidden interrupt_nowhere\n"
				   "interrupt_nowhere: .long 0, 0\n"
				   ".popsection");

static struct rseq_cs nowhere;

static volatile struct rseq *mine(void)
{
	if (__rseq_size == 0)
		return NULL;
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Handlers of faults are no news to a wait. */
static bool has_handler(void)
{
	struct sigaction sa;

	for (int s = 1; s < NSIG; s++) {
		if (s == SIGSEGV || s == SIGBUS || s == SIGILL || s == SIGFPE || s == SIGTRAP ||
		    s == SIGABRT || sigaction(s, NULL, &sa) < 0)
			continue;
		if (sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN)
			return true;
	}
	return false;
}

void interrupt_watch(void)
{
	volatile struct rseq *r = told == NULL ? mine() : NULL;

	if (nowhere.abort_ip == 0) {
		nowhere.start_ip = (uintptr_t)interrupt_nowhere + 4;
		nowhere.post_commit_offset = 1;
		nowhere.abort_ip = (uintptr_t)interrupt_nowhere;
	}
	if (r != NULL)
		r->rseq_cs = (uintptr_t)&nowhere;
}

bool interrupt_seen(void)
{
	volatile struct rseq *r = mine();

	if (told != NULL)
		return told();
	if (likely(r == NULL || r->rseq_cs == (uintptr_t)&nowhere))
		return false;
	interrupt_watch();
	return has_handler();
}

void interrupt_unwatch(void)
{
	volatile struct rseq *r = told == NULL ? mine() : NULL;

	if (r != NULL)
		r->rseq_cs = 0;
}

void interrupt_hold(sigset_t *was)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
	sigset_t most;

	sigfillset(&most);
	for (unsigned i = 0; i < array_size(faults); i++)
		sigdelset(&most, faults[i]);
	pthread_sigmask(SIG_SETMASK, &most, was);
}

void interrupt_release(const sigset_t *was)
{
	interrupt_watch();
	pthread_sigmask(SIG_SETMASK, was, NULL);
}

#else

void interrupt_watch(void)
{
}

bool interrupt_seen(void)
{
	return told != NULL && told();
}

void interrupt_unwatch(void)
{
}

void interrupt_hold(sigset_t *was)
{
	pthread_sigmask(SIG_BLOCK, NULL, was);
}

void interrupt_release(const sigset_t *was)
{
}

#endif
