import type { ILauncher } from '@jupyterlab/launcher';
import { LauncherModel } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import type {
  PartialJSONObject,
  ReadonlyJSONValue,
  ReadonlyPartialJSONObject
} from '@lumino/coreutils';
import { JSONExt } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { DisposableSet } from '@lumino/disposable';

import { CommandIDs } from './ids';
import type { ILoopManager } from './tokens';
import { Watch } from './watch';
import { fullTitle } from './words';

type Cards = {
  title: string;
  starts: { command: string; args: PartialJSONObject }[];
};

/** Before JupyterLab's own categories, which begin with 0. */
const FIRST = -1;

/** Entry point of what starts kernels in loops, as their kernelspecs name it. */
const PROVISIONER = 'loopat-provisioner';

/**
 * Keeps the kernels that each loop offers by name off the launcher, which has the loop's own cards instead.
 *
 * @param launcher - Where JupyterLab adds a card for each kernel, perhaps before this is called.
 */
export function withoutLoops(launcher: ILauncher): void {
  if (!(launcher instanceof LauncherModel)) {
    return;
  }
  const items = launcher.items.bind(launcher);
  launcher.items = function* () {
    for (const item of items()) {
      if (!isOfLoop(item.metadata?.['kernel'])) {
        yield item;
      }
    }
  };
  launcher.stateChanged.emit();
}

/** Whether the metadata of a kernelspec are those of a loop's. */
function isOfLoop(metadata: ReadonlyJSONValue | undefined): boolean {
  const stanza = (metadata as ReadonlyPartialJSONObject | undefined)?.[
    'kernel_provisioner'
  ];
  return (
    (stanza as ReadonlyPartialJSONObject | undefined)?.['provisioner_name'] ===
    PROVISIONER
  );
}

/**
 * While a loop's folder is open, offers what starts in that loop, under the loop's name.
 *
 * @param launcher - Where the cards are.
 * @param manager - Knows the loops.
 * @param trans - Translates.
 * @param here - Tells the path of the open folder that is in a loop.
 * @returns Called when another folder was opened.
 */
export function addCards(
  launcher: ILauncher,
  manager: ILoopManager,
  trans: TranslationBundle,
  here: () => string | undefined
): () => void {
  const watch = new Watch(manager);
  let shown: Cards | undefined;
  let cards: IDisposable | undefined;
  const update = () => {
    const path = here();
    watch.isLooking = path !== undefined;
    const loop = path === undefined ? undefined : manager.ofPath(path);
    const now = loop && {
      title: fullTitle(loop, manager),
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
            // Above JupyterLab's own; those before 4.6 have no such ranks and show it last.
            categoryRank: FIRST,
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
