import type { Event, ServiceManager } from '@jupyterlab/services';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import { LoopError, request } from './api';
import type {
  Condition,
  Health,
  ILoopManager,
  ILoopNotice,
  Loop,
  LoopChanges,
  NewLoop,
  Usage
} from './tokens';
import { DRIVE } from './tokens';

const SCHEMA = 'urn:loopat:event:loop:v1';
const PAGE = 500;
/** Events come in bursts; one question to the server answers all that come within this time. */
const GATHER_MS = 100;
/** Pause before an unreachable server is asked again. */
const RETRY_MS = 5000;

interface IPage {
  loops: Loop[];
  next: string | null;
}

interface ILoopEvent {
  schema_id: string;
  action: string;
  loop_id: string;
  state?: Loop['state'];
  progress?: NonNullable<Loop['progress']>;
  message?: string;
}

/** Keeps the loops of one server, as its event stream tells of them. */
export class LoopManager implements ILoopManager {
  /** @param services - Of the application. */
  constructor(services: ServiceManager.IManager) {
    this._services = services;
    services.events.stream.connect(this._onEvent, this);
    services.sessions.runningChanged.connect(this._soon, this);
    services.terminals.runningChanged.connect(this._soon, this);
    // A server that was started again is a new one, whose loops may have changed.
    services.connectionFailure.connect(this._onFailure, this);
  }

  get loops(): readonly Loop[] {
    return this._loops;
  }

  get archived(): readonly Loop[] {
    return this._archived;
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

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    Signal.clearData(this);
  }

  find(id: string): Loop | undefined {
    return [...this._loops, ...this._archived].find(loop => loop.id === id);
  }

  ofPath(path: string): Loop | undefined {
    const prefix = `${DRIVE}:`;
    if (!path.startsWith(prefix)) {
      return undefined;
    }
    const folder = path.slice(prefix.length).replace(/^\//, '').split('/')[0];
    return this._loops.find(loop => loop.folder === folder);
  }

  pathOf(loop: Loop): string {
    return `${DRIVE}:${loop.folder}`;
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this._timer);
    this._timer = undefined;
    // Whoever asks while a question is under way gets the answer to a later one.
    this._refreshing = (this._refreshing ?? Promise.resolve()).then(() =>
      this._load()
    );
    return this._refreshing;
  }

  async showArchived(): Promise<void> {
    this._wantsArchived = true;
    await this.refresh();
  }

  async create(options: NewLoop): Promise<Loop> {
    return this._after(await this._call<Loop>('POST', 'loops', options));
  }

  async change(id: string, changes: LoopChanges): Promise<Loop> {
    return this._after(await this._call<Loop>('PATCH', `loops/${id}`, changes));
  }

  async start(id: string): Promise<Loop> {
    return this._after(await this._call<Loop>('POST', `loops/${id}/start`));
  }

  async stop(id: string): Promise<Loop> {
    return this._after(await this._call<Loop>('POST', `loops/${id}/stop`));
  }

  async recreate(id: string): Promise<Loop> {
    return this._after(await this._call<Loop>('POST', `loops/${id}/recreate`));
  }

  async cancel(id: string): Promise<Loop> {
    return this._after(await this._call<Loop>('POST', `loops/${id}/cancel`));
  }

  async remove(id: string, force = false): Promise<void> {
    await this._call('DELETE', `loops/${id}${force ? '?force=true' : ''}`);
    await this.refresh();
  }

  async openTerminal(id: string, cwd?: string): Promise<string> {
    const body = cwd === undefined ? {} : { cwd };
    const model = await this._call<{ name: string }>(
      'POST',
      `loops/${id}/terminals`,
      body
    );
    await this._services.terminals.refreshRunning();
    return model.name;
  }

  usage(id: string): Promise<Usage> {
    return this._call<Usage>('GET', `loops/${id}/usage`);
  }

  buildLog(id: string): Promise<string> {
    return this._call<string>('GET', `loops/${id}/build-log`);
  }

  private _call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return request<T>(this._services.serverSettings, method, path, body);
  }

  private _after(loop: Loop): Loop {
    this._put(loop);
    this._soon();
    return loop;
  }

  private async _load(): Promise<void> {
    if (this._isDisposed) {
      return;
    }
    try {
      this._loops = await this._pages(false);
      if (this._wantsArchived) {
        this._archived = await this._pages(true);
      }
      this._condition = await this._judge();
    } catch (error) {
      await this._explain(error);
    }
    this._changed.emit();
  }

  /** An empty list may be a machine on which nothing can run: whoever starts here is told what is missing. */
  private async _judge(): Promise<Condition> {
    if (this._loops.length === 0) {
      const health = await this._call<Health>('GET', 'health');
      if (!health.ok) {
        return { kind: 'unusable', health };
      }
    }
    return { kind: 'ready' };
  }

  private async _pages(archived: boolean): Promise<Loop[]> {
    const found: Loop[] = [];
    let after: string | null = null;
    do {
      const query: string = after === null ? '' : `&after=${after}`;
      const page: IPage = await this._call<IPage>(
        'GET',
        `loops?limit=${PAGE}&archived=${archived}${query}`
      );
      found.push(...page.loops);
      after = page.next;
    } while (after !== null);
    return found;
  }

  /** Why there is no list: the machine lacks something, or the server does not answer. */
  private async _explain(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this._condition = { kind: 'unreachable', message };
    if (error instanceof LoopError && error.status >= 500) {
      try {
        const health = await this._call<Health>('GET', 'health');
        if (!health.ok) {
          this._condition = { kind: 'unusable', health };
        }
      } catch {
        // The first answer stands.
      }
    }
    this._timer = window.setTimeout(() => void this.refresh(), RETRY_MS);
  }

  private _soon(): void {
    if (this._timer === undefined && !this._isDisposed) {
      this._timer = window.setTimeout(() => void this.refresh(), GATHER_MS);
    }
  }

  private _put(loop: Loop): void {
    const replace = (list: Loop[]) =>
      list.some(other => other.id === loop.id)
        ? list.map(other => (other.id === loop.id ? loop : other))
        : list;
    this._loops = replace(this._loops);
    this._archived = replace(this._archived);
    this._changed.emit();
  }

  private _onFailure(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this.refresh(), RETRY_MS);
  }

  private _onEvent(_: Event.IManager, emission: Event.Emission): void {
    if (emission.schema_id !== SCHEMA) {
      return;
    }
    const event = emission as unknown as ILoopEvent;
    const loop = this.find(event.loop_id);
    if (event.message && ['warning', 'failed'].includes(event.action)) {
      const level = event.action === 'failed' ? 'error' : 'warning';
      this._noticed.emit({
        loop,
        loopId: event.loop_id,
        level,
        message: event.message
      });
    }
    if (loop !== undefined && event.action === 'progress' && event.progress) {
      // Steps are shown as they come; asking the server for each would slow the work down.
      this._put({ ...loop, state: 'preparing', progress: event.progress });
      return;
    }
    this._soon();
  }

  private _services: ServiceManager.IManager;
  private _loops: Loop[] = [];
  private _archived: Loop[] = [];
  private _condition: Condition = { kind: 'loading' };
  private _wantsArchived = false;
  private _refreshing: Promise<void> | undefined;
  private _timer: number | undefined;
  private _isDisposed = false;
  private _changed = new Signal<ILoopManager, void>(this);
  private _noticed = new Signal<ILoopManager, ILoopNotice>(this);
}
