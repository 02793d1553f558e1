import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { components } from './openapi';

/** A loop as the server shows it. */
export type Loop = components['schemas']['Loop'];

/** What a new loop may be made of; only the title is asked for. */
export type NewLoop = { title: string } & Partial<
  Omit<components['schemas']['CreateLoop'], 'config'>
> & { config?: Partial<components['schemas']['LoopConfig']> };

/** Changes of a loop; what is left out stays as it is. */
export type LoopChanges = components['schemas']['ChangeLoop'];

/** Whether the machine can run loops, check by check. */
export type Health = components['schemas']['Health'];

/** What a loop takes of the machine. */
export type Usage = components['schemas']['Usage'];

/** What the panel shows of the whole: nothing yet, the loops, or why there are none. */
export type Condition =
  | { kind: 'loading' }
  | { kind: 'ready' }
  | { kind: 'unusable'; health: Health }
  | { kind: 'unreachable'; message: string };

/** Something that a person should be told of a loop. */
export interface ILoopNotice {
  loop: Loop | undefined;
  loopId: string;
  level: 'warning' | 'error';
  message: string;
}

/** Name of the drive that holds the files of all loops. */
export const DRIVE = 'loops';

/** The loops of this server. Other extensions can require it. */
export interface ILoopManager extends IDisposable {
  /** Loops that are not archived, newest activity first. */
  readonly loops: readonly Loop[];
  /** Archived loops; empty until `showArchived` was called. */
  readonly archived: readonly Loop[];
  readonly condition: Condition;
  /** Something of the above has changed. */
  readonly changed: ISignal<ILoopManager, void>;
  /** A warning or failure came from the server. */
  readonly noticed: ISignal<ILoopManager, ILoopNotice>;

  /** A loop by its id. */
  find(id: string): Loop | undefined;
  /** The loop whose files hold a path such as `loops:rain-0a1b2c3d/a.ipynb`; undefined elsewhere. */
  ofPath(path: string): Loop | undefined;
  /** The path of a loop's files in the drive. */
  pathOf(loop: Loop): string;

  refresh(): Promise<void>;
  showArchived(): Promise<void>;
  create(options: NewLoop): Promise<Loop>;
  change(id: string, changes: LoopChanges): Promise<Loop>;
  start(id: string): Promise<Loop>;
  stop(id: string): Promise<Loop>;
  recreate(id: string): Promise<Loop>;
  cancel(id: string): Promise<Loop>;
  remove(id: string, force?: boolean): Promise<void>;
  /** Opens a terminal in a loop; answers with its name. */
  openTerminal(id: string, cwd?: string): Promise<string>;
  usage(id: string): Promise<Usage>;
  buildLog(id: string): Promise<string>;
}

/** Require this to work with loops. */
export const ILoopManager = new Token<ILoopManager>(
  'loopat-jupyter:ILoopManager',
  'The loops of this server: list, change, start, stop and use them.'
);
