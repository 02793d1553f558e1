import type { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { DisposableSet } from '@lumino/disposable';

import { CommandIDs } from './ids';
import { folderOf } from './paths';
import type { ILoopManager, Loop } from './tokens';

/**
 * While a loop's folder is open, offers what starts in that loop, under the loop's name.
 *
 * @param launcher - Where the cards are.
 * @param manager - Knows the loops.
 * @param trans - Translates.
 * @param here - Path of the open folder.
 * @returns Called when another folder was opened.
 */
export function addCards(
  launcher: ILauncher,
  manager: ILoopManager,
  trans: TranslationBundle,
  here: () => string
): () => void {
  let shown: Loop | undefined;
  let cards: IDisposable | undefined;
  let watch: IDisposable | undefined;
  const update = () => {
    const path = here();
    if (folderOf(path) === undefined) {
      watch?.dispose();
      watch = undefined;
    } else {
      watch ??= manager.watch();
    }
    const loop = manager.ofPath(path);
    if (loop?.id === shown?.id && loop?.title === shown?.title) {
      return;
    }
    shown = loop;
    cards?.dispose();
    cards = undefined;
    if (loop !== undefined) {
      const category = trans.__('Loop: %1', loop.title);
      const set = new DisposableSet();
      [CommandIDs.notebook, CommandIDs.console, CommandIDs.terminal].forEach(
        (command, rank) =>
          set.add(
            launcher.add({
              command,
              category,
              rank,
              args: { loop: loop.id, isLauncher: true }
            })
          )
      );
      cards = set;
    }
  };
  manager.changed.connect(update);
  update();
  return update;
}
