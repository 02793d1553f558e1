import type { Loop } from './tokens';

/** How long what is gone may have ended with a stop that is heard of only now: a server looks every second. */
export const LATE_MS = 10_000;

/** A kernel or terminal that is open in a page. */
export interface IThing {
  kind: 'kernels' | 'terminals';
  id: string;
  loopId: string;
}

/** Remembers what is open in a page, a little longer than it is: what ends with a sandbox goes before that is told. */
export class Memory {
  /** @param _now - Tells the time, in milliseconds. */
  constructor(private _now: () => number = Date.now) {}

  /** Takes all that is open in loops that run. */
  see(open: readonly IThing[]): void {
    const now = this._now();
    const ids = new Set(open.map(({ id }) => id));
    for (const [id, { thing, goneAt }] of this._things) {
      if (goneAt !== undefined && now - goneAt > LATE_MS) {
        this._things.delete(id);
      } else if (!ids.has(id)) {
        this._things.set(id, { thing, goneAt: goneAt ?? now });
      }
    }
    for (const thing of open) {
      this._things.set(thing.id, { thing, goneAt: undefined });
    }
  }

  /** What a stop of a loop ended; it is forgotten. */
  end(loopId: string): Pick<Loop['in_use'], IThing['kind']> {
    const ended = { kernels: 0, terminals: 0 };
    for (const [id, { thing }] of this._things) {
      if (thing.loopId === loopId) {
        ended[thing.kind] += 1;
        this._things.delete(id);
      }
    }
    return ended;
  }

  private _things = new Map<
    string,
    { thing: IThing; goneAt: number | undefined }
  >();
}
