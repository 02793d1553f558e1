import type { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

interface IProps {
  icon: LabIcon;
  /** What it does, for the tooltip and for screen readers. */
  label: string;
  /** It opens a menu. */
  hasMenu?: boolean;
  onClick: (event: React.MouseEvent<HTMLElement>) => void;
}

const markups = new WeakMap<LabIcon, { __html: string }>();

/** An icon as markup, made once: a list shows the same few icons in each of its rows. */
function markupOf(icon: LabIcon): { __html: string } {
  let markup = markups.get(icon);
  if (markup === undefined) {
    const size = { tag: 'span', width: '16px', height: '16px' } as const;
    markup = { __html: icon.element(size).outerHTML };
    markups.set(icon, markup);
  }
  return markup;
}

/** A small button that shows an icon alone. */
export function IconButton(props: IProps): React.ReactElement {
  return (
    <button
      type="button"
      className="jp-Loops-button jp-Button jp-mod-minimal jp-mod-small"
      title={props.label}
      aria-label={props.label}
      aria-haspopup={props.hasMenu ? 'menu' : undefined}
      onClick={props.onClick}
      dangerouslySetInnerHTML={markupOf(props.icon)}
    />
  );
}

/** Opens the context menu of where a button is below it, for those who do not right-click. */
export function openMenu(event: React.MouseEvent<HTMLElement>): void {
  const { left, bottom } = event.currentTarget.getBoundingClientRect();
  event.currentTarget.dispatchEvent(
    new MouseEvent('contextmenu', {
      bubbles: true,
      cancelable: true,
      view: window,
      clientX: left,
      clientY: bottom
    })
  );
}
