import { PageConfig } from '@jupyterlab/coreutils';
import type { Event, ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { DisposableDelegate } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import { LoopError } from './api';
import { Client } from './client';
import { Keeper } from './keeper';
import { drivePath, folderOf, idOf } from './paths';
import type { ILoopEvent } from './state';
import { find } from './state';
import type {
  Agent,
  Condition,
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
import type { IWork } from './works';
import { Works } from './works';

const NONE: readonly Loop[] = [];
const SCHEMA = 'urn:loopat:event:loop:v1';

/** A kernel that has lost its variables, and whose loop may not be known. */
export interface IRestart {
  kernelId: string;
  loop: Loop | undefined;
}

/** A sandbox that ended. */
export interface IStop {
  loop: Loop;
  /** Whether this page had it stopped. */
  isOwn: boolean;
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
    this._keeper = new Keeper(this._client, () => this._changed.emit());
    _services.events.stream.connect(this._onEvent, this);
    _services.sessions.runningChanged.connect(this._onRunning, this);
    _services.terminals.runningChanged.connect(this._onRunning, this);
    // A server that was started again is a new one, whose loops may have changed.
    _services.connectionFailure.connect(this._onFailure, this);
  }

  get loops(): readonly Loop[] {
    return this._keeper.lists.loops;
  }

  get archived(): readonly Loop[] {
    return this._keeper.lists.archived ?? NONE;
  }

  get repeated(): ReadonlySet<string> {
    return this._keeper.repeated;
  }

  get unread(): ReadonlyMap<string, string> {
    return this._keeper.unread;
  }

  get agents(): readonly Agent[] {
    return this._keeper.agents;
  }

  get condition(): Condition {
    return this._keeper.condition;
  }

  get changed(): ISignal<ILoopManager, void> {
    return this._changed;
  }

  get noticed(): ISignal<ILoopManager, ILoopNotice> {
    return this._noticed;
  }

  /** The server restarted a kernel, because the sandbox of its loop was recreated. */
  get restarted(): ISignal<LoopManager, IRestart> {
    return this._restarted;
  }

  /** A sandbox was stopped; told before the loop says so, and of what this page does perhaps twice. */
  get stopped(): ISignal<LoopManager, IStop> {
    return this._stopped;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Milliseconds without an event after which the server is asked anyway; 0 for never. */
  set pollMs(value: number) {
    this._keeper.pollMs = value;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._keeper.dispose();
    Signal.clearData(this);
  }

  find(id: string): Loop | undefined {
    return find(this._keeper.lists, id);
  }

  ofPath(path: string): Loop | undefined {
    const folder = folderOf(path);
    if (folder !== undefined) {
      return this.loops.find(loop => loop.folder === folder);
    }
    const id = idOf(path, this._root);
    return this.loops.find(loop => loop.id === id);
  }

  isInside(path: string): boolean {
    return folderOf(path) !== undefined || idOf(path, this._root) !== undefined;
  }

  pathOf(loop: Loop): string {
    return drivePath(loop.folder);
  }

  watch(): IDisposable {
    this._keeper.watch(true);
    return new DisposableDelegate(() => this._keeper.watch(false));
  }

  fresh(): Promise<void> {
    return this._keeper.fresh();
  }

  refresh(): Promise<void> {
    return this._keeper.refresh();
  }

  showArchived(): Promise<void> {
    return this._keeper.showArchived();
  }

  async choices(): Promise<IChoices> {
    const [repos, vaults, profiles, defaults] = await Promise.all([
      this._client.offered<IRepo>('repos'),
      this._client.offered<IVault>('vaults'),
      this._client.offered<IProfile>('profiles'),
      this._client.defaults()
    ]);
    return { repos, vaults, profiles, defaults };
  }

  async create(options: NewLoop, signal?: AbortSignal): Promise<Loop> {
    this._creating += 1;
    try {
      const call = this._client.call<Loop>('POST', 'loops', options, signal);
      return this._put(await call);
    } finally {
      this._creating -= 1;
      if (this._creating === 0) {
        const strange = [...this._newcomers].filter(id => !this.find(id));
        this._newcomers.clear();
        this._keeper.stale(...strange);
      }
    }
  }

  change(
    id: string,
    changes: LoopChanges,
    signal?: AbortSignal
  ): Promise<Loop> {
    return this._verb(id, 'PATCH', '', changes, signal);
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

  fetch(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/fetch');
  }

  cancel(id: string): Promise<Loop> {
    return this._verb(id, 'POST', '/cancel');
  }

  async remove(id: string, although?: 'end' | 'force'): Promise<void> {
    const query = although === undefined ? '' : `?${although}=true`;
    try {
      await this.call('DELETE', `loops/${id}${query}`);
    } catch (error) {
      this._forgetMissing(id, error);
      throw error;
    }
    this._keeper.forget(id);
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

  call<T>(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal
  ): Promise<T> {
    return this._client.call<T>(method, path, body, signal);
  }

  usage(id: string, signal?: AbortSignal): Promise<Usage> {
    return this.call<Usage>('GET', `loops/${id}/usage`, undefined, signal);
  }

  buildLog(id: string): Promise<string> {
    return this.call<string>('GET', `loops/${id}/build-log`);
  }

  /** Does something to a loop. Its answer is the loop, so the events on the way need not be asked about. */
  private async _verb(
    id: string,
    method: string,
    verb: string,
    body?: unknown,
    signal?: AbortSignal
  ): Promise<Loop> {
    const work = this._works.begin(id, method === 'PATCH' ? CHANGES : STEPS);
    let isLast = false;
    try {
      const path = `loops/${id}${verb}`;
      const loop = await this._client.call<Loop>(method, path, body, signal);
      // Somebody else may have done something after that answer was written.
      isLast = work.heard === undefined || work.heard === loop.state;
      if (loop.state === 'stopped') {
        this._stopped.emit({ loop, isOwn: true });
      }
      return this._put(loop);
    } catch (error) {
      this._forgetMissing(id, error);
      throw error;
    } finally {
      this._works.end(work);
      if (!isLast && this.find(id) !== undefined) {
        this._keeper.stale(id);
      }
    }
  }

  private _forgetMissing(id: string, error: unknown): void {
    if (
      error instanceof LoopError &&
      error.status === 404 &&
      error.reason !== 'absent'
    ) {
      this._keeper.forget(id);
    }
  }

  private _put(loop: Loop): Loop {
    this._keeper.put(loop);
    return loop;
  }

  private _onFailure(): void {
    this._keeper.staleAll();
  }

  /** A kernel or terminal came or went: what runs in the loops may be something else now. */
  private _onRunning(): void {
    const { sessions, terminals } = this._services;
    const inside = JSON.stringify([
      [...sessions.running()].map(({ path, kernel }) => [path, kernel?.id]),
      [...terminals.running()].map(({ name }) => name)
    ]);
    if (inside === this._inside) {
      // JupyterLab tells after each look at the terminals, every few seconds.
      return;
    }
    this._inside = inside;
    const running = this.loops.filter(loop => loop.state === 'running');
    this._keeper.stale(...running.map(loop => loop.id));
  }

  private _onEvent(_: Event.IManager, emission: Event.Emission): void {
    if (emission.schema_id !== SCHEMA) {
      return;
    }
    const event = emission as unknown as ILoopEvent;
    const isOwn = this._works.hear(event);
    const loop = this.find(event.loop_id);
    if (event.message && ['warning', 'failed'].includes(event.action)) {
      this._noticed.emit({
        loop,
        loopId: event.loop_id,
        level: event.action === 'failed' ? 'error' : 'warning',
        message: event.message
      });
    }
    if (event.kernel_id !== undefined) {
      this._restarted.emit({ kernelId: event.kernel_id, loop });
    }
    if (loop !== undefined && event.state === 'stopped') {
      this._stopped.emit({ loop, isOwn });
    }
    // JupyterLab would offer what ran there, which has ended, until it looks by itself.
    const { sessions, terminals, kernelspecs } = this._services;
    if (event.action === 'deleted' || event.state === 'stopped') {
      const looks = [sessions.refreshRunning(), terminals.refreshRunning()];
      void Promise.allSettled(looks);
    }
    if (event.action === 'deleted') {
      void Promise.allSettled([kernelspecs.refreshSpecs()]);
    }
    if (!this._keeper.hear(event) || isOwn) {
      return;
    }
    if (loop === undefined && this._creating > 0) {
      // Perhaps the loop that is just being made, whose answer will say the same.
      this._newcomers.add(event.loop_id);
    } else {
      this._keeper.stale(event.loop_id);
    }
  }

  private _root = PageConfig.getOption('serverRoot');
  private _client: Client;
  private _keeper: Keeper;
  /** Kernels and terminals, as they were when they were last looked at. */
  private _inside = '[[],[]]';
  /** What this page is doing to loops. */
  private _works = new Works();
  private _creating = 0;
  /** Ids of loops that came while loops were being made here. */
  private _newcomers = new Set<string>();
  private _isDisposed = false;
  private _changed = new Signal<ILoopManager, void>(this);
  private _noticed = new Signal<ILoopManager, ILoopNotice>(this);
  private _restarted = new Signal<LoopManager, IRestart>(this);
  private _stopped = new Signal<LoopManager, IStop>(this);
}
