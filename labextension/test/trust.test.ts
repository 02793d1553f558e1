import { describe, expect, it } from 'vitest';

import type { Known } from '../src/trust';
import { originsOfKernel, trustOf } from '../src/trust';
import type { Loop } from '../src/tokens';
import { loop } from './samples';

const STRICT = loop({
  id: '0a1b2c3d-1',
  folder: 'r-0a1b2c3d',
  isolation: 'strict'
});
const NESTED = loop({
  id: 'deadbeef-1',
  folder: 'd-deadbeef',
  isolation: 'nested'
});

function known(loops: Loop[], kind: 'ready' | 'loading' = 'ready'): Known {
  return {
    loops,
    condition: { kind },
    ofPath: path => loops.find(each => path.startsWith(`loops:${each.folder}/`))
  };
}

describe('what is shown', () => {
  const outside = { isInside: false, loop: undefined };
  const strict = { isInside: true, loop: STRICT };
  const nested = { isInside: true, loop: NESTED };
  const unknown = { isInside: true, loop: undefined };

  it.each([
    [[], 'labs'],
    [[outside], 'labs'],
    [[outside, nested], 'labs'],
    [[nested, unknown], 'unknown'],
    [[nested, strict], 'none'],
    [[unknown, strict], 'none']
  ] as const)(
    'is trusted as all that it may come from: %#',
    (origins, trust) => {
      expect(trustOf(origins)).toBe(trust);
    }
  );
});

describe('a kernel', () => {
  const sessions = [
    { path: 'r-0a1b2c3d/a.ipynb', kernel: { id: 'k', name: 'python3' } },
    { path: 'elsewhere.ipynb', kernel: { id: 'k', name: 'python3' } },
    { path: 'd-deadbeef/b.ipynb', kernel: { id: 'other', name: 'python3' } },
    { path: 'c.ipynb', kernel: null }
  ];
  const of = (name: string, loops: Known, running = sessions) =>
    trustOf(originsOfKernel({ id: 'k', name }, running, loops));
  const both = known([STRICT, NESTED]);

  it('is of the loop in whose folder another document uses it', () => {
    expect(of('python3', both)).toBe('none');
    expect(of('python3', both, sessions.slice(1))).toBe('labs');
  });

  it('is of the loop that holds the server’s own folder, whatever a folder there is called', () => {
    const within: Known = {
      ...both,
      ofPath: path => (path.startsWith('loops:') ? undefined : STRICT)
    };
    const kernel = { id: 'k', name: 'python3' };
    const dated = [{ path: 'run-20240115/a.ipynb', kernel }];
    expect(of('python3', within, dated)).toBe('none');
  });

  it('may be of a loop that is not known yet', () => {
    expect(of('python3', known([], 'loading'))).toBe('unknown');
    // A folder of that name need not be a loop.
    expect(of('python3', known([]))).toBe('labs');
  });

  it.each([
    ['loop-rain-0a1b2c3d-python3', 'none'],
    ['loop--0a1b2c3d-ir', 'none'],
    ['loop-a-deadbeef-0a1b2c3d-python3', 'none'],
    ['loop-rain-deadbeef-python3', 'labs'],
    // Of another workspace.
    ['loop-rain-12345678-python3', 'unknown'],
    ['loopback-0a1b2c3d-python3', 'labs'],
    ['python3', 'labs']
  ])('is of the loop that its name says: %s', (name, trust) => {
    expect(of(name, both, [])).toBe(trust);
  });
});
