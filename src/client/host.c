/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What only a host asks for: see host.h. The numbers themselves are fd.c's.
 */
#include "client/client_priv.h"
#include "client/host.h"

int host_socket_at(int fd, int domain, int type, int protocol)
{
	return fd < 0 ? -EBADF : socket_new(domain, type, protocol, fd);
}

int host_epoll_at(int epfd)
{
	return epfd < 0 ? -EBADF : epset_new(epfd);
}

int host_dup(int from, int to)
{
	int r;

	client_lock();
	r = client_ready();
	if (r == 0)
		r = fd_dup(from, to);
	client_unlock();
	return r;
}

int host_fd_count(int fd)
{
	int r;

	client_lock();
	r = client_ready();
	if (r == 0)
		r = fd_count(fd);
	client_unlock();
	return r;
}
