import { Notification, showErrorMessage } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { messageOf } from './api';
import { CommandIDs } from './ids';
import { Teller } from './telling';
import type { ILoopManager, Loop } from './tokens';
import { fullTitle } from './words';

const teller = new Teller(Notification.manager);

/** JupyterLab cuts a notice after so many characters, and what to do stands at the end. */
const MOST_CHARACTERS = 140;

/** The button that shows all of a notice; none where nothing is cut off. */
export function whole(
  message: string,
  trans: TranslationBundle
): Notification.IAction[] {
  return message.length <= MOST_CHARACTERS
    ? []
    : [
        {
          label: trans.__('Show All'),
          callback: event => {
            event.preventDefault();
            void showErrorMessage(trans.__('Loops'), message);
          }
        }
      ];
}

/** Something that a person should be told. */
export interface INews {
  type: Notification.TypeOptions;
  /** Without the title of the loop. */
  message: string;
  /** Id of the loop that it is about; empty for none. */
  loopId: string;
  /** Of the loop, to stand in front; empty for none. */
  title: string;
  actions?: Notification.IAction[];
}

/** Shows a notice, but once where a failed request and an event say the same; of an error it stays. */
export function tell(news: INews, trans: TranslationBundle): void {
  const { type, message, loopId, title, actions = [] } = news;
  const text = title === '' ? message : `${title}: ${message}`;
  teller.tell(loopId, message, () =>
    Notification.emit(text, type, {
      autoClose: type === 'error' ? false : 10_000,
      actions: [...whole(text, trans), ...actions]
    })
  );
}

/**
 * Runs something and says it in a notification if it fails; nothing stays unhandled.
 *
 * @param trans - Translates.
 * @param act - What is run.
 * @param about - The loop that it is done to, which is named.
 */
export async function told<T>(
  trans: TranslationBundle,
  act: () => Promise<T>,
  about?: { loop: Loop; manager: ILoopManager }
): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    const title = about ? fullTitle(about.loop, about.manager) : '';
    const loopId = about?.loop.id ?? '';
    tell({ type: 'error', message: messageOf(error), loopId, title }, trans);
    return undefined;
  }
}

/**
 * Tells of builds, starts, warnings and failures in Lab's notifications, whoever asked for them.
 *
 * @param manager - Knows the loops.
 * @param commands - Where the actions are.
 * @param trans - Translates.
 */
export function tellOfProgress(
  manager: ILoopManager,
  commands: CommandRegistry,
  trans: TranslationBundle
): void {
  const open = new Map<string, string>();

  const showLog = (id: string, event: MouseEvent) => {
    // The notice stays: it says what the log is about, and what to do.
    event.preventDefault();
    void commands.execute(CommandIDs.log, { loop: id });
  };

  const step = (loop: Loop) => {
    const { progress } = loop;
    if (progress === null || progress.steps === 0) {
      return;
    }
    const message = trans.__(
      '%1: %2 (%3 of %4)',
      fullTitle(loop, manager),
      progress.label,
      progress.step,
      progress.steps
    );
    const id = open.get(loop.id);
    const share = progress.step / progress.steps;
    if (id !== undefined) {
      Notification.update({ id, message, progress: share });
      return;
    }
    open.set(
      loop.id,
      Notification.emit(message, 'in-progress', {
        autoClose: false,
        progress: share,
        actions: [
          {
            label: trans.__('Cancel'),
            callback: () =>
              void commands.execute(CommandIDs.cancel, { loop: loop.id })
          },
          {
            label: trans.__('Log'),
            callback: event => showLog(loop.id, event)
          }
        ]
      })
    );
  };

  manager.changed.connect(() => {
    const preparing = manager.loops.filter(loop => loop.state === 'preparing');
    preparing.forEach(step);
    // One that is gone has no row to look at.
    for (const [loopId, id] of open) {
      if (!preparing.some(loop => loop.id === loopId)) {
        Notification.dismiss(id);
        open.delete(loopId);
      }
    }
  });

  manager.noticed.connect((_, notice) => {
    const id = open.get(notice.loopId);
    if (id !== undefined) {
      Notification.dismiss(id);
      open.delete(notice.loopId);
    }
    const { level, loop, loopId, message } = notice;
    const title = loop === undefined ? '' : fullTitle(loop, manager);
    const log: Notification.IAction = {
      label: trans.__('Log'),
      callback: event => showLog(loopId, event)
    };
    const actions = id === undefined && level === 'warning' ? [] : [log];
    tell({ type: level, message, loopId, title, actions }, trans);
  });
}
