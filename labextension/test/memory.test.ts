import { expect, it } from 'vitest';

import type { IThing } from '../src/memory';
import { LATE_MS, Memory } from '../src/memory';

const kernel = (id: string, loopId = 'rain'): IThing => ({
  kind: 'kernels',
  id,
  loopId
});
const terminal: IThing = { kind: 'terminals', id: 't', loopId: 'rain' };

it('what was gone a moment before its loop was stopped ended with it, once', () => {
  let now = 0;
  const memory = new Memory(() => now);
  memory.see([kernel('a'), kernel('b'), terminal, kernel('c', 'snow')]);
  now = 3_600_000;
  memory.see([kernel('a'), kernel('b'), kernel('c', 'snow')]);
  now += LATE_MS;
  memory.see([kernel('c', 'snow')]);
  expect(memory.end('rain')).toEqual({ kernels: 2, terminals: 1 });
  expect(memory.end('rain')).toEqual({ kernels: 0, terminals: 0 });
  expect(memory.end('snow')).toEqual({ kernels: 1, terminals: 0 });
});

it('what was closed long before did not', () => {
  let now = 0;
  const memory = new Memory(() => now);
  memory.see([terminal]);
  memory.see([]);
  now = LATE_MS + 1;
  memory.see([]);
  expect(memory.end('rain')).toEqual({ kernels: 0, terminals: 0 });
});

it('what is open again is there', () => {
  let now = 0;
  const memory = new Memory(() => now);
  memory.see([terminal]);
  memory.see([]);
  memory.see([terminal]);
  now = LATE_MS + 1;
  memory.see([terminal]);
  expect(memory.end('rain')).toEqual({ kernels: 0, terminals: 1 });
});
