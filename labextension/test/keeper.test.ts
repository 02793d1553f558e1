import {
  afterAll,
  afterEach,
  beforeEach,
  describe,
  expect,
  it,
  vi
} from 'vitest';

import { LoopError } from '../src/api';
import { Keeper } from '../src/keeper';
import type { Loop } from '../src/tokens';
import { loop } from './samples';

vi.stubGlobal('window', globalThis);
vi.stubGlobal('document', {
  hidden: false,
  addEventListener: () => undefined,
  removeEventListener: () => undefined
});
afterAll(() => {
  vi.unstubAllGlobals();
});

/** A server whose list comes when the test says so. */
class Server {
  asked: string[] = [];
  answer: (loops: Loop[]) => void = () => undefined;
  first: ((loops: Loop[]) => void) | undefined;
  refusals = new Map<string, LoopError>();

  loops(_: boolean, onFirst?: (loops: Loop[]) => void): Promise<Loop[]> {
    this.asked.push('loops');
    this.first = onFirst;
    const refusal = this.refusals.get('loops');
    if (refusal !== undefined) {
      return Promise.reject(refusal);
    }
    return new Promise(resolve => (this.answer = resolve));
  }

  offered<T>(): Promise<T[]> {
    return Promise.resolve([]);
  }

  call<T>(_: string, path: string): Promise<T> {
    this.asked.push(path);
    const refusal = this.refusals.get(path);
    if (refusal !== undefined) {
      return Promise.reject(refusal);
    }
    return Promise.resolve(
      (path === 'health' ? { ok: true, checks: [] } : loop()) as T
    );
  }
}

const ids = (keeper: Keeper) => keeper.lists.loops.map(each => each.id);

describe('a list that takes long', () => {
  it('does not bring back a loop that was deleted meanwhile', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    const done = keeper.fresh();
    await vi.waitFor(() => expect(server.first).toBeDefined());
    server.first?.([loop({ id: 'a' }), loop({ id: 'b' })]);
    keeper.hear({ action: 'deleted', loop_id: 'a' });
    keeper.forget('b');
    server.answer([loop({ id: 'a' }), loop({ id: 'b' }), loop({ id: 'c' })]);
    await done;
    expect(ids(keeper)).toEqual(['c']);
  });

  it('keeps a loop that was made or changed meanwhile', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    const done = keeper.fresh();
    await vi.waitFor(() => expect(server.asked).toContain('loops'));
    keeper.put(loop({ id: 'new' }));
    keeper.put(loop({ id: 'a', title: 'Snow' }));
    server.answer([loop({ id: 'a', title: 'Rain' })]);
    await done;
    expect(ids(keeper).sort()).toEqual(['a', 'new']);
    expect(keeper.lists.loops.find(each => each.id === 'a')?.title).toBe(
      'Snow'
    );
  });

  it('does not undo the next list', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    let done = keeper.fresh();
    await vi.waitFor(() => expect(server.asked).toHaveLength(1));
    keeper.put(loop({ id: 'a', title: 'Snow' }));
    server.answer([]);
    await done;
    done = keeper.refresh();
    await vi.waitFor(() => expect(server.asked).toHaveLength(2));
    server.answer([loop({ id: 'a', title: 'Ice' })]);
    await done;
    expect(keeper.lists.loops[0].title).toBe('Ice');
  });
});

describe('titles that several loops have', () => {
  it('are of both lists, and reckoned once while these stay the same', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    let done = keeper.fresh();
    await vi.waitFor(() => expect(server.asked).toContain('loops'));
    server.answer([loop({ id: 'a' }), loop({ id: 'b', title: 'Snow' })]);
    await done;
    expect([...keeper.repeated]).toEqual([]);
    expect(keeper.repeated).toBe(keeper.repeated);
    done = keeper.showArchived();
    keeper.put(loop({ id: 'c', archived: true }));
    expect([...keeper.repeated]).toEqual(['Rain']);
  });
});

describe('what is out of date', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is asked for while somebody looks, and not otherwise', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    keeper.stale('a');
    await vi.runAllTimersAsync();
    expect(server.asked).toEqual([]);
    keeper.watch(true);
    await vi.advanceTimersByTimeAsync(1000);
    server.answer([loop()]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.asked).toEqual(['loops']);
    keeper.stale('a');
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.asked).toEqual(['loops', 'loops/a']);
    keeper.dispose();
  });

  it.each([
    [30_000, 30_000],
    [1, 5000],
    [1e12, 86_400_000]
  ])('with a pause of %i ms is asked for after %i', async (pause, after) => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    keeper.watch(true);
    await vi.advanceTimersByTimeAsync(0);
    server.answer([loop()]);
    await vi.advanceTimersByTimeAsync(0);
    keeper.pollMs = pause;
    await vi.advanceTimersByTimeAsync(after - 1);
    expect(server.asked).toEqual(['loops']);
    await vi.advanceTimersByTimeAsync(2);
    expect(server.asked).toEqual(['loops', 'loops']);
    // Nobody looks.
    keeper.watch(false);
    server.answer([loop()]);
    await vi.advanceTimersByTimeAsync(after * 2);
    expect(server.asked).toEqual(['loops', 'loops']);
    keeper.dispose();
  });

  it('is told of one loop that cannot be read, which is asked for again', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    keeper.watch(true);
    await vi.advanceTimersByTimeAsync(0);
    server.answer([loop({ id: 'a' }), loop({ id: 'b' })]);
    await vi.advanceTimersByTimeAsync(0);
    const refusal = new LoopError('Its record is broken.', 500, 'internal');
    server.refusals.set('loops/a', refusal);
    keeper.stale('a');
    await vi.advanceTimersByTimeAsync(200);
    expect(ids(keeper)).toEqual(['a', 'b']);
    expect(keeper.condition).toEqual({ kind: 'ready' });
    expect([...keeper.unread]).toEqual([['a', 'Its record is broken.']]);
    // Meanwhile others are asked for as soon as ever.
    keeper.stale('b');
    await vi.advanceTimersByTimeAsync(200);
    expect(server.asked).toEqual(['loops', 'loops/a', 'loops/b']);
    server.refusals.clear();
    await vi.advanceTimersByTimeAsync(5200);
    expect(server.asked).toEqual(['loops', 'loops/a', 'loops/b', 'loops/a']);
    expect(keeper.unread.size).toBe(0);
    keeper.dispose();
  });

  it('is asked for ever less often where the server does not know loops', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    keeper.pollMs = 0;
    const absent = new LoopError('It is off.', 404, 'absent');
    server.refusals.set('loops', absent);
    keeper.watch(true);
    await vi.advanceTimersByTimeAsync(100);
    expect(keeper.condition).toEqual({
      kind: 'unreachable',
      message: 'It is off.'
    });
    await vi.advanceTimersByTimeAsync(3_600_000);
    const count = server.asked.length;
    expect(count).toBeLessThan(20);
    server.refusals.clear();
    const done = keeper.refresh();
    await vi.advanceTimersByTimeAsync(0);
    server.answer([loop()]);
    await done;
    expect(keeper.condition).toEqual({ kind: 'ready' });
    keeper.dispose();
  });

  it('is never asked for without a reason where that is wanted', async () => {
    const server = new Server();
    const keeper = new Keeper(server, () => undefined);
    keeper.pollMs = 0;
    keeper.watch(true);
    await vi.advanceTimersByTimeAsync(0);
    server.answer([loop()]);
    await vi.advanceTimersByTimeAsync(1e9);
    expect(server.asked).toEqual(['loops']);
    keeper.dispose();
  });
});
