import { expect, test } from 'vitest';

import { Once } from '../src/once';

/** Asks for something under a key; it ends when the test says so. */
function asking() {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const ask = new Once().each(
    ([key]: [string | undefined, string]) => key,
    ([, does]) => {
      begun.push(does);
      return new Promise<string>(resolve => ends.push(() => resolve(does)));
    }
  );
  return { ask, begun, end: () => ends.forEach(end => end()) };
}

test('what is asked for twice is done once, and again when it has ended', async () => {
  const { ask, begun, end } = asking();
  const both = Promise.all([ask(['a', 'first']), ask(['a', 'second'])]);
  const other = ask(['b', 'other']);
  expect(begun).toEqual(['first', 'other']);
  end();
  expect(await both).toEqual(['first', 'first']);
  expect(await other).toBe('other');
  const again = ask(['a', 'third']);
  end();
  expect(await again).toBe('third');
});

test('what has no key is done each time', async () => {
  const { ask, end } = asking();
  const both = Promise.all([
    ask([undefined, 'first']),
    ask([undefined, 'second'])
  ]);
  end();
  expect(await both).toEqual(['first', 'second']);
});

test('what failed can be asked for again', async () => {
  let count = 0;
  const fail = new Once().each(
    () => 'a',
    () => Promise.reject(new Error(`full ${++count}`))
  );
  await expect(fail(0)).rejects.toThrow('full 1');
  await expect(fail(0)).rejects.toThrow('full 2');
});
