/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options, fcntl and ioctl. What a program sets on an undecided socket is remembered by name; when
 * the socket becomes ours those options, with the values that the kernel has by then, are set there
 * too.
 *
 * Some options are advice to the kernel that has no meaning here, and nothing that a program could
 * see the effect of: they are taken and forgotten, since programs give up without them.
 */
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "preload/preload.h"

#define VALUE_MAX 64

struct option {
	int level, name;
};

/* In the order in which they are set. At most 64: bits of number_options(). */
static const struct option carried[] = {
	{SOL_SOCKET, SO_REUSEADDR},
	{SOL_SOCKET, SO_REUSEPORT},
	{SOL_SOCKET, SO_BROADCAST},
	{SOL_SOCKET, SO_DONTROUTE},
	{SOL_SOCKET, SO_KEEPALIVE},
	{SOL_SOCKET, SO_OOBINLINE},
	{SOL_SOCKET, SO_LINGER},
	{SOL_SOCKET, SO_RCVBUF},
	{SOL_SOCKET, SO_SNDBUF},
	{SOL_SOCKET, SO_PRIORITY},
	{SOL_SOCKET, SO_MARK},
	{SOL_SOCKET, SO_RCVLOWAT},
	{SOL_SOCKET, SO_ZEROCOPY},
	{SOL_SOCKET, SO_RCVTIMEO},
	{SOL_SOCKET, SO_SNDTIMEO},
	{SOL_SOCKET, SO_TIMESTAMP},
	{SOL_SOCKET, SO_TIMESTAMPNS},
	{SOL_SOCKET, SO_TIMESTAMP_NEW},
	{SOL_SOCKET, SO_TIMESTAMPNS_NEW},
	{SOL_SOCKET, SO_TIMESTAMPING_OLD},
	{SOL_SOCKET, SO_TIMESTAMPING_NEW},
	{IPPROTO_IP, IP_TOS},
	{IPPROTO_IP, IP_TTL},
	{IPPROTO_IP, IP_MTU_DISCOVER},
	{IPPROTO_IP, IP_FREEBIND},
	{IPPROTO_IP, IP_RECVERR},
	{IPPROTO_IP, IP_PKTINFO},
	{IPPROTO_IP, IP_RECVTTL},
	{IPPROTO_IP, IP_RECVTOS},
	{IPPROTO_IP, IP_MULTICAST_TTL},
	{IPPROTO_IP, IP_MULTICAST_LOOP},
	{IPPROTO_IP, IP_MULTICAST_ALL},
	{IPPROTO_IPV6, IPV6_V6ONLY},
	{IPPROTO_IPV6, IPV6_TCLASS},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER},
	{IPPROTO_IPV6, IPV6_RECVERR},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
	{IPPROTO_IPV6, IPV6_RECVTCLASS},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP},
	{IPPROTO_IPV6, IPV6_MULTICAST_ALL},
	{IPPROTO_TCP, TCP_NODELAY},
	{IPPROTO_TCP, TCP_CORK},
	{IPPROTO_TCP, TCP_QUICKACK},
	{IPPROTO_TCP, TCP_MAXSEG},
	{IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, TCP_KEEPINTVL},
	{IPPROTO_TCP, TCP_KEEPCNT},
	{IPPROTO_TCP, TCP_USER_TIMEOUT},
	{IPPROTO_TCP, TCP_LINGER2},
	{IPPROTO_TCP, TCP_CONGESTION},
};
_Static_assert(array_size(carried) <= 64, "a bit for each");

/* Advice: no program can see what became of it. Their values are ints, and read as 0. */
static const struct option advice[] = {
	{SOL_SOCKET, SO_BUSY_POLL},
	{SOL_SOCKET, SO_INCOMING_CPU},
	{SOL_SOCKET, SO_PREFER_BUSY_POLL},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
	{IPPROTO_IPV6, IPV6_AUTOFLOWLABEL},
	{IPPROTO_IPV6, IPV6_ADDR_PREFERENCES},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT},
	{IPPROTO_TCP, TCP_FASTOPEN},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT},
	{IPPROTO_TCP, TCP_SYNCNT},
	{IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS},
	{IPPROTO_TCP, TCP_WINDOW_CLAMP},
};

static int option_find(const struct option *o, unsigned n, int level, int name)
{
	for (unsigned i = 0; i < n; i++) {
		if (o[i].level == level && o[i].name == name)
			return (int)i;
	}
	return -1;
}

static bool is_advice(int level, int name)
{
	return option_find(advice, array_size(advice), level, name) >= 0;
}

/* Linux tells twice what was set, for its own needs; ours what was set. */
static bool doubled(int level, int name)
{
	return level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF);
}

static bool is_stamp(const struct option *o)
{
	return o->level == SOL_SOCKET &&
	       (o->name == SO_TIMESTAMP || o->name == SO_TIMESTAMPNS ||
		o->name == SO_TIMESTAMP_NEW || o->name == SO_TIMESTAMPNS_NEW ||
		o->name == SO_TIMESTAMPING_OLD || o->name == SO_TIMESTAMPING_NEW);
}

void options_carry(int from, int to, uint64_t options)
{
	for (; options != 0; options &= options - 1) {
		const struct option *o = &carried[__builtin_ctzll(options)];
		_Alignas(int) char value[VALUE_MAX];
		socklen_t len = sizeof(value);
		int n;

		if (real.getsockopt(from, o->level, o->name, value, &len) < 0)
			continue;
		if (doubled(o->level, o->name)) {
			memcpy(&n, value, sizeof(n));
			n /= 2;
			memcpy(value, &n, sizeof(n));
		}
		/* One of them is on, and to put another off would be to put off that. */
		if (is_stamp(o) && *(const int *)(const void *)value == 0)
			continue;
		/* What the stack does not know the program was told by nobody. */
		(void)zs_setsockopt(to, o->level, o->name, value, len);
	}
}

/* ---- setsockopt, getsockopt ---- */

/* Of a socket on both sides: an interface or a group is one side's. */
static const struct option one_sided[] = {
	{IPPROTO_IP, IP_MULTICAST_IF},
	{IPPROTO_IP, IP_ADD_MEMBERSHIP},
	{IPPROTO_IP, IP_DROP_MEMBERSHIP},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF},
	{IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP},
	{IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP},
	{IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP},
	{IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP},
	{IPPROTO_IP, IP_BLOCK_SOURCE},
	{IPPROTO_IP, IP_UNBLOCK_SOURCE},
	{IPPROTO_IP, MCAST_JOIN_GROUP},
	{IPPROTO_IP, MCAST_LEAVE_GROUP},
	{IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP},
	{IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP},
	{IPPROTO_IP, MCAST_BLOCK_SOURCE},
	{IPPROTO_IP, MCAST_UNBLOCK_SOURCE},
	{IPPROTO_IPV6, MCAST_JOIN_GROUP},
	{IPPROTO_IPV6, MCAST_LEAVE_GROUP},
	{IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP},
	{IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP},
	{IPPROTO_IP, IP_MSFILTER},
	{IPPROTO_IP, MCAST_MSFILTER},
	{IPPROTO_IPV6, MCAST_MSFILTER},
	{IPPROTO_IPV6, MCAST_BLOCK_SOURCE},
	{IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE},
};

static bool is_group_if(int level, int name)
{
	return (level == IPPROTO_IP && name == IP_MULTICAST_IF) ||
	       (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF);
}

/* Of a socket that is both. What both know is the kernel's. */
static void group_if_set(int fd, int level, int name, const void *value, socklen_t len, bool ours)
{
	struct group_if g = {.level = level, .name = name};

	if (ours && len <= sizeof(g.value)) {
		g.len = len;
		memcpy(g.value, value, len);
	}
	number_lock();
	number_set_group_if(fd, &g);
	number_unlock();
}

static int set_both(int fd, int level, int name, const void *value, socklen_t len)
{
	int twin = real.setsockopt(twin_of(fd), level, name, value, len);
	int r = zs_setsockopt(fd, level, name, value, len);

	if (is_group_if(level, name) && (r == 0 || twin == 0))
		group_if_set(fd, level, name, value, len, twin != 0);
	if (r < 0 && twin == 0 && option_find(one_sided, array_size(one_sided), level, name) >= 0)
		return 0;
	return r;
}

static int set_ours(int fd, int level, int name, const void *value, socklen_t len)
{
	int r;

	if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
		return len == 0 || *(const char *)value == '\0' ? 0 : -ENODEV;
	if (fd_kind(fd) == FD_BOTH)
		r = set_both(fd, level, name, value, len);
	else
		r = zs_setsockopt(fd, level, name, value, len);
	return r == -ENOPROTOOPT && len >= sizeof(int) && is_advice(level, name) ? 0 : r;
}

/* The kernel has answered. An interface that it does not know may be the stack's. */
static int set_undecided(int fd, int level, int name, const void *value, socklen_t len, int r)
{
	int err = errno, i = option_find(carried, array_size(carried), level, name);
	const struct group_if none = {.len = 0};
	bool takes;

	if (r == 0 && i >= 0) {
		number_lock();
		number_add_option(fd, (unsigned)i);
		number_unlock();
	}
	if (likely(!is_group_if(level, name)))
		return r;
	if (r == 0) {
		number_lock();
		number_set_group_if(fd, &none);
		number_unlock();
	} else if ((err == EADDRNOTAVAIL || err == ENODEV) && value != NULL) {
		CALL_ONCE(takes, decide_group_if(fd, level, name, value, len));
		r = takes ? 0 : r;
	}
	errno = err;
	return r;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	enum fd_kind kind = fd_kind(fd);
	long r;

	if (likely(kind < FD_SOCKET)) {
		r = real.setsockopt(fd, level, name, value, len);
		if (kind == FD_UNDECIDED)
			r = set_undecided(fd, level, name, value, len, (int)r);
		return (int)r;
	}
	CALL_ONCE(r, set_ours(fd, level, name, value, len));
	return (int)result(r);
}

static int get_advice(void *value, socklen_t *len)
{
	int zero = 0;

	*len = *len < sizeof(zero) ? *len : sizeof(zero);
	memcpy(value, &zero, *len);
	return 0;
}

/* Linux says EOPNOTSUPP of levels that a socket of IPv4 has not, when it is asked. */
static bool is_foreign(int fd, int level)
{
	int own = is_stream(fd) ? IPPROTO_TCP : IPPROTO_UDP, domain = 0;
	socklen_t len = sizeof(domain);

	return level != SOL_SOCKET && level != IPPROTO_IP && level != own &&
	       zs_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_INET;
}

static int get_ours(int fd, int level, int name, void *value, socklen_t *len)
{
	int r, n;

	/* No socket of ours is bound to a device, or has a ULP. */
	if ((level == SOL_SOCKET && name == SO_BINDTODEVICE) ||
	    (level == IPPROTO_TCP && name == TCP_ULP && is_stream(fd)))
		return (int)(*len = 0);
	r = zs_getsockopt(fd, level, name, value, len);
	/* Of a group that the kernel's side has joined. */
	if ((r == -ENODEV || r == -EADDRNOTAVAIL) && fd_kind(fd) == FD_BOTH &&
	    option_find(one_sided, array_size(one_sided), level, name) >= 0) {
		n = real.getsockopt(twin_of(fd), level, name, value, len) < 0 ? -errno : 0;
		return n == 0 || r == -ENODEV ? n : r;
	}
	if (r == -ENOPROTOOPT && is_foreign(fd, level))
		return -EOPNOTSUPP;
	if (r == -ENOPROTOOPT && is_advice(level, name))
		return get_advice(value, len);
	if (r == 0 && doubled(level, name) && *len == sizeof(n)) {
		memcpy(&n, value, sizeof(n));
		n = n < INT32_MAX / 2 ? 2 * n : INT32_MAX;
		memcpy(value, &n, sizeof(n));
	}
	return r;
}

/* Of an undecided socket: what the kernel does not know of. False: ask it. */
static bool get_group_if(int fd, void *value, socklen_t *len)
{
	const struct group_if *g = number_group_if(fd);
	size_t at = 0, n;

	if (g == NULL)
		return false;
	/* Of a membership, the address of the interface. */
	if (g->level == IPPROTO_IP && g->len >= sizeof(struct ip_mreq))
		at = offsetof(struct ip_mreq, imr_interface);
	n = *len < sizeof(int) ? *len : sizeof(int);
	memcpy(value, g->value + at, n);
	*len = (socklen_t)n;
	return true;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	long r;

	if (unlikely(fd_kind(fd) == FD_UNDECIDED && is_group_if(level, name)) && len != NULL &&
	    get_group_if(fd, value, len))
		return 0;
	if (likely(!fd_is_ours(fd)))
		return real.getsockopt(fd, level, name, value, len);
	CALL_ONCE(r, get_ours(fd, level, name, value, len));
	return (int)result(r);
}

/* ---- fcntl ---- */

/* Blocking of a number that is both is kept by us: neither side's socket blocks. */
static int getfl_ours(int fd)
{
	int r = zs_fcntl(fd, F_GETFL);

	if (r >= 0 && fd_kind(fd) == FD_BOTH && number_blocks(fd))
		r &= ~O_NONBLOCK;
	return r;
}

static int setfl_ours(int fd, bool nonblock)
{
	if (fd_kind(fd) != FD_BOTH)
		return zs_fcntl(fd, F_SETFL, nonblock ? O_NONBLOCK : 0);
	number_lock();
	number_set_blocks(fd, !nonblock);
	number_unlock();
	return 0;
}

static long fcntl_ours(int fd, int cmd, void *arg)
{
	long r;

	switch (cmd) {
	case F_GETFL:
		CALL_ONCE(r, getfl_ours(fd));
		return result(r);
	case F_SETFL:
		CALL_ONCE(r, setfl_ours(fd, ((intptr_t)arg & O_NONBLOCK) != 0));
		return result(r);
	}
	/* Flags of the number and owners of signals are the placeholder's as well as another's. */
	return fd_kind(fd) == FD_OWN ? result(-EBADF) : real.fcntl(fd, cmd, arg);
}

static int fcntl_any(int fd, int cmd, void *arg)
{
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return number_dup(fd, cmd, (int)(intptr_t)arg);
	return (int)(fd_is_ours(fd) ? fcntl_ours(fd, cmd, arg) : real.fcntl(fd, cmd, arg));
}

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return likely(fd_kind(fd) == FD_KERNEL) ? real.fcntl(fd, cmd, arg)
						: fcntl_any(fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return likely(fd_kind(fd) == FD_KERNEL) ? real.fcntl64(fd, cmd, arg)
						: fcntl_any(fd, cmd, arg);
}

/* ---- ioctl ---- */

/* Any socket of the kernel's may ask for interfaces. */
static int ioctl_interface(unsigned long request, void *arg)
{
	int fd = real.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = asks_interface(request)	       ? interface_ioctl(fd, request, arg)
	    : real.ioctl(fd, request, arg) < 0 ? -errno
					       : 0;
	real.close(fd);
	return r;
}

static int ioctl_ours(int fd, unsigned long request, void *arg)
{
	switch (request) {
	case FIONBIO:
		if (arg == NULL)
			return -EFAULT;
		return setfl_ours(fd, *(int *)arg != 0);
	case SIOCATMARK:
		if (!is_stream(fd))
			return -ENOTTY;
		/* fallthrough */
	case FIONREAD:
	case SIOCOUTQ:
		return zs_ioctl(fd, request, arg);
	case FIOCLEX:
	case FIONCLEX:
		return real.ioctl(fd, request) < 0 ? -errno : 0;
	}
	if (request >= SIOCADDRT && request < SIOCPROTOPRIVATE)
		return ioctl_interface(request, arg);
	return -ENOTTY;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	long r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (likely(!fd_is_ours(fd)))
		return asks_interface(request) && !is_inside()
			       ? (int)result(interface_ioctl(fd, request, arg))
			       : real.ioctl(fd, request, arg);
	if (fd_kind(fd) == FD_OWN)
		return (int)result(-EBADF);
	/* The program's own call, as far as it goes. */
	if (asks_interface(request))
		return (int)result(ioctl_interface(request, arg));
	CALL_ONCE(r, ioctl_ours(fd, request, arg));
	return (int)result(r);
}
