import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import type { Woken } from '../src/waking';
import { AGAIN_MS, ATTEMPTS, wake } from '../src/waking';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A kernel that is heard after it was asked a number of times, and loses its connection after another one. */
function silent(heard: number, lost = Infinity): Woken & { asked: number } {
  const kernel = {
    asked: 0,
    connectionStatus: 'connected',
    requestIsComplete(): Promise<never> {
      kernel.asked += 1;
      if (kernel.asked === heard) {
        iopubMessage.emit({});
      }
      if (kernel.asked === lost) {
        kernel.connectionStatus = 'connecting';
      }
      return new Promise(() => undefined);
    }
  };
  const iopubMessage = new Signal<object, object>(kernel);
  return Object.assign(kernel, { iopubMessage }) as unknown as Woken & {
    asked: number;
  };
}

it.each([
  ['is asked once where that is heard', silent(1), 1],
  ['is asked again where nothing is heard', silent(3), 3],
  ['is left alone while it is not connected', silent(5, 2), 2],
  ['that never speaks is given up', silent(Infinity), ATTEMPTS]
])('a kernel %s', async (_, kernel, times) => {
  const woken = wake(kernel);
  await vi.advanceTimersByTimeAsync(2 * ATTEMPTS * AGAIN_MS);
  await woken;
  expect(kernel.asked).toBe(times);
});
