import { useVirtualizer } from '@tanstack/react-virtual';
import * as React from 'react';

import type { IKeeping } from './kept';
import type { IPanelOptions } from './panel';
import { Row } from './row';
import type { Loop } from './tokens';
import { apart } from './words';

const ROW_PX = 51;
const estimateSize = () => ROW_PX;
/** Rows beyond the edges, so that none is missing while the list scrolls. */
const OVERSCAN = 8;

interface IProps extends IPanelOptions, IKeeping {
  /** For screen readers. */
  label: string;
  loops: Loop[];
  /** Warnings that are told above the list. */
  told: ReadonlySet<string>;
  now: number;
  /** Id of the loop to go to; empty for none. */
  target: string;
  onReached: () => void;
}

/** Loops, of which only those are rendered that are seen. */
export function List(props: IProps): React.ReactElement {
  const { label, loops, told, target, onReached, now } = props;
  const { onFocus, onBlur } = props;
  const { manager, commands, trans } = props;
  const parent = React.useRef<HTMLDivElement>(null);
  const virtualizer = useVirtualizer({
    count: loops.length,
    getScrollElement: () => parent.current,
    estimateSize,
    // A new function would have all rows reckoned anew.
    getItemKey: React.useCallback((index: number) => loops[index].id, [loops]),
    overscan: OVERSCAN,
    useFlushSync: false,
    directDomUpdates: true,
    directDomUpdatesMode: 'position'
  });
  const titles = manager.repeated;
  const goal = loops.findIndex(loop => loop.id === target);
  React.useEffect(() => {
    if (goal < 0) {
      return;
    }
    virtualizer.scrollToIndex(goal, { align: 'auto' });
    // The row is there after the next frame, when the list has rendered what it scrolled to.
    const frame = requestAnimationFrame(() => {
      const row = parent.current?.querySelector(`[data-index="${goal}"]`);
      row?.querySelector<HTMLElement>('.jp-Loops-name')?.focus();
      onReached();
    });
    return () => cancelAnimationFrame(frame);
  }, [goal, virtualizer, onReached]);
  return (
    <div className="jp-Loops-scroll" ref={parent}>
      <ul
        className="jp-Loops-list"
        aria-label={label}
        ref={virtualizer.containerRef}
        onFocus={onFocus}
        onBlur={onBlur}
      >
        {virtualizer.getVirtualItems().map(item => (
          <li
            key={item.key}
            ref={virtualizer.measureElement}
            data-index={item.index}
            aria-setsize={loops.length}
            aria-posinset={item.index + 1}
            className="jp-Loops-item"
            data-loop={loops[item.index].id}
          >
            <Row
              loop={loops[item.index]}
              apart={apart(loops[item.index], titles)}
              unread={manager.unread.get(loops[item.index].id) ?? ''}
              told={told}
              commands={commands}
              trans={trans}
              now={now}
            />
          </li>
        ))}
      </ul>
    </div>
  );
}
