/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Links to other programs (docs/design/013), the other program and the service played by the test:
 * a stream changes its way without a byte out of place; a neighbour that writes what it may not
 * (H32) loses the link, and nothing else happens.
 */
#define _GNU_SOURCE
#include "link_peer.h"

#include "base/rand.h"

/* Reads what there is; then the error or the end. */
static int all(char *out)
{
	ssize_t n;

	*out = '\0';
	while ((n = zs_recv(fd, out, 1000, 0)) > 0) {
		out += n;
		*out = '\0';
	}
	return (int)n;
}

static void receives(void)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->arg[0], LINK_ID);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->arg[2], own()->gen);
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
}

static void sends(void)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	say(CHAN_EV_LINK_TX, LINK_ID, 9ull << 32 | 77);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], LINK_ID);
}

static int setup(void **state)
{
	fake_setup(state);
	link_comes();
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	return 0;
}

/* ---- the stream ---- */

static void what_comes_before_the_mark_waits_for_it(void **state)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
	entry(own(), "third");
	entry(own(), " fourth");
	fake_data(core0, sid, "first ", 0);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 6);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	fake_data(core0, sid, "second ", 0);
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
	entry(own(), " fifth");
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "second third fourth fifth");
}

static void the_end_comes_behind_what_the_link_has(void **state)
{
	receives();
	entry(own(), "last words");
	fake_fin(core0, sid);
	assert_int_equal(all(buf), 0);
	assert_string_equal(buf, "last words");
}

static void a_reset_comes_behind_what_the_link_has(void **state)
{
	receives();
	entry(own(), "last words");
	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(all(buf), -ECONNRESET);
	assert_string_equal(buf, "last words");
}

static void back_to_tcp_in_order(void **state)
{
	receives();
	entry(own(), "one ");
	say(CHAN_EV_LINK_RX, 0, 0);
	fake_data(core0, sid, "two", 0);
	zs_process(0);
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "one two");
	assert_int_equal(own()->rx, RX_TCP);
}

static void sends_go_into_the_ring_with_the_others_name(void **state)
{
	const struct link_entry *q;
	unsigned before;

	sends();
	assert_int_equal(zs_send(fd, "small", 5, 0), 5);
	zs_process(0); /* having been used, it says that it can receive, too */
	before = core0->n_log;
	q = link_next(&far);
	assert_non_null(q);
	assert_int_equal(q->to, 77);
	assert_int_equal(q->gen, 9);
	assert_int_equal(q->region, LINK_REGION_NONE);
	assert_memory_equal(q->data, "small", 5);
	link_give_back(&far, q->token);
	link_take(&far);
	memset(buf, 'x', 5000);
	assert_int_equal(zs_send(fd, buf, 5000, 0), 5000);
	q = link_next(&far);
	assert_non_null(q);
	assert_int_equal(q->region, link_region(1, 0));
	assert_memory_equal((char *)core0->map.arena + q->off, buf, 5000);
	link_give_back(&far, q->token);
	zs_process(0);
	assert_int_equal(core0->n_log, before); /* the service has nothing to do with it */
	assert_int_equal(client.core[0].tokens_left, client.core[0].max_tokens);
}

static void a_cut_sends_what_follows_by_the_service(void **state)
{
	const struct link_entry *q;

	sends();
	assert_int_equal(zs_send(fd, "a", 1, 0), 1);
	link_cut(&far);
	assert_false(link_is_written(&far));
	q = link_next(&far);
	assert_non_null(q);
	link_take(&far);
	assert_int_equal(zs_send(fd, "b", 1, 0), 1);
	assert_null(link_next(&far));
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], 0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->len, 1);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->ticket,
			 fake_last(core0, CHAN_OP_LINK_SWITCH)->ticket + 1);
}

static void without_a_copy_too(void **state)
{
	struct zs_buf b;

	sends();
	link_cut(&far);
	assert_int_equal(zs_buf_alloc(fd, 10, &b), 0);
	assert_int_equal(zs_send_zc(fd, &b, 1, 0, 0), 1);
	assert_null(link_next(&far));
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], 0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->len, 10);
}

/* ---- another process gets the socket ---- */

static void share(void)
{
	int err;

	client_lock();
	fork_share(fd_csock(fd, &err), 8);
	client_unlock();
}

static const struct chan_sqe *unread(void)
{
	const struct chan_sqe *q = fake_last(core0, CHAN_OP_UNREAD);

	assert_int_equal(q->loan, LOAN_NONE);
	return q;
}

static void what_came_goes_back_and_nothing_follows(void **state)
{
	receives();
	entry(own(), "abc");
	entry(own(), "de");
	share();
	assert_int_equal(unread()->len, 5);
	assert_int_equal(unread()->arg[0], 0);
	assert_memory_equal(client.core[0].map->arena + unread()->off, "abcde", 5);
	assert_false(link_begin(&far, 0));
	assert_true(link_begin(&far, 1));
}

static void what_waits_for_the_mark_goes_back_to_wait(void **state)
{
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
	zs_process(0);
	entry(own(), "abc");
	share();
	assert_int_equal(unread()->len, 3);
	assert_int_equal(unread()->arg[0], 1);
}

/* For a second; then it is no neighbour any more (H36). */
static void who_never_finishes_an_entry_is_not_waited_for(void **state)
{
	receives();
	assert_true(link_begin(&far, 0));
	share();
	assert_int_equal(client.stats.link_bad, 1);
	assert_int_equal(client.links->link[0].state, LINK_FREE);
	/* Bytes may be missing: no child goes on with the stream. */
	assert_int_equal(fake_count(core0, CHAN_OP_SHARE), 0);
}

static void what_can_not_be_given_back_ends_it_for_all(void **state)
{
	struct zs_buf b;
	int err;

	receives();
	entry(own(), "abc");
	while (zs_buf_alloc(fd, ZS_BUF_MAX, &b) == 0)
		;
	while (zs_buf_alloc(fd, 1, &b) == 0)
		;
	share();
	assert_int_equal(fd_csock(fd, &err)->child_sid, 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -ENOBUFS);
}

static void full_ring_is_no_room_until_something_comes_back(void **state)
{
	unsigned n = 0;

	sends();
	while (zs_send(fd, "x", 1, 0) == 1)
		n++;
	assert_in_range(n, LINK_SLOTS - 16, LINK_SLOTS);
	while (link_next(&far) != NULL) {
		link_give_back(&far, link_next(&far)->token);
		link_take(&far);
	}
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
}

static uint32_t kept[LINK_RETURNS]; /* what the other side has read and not given back */
static unsigned n_kept;

/* Sends single bytes until it can't; the other side reads and keeps them. How many. */
static unsigned sends_all_it_can(int to)
{
	unsigned n = 0, before;

	do {
		before = n;
		while (zs_send(to, "x", 1, 0) == 1)
			n++;
		while (link_next(&far) != NULL) {
			kept[n_kept++] = link_next(&far)->token;
			link_take(&far);
		}
	} while (n > before);
	return n;
}

/* H34. A link's places are all its streams'. */
static void who_is_not_read_leaves_places_to_the_others(void **state)
{
	int other[20], first = fd;
	unsigned n;

	n_kept = 0;
	sends();
	assert_int_equal(sends_all_it_can(fd), LINK_RETURNS / 2);
	for (unsigned i = 0; i < 20; i++) {
		other[i] = fake_connection(SOCK_NONBLOCK, &sid);
		fd = other[i];
		sends();
		n = sends_all_it_can(fd);
		assert_in_range(n, 1, LINK_RETURNS / 16);
	}
	fd = first;
	assert_in_range(n_kept, LINK_RETURNS * 9 / 10, LINK_RETURNS - 1);
	for (unsigned i = 0; i < n_kept; i++)
		link_give_back(&far, kept[i]);
	zs_process(0);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(zs_send(other[i], "x", 1, 0), 1);
		zs_close(other[i]);
	}
}

/* As a reset in answer to data. */
static void a_stream_that_is_not_there_resets_its_sender(void **state)
{
	sends();
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	link_give_back(&far, link_next(&far)->token | LINK_RET_GONE);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -ECONNRESET);
}

static void entries_for_nobody_go_back_marked(void **state)
{
	struct lsock nobody = *own();
	uint32_t word;

	receives();
	nobody.gen++;
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen + 1,
					       .token = 99,
					       .len = 1};
	link_push(&far, 1);
	*link_slot(&far) = (struct link_entry){.to = UINT32_MAX, .token = 98, .len = 1};
	link_push(&far, 1);
	zs_process(0);
	link_flush(&client.links->link[0]);
	assert_true(link_returned(&far, &word));
	assert_int_equal(word, 99 | LINK_RET_GONE);
	assert_true(link_returned(&far, &word));
	assert_int_equal(word, 98 | LINK_RET_GONE);
	assert_int_equal(client.stats.link_bad, 0);
}

/* The neighbour sleeps, as is said; a buffer goes back to it. Is it rung for? */
static bool rung_for_return(uint32_t how, uint32_t gone)
{
	entry(own(), "x");
	assert_int_equal(zs_recv(fd, buf, 1, 0), 1);
	client.links->link[0].ret[0] |= gone;
	atomic_store(&far.mine->armed, how);
	link_flush(&client.links->link[0]);
	return atomic_exchange(&far.mine->armed, 0) == 0;
}

static void what_comes_back_rings_for_who_waits_for_it(void **state)
{
	receives();
	assert_false(rung_for_return(BELL_ARMED_NO_TRIFLES, 0));
	assert_true(rung_for_return(BELL_ARMED, 0));
	assert_true(rung_for_return(BELL_ARMED_NO_TRIFLES, LINK_RET_GONE));
}

static void a_wait_for_room_asks_for_what_comes_back(void **state)
{
	sends();
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	assert_false(client.core[0].wants_tokens);
	while (zs_send(fd, buf, sizeof(buf), 0) > 0)
		;
	assert_true(client.core[0].wants_tokens);
	while (link_next(&far) != NULL) {
		link_give_back(&far, link_next(&far)->token);
		link_take(&far);
	}
	zs_process(0);
	assert_false(client.core[0].wants_tokens);
}

/* A buffer of the neighbour's is lent where it lies, and goes back when it is released. */
static void received_where_it_lies(void **state)
{
	struct zs_buf b;
	uint32_t word;

	receives();
	memcpy(far_arena + 4096, "in place", 8);
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 42,
					       .len = 8,
					       .region = link_region(OTHER, 0),
					       .off = 4096};
	link_push(&far, 8);
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), 1);
	assert_memory_equal(b.data, "in place", 8);
	link_flush(&client.links->link[0]);
	assert_false(link_returned(&far, &word));
	assert_int_equal(zs_buf_release(&b, 1), 0);
	assert_int_equal(zs_buf_release(&b, 1), -EINVAL); /* H33 */
	link_flush(&client.links->link[0]);
	assert_true(link_returned(&far, &word));
	assert_int_equal(word, 42);
	assert_int_equal(client.stats.api_copied_bytes, 0);
}

static uint32_t armed_for_trifles(void)
{
	links_arm(BELL_ARMED_NO_TRIFLES);
	return atomic_exchange(&client.links->link[0].end.mine->armed, 0);
}

/* Or the third, whose buffer it is, would not get it before we wake up for something else. */
static void what_was_sent_on_is_waited_for(void **state)
{
	struct zs_buf b;

	receives();
	say(CHAN_EV_LINK_TX, LINK_ID, 9ull << 32 | 77);
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 42,
					       .len = 8,
					       .region = link_region(OTHER, 0)};
	link_push(&far, 8);
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), 1);
	assert_int_equal(armed_for_trifles(), BELL_ARMED_NO_TRIFLES);
	assert_int_equal(zs_send_zc(fd, &b, 1, 0, 0), 1);
	assert_int_equal(armed_for_trifles(), BELL_ARMED);
	link_give_back(&far, link_next(&far)->token);
	zs_process(0);
	assert_int_equal(armed_for_trifles(), BELL_ARMED_NO_TRIFLES);
}

/* ---- the other program is gone ---- */

static void its_end_brings_our_memory_home(void **state)
{
	struct attach_msg m = {.linked = {.head.type = ATTACH_LINK_END, .id = LINK_ID}};
	struct zs_buf b;

	receives();
	say(CHAN_EV_LINK_TX, LINK_ID, 77);
	memset(buf, 'x', 5000);
	assert_int_equal(zs_send(fd, buf, 5000, 0), 5000);
	entry(own(), "bye");
	assert_true(links_message(&m));
	assert_int_equal(client.core[0].tokens_left, client.core[0].max_tokens);
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), 1); /* what it said last is there */
	assert_memory_equal(b.data, "bye", 3);
	assert_int_equal(client.links->link[0].state, LINK_ENDED);
	assert_int_equal(zs_buf_release(&b, 1), 0);
	assert_int_equal(client.links->link[0].state, LINK_FREE);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->len, 1);
}

/* ---- the service is gone ---- */

static void lose(void)
{
	client_lock();
	client_lose(&(struct mapping){NULL, 0});
	client_unlock();
}

static void both_ways(void)
{
	receives();
	say(CHAN_EV_LINK_TX, LINK_ID, 9ull << 32 | 77);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], LINK_ID);
}

/* The other side reads one, and gives it back. */
static void far_reads(uint32_t len, uint32_t flags, uint32_t how)
{
	const struct link_entry *q;

	zs_process(0);
	q = link_next(&far);
	assert_non_null(q);
	assert_int_equal(q->len, len);
	assert_int_equal(q->flags, flags);
	if (flags != LINK_LOST) {
		assert_int_equal(q->to, 77);
		assert_int_equal(q->gen, 9);
	}
	link_give_back(&far, q->token | how);
	link_take(&far);
}

static void far_says(const struct lsock *name_of, uint32_t flags)
{
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(name_of - client.links->sock),
					       .gen = name_of->gen,
					       .token = 6,
					       .flags = flags};
	link_push(&far, 0);
	zs_process(0);
}

static void far_says_nothing_more(void)
{
	zs_process(0);
	assert_null(link_next(&far));
}

static void a_stream_goes_on_without_a_service(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	entry(own(), "hello");
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "hello");
	assert_int_equal(zs_send(fd, "abc", 3, 0), 3);
	far_reads(3, 0, 0);
	memset(buf, 'x', 5000);
	assert_int_equal(zs_send(fd, buf, 5000, 0), 5000);
	assert_int_equal(link_next(&far)->region, link_region(1, 0));
	far_reads(5000, 0, 0);
	far_says_nothing_more();
}

static void what_the_service_still_had_a_part_in_is_reset(void **state)
{
	receives();
	entry(own(), "abc");
	lose();
	assert_int_equal(all(buf), -ECONNRESET);
	assert_string_equal(buf, "abc");
	assert_int_equal(client.links->link[0].state, LINK_FREE);
	assert_true(link_has_ended(&far));
}

static void its_end_comes_over_the_link(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	entry(own(), "last words");
	far_says(own(), LINK_FIN);
	assert_int_equal(all(buf), 0);
	assert_string_equal(buf, "last words");
	assert_int_equal(zs_send(fd, "abc", 3, 0), 3);
	far_reads(3, 0, 0);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	far_reads(0, LINK_FIN, 0);
	assert_int_equal(zs_send(fd, "d", 1, MSG_NOSIGNAL), -EPIPE);
	zs_close(fd);
	far_says_nothing_more();
	assert_true(link_has_ended(&far));
}

static void closing_says_the_end_or_a_reset(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	zs_close(fd);
	far_reads(0, LINK_FIN, 0);
	teardown(state);
	setup(state);
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	entry(own(), "nobody reads this");
	zs_close(fd);
	far_reads(0, LINK_RST, 0);
}

static void a_reset_comes_over_the_link(void **state)
{
	both_ways();
	lose();
	entry(own(), "abc");
	far_says(own(), LINK_RST);
	assert_int_equal(all(buf), -ECONNRESET);
	assert_string_equal(buf, "abc");
}

static void what_was_ended_before_is_told_again(void **state)
{
	both_ways();
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	zs_process(0);
	lose();
	far_reads(0, LINK_LOST, 0);
	far_reads(0, LINK_FIN, 0);
}

static void what_was_closed_and_perhaps_not_told_is_told(void **state)
{
	int other = fake_connection(SOCK_NONBLOCK, &sid), first = fd;

	fake.keep_closes = true;
	fd = other;
	both_ways();
	zs_close(fd);
	fd = first;
	zs_process(0);
	lose();
	far_reads(0, LINK_LOST, 0);
	far_reads(0, LINK_FIN, 0);
	zs_process(0);
	assert_true(link_has_ended(&far));
}

/* When both know that it is gone each asks the other for what it has kept. */
static void a_stream_that_the_other_has_not_kept_is_reset(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	far_says_nothing_more();
	far_says(own(), LINK_LOST);
	far_reads(0, LINK_ASK, LINK_RET_GONE);
	assert_int_equal(all(buf), -ECONNRESET);
}

static void a_stream_that_the_other_has_goes_on(void **state)
{
	both_ways();
	far_says(own(), LINK_LOST); /* it was the first to find out */
	assert_int_equal(zs_send(fd, "abc", 3, 0), 3);
	far_reads(3, 0, 0);
	lose();
	far_reads(0, LINK_LOST, 0);
	far_reads(0, LINK_ASK, 0);
	assert_int_equal(all(buf), -EAGAIN);
}

static void who_asks_for_nothing_that_is_there_is_told(void **state)
{
	struct lsock nobody;
	uint32_t word;

	both_ways();
	lose();
	nobody = *own();
	far_says(own(), LINK_ASK);
	link_flush(&client.links->link[0]);
	assert_true(link_returned(&far, &word));
	assert_int_equal(word, 6);
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = nobody.gen + 1,
					       .token = 7,
					       .flags = LINK_ASK};
	link_push(&far, 0);
	zs_process(0);
	link_flush(&client.links->link[0]);
	assert_true(link_returned(&far, &word));
	assert_int_equal(word, 7 | LINK_RET_GONE);
}

/* The row of a closed socket stays until the other end was told. */
static void the_end_waits_for_room(void **state)
{
	both_ways();
	lose();
	while (zs_send(fd, "x", 1, 0) == 1)
		;
	for (unsigned i = 0; i < 10; i++) /* the reserve, too */
		(void)!link_say(&client.links->link[0], NULL, LINK_LOST);
	zs_close(fd);
	for (const struct link_entry *q; (q = link_next(&far)) != NULL && q->flags != LINK_FIN;) {
		link_give_back(&far, q->token);
		link_take(&far);
		zs_process(0);
	}
	assert_non_null(link_next(&far));
	far_reads(0, LINK_FIN, 0);
	zs_process(0);
	assert_true(link_has_ended(&far));
}

static void a_link_that_has_ended_resets_its_streams(void **state)
{
	both_ways();
	lose();
	entry(own(), "abc");
	link_say_ended(&far);
	zs_process(0);
	assert_int_equal(all(buf), -ECONNRESET);
	assert_string_equal(buf, "abc");
}

static void its_death_without_a_service_is_seen(void **state)
{
	both_ways();
	entry(own(), "abc");
	memset(buf, 'x', 5000);
	assert_int_equal(zs_send(fd, buf, 5000, 0), 5000);
	lose();
	bell_wake(client.links->link[0].pid_fd);
	client_lock();
	links_look();
	client_unlock();
	assert_int_equal(client.core[0].tokens_left, client.core[0].max_tokens);
	assert_int_equal(all(buf), -ECONNRESET);
	assert_string_equal(buf, "abc");
}

/* The other side may not know yet; then it means the packets of the service that is gone. */
static void packets_stay_as_long_as_they_may_be_named(void **state)
{
	struct mapping packets = {
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096};
	char *at = packets.at;

	both_ways();
	memcpy(at + 100, "old", 3);
	client_lock();
	client_lose(&packets);
	client_unlock();
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 42,
					       .len = 3,
					       .region = LINK_REGION_PACKETS,
					       .off = 100};
	link_push(&far, 3);
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "old");
	assert_int_equal(client.stats.link_bad, 0);
	/* It said that it knows, and still does so: no offence, but nothing to be read. */
	far_says(own(), LINK_LOST);
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 43,
					       .len = 3,
					       .region = LINK_REGION_PACKETS,
					       .off = 100};
	link_push(&far, 3);
	assert_int_equal(all(buf), -ECONNRESET);
	assert_int_equal(client.stats.link_bad, 0);
}

/* Of a third program's, too: the name that the last service gave. */
static void regions_keep_their_last_name(void **state)
{
	char *third;
	int mem = memory(ARENA, &third), rc;

	both_ways();
	rc = region_add(link_region(99, 0), mem, ARENA, 0);
	assert_true(rc >= 0);
	close(mem);
	memcpy(third, "third", 5);
	lose();
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = 42,
					       .len = 5,
					       .region = link_region(99, 0)};
	link_push(&far, 5);
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "third");
	munmap(third, ARENA);
}

/* ---- another service ---- */

static _Atomic bool served;

static void *serve(void *arg)
{
	while (!atomic_load(&served))
		fake_serve(core0);
	return arg;
}

static void come_again(void)
{
	pthread_t t;
	int err;

	atomic_store(&served, false);
	assert_int_equal(pthread_create(&t, NULL, serve, NULL), 0);
	client_lock();
	assert_int_equal(client_remake(), 0);
	client_unlock();
	atomic_store(&served, true);
	pthread_join(t, NULL);
	zs_process(0);
	sid = fd_csock(fd, &err)->sid;
}

static void the_next_service_makes_it_a_connection(void **state)
{
	const struct chan_sqe *q;
	unsigned switches;

	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	switches = fake_count(core0, CHAN_OP_LINK_SWITCH);
	come_again();
	q = fake_last(core0, CHAN_OP_REVIVE);
	assert_int_equal(q->port, 50000);
	assert_int_equal(q->len, 80);
	assert_int_equal(q->off, 5);
	assert_int_equal(q->loan, 6);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_LINK_SWITCH), switches + 1);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_SWITCH)->arg[0], 0);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->len, 1);
	far_says_nothing_more();
	/* The other end, in its turn. */
	entry(own(), "by the link ");
	say(CHAN_EV_LINK_RX, 0, 0);
	fake_data(core0, sid, "by TCP", 0);
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "by the link by TCP");
	zs_process(0);
	assert_true(link_has_ended(&far));
}

static void what_was_ended_is_ended_there_too(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	come_again();
	far_reads(0, LINK_FIN, 0);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SHUTDOWN)->arg[0], SHUT_WR);
	assert_int_equal(fake_last(core0, CHAN_OP_SHUTDOWN)->ticket,
			 fake_last(core0, CHAN_OP_LINK_SWITCH)->ticket + 1);
}

/* The other end has come back, and its mark is still to come when it has no stream there any more.
 * The service has offered another link meanwhile. */
static void who_leaves_the_old_link_last_is_offered_the_next_one(void **state)
{
	struct attach_msg m = {.link = {.head.type = ATTACH_LINK,
					.id = LINK_ID + 1,
					.side = 1,
					.app = OTHER,
					.n_cores = 1,
					.bytes = sizeof(*sh),
					.arena_bytes = ARENA},
			       .n_fds = 4};
	struct link_shm *next;
	uint8_t *arena;

	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	come_again();
	m.fd[0] = memory(sizeof(*next), &next);
	link_format(next);
	m.fd[1] = bell_open();
	m.fd[2] = bell_open();
	m.fd[3] = memory(ARENA, &arena);
	assert_true(links_message(&m));
	attach_close_fds(&m);
	say(CHAN_EV_LINK_OFFER, LINK_ID + 1, 0);
	assert_true(csock_stays(&client.sock[own() - client.links->sock]));
	link_say_ended(&far);
	zs_process(0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_LINK_TAKE)->arg[0], LINK_ID + 1);
	munmap(next, sizeof(*next));
	munmap(arena, ARENA);
}

static void a_service_that_refuses_it_resets_it(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	fake.result[CHAN_OP_REVIVE] = -EACCES;
	come_again();
	assert_int_equal(all(buf), -ECONNRESET);
	far_reads(0, LINK_RST, 0);
}

static void a_service_without_its_address_leaves_it_alone(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	fake.result[CHAN_OP_REVIVE] = -EADDRNOTAVAIL;
	come_again();
	entry(own(), "hello");
	assert_int_equal(all(buf), -EAGAIN);
	assert_string_equal(buf, "hello");
	assert_int_equal(zs_send(fd, "abc", 3, 0), 3);
	far_reads(3, 0, 0);
}

/* The second one has perhaps bytes of it. */
static void who_goes_over_when_that_ends_too_is_reset(void **state)
{
	both_ways();
	lose();
	far_reads(0, LINK_LOST, 0);
	come_again();
	zs_process(0);
	lose();
	assert_int_equal(all(buf), -ECONNRESET);
	far_reads(0, LINK_RST, 0);
}

/* ---- H32: nonsense ---- */

static const struct link_entry lies[] = {
	{.len = 0},
	{.len = 0, .flags = LINK_FIN | LINK_RST},
	{.len = 0, .flags = LINK_OOB},
	{.len = 0, .flags = 0x80000000},
	{.len = 0, .flags = LINK_FIN, .token = LINK_TOKEN_MASK + 1},
	{.len = CHAN_SEND_MAX + 1, .region = OTHER << 4},
	{.len = UINT32_MAX, .region = OTHER << 4},
	{.len = LINK_INLINE + 1},
	{.len = 1, .token = LINK_TOKEN_MASK + 1},
	{.len = 2, .region = OTHER << 4, .off = ARENA - 1},
	{.len = 100, .region = OTHER << 4, .off = UINT32_MAX - 10},
	{.len = 2, .region = LINK_REGION_PACKETS, .off = FAKE_PKT - 1},
	{.len = 2, .region = LINK_REGION_PACKETS, .off = UINT32_MAX},
};

static void each_lie_ends_the_link(void **state)
{
	const struct link_entry *lie = *state;
	struct link_entry q = *lie;

	receives();
	entry(own(), "fine");
	q.to = (uint32_t)(own() - client.links->sock);
	q.gen = own()->gen;
	*link_slot(&far) = q;
	link_push(&far, 0);
	zs_process(0);
	assert_int_equal(client.stats.link_bad, 1);
	assert_int_equal(all(buf), -EPROTO);
	next_message(ATTACH_LINK_BAD);
}

static void returns_of_what_is_not_out_end_the_link(void **state)
{
	const uint32_t words[] = {1u << 24, 0xf000001, 0xffffff, 3};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (i > 0)
			setup(state);
		link_give_back(&far, words[i]);
		zs_process(0);
		assert_int_equal(client.stats.link_bad, 1);
		if (i + 1 < sizeof(words) / sizeof(words[0]))
			teardown(state);
	}
}

static void a_token_of_the_services_does_not_come_back_by_a_link(void **state)
{
	fake.keep_tokens = true;
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
	zs_process(0);
	link_give_back(&far, fake_last(core0, CHAN_OP_SEND)->token);
	zs_process(0);
	assert_int_equal(client.stats.link_bad, 1);
	assert_int_equal(client.core[0].tokens_left, client.core[0].max_tokens - 1);
	fake_ack(core0, 1);
	zs_process(0);
}

static void more_than_may_be_out_ends_the_link(void **state)
{
	receives();
	for (unsigned i = 0; i <= LINK_RETURNS && client.stats.link_bad == 0; i++) {
		entry(own(), "x");
		zs_process(0);
	}
	assert_int_equal(client.stats.link_bad, 1);
	assert_int_equal(client.links->link[0].in, LINK_RETURNS);
}

/* Whatever stands there: no crash, and in the end nothing is left (teardown). */
static void random_nonsense(void **state)
{
	struct rand r;

	rand_init(&r, 11);
	for (unsigned round = 0; round < 150; round++) {
		if (round > 0)
			setup(state);
		shutdown(control, SHUT_RDWR); /* nobody can be asked for regions */
		receives();
		say(CHAN_EV_LINK_TX, LINK_ID, 77);
		for (unsigned i = 0; i < 60; i++) {
			struct link_entry *q = link_slot(&far);

			zs_send(fd, buf, 1 + rand_u32(&r) % 3000, 0);
			*q = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
						 .gen = own()->gen,
						 .token = i,
						 .len = 1 + rand_u32(&r) % 200};
			if (rand_u32(&r) % 8 == 0)
				((uint32_t *)q)[1 + rand_u32(&r) % 7] =
					rand_u32(&r) >> rand_u32(&r) % 32;
			link_push(&far, 1);
			if (rand_u32(&r) % 4 == 0 && link_next(&far) != NULL) {
				link_give_back(&far,
					       link_next(&far)->token ^ (rand_u32(&r) % 20 == 0));
				link_take(&far);
			}
			if (rand_u32(&r) % 30 == 0)
				((uint32_t *)sh)[rand_u32(&r) % (sizeof(*sh) / 4)] = rand_u32(&r);
			zs_process(0);
			if (rand_u32(&r) % 3 == 0)
				zs_recv(fd, buf, rand_u32(&r) % 500, 0);
		}
		if (round < 149)
			teardown(state);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest plain[] = {
		T(what_comes_before_the_mark_waits_for_it),
		T(the_end_comes_behind_what_the_link_has),
		T(a_reset_comes_behind_what_the_link_has),
		T(back_to_tcp_in_order),
		T(sends_go_into_the_ring_with_the_others_name),
		T(a_cut_sends_what_follows_by_the_service),
		T(without_a_copy_too),
		T(what_came_goes_back_and_nothing_follows),
		T(what_waits_for_the_mark_goes_back_to_wait),
		T(who_never_finishes_an_entry_is_not_waited_for),
		T(what_can_not_be_given_back_ends_it_for_all),
		T(full_ring_is_no_room_until_something_comes_back),
		T(who_is_not_read_leaves_places_to_the_others),
		T(a_stream_that_is_not_there_resets_its_sender),
		T(entries_for_nobody_go_back_marked),
		T(what_comes_back_rings_for_who_waits_for_it),
		T(a_wait_for_room_asks_for_what_comes_back),
		T(received_where_it_lies),
		T(what_was_sent_on_is_waited_for),
		T(its_end_brings_our_memory_home),
		T(a_stream_goes_on_without_a_service),
		T(what_the_service_still_had_a_part_in_is_reset),
		T(its_end_comes_over_the_link),
		T(closing_says_the_end_or_a_reset),
		T(a_reset_comes_over_the_link),
		T(what_was_ended_before_is_told_again),
		T(what_was_closed_and_perhaps_not_told_is_told),
		T(a_stream_that_the_other_has_not_kept_is_reset),
		T(a_stream_that_the_other_has_goes_on),
		T(who_asks_for_nothing_that_is_there_is_told),
		T(the_end_waits_for_room),
		T(a_link_that_has_ended_resets_its_streams),
		T(its_death_without_a_service_is_seen),
		T(packets_stay_as_long_as_they_may_be_named),
		T(regions_keep_their_last_name),
		T(the_next_service_makes_it_a_connection),
		T(what_was_ended_is_ended_there_too),
		T(who_leaves_the_old_link_last_is_offered_the_next_one),
		T(a_service_that_refuses_it_resets_it),
		T(a_service_without_its_address_leaves_it_alone),
		T(who_goes_over_when_that_ends_too_is_reset),
		T(returns_of_what_is_not_out_end_the_link),
		T(a_token_of_the_services_does_not_come_back_by_a_link),
		T(more_than_may_be_out_ends_the_link),
		T(random_nonsense),
	};
	struct CMUnitTest tests[array_size(plain) + array_size(lies)];
	unsigned n = array_size(plain);

	memcpy(tests, plain, sizeof(plain));
	for (unsigned i = 0; i < array_size(lies); i++) {
		tests[n] = (struct CMUnitTest)T(each_lie_ends_the_link);
		tests[n++].initial_state = (void *)(uintptr_t)&lies[i];
	}
	return _cmocka_run_group_tests("link", tests, n, NULL, NULL);
}
