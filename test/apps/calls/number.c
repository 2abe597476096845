/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors: which numbers, copies, closing many, stdio, threads that share them.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include "calls.h"

static void lowest_number(void)
{
	int a = socket(AF_INET, SOCK_STREAM, 0), b, c;

	show(connect(a, AT(PEER, ECHO)));
	b = tcp_to(ECHO);
	c = tcp_to(ECHO);
	show(b - a);
	show(c - a);
	show(close(b));
	show(open("/dev/null", O_RDONLY) - a);
	show(close(a));
	show(tcp_to(ECHO) - a);
}

static void kind_of_file(void)
{
	int fd = tcp_to(ECHO);
	struct stat st;

	show(fstat(fd, &st));
	show(S_ISSOCK(st.st_mode));
	show(isfdtype(fd, S_IFSOCK));
	show(ftruncate(fd, 0));
	show(fsync(fd));
	show(lockf(fd, F_TLOCK, 1));
	show(fcntl(fd, F_GETFL) & O_ACCMODE);
	show(fcntl(fd, F_SETFL, O_NONBLOCK));
	show((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	show(fcntl(fd, F_GETFD));
	show(fcntl(fd, F_SETFD, FD_CLOEXEC));
	show(fcntl(fd, F_GETFD));
	show(fcntl(fd, F_SETOWN, getpid()));
	show(fcntl(fd, F_GETOWN) == getpid());
	show(fcntl(fd, 9999));
	show(ioctl(fd, 0xdead));
	show(isatty(fd));
}

static void copies(void)
{
	char buf[16];
	int fd = tcp_to(ECHO), two = dup(fd), three = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	show(two - fd);
	show(three);
	show(fcntl(three, F_GETFD));
	show(fcntl(two, F_SETFL, O_NONBLOCK));
	show((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	show(fcntl(two, F_SETFL, 0));
	show(close(fd));
	show(write(two, "hi", 2));
	show(read_full(three, buf, 2));
	show(read(fd, buf, 2));
	show(dup2(three, 200));
	show(dup2(three, three));
	show(dup2(fd, 201));
	show(dup2(three, -1));
	show(dup3(three, three, 0));
	show(dup3(three, 202, 1));
	show(dup3(three, 202, O_CLOEXEC));
	show(fcntl(202, F_GETFD));
	show(fcntl(200, F_GETFD));
	show(close(two));
	show(close(three));
	show(write(200, "yo", 2));
	show(read_full(202, buf, 2));
	show(dup2(open("/dev/null", O_RDWR), 200));
	show(write(200, "gone", 4));
	show(close(202));
	show(read(202, buf, 2));
	show(fcntl(9999, F_DUPFD, 0));
	show(fcntl(200, F_DUPFD, 1 << 30));
}

static void over_a_socket(void)
{
	char buf[16];
	int a = tcp_to(GREET), b = tcp_to(LAST);

	show(dup2(b, a));
	show(read_full(a, buf, 7));
	show_bytes("got", buf, 7);
	show(close(b));
	show(write(a, "x", 1));
	show(dup2(0, a));
	show(close(a));
}

static void before_it_is_decided(void)
{
	char buf[16];
	int fd = socket(AF_INET, SOCK_STREAM, 0), two = dup(fd), three = fcntl(fd, F_DUPFD, 50);

	show(connect(two, AT(PEER, ECHO)));
	show(write(fd, "abc", 3));
	show(read_full(three, buf, 3));
	show_bytes("got", buf, 3);
	show(close(two));
	show(write(fd, "def", 3));
	show(close(fd));
	show(read_full(three, buf, 3));
	show_bytes("got", buf, 3);
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void many_closed(void)
{
	char buf[16];
	int low = tcp_to(ECHO), high = fcntl(low, F_DUPFD, 300), n;

	n = count_open();
	show(dup2(low, 310));
	show(count_open() - n);
	show(close_range(305, ~0U, 0));
	show(count_open() - n);
	show(read(310, buf, 1));
	show(write(high, "abc", 3));
	show(read_full(low, buf, 3));
	show(close_range(3, 9, 1 << 10));
	show(close_range(9, 3, 0));
	show(close_range(200, 400, 4));
	show(fcntl(high, F_GETFD));
	closefrom(200);
	show(read(high, buf, 1));
	show(write(low, "abc", 3));
	show(read_full(low, buf, 3));
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	show(count_open());
	low = tcp_to(ECHO);
	show(low);
	show(write(low, "abc", 3));
	show(read_full(low, buf, 3));
}

static void directory(void)
{
	int fd = tcp_to(ECHO);
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	show(readlink(path, link, sizeof(link) - 1) > 0);
	printf("%.7s\n", link);
	show(open(path, O_RDWR));
}

static void streams(void)
{
	char line[64];
	int fd = tcp_to(ECHO);
	FILE *f = fdopen(fd, "r+");

	show(f != NULL);
	show(fileno(f) == fd);
	show(setvbuf(f, NULL, _IOLBF, 0));
	show(fprintf(f, "a line %d\n", 7));
	show(fflush(f));
	show(fgets(line, sizeof(line), f) != NULL);
	show_bytes("line", line, (long)strlen(line) - 1);
	show(dprintf(fd, "another %s\n", "one"));
	show(fgets(line, sizeof(line), f) != NULL);
	show_bytes("line", line, (long)strlen(line) - 1);
	show(fseek(f, 0, SEEK_SET));
	show(shutdown(fd, SHUT_WR));
	show(fgetc(f) == EOF);
	show(feof(f) != 0);
	show(fclose(f));
	show(close(fd));
	fd = tcp_to(ECHO);
	show(fdopen(fd, "x") == NULL);
	f = fdopen(fd, "w");
	show(fputs("text", f) >= 0);
	show(fclose(f));
}

/* A socket in the place of standard input and output, as of a server of inetd's. */
static void standard_streams(void)
{
	char line[64] = "";
	int fd = tcp_to(ECHO), out = dup(1);

	fflush(stdout);
	dup2(fd, 0);
	dup2(fd, 1);
	printf("to the peer\n");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		line[0] = '\0';
	dup2(out, 1);
	show_bytes("line", line, (long)strlen(line) - 1);
	show(fileno(stdin));
	show(close(0));
	show(close(fd));
}

/* What stands in the buffer of a stream when the program ends. */
static void streams_at_the_end(void)
{
	int port, l = listener(&port), c = call_me(port), status = -1;
	char buf[32] = "";
	pid_t child = fork();

	if (child == 0) {
		int s = accept(l, NULL, NULL);
		FILE *f = fdopen(s, "w");

		show(read_full(s, buf, 9));
		show(fputs("last words", f) >= 0);
		exit(0);
	}
	show(waitpid(child, &status, 0) == child);
	show(status);
	show(read_full(c, buf, 2));
	show_bytes("the peer got", buf, 2);
}

static void exhausted(void)
{
	int port, l = listener(&port), a = call_me(port), b = call_me(port), undecided;
	struct rlimit was, few;

	show(readable(l));
	undecided = socket(AF_INET, SOCK_STREAM, 0);
	show(getrlimit(RLIMIT_NOFILE, &was));
	few = was;
	few.rlim_cur = (rlim_t)undecided + 1;
	show(setrlimit(RLIMIT_NOFILE, &few));
	show(accept(l, NULL, NULL));
	show(readable(l));
	show(socket(AF_INET, SOCK_STREAM, 0));
	show(dup(l));
	show(fcntl(l, F_DUPFD, 0));
	show(fcntl(l, F_DUPFD, undecided + 1));
	show(dup2(l, undecided + 1));
	show(connect(undecided, AT(PEER, ECHO)));
	show(write(undecided, "x", 1));
	show(close(a));
	show(accept(l, NULL, NULL) == a);
	show(accept(l, NULL, NULL));
	show(setrlimit(RLIMIT_NOFILE, &was));
	show(accept(l, NULL, NULL) == undecided + 1);
	show(close(b));
}

/* None of those that the program may have is another's; below that are the library's. */
static void every_number(void)
{
	struct rlimit was, few;
	int fd, refused = 0;
	char buf[8];

	show(getrlimit(RLIMIT_NOFILE, &was));
	if (was.rlim_max < 8192)
		return; /* no numbers are left for a library */
	few = (struct rlimit){1024, was.rlim_max};
	show(setrlimit(RLIMIT_NOFILE, &few));
	fd = tcp_to(ECHO);
	for (int n = 3; n < 1024; n++)
		refused += n != fd && dup2(0, n) != n;
	show(refused);
	show(dup2(0, 1024));
	show(dup(0));
	show(socket(AF_INET, SOCK_STREAM, 0));
	show(write(fd, "hello", 5));
	show(read_full(fd, buf, 5));
	show(getrlimit(RLIMIT_NOFILE, &was));
	show((long)was.rlim_cur);
	for (int n = 3; n < 1024; n++)
		refused += n != fd && close(n) != 0;
	show(refused);
}

const struct call_case number_cases[] = {
	{"every_number", every_number},
	{"lowest_number", lowest_number},
	{"kind_of_file", kind_of_file},
	{"copies", copies},
	{"over_a_socket", over_a_socket},
	{"before_it_is_decided", before_it_is_decided},
	{"many_closed", many_closed},
	{"directory", directory},
	{"streams", streams},
	{"exhausted", exhausted},
	{"standard_streams", standard_streams},
	{"streams_at_the_end", streams_at_the_end},
	{NULL, NULL},
};
