import { MainAreaWidget } from '@jupyterlab/apputils';
import { ConsolePanel } from '@jupyterlab/console';
import { DocumentWidget } from '@jupyterlab/docregistry';
import { Launcher } from '@jupyterlab/launcher';
import { Terminal } from '@jupyterlab/terminal';
import type { Widget } from '@lumino/widgets';

import { idOfTerminal, placeOfSession } from './paths';
import type { ILoopManager, Loop } from './tokens';

/** Where something of the main area is. */
export interface IPlace {
  /** Whether it is in a loop, also while the loops are not known. */
  isInside: boolean;
  loop: Loop | undefined;
}

/**
 * The place of a document, console, terminal or launcher; nothing else is in a loop.
 *
 * @param widget - Such as the one that is in front.
 * @param manager - Knows the loops.
 * @param folder - That the launcher's cards are for.
 */
export function placeOf(
  widget: Widget | null,
  manager: ILoopManager,
  folder: string | undefined
): IPlace {
  const content =
    widget instanceof MainAreaWidget ? (widget.content as Widget) : undefined;
  if (content instanceof Terminal) {
    const id = idOfTerminal(content.session.name);
    return {
      isInside: id !== undefined,
      loop: manager.loops.find(loop => id && loop.id.startsWith(id))
    };
  }
  if (widget instanceof ConsolePanel) {
    const { path } = widget.sessionContext;
    const { isInside, loop } = placeOfSession(path, manager);
    return { isInside: isInside || manager.isInside(path), loop };
  }
  const path =
    widget instanceof DocumentWidget
      ? widget.context.path
      : content instanceof Launcher
        ? folder
        : undefined;
  return {
    isInside: path !== undefined && manager.isInside(path),
    loop: path === undefined ? undefined : manager.ofPath(path)
  };
}
