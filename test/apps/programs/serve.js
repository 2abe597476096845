// SPDX-License-Identifier: BSD-3-Clause
// Servers and clients of node's own library: serve.js KIND ADDRESS PORT [CERT KEY]
'use strict';
const assert = require('assert');
const cluster = require('cluster');
const crypto = require('crypto');
const dgram = require('dgram');
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');

const [kind, addr, portText, cert, key] = process.argv.slice(2);
const port = Number(portText);
const ready = () => console.log('listening');

function answer(q, r)
{
	if (q.method === 'PUT') {
		const hash = crypto.createHash('sha256');
		q.on('data', (d) => hash.update(d));
		q.on('end', () => r.end(hash.digest('hex')));
		return;
	}
	if (q.url === '/pid') {
		r.end(String(process.pid));
		return;
	}
	const f = fs.createReadStream('.' + q.url);
	f.on('error', () => { r.statusCode = 404; r.end(); });
	f.pipe(r);
}

function same(got, want)
{
	assert.strictEqual(got.length, want.length);
	assert(got.equals(want));
}

function collect(stream, then)
{
	const parts = [];
	stream.on('data', (d) => parts.push(d));
	stream.on('end', () => then(Buffer.concat(parts)));
}

// Eight connections to an echo server, each of which has its bytes back.
function client()
{
	let left = 8;
	for (let i = 0; i < 8; i++) {
		const data = crypto.randomBytes(1000003 + i);
		const s = net.connect({ host: addr, port, allowHalfOpen: true }, () => s.end(data));
		s.on('error', (e) => { throw e; });
		collect(s, (got) => { same(got, data); if (--left === 0) console.log('good'); });
	}
}

// Kept connections of an agent, each used many times.
function httpClient()
{
	const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
	let left = 200;
	for (let i = 0; i < 200; i++)
		http.get({ host: addr, port, path: '/odd.bin', agent }, (r) => collect(r, (got) => {
			same(got, fs.readFileSync('www/odd.bin'));
			if (--left === 0) { agent.destroy(); console.log('good'); }
		}));
}

const kinds = {
	http: () => http.createServer(answer).listen(port, addr, 511, ready),
	https: () => https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer)
		.listen(port, addr, 511, ready),
	echo: () => net.createServer({ allowHalfOpen: true }, (s) => { s.on('error', () => {}); s.pipe(s); })
		.listen(port, addr, 511, ready),
	cluster: () => {
		if (!cluster.isPrimary) {
			http.createServer(answer).listen(port, addr, 511);
			return;
		}
		let up = 0;
		for (let i = 0; i < 3; i++)
			cluster.fork();
		cluster.on('listening', () => { if (++up === 3) ready(); else if (up > 3) console.log('another listens'); });
		cluster.on('exit', () => cluster.fork());
	},
	datagrams: () => {
		const s = dgram.createSocket(net.isIPv6(addr) ? 'udp6' : 'udp4');
		s.on('message', (m, from) => s.send(m, from.port, from.address));
		s.bind(port, addr, ready);
	},
	client,
	httpClient,
};
kinds[kind]();
