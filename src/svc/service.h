/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstackd: a node that programs attach to.
 *
 *   zstackd.c   main: start reading here
 *   conf.c      command line and configuration file
 *   conf_check.c  … its addresses and gateways
 *   policy.c    who may what
 *   service.c   opening, the control thread's loop, closing
 *   listener.c  the socket that all connect to
 *   name.c      names of the abstract namespace
 *   claim.c     that no other service has the addresses
 *   domain.c    memory of trust domains
 *   app.c       an attached program: it comes
 *   app_message.c  … what it may say, and when
 *   app_chan.c  … what it gets
 *   app_fork.c  … its children
 *   app_grant.c … its ports
 *   keeper.c    … sockets on their way from one to another
 *   stranger.c  … and to who has not got the library
 *   app_leave.c … it goes; until its last buffer came home
 *   link.c      memory that two programs share
 *   region.c    sealed shared memory
 *   shared.h     ports whose addresses the kernel has, too
 *   admin.h     managers: the tool zstack
 *   reload.c    SIGHUP
 *   metrics.c   counters for Prometheus
 *   telemetry.c the same for DPDK's telemetry
 *
 * Everything here belongs to the control thread, which does all that is slow. The stacks run in
 * threads of the node and are reached by node_call().
 */
#ifndef ZS_SVC_SERVICE_H
#define ZS_SVC_SERVICE_H

#include "base/list.h"
#include "chan/attach.h"
#include "sock/sock.h"
#include "svc/node.h"
#include "svc/policy.h"
#include "svc/region.h"

struct service;
struct source;
struct shared;
struct MHD_Daemon;

#define CONF_LIST_MAX 64 /* values of a key that can be repeated */

struct service_cfg {
	struct embed_cfg node;
	struct policy policy;
	const char *socket;	   /* path, or "@name" */
	bool telemetry;		   /* DPDK's */
	const char *metrics;	   /* IP:PORT; NULL: none */
	bool same_node;		   /* links between programs */
	const char *file;	   /* NULL: none was given */
	const char *const *shares; /* IFACE[@PORT], see shared.h */
	/* Where in the file addresses and gateways are, 0: they are of the command line. */
	int addr_line[CONF_LIST_MAX], gateway_line[CONF_LIST_MAX];
};

/* Buffers that programs of a trust domain see. */
struct domain {
	struct region packets; /* base NULL: they see those that the ports receive into */
	struct rte_mempool *pool[EMBED_CORES_MAX];
	unsigned n_apps;
};

/* Something that the control thread waits for. */
struct source {
	void (*ready)(struct service *s, struct source *src, uint32_t events);
};

enum app_state {
	APP_NEW,     /* has said nothing yet */
	APP_MAPPING, /* has its memory and has not said so */
	APP_FORKED,  /* attached for a child that has not mapped its memory, and may never do */
	APP_READY,   /* attached */
	APP_LEAVING, /* detached: waits for its buffers */
};

/* A program's channel to one stack, the service's side. */
struct app_chan {
	struct chan_map map;
	struct chan_hdr hdr; /* from before the program could write it (H32) */
	struct region rings, arena;
	int shared_bell; /* what map.app_bell_fd rings, for the program to sleep on */
	struct sock_app *app;
	bool home; /* nothing of it is in use any more */
};

struct app {
	struct list link;
	struct source control, process; /* its connection, its pidfd */
	int sock, pidfd;
	enum app_state state;
	bool lost;	/* the connection ended and the process did not */
	bool by_number; /* pidfd was opened by the number, which may have been another's by then */
	int64_t deadline_ns; /* of the handshake; none for a child, of whom the connection tells */
	uint64_t id;
	pid_t pid;
	uid_t uid;
	uint64_t netns; /* cookie of its network namespace, 0 = unknown */
	uint16_t zone;	/* the same, as a number that is smaller; from 1 */
	unsigned domain;
	char program[64];
	bool no_links;	  /* it does not want any */
	unsigned n_links; /* of it there are, those that are over included */
	struct app_chan chan[EMBED_CORES_MAX];
};

/* Between two programs, or of one with itself. Sides 0 and 1. */
struct svc_link {
	struct list node;
	struct app *app[2];
	uint32_t id[2];	      /* as each side calls it: the same, if it is not the same program */
	struct region memory; /* struct link_shm */
	int bell[2];	      /* a pair of sockets: each side's */
	unsigned mapped;      /* bit for each side that has said so */
	int64_t deadline_ns;  /* until both have; of one that is over: to wait for what is abroad */
	/* It carries nothing any more. Who is alive may still hold memory of the other, and send it
	 * on; bits of sides: */
	bool over;
	bool told;			  /* the one that is alive, that it is over */
	unsigned left;			  /* its program is gone */
	unsigned freed;			  /* it holds nothing of the other's */
	uint32_t cursor[EMBED_CORES_MAX]; /* see stack_bring_home() */
};

struct service {
	struct service_cfg cfg;
	struct node node;
	struct domain domain[POLICY_DOMAINS_MAX];
	struct region packets; /* what the ports receive into, base NULL: nobody may look there */
	struct shared *shared; /* NULL: nothing is shared with the kernel */
	struct list apps;
	unsigned n_apps;
	uint64_t next_app;
	uint16_t last_zone; /* see app.zone */
	struct list kept;   /* see keeper.c */
	struct app *keeper;
	/* With a keeper: see stranger.c. Both lists by kept.turn. */
	struct strangers {
		struct list fresh; /* nobody has looked at them yet, oldest first */
		struct list turns; /* with something to do; then `bell` is rung */
		int bell;
		struct source on_turn, news[EMBED_CORES_MAX];
		unsigned n_served;
		int64_t old_ns; /* when the stacks are asked what they have kept for long; 0 */
	} strangers;
	struct list links;
	unsigned n_links;
	uint32_t next_link;
	struct source on_link;
	struct list claims; /* addresses, see claim.c */
	struct list admins; /* managers, see admin.h */
	unsigned n_admins;
	uint32_t next_ping;
	struct MHD_Daemon *metrics; /* NULL: not wanted */
	struct source on_metrics;
	int argc; /* of the command line, for reloading */
	char **argv;
	int epoll, listener, signals;
	int named; /* the listener at attach_name(), -1: it is not to be had */
	struct source on_listener, on_named, on_signal;
	int spare; /* descriptor for when there are no others */
	struct svc_log_limit {
		int64_t since_ns;
		unsigned lines, hidden;
	} log;
	bool socket_made;
	ino_t socket_ino; /* then: which file it is */
	bool ending;
	struct svc_counters {
		uint64_t attached, refused, died, grants_refused;
		uint64_t links, links_refused, links_bad;
	} n;
};

/* One line for whoever reads the log. */
__attribute__((format(printf, 1, 2))) void svc_log(const char *fmt, ...);

/* ---- service.c ---- */
/* May another line about a refusal be written? Who is refused over and over fills no disk. */
bool service_may_log(struct service *s);
/* Opens everything and says what, or fails with one sentence and nothing left behind. */
int service_open(struct service *s, const struct svc_err *err) must_check;
/* Serves until SIGTERM or SIGINT. */
void service_run(struct service *s);
/* Of two times from now, -1 being never. */
static inline int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}
void service_close(struct service *s);
int service_watch(struct service *s, struct source *src, int fd) must_check;
/* Another set of events of one that is watched. */
void service_rewatch(struct service *s, struct source *src, int fd, uint32_t events);
void service_unwatch(struct service *s, int fd);

/* ---- listener.c ---- */
int listener_open(struct service *s, const struct svc_err *err) must_check;
void listener_close(struct service *s);

/* ---- name.c ---- */
#define NAME_WAIT_NS 1000000000 /* for a service that was killed to have left */
/* For a name: of the kind that services and programs meet at. -1 with errno. */
int name_socket(void);
/* Binds it, and listens: 0. -EEXIST: a process of root's or of our user's has the name, *who, and had
 * it for wait_ns; -EPERM: one of another user's; -EADDRINUSE: it can't be known whose; other -errno.
 * who->pid is 0 before, and after it unless somebody was there. */
struct ucred;
struct sockaddr_un;
int name_take(int fd, const struct sockaddr_un *at, socklen_t len, int64_t wait_ns,
	      struct ucred *who) must_check;

/* ---- claim.c ---- */
/* When the ports are open and the stacks don't run yet: those of the configuration. -EEXIST: another
 * service has one. */
int claims_open(struct service *s, const struct svc_err *err) must_check;
void claims_close(struct service *s);
/* An address as it is configured, at once. 1; 0: nothing was taken, as it is ours already, or nobody
 * can say; -EEXIST. */
int claim_take(struct service *s, const char *text, const struct svc_err *err) must_check;
void claim_drop(struct service *s, const struct ip_addr *addr);

/* ---- domain.c ---- */
/* Most buffers of their own on each core. */
uint32_t domains_bufs(const struct service *s);
/* Which memory the ports receive into, before the ports are opened. */
int domains_packets(struct service *s, const struct svc_err *err) must_check;
/* Pools of the domains, after the node is open. */
int domains_open(struct service *s, const struct svc_err *err) must_check;
void domains_close(struct service *s);
/* What programs of domain d see. */
const struct region *domain_region(const struct service *s, unsigned d);
/* May a program's memory take so many bytes of huge pages? */
bool domains_leave_huge(const struct service *s, uint64_t bytes);

/* ---- app.c ---- */
/* Somebody connected. Takes the socket. */
void app_accept(struct service *s, int sock);
/* The program is gone or has to go: its sockets close (orderly: FIN, else RST). Its memory goes
 * when the last of its buffers came home: apps_reap(). */
void app_detach(struct service *s, struct app *a, bool orderly, const char *why);
/* Frees what can be freed, ends handshakes that take too long, looks after lost ones. Returns when
 * to come again, ns from now, -1 = no need. */
int64_t apps_reap(struct service *s);
/* When the node was halted, everything is home. */
void apps_free(struct service *s);

/* Inside app.c and its kin. */
/* Says why not, and forgets it. */
__attribute__((format(printf, 4, 5))) void app_refuse(struct service *s, struct app *a, int err,
						      const char *fmt, ...);
struct app *app_new(struct service *s, int sock) must_check;
void app_free(struct service *s, struct app *a);
/* Its connection ended, which may mean little. */
void app_lost(struct service *s, struct app *a);
/* Does the process still have our memory? */
bool app_still_maps(const struct app *a);
/* Is what the pidfd names the program? It has mapped our memory by now. */
bool app_is_watched(const struct app *a);
/* arena: descriptors that it brought for the first n cores. */
int app_make_channels(struct service *s, struct app *a, const struct chan_geometry *g,
		      const int *arena, unsigned n) must_check;
int app_attach(struct service *s, struct app *a, const struct app *parent) must_check;
int app_seal(struct service *s, struct app *a) must_check;
void app_chan_free(struct app_chan *c);
/* Sends WELCOME on sock; control: the other end of a's connection, or -1. */
int app_welcome(struct service *s, struct app *a, int sock, int control) must_check;
unsigned app_programs(const struct service *s, uid_t uid, enum app_state first,
		      enum app_state last);

/* Handlers of messages, called in the states that app_message.c names; m's descriptors are closed
 * afterwards. */
void app_take_hello(struct service *s, struct app *a, struct attach_msg *m);
/* The program has mapped its memory: it is attached. */
void app_take_mapped(struct service *s, struct app *a, struct attach_msg *m);

/* ---- app_message.c ---- */
/* Of app.control: the connection has a message, or ended. */
void app_control_ready(struct service *s, struct source *src, uint32_t events);

/* ---- app_fork.c ---- */
/* The program is about to make a child. */
void app_take_fork(struct service *s, struct app *parent, struct attach_msg *m);
/* The child has mapped its memory. */
void app_take_child(struct service *s, struct app *a, struct attach_msg *m);
/* The child has not, and closes sockets. */
void app_take_drop(struct service *s, struct app *a, struct attach_msg *m);

/* ---- app_grant.c ---- */
/* The program asks for a port. */
void app_take_grant(struct service *s, struct app *a, struct attach_msg *m);

/* ---- keeper.c ---- */
/* A program passes a socket on; another comes for one. */
void keeper_take(struct service *s, struct app *a, struct attach_msg *m);
void keeper_give(struct service *s, struct app *a, struct attach_msg *m);
/* As admins_tick(). */
int64_t strangers_tick(struct service *s);
/* It wants descriptors to pass connections on by its channel. */
void keeper_ends(struct service *s, struct app *a, struct attach_msg *m);
/* Closes sockets of an application: of each core one, 0: none. */
void app_drop_socks(struct service *s, struct app *of, const uint32_t *sid);
/* Before the stacks stop, and after. */
void keeper_close(struct service *s);
void keeper_free(struct service *s);

/* ---- app_resume.c ---- */
/* A program that closed its descriptors asks for them again. */
void app_take_resume(struct service *s, struct app *a, struct attach_msg *m);

/* ---- link.c ---- */
int links_open(struct service *s) must_check;
/* The service ends, and what goes by links does not. */
void links_stay(struct service *s);
void links_close(struct service *s);
/* All of an app's end, which was detached from the stacks. */
void links_leave(struct service *s, struct app *a);
/* To programs that are gone, held by those of a user. */
unsigned links_of_dead(const struct service *s, uid_t uid);
void app_take_linked(struct service *s, struct app *a, struct attach_msg *m);
void app_take_link_bad(struct service *s, struct app *a, struct attach_msg *m);
void app_take_link_free(struct service *s, struct app *a, struct attach_msg *m);
void app_take_region(struct service *s, struct app *a, struct attach_msg *m);
/* What both sides say that they sent over a link, as a sees it; false: it is none of a's. */
struct link_count {
	uint64_t out_bytes, out_messages, in_bytes, in_messages;
};
bool link_counted(const struct service *s, uint32_t id, const struct app *a,
		  struct link_count *out);
/* As admins_tick(). */
int64_t links_tick(struct service *s);

/* ---- admin.c ---- */
/* A connection brought a manager's request first. Takes the socket. */
void admin_accept(struct service *s, int sock, const struct attach_msg *m);
/* Goes on with what is due. Returns when to come again, ns from now, -1 = no need. */
int64_t admins_tick(struct service *s);
/* Before the stacks stop. */
void admins_close(struct service *s);

/* ---- conf.c ---- */
/* Fills cfg from the command line. 0; 1: all was said (--help), end with success; -errno with the
 * sentence in err. */
int conf_parse(int argc, char **argv, struct service_cfg *cfg,
	       const struct svc_err *err) must_check;
void conf_free(struct service_cfg *cfg);
/* -EINVAL, and in err what is wrong and where: file, line and key, or the option. line: of the
 * value, 0: it is of the command line. */
__attribute__((format(printf, 6, 7))) int conf_fail(const struct service_cfg *cfg, int line,
						    const char *name, const char *value,
						    const struct svc_err *err, const char *fmt,
						    ...);
/* Inside conf.c: addresses and gateways, each and together, as far as the configuration alone
 * tells. */
int conf_check(const struct service_cfg *cfg, const struct svc_err *err) must_check;
/* Keys that can't change while the service runs, by number; NULL past the last. */
const char *conf_fixed_key(unsigned n);
bool conf_differs(struct service_cfg *a, struct service_cfg *b, unsigned n);

/* ---- reload.c ---- */
void service_reload(struct service *s);

/* ---- telemetry.c ---- */
int telemetry_open(struct service *s, const struct svc_err *err) must_check;

/* ---- metrics.c ---- */
int metrics_open(struct service *s, const struct svc_err *err) must_check;
/* As admins_tick(). */
int64_t metrics_tick(struct service *s);
void metrics_close(struct service *s);

#endif
