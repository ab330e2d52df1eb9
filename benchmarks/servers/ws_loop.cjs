// The broadcast of the documentation of npm's `ws`: a loop over its clients.
'use strict';

const http = require('node:http');
const { WebSocketServer, WebSocket } = require('ws');

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const message = Buffer.concat(pieces);
    for (const client of sockets.clients) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(message, { binary: false });
      }
    }
    response.setHeader('Content-Type', 'application/json');
    response.end('{}');
  });
});
const sockets = new WebSocketServer({ server, path: '/ws' });
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
