/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memif's PMD tears a connection down on DPDK's interrupt thread as soon as its control socket
 * tells that the peer left: it unmaps the rings while a core may be in the middle of a burst.
 * (Killing the peer of a polling port crashed one process in eight on a busy machine.) It also
 * forgets the buffers that a zero-copy port has sent.
 *
 * So once a connection stands, and no more messages are to come but the last one, a pair of sockets
 * is put in the place of the control socket. The PMD hears nothing; dev_check() looks at the real
 * one and, when the peer left, keeps all queues of the port out of the PMD, plays the peer that has
 * taken everything, and only then lets the PMD know. Until then the rings stay mapped, with nobody
 * at the other end.
 *
 * All that touches the PMD's descriptors is done on the interrupt thread, through an alarm. Not
 * done: two ports on one socket may take each other's connection, which only loses the protection.
 */
#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API /* handles of interrupts, in DPDK 22.11 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_interrupts.h>

#include "dev/dev_priv.h"

#define FAREWELL_MS 1000

struct errand {
	void (*run)(struct dev *d);
	struct dev *d;
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *e = arg;

	e->run(e->d);
	sem_post(&e->done);
}

static void on_intr_thread(struct dev *d, void (*run)(struct dev *d))
{
	struct errand e = {.run = run, .d = d};

	sem_init(&e.done, 0, 0);
	if (rte_eal_alarm_set(1, run_errand, &e) < 0)
		run_errand(&e);
	while (sem_wait(&e.done) < 0)
		;
	sem_destroy(&e.done);
}

static void park(void *parked)
{
	sem_post(parked);
	for (;;)
		pause();
}

/* rte_eal_cleanup() leaves the thread running and unmaps the memory that it walks when it wakes,
 * for the descriptors of a port that was closed just now. Not by an alarm, whose end cleanup waits
 * for. */
void dev_intr_thread_park(void)
{
	static struct rte_intr_handle *h; /* the thread's for ever, and so are the others */
	static sem_t parked;
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	h = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (h == NULL || fd < 0)
		return;
	sem_init(&parked, 0, 0);
	rte_intr_fd_set(h, fd);
	rte_intr_type_set(h, RTE_INTR_HANDLE_EXT);
	if (rte_intr_callback_register(h, park, &parked) < 0)
		return;
	while (sem_wait(&parked) < 0)
		;
}

/* ---- queues in and out of the PMD ---- */

/* The store of busy must be seen before paused is read; the price of that order is paid by who
 * pauses (membarrier), so here it is for the compiler only. */
static bool enter(struct dev *d, struct dev_queue *q)
{
	__atomic_store_n(&q->busy, true, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (likely(!__atomic_load_n(&d->paused, __ATOMIC_RELAXED)))
		return true;
	__atomic_store_n(&q->busy, false, __ATOMIC_RELEASE);
	return false;
}

static void leave(struct dev_queue *q)
{
	__atomic_store_n(&q->busy, false, __ATOMIC_RELEASE);
}

uint16_t dev_guard_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	uint16_t got;

	if (!enter(d, &d->q[queue]))
		return 0;
	got = rte_eth_rx_burst(d->port_id, queue, m, n);
	leave(&d->q[queue]);
	return got;
}

uint16_t dev_guard_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	uint16_t took;

	if (!enter(d, &d->q[queue]))
		return 0;
	took = rte_eth_tx_burst(d->port_id, queue, m, n);
	leave(&d->q[queue]);
	return took;
}

static void pause_queues(struct dev *d)
{
	__atomic_store_n(&d->paused, true, __ATOMIC_SEQ_CST);
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (unsigned q = 0; q < d->n_queues; q++)
		while (__atomic_load_n(&d->q[q].busy, __ATOMIC_ACQUIRE))
			usleep(10);
}

/* ---- the control socket ---- */

/* Calls test for each descriptor of the process; the first that it likes, or -1. */
static int find_fd(bool (*test)(int fd, const char *arg), const char *arg)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	int found = -1;

	if (dir == NULL)
		return -1;
	while (found < 0 && (e = readdir(dir)) != NULL) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(dir) && test(fd, arg))
			found = fd;
	}
	closedir(dir);
	return found;
}

/* Is fd an epoll that watches the descriptor whose number is arg? */
static bool watches(int fd, const char *arg)
{
	char path[64], line[128];
	bool found = false;
	int target;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "tfd: %d", &target) == 1 && target == atoi(arg);
	fclose(f);
	return found;
}

/* The interrupt thread's epoll, when it watches fd; -1: it doesn't. */
static int watcher_of(int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	return find_fd(watches, number);
}

/* The server's name, on its own end or as the peer's on the client's; an abstract one begins with
 * 0. */
static bool has_name(const struct sockaddr_un *un, const char *path)
{
	return un->sun_family == AF_UNIX && strncmp(un->sun_path + (un->sun_path[0] == '\0'), path,
						    sizeof(un->sun_path) - 1) == 0;
}

/* arg: 'c' or 's', the role of the port, and the path. */
static bool is_control(int fd, const char *arg)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof(int);
	struct sockaddr_un un = {0};

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
		return false;
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || listens)
		return false;
	len = sizeof(un);
	if (arg[0] == 'c' ? getpeername(fd, (struct sockaddr *)&un, &len) < 0
			  : getsockname(fd, (struct sockaddr *)&un, &len) < 0)
		return false;
	/* Not one that another port has taken over, which has the name, too. */
	return has_name(&un, arg + 1) && watcher_of(fd) >= 0;
}

/* On the interrupt thread, whose epoll knows the socket by its file: out with the old, in with the
 * new. */
static void take_control(struct dev *d)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP};
	int fd = find_fd(is_control, d->socket), ep, real, pair[2];

	d->guard_slow = fd < 0;
	if (fd < 0)
		return;
	ep = watcher_of(fd);
	real = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (ep < 0 || real < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		if (real >= 0)
			close(real);
		return;
	}
	ev.data.fd = fd;
	epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	dup2(pair[0], fd);
	close(pair[0]);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	d->control = real;
	d->stand_in = pair[1];
}

static void drop_control(struct dev *d)
{
	if (d->control >= 0)
		close(d->control);
	if (d->stand_in >= 0)
		close(d->stand_in);
	d->control = d->stand_in = -1;
}

/* ---- the peer left ---- */

/* memif's ring: what both sides of a connection agree on. */
struct ring {
	uint32_t cookie;
	uint16_t flags, head;
	uint8_t pad[56];
	uint16_t tail;
};
#define RING_COOKIE 0x3E31F20

/* The rings, from the process's map: NULL when there isn't exactly one connection's. */
static char *find_rings(size_t *len)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long lo, hi;
	char line[256];
	unsigned n = 0;
	char *at = NULL;

	if (f == NULL)
		return NULL;
	while (fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "/memfd:memif_region_0") != NULL &&
		    sscanf(line, "%lx-%lx", &lo, &hi) == 2) {
			at = (char *)lo;
			*len = hi - lo;
			n++;
		}
	fclose(f);
	return n == 1 ? at : NULL;
}

/* Says for the peer that it has taken every frame, so that the PMD gives the buffers back. The
 * client's send rings come first. */
static void take_everything(struct dev *d)
{
	size_t len = 0;
	char *at = find_rings(&len);
	struct rte_mbuf *none = NULL;
	uint16_t q = 0;

	for (size_t off = 0; at != NULL && q < d->n_queues && off + sizeof(struct ring) <= len;
	     off += 64) {
		struct ring *r = (struct ring *)(at + off);

		if (r->cookie != RING_COOKIE)
			continue;
		__atomic_store_n(&r->tail, r->head, __ATOMIC_RELEASE);
		(void)!rte_eth_tx_burst(d->port_id, q++, &none, 0);
	}
}

/* Ends the stand-in's word and waits until the PMD has closed its side, which is the last thing it
 * does. */
static void say_farewell(struct dev *d)
{
	struct pollfd p = {.fd = d->stand_in, .events = POLLIN};
	char message[256];

	shutdown(d->stand_in, SHUT_WR);
	for (int i = 0; i < FAREWELL_MS; i++)
		if (poll(&p, 1, 1) == 1 && read(d->stand_in, message, sizeof(message)) <= 0)
			break;
}

void dev_guard_check(struct dev *d)
{
	struct pollfd p = {.fd = d->control, .events = POLLIN | POLLRDHUP};

	if (d->control < 0) {
		if (dev_link_up(d))
			on_intr_thread(d, take_control);
		return;
	}
	if (poll(&p, 1, 0) != 1)
		return;
	pause_queues(d);
	if (d->segs == DEV_SEGS_EAL)
		take_everything(d);
	say_farewell(d);
	drop_control(d);
	__atomic_store_n(&d->paused, false, __ATOMIC_RELEASE);
}

void dev_guard_open(struct dev *d, const char *args)
{
	char word[16];

	d->control = d->stand_in = -1;
	d->guarded = d->row->intr_thread;
	if (!d->guarded)
		return;
	d->socket[0] = 'c';
	if (dev_args_get(args, "role", word, sizeof(word)) && word[0] != 'c' &&
	    strcmp(word, "slave") != 0)
		d->socket[0] = 's';
	if (!dev_args_get(args, "socket", d->socket + 1, sizeof(d->socket) - 1))
		snprintf(d->socket + 1, sizeof(d->socket) - 1, "/run/memif.sock");
	(void)!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

static void close_port(struct dev *d)
{
	rte_eth_dev_stop(d->port_id);
	rte_eth_dev_close(d->port_id);
}

/* When both ends leave at once, the PMD would free its regions twice, here and on the interrupt
 * thread
 * ("Invalid memory"): so it is closed there. */
void dev_guard_close(struct dev *d)
{
	if (d->guarded)
		on_intr_thread(d, close_port);
	else
		close_port(d);
	drop_control(d);
}
