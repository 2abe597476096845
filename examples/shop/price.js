// SPDX-License-Identifier: BSD-3-Clause
// What things cost, in cents: GET /items/ID, POST /total [{"id": 3, "n": 2}, ...]. From ten of a kind on, a tenth less.
'use strict';
const { Refused, serve } = require('./service.js');

const cents = [12900, 8950, 1495, 4200, 3999, 1180, 650, 2275];

function price(id) {
	if (!(id >= 1 && id <= cents.length))
		throw new Refused(404, 'no such item');
	return cents[id - 1];
}

function line({ id, n }) {
	return n >= 10 ? Math.round(price(id) * n * 0.9) : price(id) * n;
}

serve('price', (method, path, body) => {
	const item = /^\/items\/(\d+)$/.exec(path);
	if (method === 'GET' && item)
		return { id: Number(item[1]), cents: price(Number(item[1])) };
	if (method === 'POST' && path === '/total')
		return { cents: body.reduce((sum, one) => sum + line(one), 0) };
	throw new Refused(404, 'no such page');
});
