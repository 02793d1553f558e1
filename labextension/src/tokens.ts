import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { components } from './openapi';

export { DRIVE } from './paths';

/** A loop as the server shows it. */
export type Loop = components['schemas']['Loop'];

/** What a new loop may be made of; only the title is asked for. */
export type NewLoop = { title: string } & Partial<
  Omit<components['schemas']['CreateLoop'], 'config'>
> & {
    config?: Partial<Omit<components['schemas']['LoopConfig'], 'resources'>> & {
      resources?: Partial<components['schemas']['Resources']>;
    };
  };

/** Changes of a loop; what is left out stays as it is. */
export type LoopChanges = components['schemas']['ChangeLoop'];

/** Whether the machine can run loops, check by check. */
export type Health = components['schemas']['Health'];

/** What a loop takes of the machine. */
export type Usage = components['schemas']['Usage'];

/** What a loop has that does not say otherwise. */
export type Defaults = components['schemas']['Defaults'];

/** An agent's command line that the configuration offers in every loop. */
export type Agent = components['schemas']['Agent'];

/** How a terminal is opened: in which folder, with which agent. */
export type TerminalOptions = Partial<components['schemas']['OpenTerminal']>;

/** A repo that a new loop can name. */
export interface IRepo {
  name: string;
  url: string;
  default_branch?: string | null;
}

/** A vault that a new loop can use. */
export interface IVault {
  name: string;
  /** A locked vault gives nothing until it is unlocked. */
  locked?: boolean;
}

/** A profile that a new loop can have. */
export interface IProfile {
  name: string;
  description?: string;
}

/** What there is to pick from for a new loop. */
export interface IChoices {
  repos: IRepo[];
  vaults: IVault[];
  profiles: IProfile[];
  /** What is left out is as this says; undefined where the server cannot say. */
  defaults?: Defaults | undefined;
}

/** What the panel shows of the whole: nothing yet, the loops, or why there are none. */
export type Condition =
  | { kind: 'loading' }
  | { kind: 'ready' }
  | { kind: 'unusable'; health: Health }
  | { kind: 'unreachable'; message: string }
  | { kind: 'refused'; message: string };

/** Something that a person should be told of a loop. */
export interface ILoopNotice {
  loop: Loop | undefined;
  loopId: string;
  level: 'warning' | 'error';
  message: string;
}

/** The loops of this server. Other extensions can require it. */
export interface ILoopManager extends IDisposable {
  /** Loops that are not archived, newest activity first. */
  readonly loops: readonly Loop[];
  /** Archived loops; empty until `showArchived` was called. */
  readonly archived: readonly Loop[];
  /** Titles that several of these loops have. */
  readonly repeated: ReadonlySet<string>;
  /** Why loops could not be asked for anew, by id: what is known of these may be old. */
  readonly unread: ReadonlyMap<string, string>;
  /** Agents that are configured, in order; known as soon as the loops are. */
  readonly agents: readonly Agent[];
  readonly condition: Condition;
  /** Something of the above has changed. */
  readonly changed: ISignal<ILoopManager, void>;
  /** A warning or failure came from the server. */
  readonly noticed: ISignal<ILoopManager, ILoopNotice>;

  /** A loop by its id. */
  find(id: string): Loop | undefined;
  /**
   * The loop whose files hold a path; undefined elsewhere.
   *
   * @param path - Such as `loops:rain-0a1b2c3d/a.ipynb`; one below the server's root may lie in a loop, too.
   */
  ofPath(path: string): Loop | undefined;
  /** Whether a path is that of a loop's file, also while the loops are not known. */
  isInside(path: string): boolean;
  /** The path of a loop's files in the drive. */
  pathOf(loop: Loop): string;

  /**
   * Keeps the loops up to date until the result is disposed.
   *
   * Without anybody who watches, or while the page is hidden, the server is asked for nothing: the events only tell
   * what has to be asked for later.
   */
  watch(): IDisposable;
  /** Asks for what is known to be out of date; for whoever needs the loops once. */
  fresh(): Promise<void>;
  /** Asks for everything. */
  refresh(): Promise<void>;
  showArchived(): Promise<void>;
  /** What a new loop can be made of; empty lists where there is nothing to pick. */
  choices(): Promise<IChoices>;
  /** Makes a loop; nothing is left of one that is called off with the signal meanwhile. */
  create(options: NewLoop, signal?: AbortSignal): Promise<Loop>;
  /** Changes a loop; the signal calls it off. */
  change(id: string, changes: LoopChanges, signal?: AbortSignal): Promise<Loop>;
  start(id: string): Promise<Loop>;
  stop(id: string): Promise<Loop>;
  recreate(id: string): Promise<Loop>;
  /** Fetches the repo that could not be reached when the loop was made. */
  fetch(id: string): Promise<Loop>;
  cancel(id: string): Promise<Loop>;
  remove(id: string, although?: 'end' | 'force'): Promise<void>;
  /** Opens a terminal in a loop; answers with its name. */
  openTerminal(id: string, options?: TerminalOptions): Promise<string>;
  /** What a loop takes; the signal calls it off. */
  usage(id: string, signal?: AbortSignal): Promise<Usage>;
  buildLog(id: string): Promise<string>;
  /**
   * Calls any other verb of the REST interface.
   *
   * @param method - HTTP verb.
   * @param path - Below `loopat/api`, each part already encoded.
   * @param body - Sent as JSON.
   * @param signal - Calls it off.
   * @throws LoopError: it failed; its message is for a person.
   */
  call<T>(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal
  ): Promise<T>;
}

/** Require this to work with loops. */
export const ILoopManager = new Token<ILoopManager>(
  'loopat-jupyter:ILoopManager',
  'The loops of this server: list, change, start, stop and use them.'
);
