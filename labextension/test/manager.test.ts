import type { ServiceManager } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { LoopManager } from '../src/manager';
import type { ILoopEvent } from '../src/state';
import type { Loop } from '../src/tokens';
import { loop, trans } from './samples';

beforeEach(() => {
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('document', {
    hidden: false,
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
    cookie: ''
  });
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A page with one loop, and the server, whose answers to what changes something come when the test says so. */
async function made(state: Loop['state']) {
  const asked: string[] = [];
  const server = {
    loop: loop({ state }),
    answer: undefined as ((loop: Loop) => void) | undefined
  };
  const json = (body: unknown) =>
    new Response(JSON.stringify(body), {
      headers: { 'Content-Type': 'application/json' }
    });
  const fetch = ({ method, url }: Request): Promise<Response> => {
    const path = new URL(url).pathname.replace('/loopat/api/', '');
    asked.push(`${method} ${path}`);
    const body = path === 'loops' ? { loops: [server.loop], next: null } : {};
    return method === 'GET'
      ? Promise.resolve(json(path === 'loops/a' ? server.loop : body))
      : new Promise(resolve => {
          server.answer = answered => resolve(json(answered));
        });
  };
  const stream = new Signal<object, object>({});
  const refreshed: string[] = [];
  const running = (name: string) => ({
    runningChanged: new Signal({}),
    running: () => [],
    refreshRunning: () => Promise.resolve(refreshed.push(name))
  });
  const manager = new LoopManager(
    {
      serverSettings: {
        baseUrl: 'http://server/',
        fetch,
        init: {},
        token: '',
        Request,
        Headers
      },
      events: { stream },
      sessions: running('sessions'),
      terminals: running('terminals'),
      kernelspecs: {
        refreshSpecs: () => Promise.resolve(refreshed.push('kernelspecs'))
      },
      connectionFailure: new Signal({})
    } as unknown as ServiceManager.IManager,
    trans
  );
  const hear = (event: Partial<ILoopEvent>) =>
    stream.emit({
      schema_id: 'urn:loopat:event:loop:v1',
      loop_id: 'a',
      ...event
    });
  const settle = () => vi.advanceTimersByTimeAsync(1000);
  manager.watch();
  await settle();
  asked.length = 0;
  return { manager, server, asked, refreshed, hear, settle };
}

it('an answer that was overtaken by what somebody else did is not believed', async () => {
  const { manager, server, asked, hear, settle } = await made('stopped');
  const started = manager.start('a');
  await settle();
  hear({ action: 'state', state: 'running' });
  hear({ action: 'state', state: 'stopped' });
  expect(manager.find('a')?.state).toBe('stopped');
  server.answer?.(loop({ state: 'running' }));
  await started;
  await settle();
  expect(manager.find('a')?.state).toBe('stopped');
  expect(asked).toEqual(['POST loops/a/start', 'GET loops/a']);
});

it('an answer that says what the last event said needs no question', async () => {
  const { manager, server, asked, hear, settle } = await made('stopped');
  const started = manager.start('a');
  await settle();
  hear({ action: 'state', state: 'running' });
  server.answer?.(loop({ state: 'running' }));
  await started;
  await settle();
  expect(manager.find('a')?.state).toBe('running');
  expect(asked).toEqual(['POST loops/a/start']);
});

it('kernels of a loop that was deleted are not offered any more', async () => {
  const { refreshed, hear } = await made('running');
  hear({ action: 'state', state: 'stopped' });
  expect(refreshed).not.toContain('kernelspecs');
  hear({ action: 'deleted' });
  expect(refreshed).toContain('kernelspecs');
});

it('a stop is that of this page where it asked for one, whichever comes first', async () => {
  const { manager, server, hear, settle } = await made('running');
  const stops: boolean[] = [];
  manager.stopped.connect((_, { isOwn }) => stops.push(isOwn));
  let stopped = manager.stop('a');
  await settle();
  hear({ action: 'state', state: 'stopped' });
  server.answer?.(loop({ state: 'stopped' }));
  await stopped;
  expect(stops).toEqual([true, true]);
  stopped = manager.stop('a');
  await settle();
  server.answer?.(loop({ state: 'stopped' }));
  await stopped;
  // By then, what ended was told as this page's doing.
  hear({ action: 'state', state: 'stopped' });
  expect(stops.slice(2)).toEqual([true, false]);
});
