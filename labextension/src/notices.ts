import { Notification, showErrorMessage } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { messageOf } from './api';
import { CommandIDs } from './ids';
import type { ILoopManager, Loop } from './tokens';
import { fullTitle } from './words';

/** Whether a person is being told something already: a failed request and an event may say the same. */
export function isTold(message: string): boolean {
  return Notification.manager.notifications.some(shown =>
    shown.message.endsWith(message)
  );
}

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

/** Runs something and says it in a notification if it fails; nothing stays unhandled. */
export async function told<T>(
  trans: TranslationBundle,
  act: () => Promise<T>
): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    const message = messageOf(error);
    if (!isTold(message)) {
      Notification.error(message, {
        autoClose: false,
        actions: whole(message, trans)
      });
    }
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
    if (isTold(notice.message)) {
      return;
    }
    const title =
      notice.loop === undefined ? '' : `${fullTitle(notice.loop, manager)}: `;
    const message = title + notice.message;
    Notification.emit(message, notice.level, {
      autoClose: notice.level === 'error' ? false : 10_000,
      actions: [
        ...whole(message, trans),
        ...(id === undefined && notice.level === 'warning'
          ? []
          : [
              {
                label: trans.__('Log'),
                callback: (event: MouseEvent) => showLog(notice.loopId, event)
              }
            ])
      ]
    });
  });
}
