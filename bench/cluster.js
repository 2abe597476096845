// SPDX-License-Identifier: BSD-3-Clause
// An HTTP server of node's: cluster.js ADDRESS PORT WORKERS
// With workers each connection is accepted by the first process and passed to one of them, in their
// turn, as a descriptor (node's default, SCHED_RR; NODE_CLUSTER_SCHED_POLICY=none: each accepts).
// With none (0) the one process does all. GET /N: N bytes.
'use strict';
const cluster = require('cluster');
const http = require('http');

const [addr, port, workers] = process.argv.slice(2);

function serve()
{
	http.createServer((q, r) => r.end(Buffer.alloc(Number(q.url.slice(1)), 'z')))
		.listen({ host: addr, port: Number(port), backlog: 511 });
}

if (cluster.isPrimary && Number(workers) > 0)
	for (let i = 0; i < Number(workers); i++)
		cluster.fork();
else
	serve();
