/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Signals: handlers of the program run outside the library (docs/design/011, 8), so they may call
 * what they like, and leave by siglongjmp. For each there is one of ours in the kernel, with the
 * flags and the mask that the program asked for.
 *
 *	thread is outside   the program's handler is called at once: nothing is different
 *	inside              the signal is sent to the thread again, which has all blocked when the
 *	                    handler returns; what the thread waits for ends with EINTR; when it
 *	                    leaves it lets the signal in, and the kernel delivers it as ever: on
 *	                    the right stack, with the right mask, and what came meanwhile behind it
 *
 * Faults that the thread itself has made (SIGSEGV and the like) can't wait: their handlers are
 * called at once, inside too. A program that goes on after one, by siglongjmp, must not have had it
 * inside.
 *
 * Whether an interrupted call is made again is decided when it leaves: if all handlers that ran
 * have SA_RESTART and it had no time limit (signal(7)).
 *
 * Not done: siglongjmp out of a handler, when it was put off, leaves what interrupted the call as
 * the call's own: it had happened.
 */
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "preload/preload.h"

__thread struct inside inside;
static __thread struct {
	sigset_t before; /* of the thread, while all are blocked */
	sigset_t came;
} put_off __attribute__((tls_model("initial-exec")));

/* What the program has asked for. Written with all signals blocked, under the lock; read by
 * handlers, which look at the count before and after (odd: it is being written). */
static struct {
	struct sigaction act;
	_Atomic unsigned count;
} actions[NSIG];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

static struct sigaction action_get(int sig)
{
	struct sigaction a;
	unsigned n;

	do {
		n = atomic_load_explicit(&actions[sig].count, memory_order_acquire);
		a = actions[sig].act;
		atomic_thread_fence(memory_order_acquire);
	} while (n % 2 != 0 ||
		 n != atomic_load_explicit(&actions[sig].count, memory_order_relaxed));
	return a;
}

static void action_set(int sig, const struct sigaction *a)
{
	atomic_fetch_add(&actions[sig].count, 1);
	actions[sig].act = *a;
	atomic_fetch_add(&actions[sig].count, 1);
}

/* ---- delivery ---- */

static bool is_fault(int sig, const siginfo_t *info)
{
	return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE ||
				     sig == SIGILL || sig == SIGTRAP || sig == SIGSYS);
}

/* Those that a thread must not have blocked when it makes a fault. */
static void all_but_faults(sigset_t *set)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

	sigfillset(set);
	for (unsigned i = 0; i < array_size(faults); i++)
		sigdelset(set, faults[i]);
}

/* A wait with a mask of its own (ppoll) may let more than one in. */
static void put_off_one(int sig, siginfo_t *info, ucontext_t *c)
{
	pid_t pid = getpid();
	long tid = real.syscall(SYS_gettid);

	if ((inside.pending & INSIDE_SIGNAL) == 0) {
		put_off.before = c->uc_sigmask;
		sigemptyset(&put_off.came);
	}
	sigaddset(&put_off.came, sig);
	all_but_faults(&c->uc_sigmask);
	/* Without memory for its sender's name it comes without. */
	if (real.syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, info) != 0)
		real.syscall(SYS_tgkill, pid, tid, sig);
	atomic_fetch_or(&inside.pending, INSIDE_SIGNAL);
	host_interrupt();
}

static void handler(int sig, siginfo_t *info, void *context)
{
	struct sigaction a;
	int err = errno;

	if (inside.depth > 0 && !is_fault(sig, info)) {
		put_off_one(sig, info, context);
		errno = err;
		return;
	}
	a = action_get(sig);
	if ((a.sa_flags & (int)SA_RESETHAND) != 0)
		real.sigaction(sig, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	inside.restart &= (a.sa_flags & SA_RESTART) != 0;
	if (a.sa_flags & SA_SIGINFO)
		a.sa_sigaction(sig, info, context);
	else if (is_handler(&a))
		a.sa_handler(sig);
}

/* A signal that a wait's own mask let in is let in here as well, even if it is blocked otherwise.
 */
static void let_in(void)
{
	sigset_t before = put_off.before, mask = before;
	bool blocked = false;

	for (int s = 1; s < NSIG; s++)
		if (sigismember(&put_off.came, s) == 1 && sigismember(&mask, s) == 1) {
			sigdelset(&mask, s);
			blocked = true;
		}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (blocked)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool leave_slow(long r)
{
	unsigned pending;

	if (inside.depth > 0)
		return false;
	inside.restart = true;
	pending = atomic_fetch_and(&inside.pending, INSIDE_CANCEL);
	if (pending & INSIDE_SIGNAL)
		let_in();
	if (pending & INSIDE_CANCEL)
		cancel_look();
	return r == -EINTR && inside.restart && !host_timed();
}

bool signal_waits(void)
{
	return (inside.pending & INSIDE_SIGNAL) != 0 ||
	       (unlikely(inside.pending & INSIDE_CANCEL) && cancel_enabled());
}

/* ---- what the program asks for ---- */

static int install(int sig, const struct sigaction *act, struct sigaction *was)
{
	struct sigaction ours;

	if (act == NULL || !is_handler(act))
		return real.sigaction(sig, act, was);
	ours = *act;
	ours.sa_sigaction = handler;
	ours.sa_flags = (act->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	return real.sigaction(sig, &ours, was);
}

/* The kernel has ours: then *old was the program's. */
static void reveal(struct sigaction *old, const struct sigaction *theirs)
{
	if (old->sa_sigaction == handler)
		*old = *theirs;
}

static int change(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction was, theirs = action_get(sig);
	int r;

	if (act != NULL)
		action_set(sig, act);
	r = install(sig, act, &was);
	if (r < 0 && act != NULL)
		action_set(sig, &theirs);
	reveal(&was, &theirs);
	if (r == 0 && old != NULL)
		*old = was;
	return r;
}

/* May be called by handlers, and by any thread: so nothing interrupts it. */
int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction copy;
	sigset_t all, mask;
	int r, err;

	if (sig <= 0 || sig >= NSIG)
		return real.sigaction(sig, act, old);
	if (act != NULL)
		copy = *act;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pthread_mutex_lock(&lock);
	r = change(sig, act != NULL ? &copy : NULL, old);
	err = errno;
	pthread_mutex_unlock(&lock);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	errno = err;
	return r;
}

int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return hook_sigaction(sig, act, old);
}

static sighandler_t set(int sig, sighandler_t fn, int flags)
{
	struct sigaction a = {.sa_handler = fn, .sa_flags = flags}, old;

	sigemptyset(&a.sa_mask);
	if ((flags & SA_RESTART) != 0 && sig > 0 && sig < NSIG)
		sigaddset(&a.sa_mask, sig);
	return hook_sigaction(sig, &a, &old) < 0 ? SIG_ERR : old.sa_handler;
}

/* Which signals siginterrupt() has made interrupt. */
static _Atomic uint64_t interrupting;

static sighandler_t set_bsd(int sig, sighandler_t fn)
{
	bool interrupts =
		sig > 0 && sig < NSIG && (atomic_load(&interrupting) & 1ull << (sig - 1)) != 0;

	if (fn == SIG_ERR || sig <= 0 || sig >= NSIG) {
		errno = EINVAL;
		return SIG_ERR;
	}
	return set(sig, fn, interrupts ? 0 : SA_RESTART);
}

sighandler_t signal(int sig, sighandler_t fn)
{
	return set_bsd(sig, fn);
}

sighandler_t bsd_signal(int sig, sighandler_t fn)
{
	return set_bsd(sig, fn);
}

sighandler_t ssignal(int sig, sighandler_t fn)
{
	return set_bsd(sig, fn);
}

static sighandler_t set_sysv(int sig, sighandler_t fn)
{
	if (fn == SIG_ERR || sig <= 0 || sig >= NSIG) {
		errno = EINVAL;
		return SIG_ERR;
	}
	return set(sig, fn, (int)(SA_RESETHAND | SA_NODEFER));
}

sighandler_t __sysv_signal(int sig, sighandler_t fn)
{
	return set_sysv(sig, fn);
}

sighandler_t sysv_signal(int sig, sighandler_t fn)
{
	return set_sysv(sig, fn);
}

int siginterrupt(int sig, int interrupts)
{
	struct sigaction a;

	if (hook_sigaction(sig, NULL, &a) < 0)
		return -1;
	if (interrupts) {
		atomic_fetch_or(&interrupting, 1ull << (sig - 1));
		a.sa_flags &= ~SA_RESTART;
	} else {
		atomic_fetch_and(&interrupting, ~(1ull << (sig - 1)));
		a.sa_flags |= SA_RESTART;
	}
	return hook_sigaction(sig, &a, NULL);
}

/* System V's: blocked by SIG_HOLD, let in by everything else; tells whether it was. */
sighandler_t sigset(int sig, sighandler_t fn)
{
	struct sigaction a = {.sa_handler = fn}, old;
	sigset_t one, was;

	sigemptyset(&one);
	if (fn == SIG_ERR || sigaddset(&one, sig) < 0) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (hook_sigaction(sig, fn == SIG_HOLD ? NULL : &a, &old) < 0)
		return SIG_ERR;
	if (pthread_sigmask(fn == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &one, &was) != 0)
		return SIG_ERR;
	return sigismember(&was, sig) == 1 ? SIG_HOLD : old.sa_handler;
}

int sigignore(int sig)
{
	struct sigaction a = {.sa_handler = SIG_IGN};

	return hook_sigaction(sig, &a, NULL);
}
