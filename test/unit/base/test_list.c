/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/list.h"
#include "base/rand.h"

#define N 16

static struct list node[N], head;
static int model[N], len; /* node numbers in order */

static void model_del(int id)
{
	for (int i = 0; i < len; i++)
		if (model[i] == id) {
			memmove(model + i, model + i + 1, (len - i - 1) * sizeof(model[0]));
			len--;
			return;
		}
}

static void check(void)
{
	int i = 0;

	LIST_EACH (n, &head) {
		assert_true(i < len);
		assert_ptr_equal(n, &node[model[i++]]);
		assert_ptr_equal(n->next->prev, n);
		assert_true(list_linked(n));
	}
	assert_int_equal(i, len);
	assert_int_equal(list_empty(&head), len == 0);
}

static void start(void)
{
	len = 0;
	list_init(&head);
	for (int i = 0; i < N; i++)
		list_init(&node[i]);
}

static void random_operations_equal_an_array(void **state)
{
	struct rand r;

	rand_init(&r, 1);
	start();
	for (int n = 0; n < 20000; n++) {
		int id = (int)rand_below(&r, N), op = (int)rand_below(&r, 4);

		if (op == 3) {
			struct list *l = list_pop(&head);

			assert_ptr_equal(l, len ? &node[model[0]] : NULL);
			if (l)
				model_del(model[0]);
		} else if (op == 2 || list_linked(&node[id])) {
			list_del(&node[id]);
			model_del(id);
		} else if (op == 1) {
			list_add_tail(&head, &node[id]);
			model[len++] = id;
		} else {
			list_add_head(&head, &node[id]);
			memmove(model + 1, model, len++ * sizeof(model[0]));
			model[0] = id;
		}
		check();
	}
}

static void splice_moves_all_in_order_and_empties_the_source(void **state)
{
	struct list from;

	start();
	list_init(&from);
	list_splice(&head, &from);
	check();
	for (int i = 0; i < 6; i++) {
		list_add_tail(i < 2 ? &head : &from, &node[i]);
		model[len++] = i;
	}
	list_splice(&head, &from);
	assert_true(list_empty(&from));
	check();
}

static void each_safe_allows_unlinking_the_node(void **state)
{
	start();
	for (int i = 0; i < N; i++)
		list_add_tail(&head, &node[i]);
	LIST_EACH_SAFE (n, &head)
		list_del(n);
	check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_equal_an_array),
		cmocka_unit_test(splice_moves_all_in_order_and_empties_the_source),
		cmocka_unit_test(each_safe_allows_unlinking_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
