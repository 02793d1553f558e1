import type { Menu } from '@lumino/widgets';

/**
 * Gives the focus back when a context menu closes; the menu would take it along, and leave the keyboard nowhere.
 *
 * A dialog that the menu opens does the same once more when it closes.
 *
 * @param panel - Where the menu is opened, on a row or beside one.
 * @param menu - The application's own.
 */
export function keepFocus(panel: HTMLElement, menu: Menu): void {
  let before: HTMLElement | null = null;
  const onOpen = ({ target }: MouseEvent) => {
    before = null;
    if (target instanceof Element && panel.contains(target)) {
      const row = target.closest('.jp-Loops-row');
      const active = (row ?? panel).querySelector<HTMLElement>(':focus');
      before = active ?? row?.querySelector('button') ?? null;
    }
  };
  document.addEventListener('contextmenu', onOpen, true);
  menu.aboutToClose.connect(() => before?.focus({ preventScroll: true }));
}
