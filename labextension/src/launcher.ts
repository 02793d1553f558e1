import type { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { PartialJSONObject } from '@lumino/coreutils';
import { JSONExt } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { DisposableSet } from '@lumino/disposable';

import { CommandIDs } from './ids';
import { folderOf } from './paths';
import type { ILoopManager } from './tokens';

type Cards = {
  title: string;
  starts: { command: string; args: PartialJSONObject }[];
};

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
  let shown: Cards | undefined;
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
    const now = loop && {
      title: loop.title,
      starts: [
        { command: CommandIDs.notebook, args: { loop: loop.id } },
        { command: CommandIDs.console, args: { loop: loop.id } },
        { command: CommandIDs.terminal, args: { loop: loop.id } },
        ...manager.agents.map(agent => ({
          command: CommandIDs.agent,
          args: { loop: loop.id, agent: agent.name }
        }))
      ]
    };
    if (JSONExt.deepEqual(now ?? null, shown ?? null)) {
      return;
    }
    shown = now;
    cards?.dispose();
    cards = undefined;
    if (now !== undefined) {
      const category = trans.__('Loop: %1', now.title);
      const set = new DisposableSet();
      now.starts.forEach(({ command, args }, rank) =>
        set.add(
          launcher.add({
            command,
            category,
            rank,
            args: { ...args, isLauncher: true }
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
