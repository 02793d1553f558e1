import type { Event, ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { DisposableDelegate } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import { LoopError } from './api';
import { Client } from './client';
import { drivePath, folderOf } from './paths';
import type { ILists, ILoopEvent } from './state';
import { drop, find, put, reduce } from './state';
import type {
  Agent,
  Condition,
  Health,
  IChoices,
  ILoopManager,
  ILoopNotice,
  IProfile,
  IRepo,
  IVault,
  Loop,
  LoopChanges,
  NewLoop,
  TerminalOptions,
  Usage
} from './tokens';

const NONE: readonly Loop[] = [];
const SCHEMA = 'urn:loopat:event:loop:v1';
/** Events come in bursts; what is out of date is asked for once they have paused for this long. */
const GATHER_MS = 100;
/** Pause before an unreachable server is asked again. */
const RETRY_MS = 5000;
/** With more loops than this out of date, one list is cheaper than each by itself. */
const FEW = 5;
/** How long no event may come before the server is asked anyway. */
const POLL_MS = 60_000;

/** What this page does to a loop, and the events that come of it. */
interface IWork {
  id: string;
  own: readonly ILoopEvent['action'][];
}

const CHANGES: IWork['own'] = ['updated', 'state'];
const STEPS: IWork['own'] = ['state', 'warning', 'failed'];

/** Keeps the loops of one server, as its event stream tells of them, while anybody looks. */
export class LoopManager implements ILoopManager {
  /**
   * @param _services - Of the application.
   * @param trans - Translates what the server cannot say itself.
   */
  constructor(
    private _services: ServiceManager.IManager,
    trans: TranslationBundle
  ) {
    this._client = new Client(_services.serverSettings, trans);
    _services.events.stream.connect(this._onEvent, this);
    _services.sessions.runningChanged.connect(this._onRunning, this);
    _services.terminals.runningChanged.connect(this._onRunning, this);
    // A server that was started again is a new one, whose loops may have changed.
    _services.connectionFailure.connect(this._onFailure, this);
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  get loops(): readonly Loop[] {
    return this._lists.loops;
  }

  get archived(): readonly Loop[] {
    return this._lists.archived ?? NONE;
  }

  get agents(): readonly Agent[] {
    return this._agents;
  }

  get condition(): Condition {
    return this._condition;
  }

  get changed(): ISignal<ILoopManager, void> {
    return this._changed;
  }

  get noticed(): ISignal<ILoopManager, ILoopNotice> {
    return this._noticed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Milliseconds without an event after which the server is asked anyway; 0 for never. */
  set pollMs(value: number) {
    this._pollMs = value;
    this._schedulePoll();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    window.clearTimeout(this._poll);
    document.removeEventListener('visibilitychange', this._onVisibility);
    Signal.clearData(this);
  }

  find(id: string): Loop | undefined {
    return find(this._lists, id);
  }

  ofPath(path: string): Loop | undefined {
    const folder = folderOf(path);
    return this.loops.find(loop => loop.folder === folder);
  }

  pathOf(loop: Loop): string {
    return drivePath(loop.folder);
  }

  watch(): IDisposable {
    this._watchers += 1;
    this._soon(0);
    this._schedulePoll();
    return new DisposableDelegate(() => {
      this._watchers -= 1;
      this._schedulePoll();
    });
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
      this._lists = { ...this._lists, archived: [] };
      await this.refresh();
    }
  }

  async choices(): Promise<IChoices> {
    const [repos, vaults, profiles] = await Promise.all([
      this._client.offered<IRepo>('repos'),
      this._client.offered<IVault>('vaults'),
      this._client.offered<IProfile>('profiles')
    ]);
    return { repos, vaults, profiles };
  }

  async create(options: NewLoop): Promise<Loop> {
    this._creating += 1;
    try {
      return this._put(await this.call<Loop>('POST', 'loops', options));
    } finally {
      this._creating -= 1;
      this._soon();
    }
  }

  change(id: string, changes: LoopChanges): Promise<Loop> {
    return this._verb(id, 'PATCH', '', changes);
  }

  start(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/start');
  }

  stop(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/stop');
  }

  recreate(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/recreate');
  }

  cancel(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/cancel');
  }

  async remove(id: string, force = false): Promise<void> {
    try {
      await this.call('DELETE', `loops/${id}${force ? '?force=true' : ''}`);
    } catch (error) {
      this._forgetMissing(id, error);
      throw error;
    }
    this._forget(id);
  }

  async openTerminal(
    id: string,
    options: TerminalOptions = {}
  ): Promise<string> {
    const model = await this.call<{ name: string }>(
      'POST',
      `loops/${id}/terminals`,
      options
    );
    await this._services.terminals.refreshRunning();
    return model.name;
  }

  call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this._client.call<T>(method, path, body);
  }

  usage(id: string): Promise<Usage> {
    return this.call<Usage>('GET', `loops/${id}/usage`);
  }

  buildLog(id: string): Promise<string> {
    return this.call<string>('GET', `loops/${id}/build-log`);
  }

  private get _isLooking(): boolean {
    return this._watchers > 0 && !document.hidden && !this._isDisposed;
  }

  /** Does something to a loop. Its answer is the loop, so the events on the way need not be asked about. */
  private async _verb(
    id: string,
    method: string,
    verb: string,
    body?: unknown
  ): Promise<Loop> {
    const work: IWork = { id, own: method === 'PATCH' ? CHANGES : STEPS };
    this._works.add(work);
    let answered = false;
    try {
      const loop = await this.call<Loop>(method, `loops/${id}${verb}`, body);
      answered = true;
      return this._put(loop);
    } catch (error) {
      this._forgetMissing(id, error);
      throw error;
    } finally {
      this._works.delete(work);
      if (!answered && this.find(id) !== undefined) {
        this._stale.add(id);
      }
      this._soon();
    }
  }

  /** Whether the answer that is under way will say what an event says. */
  private _isOwn(event: ILoopEvent): boolean {
    return [...this._works].some(
      work => work.id === event.loop_id && work.own.includes(event.action)
    );
  }

  private _forgetMissing(id: string, error: unknown): void {
    if (error instanceof LoopError && error.status === 404) {
      this._forget(id);
    }
  }

  private _forget(id: string): void {
    this._stale.delete(id);
    this._lists = drop(this._lists, id);
    this._changed.emit();
  }

  private _put(loop: Loop): Loop {
    this._stale.delete(loop.id);
    this._lists = put(this._lists, loop);
    this._changed.emit();
    return loop;
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
    try {
      if (all) {
        await this._load();
      } else {
        await Promise.all(ids.map(id => this._loadOne(id)));
      }
    } catch (error) {
      await this._explain(error);
    }
    this._schedulePoll();
    this._changed.emit();
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
    this._lists = { loops, archived };
    this._condition = await this._judge();
  }

  /** Shows the newest loops before the others have come: a thousand take the server its time. */
  private _showFirst = (loops: Loop[]): void => {
    if (loops.length > 0) {
      this._lists = { ...this._lists, loops };
      this._condition = { kind: 'ready' };
      this._changed.emit();
    }
  };

  private async _loadOne(id: string): Promise<void> {
    try {
      const loop = await this.call<Loop>('GET', `loops/${id}`);
      this._lists = put(this._lists, loop);
    } catch (error) {
      if (!(error instanceof LoopError) || error.status !== 404) {
        throw error;
      }
      this._lists = drop(this._lists, id);
    }
  }

  /** An empty list may be a machine on which nothing can run: whoever starts here is told what is missing. */
  private async _judge(): Promise<Condition> {
    if (this.loops.length === 0) {
      const health = await this.call<Health>('GET', 'health');
      if (!health.ok) {
        return { kind: 'unusable', health };
      }
    }
    return { kind: 'ready' };
  }

  /** Why there is no list: the machine lacks something, or the server does not answer. */
  private async _explain(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this._isAllStale = true;
    if (error instanceof LoopError && error.reason === 'login') {
      // Asking again would only fill the server's log.
      this._condition = { kind: 'refused', message };
      return;
    }
    this._condition = { kind: 'unreachable', message };
    if (error instanceof LoopError && error.status >= 500) {
      try {
        const health = await this.call<Health>('GET', 'health');
        if (!health.ok) {
          this._condition = { kind: 'unusable', health };
        }
      } catch {
        // The first answer stands.
      }
    }
    this._soon(RETRY_MS);
  }

  /** Asks for what is out of date, a little later, if anybody looks. */
  private _soon(delay = GATHER_MS): void {
    const isNothing = !this._isAllStale && this._stale.size === 0;
    if (
      isNothing ||
      !this._isLooking ||
      this._creating > 0 ||
      this._timer !== undefined
    ) {
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

  private _onFailure(): void {
    this._isAllStale = true;
    this._soon();
  }

  /** A kernel or terminal came or went: what runs in the loops may be something else now. */
  private _onRunning(): void {
    for (const loop of this.loops) {
      if (loop.state === 'running') {
        this._stale.add(loop.id);
      }
    }
    this._soon();
  }

  private _onEvent(_: Event.IManager, emission: Event.Emission): void {
    if (emission.schema_id !== SCHEMA) {
      return;
    }
    this._schedulePoll();
    const event = emission as unknown as ILoopEvent;
    const loop = this.find(event.loop_id);
    if (event.message && ['warning', 'failed'].includes(event.action)) {
      this._noticed.emit({
        loop,
        loopId: event.loop_id,
        level: event.action === 'failed' ? 'error' : 'warning',
        message: event.message
      });
    }
    if (this._isAllStale) {
      // Everything will be asked for anyway.
      this._soon();
      return;
    }
    const { lists, ask } = reduce(this._lists, event);
    if (lists !== this._lists) {
      this._lists = lists;
      this._changed.emit();
    }
    if (event.action === 'deleted') {
      this._stale.delete(event.loop_id);
    } else if (ask && !this._isOwn(event)) {
      this._stale.add(event.loop_id);
      this._soon();
    }
  }

  private _client: Client;
  private _lists: ILists = { loops: [], archived: null };
  private _agents: readonly Agent[] = [];
  private _condition: Condition = { kind: 'loading' };
  /** Everything is out of date; at first nothing is known. */
  private _isAllStale = true;
  /** Ids of loops that are out of date. */
  private _stale = new Set<string>();
  /** What this page is doing to loops. */
  private _works = new Set<IWork>();
  private _creating = 0;
  private _watchers = 0;
  private _pollMs = POLL_MS;
  private _asking: Promise<void> = Promise.resolve();
  private _timer: number | undefined;
  private _poll: number | undefined;
  private _isDisposed = false;
  private _changed = new Signal<ILoopManager, void>(this);
  private _noticed = new Signal<ILoopManager, ILoopNotice>(this);
}
