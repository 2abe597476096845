/* SPDX-License-Identifier: BSD-3-Clause
 *
 * system() and popen() in a program with sockets (test_command.py). An ordinary program: it knows
 * nothing of Z-Stack, listens at port 7, and
 *
 *	lines      says what the calls do, line by line, which is to be the same on the kernel
 *	system     serves each connection by system("cat <&9 >&9")
 *	read       by popen("cat <&9", "r"), and writes what comes from there to the connection
 *	write      by popen("cat >&9", "w"), and writes what comes from the connection to there
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTION 9

static int must(int r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);
	return r;
}

static int listen_at(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"), one = 1;

	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "setsockopt");
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)), "bind");
	must(listen(fd, 64), "listen");
	return fd;
}

/* ---- serving ---- */

static void copy(int from, int to)
{
	char buf[16384];
	ssize_t n;

	while ((n = must((int)read(from, buf, sizeof(buf)), "read")) > 0)
		for (ssize_t k, at = 0; at < n; at += k)
			k = must((int)write(to, buf + at, (size_t)(n - at)), "write");
}

static void serve(int l, const char *mode)
{
	int fd = must(accept(l, NULL, NULL), "accept"), status;
	FILE *f;

	must(dup2(fd, CONNECTION), "dup2");
	must(close(fd), "close");
	if (strcmp(mode, "system") == 0) {
		status = system("cat <&9 >&9");
	} else if (strcmp(mode, "read") == 0) {
		f = popen("cat <&9", "r");
		copy(fileno(f), CONNECTION);
		status = pclose(f);
	} else {
		f = popen("cat >&9", "w");
		copy(CONNECTION, fileno(f));
		status = pclose(f);
	}
	if (status != 0)
		errx(1, "%s: status %x", mode, (unsigned)status);
	must(close(CONNECTION), "close");
}

/* ---- what the calls do ---- */

static volatile sig_atomic_t n_int, n_child, n_alarm;

static void count(int sig)
{
	*(sig == SIGINT ? &n_int : sig == SIGCHLD ? &n_child : &n_alarm) += 1;
}

static void handle(int sig, void (*fn)(int))
{
	struct sigaction a = {.sa_handler = fn};

	must(sigaction(sig, &a, NULL), "sigaction");
}

static int is_handled(int sig)
{
	struct sigaction a;

	must(sigaction(sig, NULL, &a), "sigaction");
	return a.sa_handler == count;
}

static int is_blocked(int sig)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, sig);
}

static void say(const char *what, long value)
{
	printf("%s: %ld %s\n", what, value, value < 0 ? strerrorname_np(errno) : "");
	fflush(stdout);
}

static void statuses(void)
{
	say("a shell is there", system(NULL) != 0);
	say("true", system("true"));
	say("exit 3", system("exit 3"));
	say("killed", system("kill -9 $$"));
	say("not found", system("/nowhere/at/all 2>/dev/null"));
	say("empty", system(""));
	say("output", system("echo hello"));
}

static void signals(void)
{
	handle(SIGINT, count);
	handle(SIGCHLD, count);
	say("both are ignored", system("kill -INT $PPID; kill -QUIT $PPID; exit 5"));
	say("SIGINT came", n_int);
	say("SIGCHLD came", n_child);
	raise(SIGINT);
	say("SIGINT comes again", n_int);
	say("SIGCHLD is blocked", is_blocked(SIGCHLD));
	handle(SIGCHLD, SIG_DFL);
	say("masks of a child", system("grep -E 'Sig(Ign|Blk)' /proc/self/status"));
	handle(SIGQUIT, SIG_IGN);
	say("ignored stays ignored", system("grep -E 'Sig(Ign|Blk)' /proc/self/status"));
	handle(SIGQUIT, SIG_DFL);
}

static void interrupted(void)
{
	struct itimerval often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};

	handle(SIGALRM, count);
	setitimer(ITIMER_REAL, &often, NULL);
	while (n_alarm == 0)
		;
	n_alarm = 0;
	say("a signal does not end it", system("sleep 0.2; exit 4"));
	setitimer(ITIMER_REAL, &never, NULL);
	say("it came", n_alarm > 0);
	handle(SIGCHLD, SIG_IGN);
	say("nobody waits", system("exit 6"));
	handle(SIGCHLD, SIG_DFL);
}

static void *sleeps(void *pid)
{
	char text[100];

	snprintf(text, sizeof(text), "echo $$ >&%d; exec sleep 100", *(int *)pid);
	system(text);
	return NULL;
}

/* What the shell writes: its own number. */
static pid_t read_pid(int fd)
{
	char text[32] = "";

	must((int)read(fd, text, sizeof(text) - 1), "read");
	return atoi(text);
}

static void cancelled(void)
{
	int pair[2];
	pthread_t thread;
	void *end;
	pid_t pid;

	must(pipe(pair), "pipe");
	pthread_create(&thread, NULL, sleeps, &pair[1]);
	pid = read_pid(pair[0]);
	say("SIGINT is handled meanwhile", is_handled(SIGINT));
	pthread_cancel(thread);
	pthread_join(thread, &end);
	say("it was cancelled", end == PTHREAD_CANCELED);
	say("its child", kill(pid, 0));
	say("SIGINT is handled behind it", is_handled(SIGINT));
	close(pair[0]);
	close(pair[1]);
}

static void *ends(void *arg)
{
	char text[100];

	snprintf(text, sizeof(text), "echo x >&%d; read x <&%d", ((int *)arg)[1], ((int *)arg)[2]);
	return (void *)(long)system(text);
}

/* Two at once: the last one to end brings the handlers back. */
static void together(void)
{
	int said[2], go[2], fd[3];
	pthread_t thread;
	char x;

	must(pipe(said), "pipe");
	must(pipe(go), "pipe");
	memcpy(fd, (int[]){0, said[1], go[0]}, sizeof(fd));
	pthread_create(&thread, NULL, ends, fd);
	must((int)read(said[0], &x, 1), "read");
	say("another", system("exit 1"));
	say("SIGINT is handled while one runs", is_handled(SIGINT));
	must((int)write(go[1], "\n", 1), "write");
	pthread_join(thread, NULL);
	say("SIGINT is handled behind both", is_handled(SIGINT));
	for (int i = 0; i < 2; i++) {
		close(said[i]);
		close(go[i]);
	}
}

static void modes(void)
{
	static const char *const text[] = {"", "x", "rw", "rr", "rx", "e", "r", "re", "er", "w"};

	for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		FILE *f = popen("exit 2", text[i]);

		printf("mode \"%s\": ", text[i]);
		if (f == NULL) {
			say("refused", -1);
			continue;
		}
		say("close-on-exec", fcntl(fileno(f), F_GETFD));
		say("  ends with", pclose(f));
	}
}

static void pipes(void)
{
	FILE *a, *b;
	char line[200] = "", text[200];
	int (*volatile also_closes)(FILE *) = fclose; /* compilers know that it should not */

	a = popen("echo one; echo two; exit 7", "r");
	while (fgets(line, sizeof(line), a) != NULL)
		printf("read: %s", line);
	say("its status", pclose(a));
	a = popen("cat", "w");
	fprintf(a, "written\n");
	snprintf(text, sizeof(text), "[ -e /proc/self/fd/%d ] || echo not there", fileno(a));
	b = popen(text, "r");
	say("another's stream", fgets(line, sizeof(line), b) != NULL);
	say("closed", pclose(b));
	say("by fclose", also_closes(a));
	a = popen("kill -9 $$", "r");
	say("killed", pclose(a));
	a = popen("exit 1", "r");
	while (waitpid(-1, NULL, 0) > 0)
		;
	say("somebody waited", pclose(a));
	fflush(stdout);
	a = popen("cat", "w");
	if (fork() == 0) {
		say("another's child", pclose(a));
		_exit(0);
	}
	wait(NULL);
	say("own child", pclose(a));
}

/* The ends of the pipe have the numbers that the child is to have. */
static void without_standard(void)
{
	int in = dup(0), out = dup(1);
	char line[100] = "";
	FILE *f;
	int r;

	close(0);
	close(1);
	f = popen("echo to $(readlink /proc/self/fd/1 | cut -c 1-4)", "r");
	fgets(line, sizeof(line), f);
	r = pclose(f);
	dup2(in, 0);
	dup2(out, 1);
	close(in);
	close(out);
	printf("%s", line);
	say("without 0 and 1", r);
}

static void lines(void)
{
	statuses();
	signals();
	interrupted();
	cancelled();
	together();
	modes();
	pipes();
	without_standard();
}

int main(int argc, char **argv)
{
	int l = listen_at(7);

	if (argc < 2)
		errx(1, "what is to be done?");
	if (strcmp(argv[1], "lines") == 0) {
		lines();
		return 0;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;)
		serve(l, argv[1]);
}
