import * as React from 'react';

import type { Loop } from './tokens';

/** What lists tell of the focus. */
export interface IKeeping {
  onFocus: (event: React.FocusEvent<HTMLElement>) => void;
  onBlur: () => void;
}

/** What has the focus. */
interface IHeld {
  /** Of the loop in whose row it is. */
  id: string;
  /** Of the row in its list. */
  index: number;
  element: Element;
}

/**
 * The loop to whose row the focus goes when what had it is gone.
 *
 * @param held - Where the focus was.
 * @param loops - Those of the list, as they are now.
 * @returns The same loop, or else the one that is in its place, or the last one; undefined in a list without any.
 */
export function heirOf(
  held: Pick<IHeld, 'id' | 'index'>,
  loops: readonly Pick<Loop, 'id'>[]
): string | undefined {
  const same = loops.find(({ id }) => id === held.id);
  return (same ?? loops[Math.min(held.index, loops.length - 1)])?.id;
}

/**
 * Keeps the focus in the panel where what had it goes: a button that does not fit any more, or a whole row.
 *
 * @param node - The panel's.
 * @param loops - Those that are shown.
 * @param archived - Those that are shown below.
 * @param onLost - Gives the focus to the row of a loop.
 */
export function useKeptFocus(
  node: HTMLElement,
  loops: readonly Loop[],
  archived: readonly Loop[],
  onLost: (id: string) => void
): IKeeping {
  const held = React.useRef<IHeld | null>(null);
  const before = React.useRef(archived);
  React.useEffect(() => {
    const { current } = held;
    const wasArchived = before.current.some(({ id }) => id === current?.id);
    before.current = archived;
    if (current === null || current.element.isConnected) {
      return;
    }
    held.current = null;
    if (document.activeElement !== document.body) {
      return;
    }
    const heir = heirOf(current, wasArchived ? archived : loops);
    if (heir !== undefined) {
      // A row that was scrolled out of sight is not brought back.
      const isHidden = node.querySelector(`[data-loop="${heir}"]`) === null;
      if (heir !== current.id || !isHidden) {
        onLost(heir);
      }
    } else {
      const other =
        node.querySelector<HTMLElement>('.jp-Loops-empty button') ??
        node.querySelector<HTMLElement>('.jp-Loops-filter');
      other?.focus();
    }
  });
  return React.useMemo(
    () => ({
      onFocus: ({ target }) => {
        const row = target.closest<HTMLElement>('[data-loop]');
        const id = row?.dataset['loop'];
        held.current =
          id === undefined
            ? null
            : { id, index: Number(row?.dataset['index']), element: target };
      },
      // Not told of what is taken out of the page.
      onBlur: () => {
        held.current = null;
      }
    }),
    []
  );
}
