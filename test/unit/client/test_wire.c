/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What came over a link goes on to the wire where it lies (docs/design/013), the service and the
 * neighbour played by the test: how the service is told, when the neighbour gets it back, and what
 * can't be named and is copied.
 */
#define _GNU_SOURCE
#include "link_peer.h"

#define LEN  3000u
#define WORD 42u

static int wire; /* a connection that has no link */
static struct zs_buf b;

static void entry_at(uint32_t region, uint32_t off, uint32_t len)
{
	*link_slot(&far) = (struct link_entry){.to = (uint32_t)(own() - client.links->sock),
					       .gen = own()->gen,
					       .token = WORD,
					       .len = len,
					       .region = region,
					       .off = off};
	link_push(&far, len);
}

static int setup(void **state)
{
	uint32_t name;

	fake_setup(state);
	link_comes();
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	wire = fake_connection(SOCK_NONBLOCK, &name);
	fake.keep_tokens = true;
	say(CHAN_EV_LINK_OFFER, LINK_ID, 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
	zs_process(0);
	say(CHAN_EV_LINK_RX, LINK_ID, 0);
	return 0;
}

static int teardown_wire(void **state)
{
	fake_ack(core0, core0->n_held);
	zs_process(0);
	zs_close(wire);
	return teardown(state);
}

static void comes(uint32_t region, uint32_t off, uint32_t len)
{
	entry_at(region, off, len);
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), 1);
	assert_int_equal(b.len, len);
}

static void goes(void)
{
	assert_int_equal(zs_send_zc(wire, &b, 1, 0, 0), 1);
	zs_process(0);
}

static bool is_back(void)
{
	uint32_t word;

	link_flush(&client.links->link[0]);
	if (!link_returned(&far, &word))
		return false;
	assert_int_equal(word, WORD);
	return true;
}

/* It goes as a copy in our own arena. */
static void is_copied(uint32_t len)
{
	const struct chan_sqe *q;

	goes();
	q = fake_last(core0, CHAN_OP_SEND);
	assert_int_equal(q->off >> 32, 0);
	assert_int_equal(q->len, len);
	assert_int_equal(client.stats.api_copied_bytes, len);
}

static void freed(void)
{
	struct attach_msg m;

	do {
		assert_int_equal(attach_recv(control, &m, MSG_DONTWAIT), 0);
	} while (m.head.type != ATTACH_LINK_FREE);
	assert_int_equal(m.linked.id, LINK_ID);
}

static void the_service_is_told_where_it_lies(void **state)
{
	const struct chan_sqe *q;

	comes(link_region(OTHER, 0), 4096, LEN);
	goes();
	q = fake_last(core0, CHAN_OP_SEND);
	assert_true(q->off == ((uint64_t)OTHER << 32 | 4096));
	assert_int_equal(q->len, LEN);
	assert_int_equal(client.stats.api_copied_bytes, 0);
	assert_false(is_back());
	assert_true(client.core[0].wants_tokens); /* who sleeps is woken, for the neighbour */
	fake_ack(core0, 1);
	zs_process(0);
	assert_true(is_back());
	assert_int_equal(zs_buf_release(&b, 1), -EINVAL);
}

static void a_part_of_it(void **state)
{
	comes(link_region(OTHER, 0), 4096, LEN);
	b.data = (uint8_t *)b.data + 100;
	b.len = LEN - 200;
	assert_int_equal(zs_buf_ref(&b), 0);
	goes();
	assert_true(fake_last(core0, CHAN_OP_SEND)->off == ((uint64_t)OTHER << 32 | 4196));
	fake_ack(core0, 1);
	zs_process(0);
	assert_false(is_back());
	assert_int_equal(zs_buf_release(&b, 1), 0);
	assert_true(is_back());
}

static void as_a_datagram(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int udp = zs_socket(AF_INET, SOCK_DGRAM, 0);
	const struct chan_sqe *q;

	comes(link_region(OTHER, 0), 4096, 1000);
	assert_int_equal(zs_sendto_zc(udp, &b, 1, 0, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	zs_process(0);
	q = fake_last(core0, CHAN_OP_SENDTO);
	assert_true(q->off == ((uint64_t)OTHER << 32 | 4096));
	assert_int_equal(client.stats.api_copied_bytes, 0);
	zs_close(udp);
}

/* DESIGN §3.8: small payload pins nobody's memory. */
static void what_is_small_is_copied(void **state)
{
	comes(link_region(OTHER, 0), 4096, 511);
	is_copied(511);
	assert_true(is_back());
}

/* Of a third program the service knows nothing. */
static void what_a_third_sent_is_copied(void **state)
{
	void *at;
	int m = memory(ARENA, &at), r = region_add(link_region(9, 0), m, ARENA, 0);

	assert_true(r >= 0);
	comes(link_region(9, 0), 0, LEN);
	is_copied(LEN);
	assert_true(is_back());
	munmap(at, ARENA);
	close(m);
}

static void what_came_in_its_entry_is_copied(void **state)
{
	entry(own(), "small");
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), 1);
	is_copied(5);
}

/* The service keeps its memory until we say that we hold nothing of it. */
static void out_of_a_dead_ones_memory_too(void **state)
{
	struct attach_msg m = {.linked = {.head.type = ATTACH_LINK_END, .id = LINK_ID}};

	comes(link_region(OTHER, 0), 4096, LEN);
	assert_true(links_message(&m));
	goes();
	assert_true(fake_last(core0, CHAN_OP_SEND)->off == ((uint64_t)OTHER << 32 | 4096));
	assert_int_equal(attach_recv(control, &(struct attach_msg){.len = 0}, MSG_DONTWAIT),
			 -EAGAIN);
	fake_ack(core0, 1);
	zs_process(0);
	freed();
	assert_int_equal(client.stats.api_copied_bytes, 0);
}

/* A service that is gone sends nothing any more; the next one was never asked. */
static void when_the_service_is_gone_it_goes_back(void **state)
{
	struct zs_buf other;

	comes(link_region(OTHER, 0), 4096, LEN);
	other = b;
	comes(link_region(OTHER, 0), 8192, LEN);
	assert_int_equal(zs_send_zc(wire, &other, 1, 0, 0), 1);
	client_lock();
	client_lose(&(struct mapping){NULL, 0});
	client_unlock();
	assert_true(is_back());
	assert_false(is_back());
	assert_int_equal(zs_buf_release(&b, 1), 0);
	core0->n_held = 0;
}

/* Of a link that had ended before it knows nothing, and may call another one so. */
static void the_next_service_is_not_told(void **state)
{
	struct attach_msg m = {.linked = {.head.type = ATTACH_LINK_END, .id = LINK_ID}};

	comes(link_region(OTHER, 0), 4096, LEN);
	assert_true(links_message(&m));
	client_lock();
	client_lose(&(struct mapping){NULL, 0});
	client.lost = false;
	client_unlock();
	assert_int_equal(zs_buf_release(&b, 1), 0);
	assert_int_equal(client.links->link[0].state, LINK_FREE);
	assert_int_equal(attach_recv(control, &m, MSG_DONTWAIT), -EAGAIN);
	client.lost = true;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown_wire)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_service_is_told_where_it_lies),
		T(a_part_of_it),
		T(as_a_datagram),
		T(what_is_small_is_copied),
		T(what_a_third_sent_is_copied),
		T(what_came_in_its_entry_is_copied),
		T(out_of_a_dead_ones_memory_too),
		T(when_the_service_is_gone_it_goes_back),
		T(the_next_service_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
