import { LoopError, messageOf } from './api';
import type { Client } from './client';
import type { ILists, ILoopEvent } from './state';
import { drop, put, reduce } from './state';
import type { Agent, Condition, Health, Loop } from './tokens';
import { repeated } from './words';

/** Events come in bursts; what is out of date is asked for once they have paused for this long. */
const GATHER_MS = 100;
/** Pause before an unreachable server is asked again. */
const RETRY_MS = 5000;
/** The longest pause before a server is asked again that does not know loops at all. */
const MOST_RETRY_MS = 320_000;
/** With more loops than this out of date, one list is cheaper than each by itself. */
const FEW = 5;
/** How long no event may come before the server is asked anyway. */
const POLL_MS = 60_000;
/** Asking more often would only burden the server. */
const LEAST_POLL_MS = 5000;
/** A day; browsers end a pause of many days at once. */
const MOST_POLL_MS = 86_400_000;

/** Whether a failure is about the server as a whole, whatever it was asked for. */
function isOfServer(error: LoopError): boolean {
  return error.status === 0 || ['login', 'absent'].includes(error.reason);
}

type Change = (lists: ILists) => ILists;

/** What is known of the loops, and when the server is asked for what is not known any more. */
export class Keeper {
  /**
   * @param _client - Asks the server.
   * @param _onChange - Told when anything of it has changed.
   */
  constructor(
    private _client: Pick<Client, 'call' | 'loops' | 'offered'>,
    private _onChange: () => void
  ) {
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  get lists(): ILists {
    return this._lists;
  }

  /** Titles that several loops have; reckoned once for as long as the lists stay the same. */
  get repeated(): ReadonlySet<string> {
    if (this._titles?.of !== this._lists) {
      const { loops, archived } = this._lists;
      const found = repeated([...loops, ...(archived ?? [])]);
      this._titles = { of: this._lists, found };
    }
    return this._titles.found;
  }

  /** Why loops could not be asked for anew, by id: what is known of them may be old. */
  get unread(): ReadonlyMap<string, string> {
    return this._unread;
  }

  get agents(): readonly Agent[] {
    return this._agents;
  }

  get condition(): Condition {
    return this._condition;
  }

  /** Milliseconds without an event after which the server is asked anyway, from 5 s to a day; 0 for never. */
  set pollMs(value: number) {
    this._pollMs =
      value > 0
        ? Math.min(Math.max(value, LEAST_POLL_MS), MOST_POLL_MS)
        : value;
    this._schedulePoll();
  }

  dispose(): void {
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    window.clearTimeout(this._poll);
    window.clearTimeout(this._again);
    document.removeEventListener('visibilitychange', this._onVisibility);
  }

  /** Somebody begins to look, or ceases to. */
  watch(isLooking: boolean): void {
    this._watchers += isLooking ? 1 : -1;
    this._soon(0);
    this._schedulePoll();
  }

  fresh(): Promise<void> {
    // Whoever asks while a question is under way gets the answer to a later one.
    this._asking = this._asking.then(() => this._ask());
    return this._asking;
  }

  refresh(): Promise<void> {
    this._isAllStale = true;
    return this.fresh();
  }

  async showArchived(): Promise<void> {
    if (this._lists.archived === null) {
      this._change(lists => ({ ...lists, archived: lists.archived ?? [] }));
      await this.refresh();
    }
  }

  /** A loop as the server just showed it. */
  put(loop: Loop): void {
    this._stale.delete(loop.id);
    this._unread.delete(loop.id);
    this._change(lists => put(lists, loop));
  }

  /** A loop is not there any more. */
  forget(id: string): void {
    this._stale.delete(id);
    this._unread.delete(id);
    this._change(lists => drop(lists, id));
  }

  /** Loops are out of date: they are asked for a little later, if anybody looks. */
  stale(...ids: string[]): void {
    ids.forEach(id => this._stale.add(id));
    this._soon();
  }

  /** Everything is out of date. */
  staleAll(): void {
    this._isAllStale = true;
    this._soon();
  }

  /**
   * Takes what the server says of itself.
   *
   * @param event - What it says.
   * @returns Whether the loop has to be asked for.
   */
  hear(event: ILoopEvent): boolean {
    this._schedulePoll();
    if (this._isAllStale) {
      // Everything will be asked for anyway.
      this._soon();
      return false;
    }
    const { lists, ask } = reduce(this._lists, event);
    if (lists !== this._lists) {
      this._change(before => reduce(before, event).lists);
    }
    if (event.action === 'deleted') {
      this._stale.delete(event.loop_id);
      this._unread.delete(event.loop_id);
    }
    return ask;
  }

  private get _isLooking(): boolean {
    return this._watchers > 0 && !document.hidden && !this._isDisposed;
  }

  /** Changes what is known; a list that is just being loaded may not know of it yet. */
  private _change(change: Change): void {
    this._meanwhile?.push(change);
    this._lists = change(this._lists);
    this._onChange();
  }

  /** Takes lists from the server, with what changed since they were asked for. */
  private _take(lists: ILists): void {
    const meanwhile = this._meanwhile ?? [];
    this._lists = meanwhile.reduce((done, next) => next(done), lists);
  }

  /** Asks the server for what is out of date. */
  private async _ask(): Promise<void> {
    if (this._isDisposed || (!this._isAllStale && this._stale.size === 0)) {
      return;
    }
    window.clearTimeout(this._timer);
    this._timer = undefined;
    const ids = [...this._stale];
    const all = this._isAllStale || ids.length > FEW;
    this._isAllStale = false;
    this._stale.clear();
    this._meanwhile = [];
    try {
      if (all) {
        await this._load();
      } else {
        await Promise.all(ids.map(id => this._loadOne(id)));
      }
    } catch (error) {
      await this._explain(error);
    }
    this._meanwhile = undefined;
    this._schedulePoll();
    this._onChange();
  }

  private async _load(): Promise<void> {
    const isFirst = this._condition.kind === 'loading';
    const [loops, agents] = await Promise.all([
      this._client.loops(false, isFirst ? this._showFirst : undefined),
      this._client.offered<Agent>('agents')
    ]);
    this._agents = agents;
    const archived =
      this._lists.archived === null ? null : await this._client.loops(true);
    this._take({ loops, archived });
    this._unread.clear();
    this._pauseMs = RETRY_MS;
    this._condition = await this._judge();
  }

  /** Shows the newest loops before the others have come: a thousand take the server its time. */
  private _showFirst = (loops: Loop[]): void => {
    if (loops.length > 0) {
      this._take({ ...this._lists, loops });
      this._condition = { kind: 'ready' };
      this._onChange();
    }
  };

  private async _loadOne(id: string): Promise<void> {
    try {
      const loop = await this._client.call<Loop>('GET', `loops/${id}`);
      this._unread.delete(id);
      this._take(put(this._lists, loop));
    } catch (error) {
      if (!(error instanceof LoopError) || isOfServer(error)) {
        throw error;
      }
      if (error.status === 404) {
        this.forget(id);
        return;
      }
      // The others are as well as before: this one alone is marked, and asked for again.
      this._unread.set(id, error.sentence);
      window.clearTimeout(this._again);
      this._again = window.setTimeout(
        () => this.stale(...this._unread.keys()),
        RETRY_MS
      );
    }
  }

  /** An empty list may be a machine on which nothing can run: whoever starts here is told what is missing. */
  private async _judge(): Promise<Condition> {
    if (this._lists.loops.length === 0) {
      const health = await this._client.call<Health>('GET', 'health');
      if (!health.ok) {
        return { kind: 'unusable', health };
      }
    }
    return { kind: 'ready' };
  }

  /** Why there is no list: the machine lacks something, or the server does not answer. */
  private async _explain(error: unknown): Promise<void> {
    const message = messageOf(error);
    this._isAllStale = true;
    if (error instanceof LoopError && error.reason === 'login') {
      // Asking again would only fill the server's log.
      this._condition = { kind: 'refused', message };
      return;
    }
    this._condition = { kind: 'unreachable', message };
    if (error instanceof LoopError && error.status >= 500) {
      try {
        const health = await this._client.call<Health>('GET', 'health');
        if (!health.ok) {
          this._condition = { kind: 'unusable', health };
        }
      } catch {
        // The first answer stands.
      }
    }
    if (!(error instanceof LoopError) || error.reason !== 'absent') {
      this._soon(RETRY_MS);
      return;
    }
    // Somebody has to set the server right, which may take a while.
    this._soon(this._pauseMs);
    this._pauseMs = Math.min(2 * this._pauseMs, MOST_RETRY_MS);
  }

  /** Asks for what is out of date, a little later, if anybody looks. */
  private _soon(delay = GATHER_MS): void {
    const isNothing = !this._isAllStale && this._stale.size === 0;
    if (isNothing || !this._isLooking || this._timer !== undefined) {
      return;
    }
    this._timer = window.setTimeout(() => {
      this._timer = undefined;
      if (this._isLooking) {
        void this.fresh();
      }
    }, delay);
  }

  private _schedulePoll(): void {
    window.clearTimeout(this._poll);
    if (this._pollMs > 0 && this._isLooking) {
      this._poll = window.setTimeout(() => {
        // A server that refuses this page would refuse it again.
        if (this._condition.kind !== 'refused') {
          this._isAllStale = true;
          this._soon(0);
        }
      }, this._pollMs);
    }
  }

  private _onVisibility = (): void => {
    this._soon(0);
    this._schedulePoll();
  };

  private _lists: ILists = { loops: [], archived: null };
  private _titles: { of: ILists; found: ReadonlySet<string> } | undefined;
  private _agents: readonly Agent[] = [];
  private _condition: Condition = { kind: 'loading' };
  /** What changed since the server was asked, whose answer may be older; undefined while nothing is asked. */
  private _meanwhile: Change[] | undefined;
  /** Everything is out of date; at first nothing is known. */
  private _isAllStale = true;
  /** Ids of loops that are out of date. */
  private _stale = new Set<string>();
  private _unread = new Map<string, string>();
  private _watchers = 0;
  private _pollMs = POLL_MS;
  private _asking: Promise<void> = Promise.resolve();
  private _timer: number | undefined;
  private _poll: number | undefined;
  private _again: number | undefined;
  /** Before a server that does not know loops is asked again. */
  private _pauseMs = RETRY_MS;
  private _isDisposed = false;
}
