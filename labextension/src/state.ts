import type { Loop } from './tokens';

/** The loops that are known, both lists newest activity first. */
export interface ILists {
  /** Not archived. */
  readonly loops: readonly Loop[];
  /** Archived; null while nobody wants to see them. */
  readonly archived: readonly Loop[] | null;
}

/** What the event stream says of a loop. */
export interface ILoopEvent {
  action:
    | 'created'
    | 'updated'
    | 'deleted'
    | 'progress'
    | 'state'
    | 'warning'
    | 'failed';
  loop_id: string;
  state?: Loop['state'];
  progress?: NonNullable<Loop['progress']>;
  message?: string;
  /** A kernel that was just restarted, because the sandbox was recreated. */
  kernel_id?: string;
}

/** What an event changed, and whether the server has to be asked for the rest. */
export interface IOutcome {
  lists: ILists;
  /** The event did not say everything: the loop has to be asked for. */
  ask: boolean;
}

/** A loop by its id, in either list. */
export function find(lists: ILists, id: string): Loop | undefined {
  const is = (loop: Loop) => loop.id === id;
  return lists.loops.find(is) ?? lists.archived?.find(is);
}

/** The lists with a loop as it is now: replaced, added, or moved to the other list. */
export function put(lists: ILists, loop: Loop): ILists {
  const others = drop(lists, loop.id);
  if (!loop.archived) {
    return { ...others, loops: inserted(others.loops, loop) };
  }
  return others.archived === null
    ? others
    : { ...others, archived: inserted(others.archived, loop) };
}

/** The lists without a loop. */
export function drop(lists: ILists, id: string): ILists {
  const rest = (list: readonly Loop[]) => list.filter(loop => loop.id !== id);
  return {
    loops: rest(lists.loops),
    archived: lists.archived && rest(lists.archived)
  };
}

/**
 * What is known after an event.
 *
 * @param lists - What was known before.
 * @param event - What the server says.
 */
export function reduce(lists: ILists, event: ILoopEvent): IOutcome {
  const loop = find(lists, event.loop_id);
  switch (event.action) {
    case 'deleted':
      return { lists: drop(lists, event.loop_id), ask: false };
    case 'created':
      return { lists, ask: loop === undefined };
    case 'progress':
      // Steps are shown as they come; asking the server for each would slow the work down.
      return loop === undefined || event.progress === undefined
        ? { lists, ask: loop === undefined }
        : {
            lists: replace(lists, {
              ...loop,
              state: 'preparing',
              progress: event.progress
            }),
            ask: false
          };
    case 'state':
      if (loop === undefined || event.state === undefined) {
        return { lists, ask: true };
      }
      if (loop.state === event.state) {
        return { lists, ask: false };
      }
      return {
        lists: replace(lists, { ...loop, state: event.state, progress: null }),
        ask: true
      };
    default:
      return { lists, ask: true };
  }
}

/** The lists with another value in a loop's place, so that no row jumps. */
function replace(lists: ILists, loop: Loop): ILists {
  const swap = (list: readonly Loop[]) =>
    list.map(other => (other.id === loop.id ? loop : other));
  return {
    loops: swap(lists.loops),
    archived: lists.archived && swap(lists.archived)
  };
}

/** By activity as the server sorts; times of one form compare as text. */
function inserted(list: readonly Loop[], loop: Loop): Loop[] {
  const index = list.findIndex(
    other => other.last_activity <= loop.last_activity
  );
  return index < 0
    ? [...list, loop]
    : [...list.slice(0, index), loop, ...list.slice(index)];
}
