// SPDX-License-Identifier: BSD-3-Clause
// POST /orders/USER buys what is in the user's cart: takes it from stock, then asks for the money; what was taken goes
// back if that fails. GET /orders/NUMBER shows an order.
'use strict';
const { Refused, ask, serve } = require('./service.js');

const orders = [];

async function putBack(lines) {
	for (const { id, n } of lines)
		await ask('stock', 'POST', `/items/${id}/put/${n}`);
}

async function buy(user) {
	const cart = await ask('cart', 'GET', `/carts/${user}`);
	if (cart.lines.length === 0)
		throw new Refused(409, 'the cart is empty');
	const taken = [];
	try {
		for (const { id, n } of cart.lines) {
			await ask('stock', 'POST', `/items/${id}/take/${n}`);
			taken.push({ id, n });
		}
		const { cents } = await ask('price', 'POST', '/total', cart.lines);
		const paid = await ask('payment', 'POST', '/payments', { user, cents });
		await ask('cart', 'DELETE', `/carts/${user}`);
		orders.push({ order: orders.length + 1, user, lines: cart.lines, cents, payment: paid.payment });
		return orders[orders.length - 1];
	} catch (e) {
		await putBack(taken);
		throw e;
	}
}

serve('order', (method, path) => {
	const what = /^\/orders\/(\w+)$/.exec(path);
	if (what && method === 'POST')
		return buy(what[1]);
	if (what && method === 'GET' && orders[what[1] - 1])
		return orders[what[1] - 1];
	throw new Refused(404, 'no such order');
});
