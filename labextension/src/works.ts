import type { ILoopEvent } from './state';
import type { Loop } from './tokens';

/** What this page does to a loop, until the server answers. */
export interface IWork {
  readonly id: string;
  /** The events that come of it. */
  readonly own: readonly ILoopEvent['action'][];
  /** The state that was heard of last meanwhile, which somebody else may have brought about. */
  heard?: Loop['state'];
}

/** What this page is doing to loops. */
export class Works {
  begin(id: string, own: IWork['own']): IWork {
    const work = { id, own };
    this._works.add(work);
    return work;
  }

  end(work: IWork): void {
    this._works.delete(work);
  }

  /**
   * Takes an event.
   *
   * @param event - What the server says.
   * @returns Whether the answer that is under way will say the same.
   */
  hear(event: ILoopEvent): boolean {
    const own = [...this._works].filter(
      work => work.id === event.loop_id && work.own.includes(event.action)
    );
    if (event.action === 'state' && event.state !== undefined) {
      for (const work of own) {
        work.heard = event.state;
      }
    }
    return own.length > 0;
  }

  private _works = new Set<IWork>();
}
