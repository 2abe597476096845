// SPDX-License-Identifier: BSD-3-Clause
// What the shop's services in JavaScript have in common: node's http module, server and client, connections kept.
// Where a service is says the environment: SHOP_PRICE=10.7.0.2:8104.
'use strict';
const http = require('http');

const agent = new http.Agent({ keepAlive: true });

function address(name) {
	const [host, port] = process.env['SHOP_' + name.toUpperCase()].split(':');
	return { host, port: Number(port) };
}

class Refused extends Error {
	constructor(status, why) {
		super(why);
		this.status = status;
	}
}

async function whole(stream) {
	const parts = [];
	for await (const part of stream)
		parts.push(part);
	return Buffer.concat(parts).toString();
}

// What another service answers, as JavaScript has it. Refused, when it refuses.
function ask(name, method, path, body) {
	const text = body === undefined ? undefined : JSON.stringify(body);
	const headers = text === undefined ? {} : { 'Content-Length': Buffer.byteLength(text) };
	return new Promise((done, failed) => {
		const request = http.request({ ...address(name), method, path, agent, headers }, async (answer) => {
			try {
				const got = JSON.parse(await whole(answer));
				if (answer.statusCode !== 200)
					throw new Refused(answer.statusCode, got.error);
				done(got);
			} catch (e) {
				failed(e);
			}
		});
		request.on('error', () => failed(new Refused(502, 'a service does not answer')));
		request.end(text);
	});
}

// answer(method, path, body) gives what is to be answered, or a promise of it, or throws Refused.
function serve(name, answer) {
	const server = http.createServer({ keepAliveTimeout: 0 }, async (request, response) => {
		let status = 200, got;
		try {
			const text = await whole(request);
			got = await answer(request.method, request.url, text ? JSON.parse(text) : undefined);
		} catch (e) {
			status = e.status || 400;
			got = { error: e.status ? e.message : 'that makes no sense' };
		}
		const text = JSON.stringify(got);
		response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
		response.end(text);
	});
	const { host, port } = address(name);
	server.listen(port, host, 512, () => console.log(`${name} listens at ${host}:${port}`));
}

module.exports = { Refused, ask, serve };
