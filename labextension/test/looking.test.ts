import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  expect,
  it,
  vi
} from 'vitest';

import { look } from '../src/looking';

const page = { hidden: false };
beforeAll(() => {
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('document', page);
});
afterAll(() => {
  vi.unstubAllGlobals();
});
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Looks every second; questions are answered when the test says so. */
function looked(isAtOnce = true) {
  const seen = {
    asked: [] as AbortSignal[],
    heard: [] as string[],
    answer: (() => undefined) as (answer: string) => void,
    refuse: () => undefined as void,
    end: () => undefined as void
  };
  const looking = look<string>({
    ask: signal => {
      seen.asked.push(signal);
      return new Promise((resolve, reject) => {
        seen.answer = resolve;
        seen.refuse = () => reject(new Error('away'));
      });
    },
    hear: answer => seen.heard.push(answer),
    fail: () => seen.heard.push('failed'),
    pauseMs: 1000,
    isAtOnce
  });
  seen.end = () => looking.dispose();
  return seen;
}

it('asks one question at a time, and goes on after one that failed', async () => {
  const seen = looked();
  await vi.advanceTimersByTimeAsync(5000);
  expect(seen.asked).toHaveLength(1);
  seen.refuse();
  await vi.advanceTimersByTimeAsync(1000);
  seen.answer('b');
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen.asked).toHaveLength(3);
  expect(seen.heard).toEqual(['failed', 'b']);
  seen.end();
});

it('waits before it asks where the answer is known', async () => {
  const seen = looked(false);
  await vi.advanceTimersByTimeAsync(999);
  expect(seen.asked).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(seen.asked).toHaveLength(1);
  seen.end();
});

it('asks nothing while nobody sees the page', async () => {
  page.hidden = true;
  const seen = looked();
  await vi.advanceTimersByTimeAsync(5000);
  expect(seen.asked).toHaveLength(0);
  page.hidden = false;
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen.asked).toHaveLength(1);
  seen.end();
});

it.each(['answer', 'refuse'] as const)(
  'does not hear what comes after its end: %s',
  async how => {
    const seen = looked();
    seen.end();
    expect(seen.asked[0]?.aborted).toBe(true);
    seen[how]('late');
    await vi.advanceTimersByTimeAsync(5000);
    expect(seen.asked).toHaveLength(1);
    expect(seen.heard).toEqual([]);
  }
);
