/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The SPEC of a virtual port ("net_af_packet0,iface=veth0"): what the user wrote is checked before
 * DPDK starts, because DPDK starts once and says little, and what was left open gets the values
 * that serve a TCP/IP stack best. What is given is never changed.
 *
 * Drivers that are not in the table here go to DPDK as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev/dev_priv.h"

#define CAP_BIT_NET_ADMIN 12
#define CAP_BIT_NET_RAW	  13

/* af_packet's ring: frames a queue and direction. At 512, one burst of a few connections overflows
 * it. */
#define AF_PACKET_FRAMES 1024
/* memif's ring: 256 slots. Of 1024, a sent frame of 1514 bytes costs half as much again
 * (bench/dev_burst). */
#define MEMIF_RING_LOG2 8
/* Where the data of a frame begins in it (dev_table.c), and Ethernet and VLAN headers. */
#define AF_PACKET_OVERHEAD (66 + 18 + 1)
/* Of a frame that the PMD does not take for data. */
#define AF_PACKET_HEAD 32
/* Unless the MTU wants more, up to that of jumbo frames: loopback's asks for 64 KB. */
#define AF_PACKET_FRAME	    2048
#define AF_PACKET_FRAME_MAX (10u << 10)

struct spec {
	const char *text; /* as the user wrote it */
	const char *args; /* behind the name: "" or ",key=value…" */
	const struct dev_spec_env *env;
	char *err;
	size_t err_len;
	char *out;
	size_t out_len, used;
};

static __attribute__((format(printf, 3, 4))) int refuse(const struct spec *s, int rc,
							const char *fmt, ...)
{
	int n = snprintf(s->err, s->err_len, "--vdev %s: ", s->text);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < s->err_len)
		vsnprintf(s->err + n, s->err_len - (size_t)n, fmt, ap);
	va_end(ap);
	return rc;
}

/* key=value unless the user gave the key. */
static void otherwise(struct spec *s, const char *key, unsigned value)
{
	char given[64];

	if (dev_args_get(s->args, key, given, sizeof(given)))
		return;
	s->used += (size_t)snprintf(s->out + s->used, s->out_len - s->used, ",%s=%u", key, value);
	s->used = RTE_MIN(s->used, s->out_len - 1);
}

/* Of the effective capabilities of this process. */
static bool has_cap(unsigned bit)
{
	unsigned long long caps = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	if (f == NULL)
		return true; /* can't tell: let the PMD try */
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	fclose(f);
	return caps >> bit & 1;
}

static int need_interface(const struct spec *s, char *ifname)
{
	if (!dev_args_get(s->args, "iface", ifname, IF_NAMESIZE))
		return refuse(s, -EINVAL, "say which interface: iface=NAME");
	if (if_nametoindex(ifname) == 0)
		return refuse(s, -ENODEV, "there is no interface '%s' here; see 'ip link'", ifname);
	return 0;
}

/* The frames of the ring must hold what the interface carries: multiples of 1 KB. */
static uint32_t af_packet_frame(const char *args, uint32_t mtu)
{
	char ifname[IF_NAMESIZE];
	uint32_t frame;

	if (mtu == 0)
		mtu = dev_args_get(args, "iface", ifname, sizeof(ifname)) ? dev_if_mtu(ifname) : 0;
	frame = RTE_MIN(RTE_ALIGN_CEIL(mtu + AF_PACKET_OVERHEAD, 1u << 10), AF_PACKET_FRAME_MAX);
	return dev_args_u32(args, "framesz", RTE_MAX(frame, (uint32_t)AF_PACKET_FRAME));
}

uint32_t dev_spec_room(const char *text, uint32_t mtu)
{
	const char *args = text + strcspn(text, ",");
	uint32_t frame;

	if (strncmp(text, "net_af_packet", strlen("net_af_packet")) != 0)
		return 0;
	frame = af_packet_frame(args, mtu);
	return frame > AF_PACKET_FRAME ? frame - AF_PACKET_HEAD : 0;
}

bool dev_receives_large(const char *text)
{
	const char *args = text + strcspn(text, ",");
	char word[IF_NAMESIZE];

	if (strncmp(text, "net_tap", strlen("net_tap")) == 0)
		return !dev_args_get(args, "remote", word, sizeof(word));
	return strncmp(text, "net_af_packet", strlen("net_af_packet")) == 0 &&
	       !dev_args_get(args, "qdisc_bypass", word, sizeof(word));
}

/* The PMD takes frames for an array: a block holds a whole number of them, and of pages. */
uint32_t dev_spec_block(uint32_t frame)
{
	uint32_t block = 1u << 16;

	if (frame != 0 && block % frame != 0)
		for (block = frame; block % 4096 != 0; block += frame)
			;
	return block;
}

static int do_af_packet(struct spec *s)
{
	char ifname[IF_NAMESIZE];
	uint32_t frame;
	int rc = need_interface(s, ifname);

	if (rc < 0)
		return rc;
	if (!has_cap(CAP_BIT_NET_RAW))
		return refuse(s, -EPERM, "raw sockets need root or CAP_NET_RAW");
	frame = af_packet_frame(s->args, s->env->mtu);
	if (frame % 16 != 0 || frame < 256 || frame > UINT16_MAX - RTE_PKTMBUF_HEADROOM)
		return refuse(s, -EINVAL, "framesz is a multiple of 16 from 256 to 65392");
	otherwise(s, "framesz", frame);
	otherwise(s, "blocksz", dev_spec_block(frame));
	otherwise(s, "framecnt", AF_PACKET_FRAMES);
	/* qdisc_bypass is 1 with the driver; to give it means to want the driver (dev_packet.c). */
	if (s->env->n_queues > 1)
		otherwise(s, "qpairs", s->env->n_queues);
	return 0;
}

static int do_af_xdp(struct spec *s)
{
	char ifname[IF_NAMESIZE];
	int rc = need_interface(s, ifname);

	if (rc < 0)
		return rc;
	if (!has_cap(CAP_BIT_NET_RAW) || !has_cap(CAP_BIT_NET_ADMIN))
		return refuse(s, -EPERM, "AF_XDP needs root or CAP_NET_ADMIN, _NET_RAW and _BPF");
	if (s->env->n_queues > 1)
		otherwise(s, "queue_count", s->env->n_queues);
	/* One program on the interface, ours: no dispatcher around it, and no words about that. */
	setenv("LIBXDP_SKIP_DISPATCHER", "1", 0);
	return 0;
}

static int do_tap(struct spec *s)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return refuse(s, -errno, "cannot open /dev/net/tun (%s); 'modprobe tun' as root",
			      strerror(errno));
	close(fd);
	if (!has_cap(CAP_BIT_NET_ADMIN))
		return refuse(s, -EPERM, "making an interface needs root or CAP_NET_ADMIN");
	return 0;
}

/* The directory of a socket that we are to make. */
static int need_directory(const struct spec *s, const char *path)
{
	char dir[108];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		snprintf(dir, sizeof(dir), ".");
	else if (slash != dir)
		*slash = '\0';
	if (access(dir, W_OK | X_OK) < 0)
		return refuse(s, -errno, "cannot make a socket in %s: %s", dir, strerror(errno));
	return 0;
}

static int probe_socket(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = 0;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* A predecessor that was killed left its socket: nobody listens, so it may go. */
static int need_free_path(const struct spec *s, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return need_directory(s, path);
	if (!S_ISSOCK(st.st_mode))
		return refuse(s, -EEXIST, "%s exists and is no socket; give another path", path);
	if (probe_socket(path) != -ECONNREFUSED)
		return refuse(s, -EADDRINUSE, "somebody listens on %s already", path);
	if (unlink(path) < 0)
		return refuse(s, -errno, "cannot remove the stale %s: %s", path, strerror(errno));
	return 0;
}

static int do_memif(struct spec *s)
{
	char role[16] = "client", path[108] = "/run/memif.sock", word[16];
	bool client, abstract;

	dev_args_get(s->args, "role", role, sizeof(role));
	client = strcmp(role, "client") == 0 || strcmp(role, "slave") == 0;
	if (!client && strcmp(role, "server") != 0 && strcmp(role, "master") != 0)
		return refuse(s, -EINVAL, "role is client or server, not '%s'", role);
	dev_args_get(s->args, "socket", path, sizeof(path));
	/* A full ring holds the sender up and loses nothing; a short one stays in the cache. */
	otherwise(s, "rsize", MEMIF_RING_LOG2);
	abstract = !dev_args_get(s->args, "socket-abstract", word, sizeof(word)) ||
		   strcmp(word, "no") != 0;
	if (!abstract && !client)
		return need_free_path(s, path);
	/* The client describes its buffers in place: needs memory that has descriptors. */
	if (client && !dev_args_get(s->args, "zero-copy", word, sizeof(word)))
		s->used += (size_t)snprintf(s->out + s->used, s->out_len - s->used, ",zero-copy=%s",
					    s->env->huge ? "yes" : "no");
	if (client && !s->env->huge && dev_args_get(s->args, "zero-copy", word, sizeof(word)) &&
	    strcmp(word, "yes") == 0)
		return refuse(s, -ENOMEM, "zero-copy=yes needs hugepages, and there are none");
	return 0;
}

static int do_virtio_user(struct spec *s)
{
	char path[108], word[8];
	bool server = dev_args_get(s->args, "server", word, sizeof(word)) && word[0] == '1';

	if (!dev_args_get(s->args, "path", path, sizeof(path)))
		return refuse(s, -EINVAL, "say where its vhost peer listens: path=SOCKET");
	if (server) {
		int rc = need_free_path(s, path);

		if (rc < 0)
			return rc;
	} else if (strncmp(path, "/dev/", 5) != 0 && probe_socket(path) < 0) {
		return refuse(s, -ECONNREFUSED,
			      "nobody listens on %s: start the vhost side first, or give server=1",
			      path);
	}
	/* The layout that costs least on both sides (docs/benchmarks.md). */
	otherwise(s, "packed_vq", 1);
	otherwise(s, "in_order", 1);
	otherwise(s, "mrg_rxbuf", 1);
	if (s->env->n_queues > 1)
		otherwise(s, "queues", s->env->n_queues);
	return 0;
}

static int do_vhost(struct spec *s)
{
	char path[108], word[8];
	bool client = dev_args_get(s->args, "client", word, sizeof(word)) && word[0] == '1';

	if (!dev_args_get(s->args, "iface", path, sizeof(path)))
		return refuse(s, -EINVAL, "say where to listen: iface=SOCKET");
	otherwise(s, "tso", 1);
	if (s->env->n_queues > 1)
		otherwise(s, "queues", s->env->n_queues);
	return client ? 0 : need_free_path(s, path);
}

static int do_pcap(struct spec *s)
{
	char name[256];

	if (dev_args_get(s->args, "rx_pcap", name, sizeof(name)) && access(name, R_OK) < 0)
		return refuse(s, -errno, "cannot read %s: %s", name, strerror(errno));
	if ((dev_args_get(s->args, "iface", name, sizeof(name)) ||
	     dev_args_get(s->args, "rx_iface", name, sizeof(name))) &&
	    if_nametoindex(name) == 0)
		return refuse(s, -ENODEV, "there is no interface '%s' here; see 'ip link'", name);
	if (s->args[0] == '\0')
		return refuse(s, -EINVAL, "say what to read and write: rx_pcap=FILE,tx_pcap=FILE");
	return 0;
}

static const struct {
	const char *prefix;
	int (*check)(struct spec *s);
} kinds[] = {
	{"net_af_packet", do_af_packet},
	{"net_af_xdp", do_af_xdp},
	{"net_tap", do_tap},
	{"net_memif", do_memif},
	{"net_virtio_user", do_virtio_user},
	{"virtio_user", do_virtio_user},
	{"net_vhost", do_vhost},
	{"eth_vhost", do_vhost},
	{"net_pcap", do_pcap},
};

int dev_spec_complete(const char *text, const struct dev_spec_env *env, char *out, size_t out_len,
		      char *err, size_t err_len)
{
	struct spec s = {.text = text,
			 .args = text + strcspn(text, ","),
			 .env = env,
			 .err = err,
			 .err_len = err_len,
			 .out = out,
			 .out_len = out_len};

	s.used = (size_t)snprintf(out, out_len, "%s", text);
	if (s.args == text || s.used + 128 > out_len)
		return refuse(&s, -EINVAL, "it is DRIVER_N,KEY=VALUE…, as net_tap0,iface=z0");
	for (unsigned i = 0; i < array_size(kinds); i++)
		if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].check(&s);
	return 0;
}
