// npm centrifuge, told on standard input what to do and saying on standard output what happens: one JSON object a line.
// The first argument is an object: url, token, tokens. NODE_PATH says where the packages are. py_client.py says the same.
'use strict';

const readline = require('node:readline');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');

const options = JSON.parse(process.argv[2]);
const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');

// The tokens in their order; the last one again and again.
function dispenser(tokens, topic) {
  const left = [...tokens];
  return async () => {
    say('token asked', { topic });
    return left.length > 1 ? left.shift() : left[0];
  };
}

const DELAYS = { minReconnectDelay: 50, maxReconnectDelay: 250 };
const client = new Centrifuge(options.url, {
  websocket: WebSocket,
  token: options.token || '',
  getToken: options.tokens ? dispenser(options.tokens, null) : null,
  ...DELAYS,
});
client.on('connecting', (c) => say('connecting', { code: c.code, reason: c.reason }));
client.on('connected', (c) => say('connected', { client: c.client }));
client.on('disconnected', (c) => say('disconnected', { code: c.code, reason: c.reason }));
client.on('error', (c) => say('error', { code: c.error.code, message: c.error.message }));

function listen(subscription, topic) {
  const on = (name, fields) => subscription.on(name, (c) => say(name, { topic, ...fields(c) }));
  const end = (c) => ({ code: c.code, reason: c.reason });
  on('subscribing', end);
  on('unsubscribed', end);
  on('subscribed', (c) => ({
    was_recovering: c.wasRecovering,
    recovered: c.recovered,
    recoverable: c.recoverable,
    offset: c.streamPosition ? c.streamPosition.offset : 0,
    epoch: c.streamPosition ? c.streamPosition.epoch : '',
  }));
  on('publication', (c) => ({ data: c.data, offset: c.offset || 0, user: c.info ? c.info.user : null, tags: c.tags || {} }));
  on('join', (c) => ({ client: c.info.client, user: c.info.user }));
  on('leave', (c) => ({ client: c.info.client, user: c.info.user }));
  subscription.on('error', (c) => say('subscription error', { topic, code: c.error.code, message: c.error.message }));
}

const of = (topic) => client.getSubscription(topic);
const actions = {
  connect: async () => client.connect(),
  disconnect: async () => client.disconnect(),
  subscribe: async ({ topic, token, tokens, recoverable, since }) => {
    const subscription = client.newSubscription(topic, {
      token: token || '',
      getToken: tokens ? dispenser(tokens, topic) : null,
      recoverable: Boolean(recoverable),
      joinLeave: true,
      since: since || null,
      minResubscribeDelay: DELAYS.minReconnectDelay,
      maxResubscribeDelay: DELAYS.maxReconnectDelay,
    });
    listen(subscription, topic);
    subscription.subscribe();
  },
  unsubscribe: async ({ topic }) => of(topic).unsubscribe(),
  publish: async ({ topic, data }) => void (await client.publish(topic, data)),
  presence: async ({ topic }) => (await client.presence(topic)).clients,
  presence_stats: async ({ topic }) => {
    const found = await client.presenceStats(topic);
    return { clients: found.numClients, users: found.numUsers };
  },
  history: async ({ topic, limit, since, reverse }) => {
    const found = await client.history(topic, { limit, since, reverse });
    return {
      publications: found.publications.map((p) => ({ data: p.data, offset: p.offset })),
      offset: found.offset,
      epoch: found.epoch,
    };
  },
  rpc: async ({ method }) => (await client.rpc(method, {})).data,
};

const input = readline.createInterface({ input: process.stdin });
input.on('line', async (line) => {
  const { id, action, ...given } = JSON.parse(line);
  try {
    say('result', { id, value: (await actions[action](given)) ?? null });
  } catch (error) {
    say('result', { id, code: error.code ?? null, message: String(error.message ?? error) });
  }
});
input.on('close', () => process.exit(0));
say('ready', {});
