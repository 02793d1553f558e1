import type { IDisposable } from '@lumino/disposable';
import { DisposableDelegate } from '@lumino/disposable';

interface IOptions<T> {
  /** Asks once; the signal calls it off. */
  ask: (signal: AbortSignal) => Promise<T>;
  /** Gets each answer. */
  hear: (answer: T) => void;
  /** Told of each question that failed. */
  fail?: () => void;
  /** Between two questions, and before the first one unless it is asked at once; milliseconds. */
  pauseMs: number;
  isAtOnce?: boolean;
}

/**
 * Asks for something again and again while the page is seen, never while the question before is under way.
 *
 * @returns Ends it: what is under way is called off, and its answer is not heard.
 */
export function look<T>(options: IOptions<T>): IDisposable {
  const { ask, hear, fail, pauseMs, isAtOnce = false } = options;
  const calling = new AbortController();
  const { signal } = calling;
  let isAsking = false;
  const once = async () => {
    if (isAsking || document.hidden) {
      return;
    }
    isAsking = true;
    try {
      const answer = await ask(signal);
      if (!signal.aborted) {
        hear(answer);
      }
    } catch {
      // Whoever looks tells no failures: what was seen stays, or nothing is.
      if (!signal.aborted) {
        fail?.();
      }
    } finally {
      isAsking = false;
    }
  };
  if (isAtOnce) {
    void once();
  }
  const timer = window.setInterval(() => void once(), pauseMs);
  return new DisposableDelegate(() => {
    window.clearInterval(timer);
    calling.abort();
  });
}
