import type { JupyterFrontEnd } from '@jupyterlab/application';
import {
  Dialog,
  Notification,
  InputDialog,
  showDialog
} from '@jupyterlab/apputils';
import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  consoleIcon,
  deleteIcon,
  editIcon,
  folderIcon,
  notebookIcon,
  refreshIcon,
  runIcon,
  stopIcon,
  terminalIcon
} from '@jupyterlab/ui-components';
import { find } from '@lumino/algorithm';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import { LoopError } from './api';
import type { IDefaults } from './dialog';
import { newLoop } from './dialog';
import { CommandIDs } from './ids';
import { loopIcon } from './icons';
import { LogView } from './log';
import { isTold } from './notices';
import { shareLoop } from './share';
import type { ILoopManager, Loop } from './tokens';
import { ending } from './words';

/** What the commands work on. */
export interface ICommandOptions {
  app: JupyterFrontEnd;
  manager: ILoopManager;
  trans: TranslationBundle;
  browser: FileBrowser | null;
  confirmDelete: () => boolean;
  /** What a new loop begins with. */
  defaults: () => IDefaults;
  /** The loop that a person is at: that of the current document. */
  here: () => Loop | undefined;
  /** Shows a loop in the panel. */
  reveal: (loop: Loop) => void;
}

/**
 * Adds all commands.
 *
 * @param options - What they work on.
 * @returns The ids of those that the palette shows, in order.
 */
export function addCommands(options: ICommandOptions): string[] {
  const { app, manager, trans } = options;
  const { commands } = app;
  const shown: string[] = [];

  const add = (
    id: string,
    label: string,
    icon: typeof addIcon | undefined,
    act: (loop: Loop, args: ReadonlyPartialJSONObject) => Promise<unknown>,
    fits: (loop: Loop) => boolean = () => true
  ) => {
    const idOf = (args: ReadonlyPartialJSONObject) =>
      args['isContextMenu'] ? loopUnderMenu(app) : (args['loop'] as string);
    const given = (args: ReadonlyPartialJSONObject) =>
      manager.find(idOf(args) ?? '');
    commands.addCommand(id, {
      label: args => (args['isPalette'] ? trans.__('Loops: %1', label) : label),
      caption: args => {
        const loop = args['isLauncher'] ? given(args) : undefined;
        return loop === undefined
          ? ''
          : trans.__('%1 in “%2”', label, loop.title);
      },
      icon: args => (args['isPalette'] ? undefined : icon),
      isVisible: args => {
        const loop = given(args);
        return loop === undefined || fits(loop);
      },
      describedBy: {
        args: {
          type: 'object',
          properties: {
            loop: { type: 'string', description: trans.__('Id of the loop') }
          }
        }
      },
      execute: async args => {
        const wanted = idOf(args);
        if (wanted === undefined) {
          const chosen = await chooseLoop(options, label, fits);
          return chosen && told(() => act(chosen, args));
        }
        if (manager.find(wanted) === undefined) {
          await manager.fresh();
        }
        return told(async () => {
          const loop = manager.find(wanted);
          if (loop === undefined) {
            throw new Error(
              trans.__('This loop is not there any more; somebody deleted it.')
            );
          }
          return act(loop, args);
        });
      }
    });
    shown.push(id);
  };

  commands.addCommand(CommandIDs.create, {
    label: args =>
      args['isPalette'] ? trans.__('Loops: New Loop…') : trans.__('New Loop'),
    caption: trans.__('Make a separate environment for a piece of work'),
    icon: args => (args['isPalette'] ? undefined : addIcon),
    describedBy: {
      args: { type: 'object', properties: { title: { type: 'string' } } }
    },
    execute: async args => {
      const title = args['title'];
      const made =
        typeof title === 'string'
          ? await told(() => manager.create({ title }))
          : await newLoop(manager, trans, options.defaults());
      if (made !== undefined) {
        options.reveal(made);
      }
      return made;
    }
  });
  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh Loops'),
    icon: refreshIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => manager.refresh()
  });
  shown.push(CommandIDs.create);

  const active = (loop: Loop) => !loop.archived;
  add(
    CommandIDs.notebook,
    trans.__('New Notebook'),
    notebookIcon,
    loop => openNotebook(options, loop),
    active
  );
  add(
    CommandIDs.console,
    trans.__('New Console'),
    consoleIcon,
    loop =>
      commands.execute('console:create', {
        basePath: manager.pathOf(loop),
        kernelPreference: { name: 'python3' }
      }),
    active
  );
  add(
    CommandIDs.terminal,
    trans.__('New Terminal'),
    terminalIcon,
    loop => openTerminal(options, loop),
    active
  );
  add(CommandIDs.files, trans.__('Show Files'), folderIcon, loop =>
    showFiles(options, loop)
  );
  add(CommandIDs.reveal, trans.__('Show in Panel'), loopIcon, loop =>
    Promise.resolve(options.reveal(loop))
  );
  add(
    CommandIDs.start,
    trans.__('Start'),
    runIcon,
    loop => manager.start(loop.id),
    loop => active(loop) && ['absent', 'stopped', 'error'].includes(loop.state)
  );
  add(
    CommandIDs.stop,
    trans.__('Stop'),
    stopIcon,
    loop => stopLoop(options, loop),
    loop => loop.state === 'running'
  );
  add(
    CommandIDs.cancel,
    trans.__('Cancel'),
    stopIcon,
    loop => manager.cancel(loop.id),
    loop => loop.state === 'preparing'
  );
  add(
    CommandIDs.recreate,
    trans.__('Recreate…'),
    refreshIcon,
    (loop, args) => recreateLoop(options, loop, args),
    loop => active(loop) && loop.state !== 'preparing'
  );
  add(
    CommandIDs.share,
    trans.__('Share…'),
    undefined,
    loop => shareLoop(options, loop),
    active
  );
  add(CommandIDs.rename, trans.__('Rename…'), editIcon, loop =>
    renameLoop(options, loop)
  );
  add(
    CommandIDs.archive,
    trans.__('Archive'),
    undefined,
    loop => manager.change(loop.id, { archived: true }),
    active
  );
  add(
    CommandIDs.unarchive,
    trans.__('Unarchive'),
    undefined,
    loop => manager.change(loop.id, { archived: false }),
    loop => loop.archived
  );
  add(CommandIDs.remove, trans.__('Delete…'), deleteIcon, loop =>
    deleteLoop(options, loop)
  );
  add(CommandIDs.log, trans.__('Show Build Log'), undefined, loop =>
    showLog(options, loop)
  );
  return shown;
}

/** Runs something and says it in a notification if it fails; nothing stays unhandled. */
export async function told<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!isTold(message)) {
      Notification.error(message, { autoClose: false });
    }
    return undefined;
  }
}

/** The loop whose row the context menu was opened on. */
function loopUnderMenu(app: JupyterFrontEnd): string | undefined {
  return app.contextMenuHitTest(node => node.dataset['loop'] !== undefined)
    ?.dataset['loop'];
}

async function chooseLoop(
  { manager, trans, here }: ICommandOptions,
  label: string,
  fits: (loop: Loop) => boolean
): Promise<Loop | undefined> {
  await manager.fresh();
  const fitting = [...manager.loops, ...manager.archived].filter(fits);
  if (fitting.length === 0) {
    Notification.info(trans.__('There is no loop for this.'));
    return undefined;
  }
  const current = here();
  const answer = await InputDialog.getItem({
    title: label,
    label: trans.__('Loop'),
    items: fitting.map(loop => `${loop.title} (${loop.id.slice(0, 8)})`),
    current: Math.max(
      0,
      fitting.findIndex(loop => loop.id === current?.id)
    )
  });
  const chosen = answer.value;
  return answer.button.accept && chosen !== null
    ? fitting.find(loop => chosen.endsWith(`(${loop.id.slice(0, 8)})`))
    : undefined;
}

async function openNotebook(
  { app, manager }: ICommandOptions,
  loop: Loop
): Promise<void> {
  await app.commands.execute('notebook:create-new', {
    cwd: manager.pathOf(loop),
    kernelName: 'python3'
  });
}

async function openTerminal(
  { app, manager }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const name = await manager.openTerminal(loop.id);
  await app.commands.execute('terminal:open', { name });
}

async function showFiles(
  { app, browser, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  if (browser === null) {
    throw new Error(trans.__('This application has no file browser.'));
  }
  await browser.model.restored;
  await browser.model.cd(`/${loop.folder}`);
  app.shell.activateById(browser.id);
}

async function stopLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  if (
    await confirmed(
      trans,
      loop,
      trans.__('Stop “%1”?', loop.title),
      trans.__('Stop')
    )
  ) {
    await manager.stop(loop.id);
  }
}

async function recreateLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop,
  args: ReadonlyPartialJSONObject
): Promise<void> {
  const answer = await showDialog({
    title: args['isRestart']
      ? trans.__('Restart “%1”?', loop.title)
      : trans.__('Recreate “%1”?', loop.title),
    body: trans.__(
      'A fresh sandbox is made, with the settings and the image of now. %1 Files and home stay; what was installed with sudo is gone.',
      ending(loop, trans)
    ),
    buttons: [
      Dialog.cancelButton(),
      Dialog.warnButton({
        label: args['isRestart'] ? trans.__('Restart') : trans.__('Recreate')
      })
    ]
  });
  if (answer.button.accept) {
    await manager.recreate(loop.id);
  }
}

async function renameLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const answer = await InputDialog.getText({
    title: trans.__('Rename Loop'),
    label: trans.__('Title'),
    text: loop.title,
    okLabel: trans.__('Rename')
  });
  if (answer.button.accept && answer.value) {
    await manager.change(loop.id, { title: answer.value });
  }
}

async function deleteLoop(options: ICommandOptions, loop: Loop): Promise<void> {
  const { manager, trans } = options;
  if (options.confirmDelete()) {
    const answer = await showDialog({
      title: trans.__('Delete “%1”?', loop.title),
      body: trans.__(
        'Its sandbox, its home and all its files are deleted. %1 This cannot be undone.',
        ending(loop, trans)
      ),
      buttons: [
        Dialog.cancelButton(),
        Dialog.warnButton({ label: trans.__('Delete') })
      ]
    });
    if (!answer.button.accept) {
      return;
    }
  }
  try {
    await manager.remove(loop.id);
  } catch (error) {
    if (!(error instanceof LoopError) || error.status !== 409) {
      throw error;
    }
    const answer = await showDialog({
      title: trans.__('“%1” was not deleted', loop.title),
      body: error.message,
      buttons: [
        Dialog.cancelButton(),
        Dialog.warnButton({ label: trans.__('Delete Anyway') })
      ]
    });
    if (answer.button.accept) {
      await manager.remove(loop.id, true);
    }
  }
}

async function showLog(
  { app, manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const isOpen = (widget: Widget) => widget.id === LogView.idOf(loop);
  const open = find(app.shell.widgets('main'), isOpen);
  const view =
    open instanceof LogView ? open : new LogView(manager, loop, trans);
  await view.read();
  if (open === undefined) {
    app.shell.add(view, 'main');
  }
  app.shell.activateById(view.id);
}

async function confirmed(
  trans: TranslationBundle,
  loop: Loop,
  title: string,
  label: string
): Promise<boolean> {
  const body = ending(loop, trans);
  if (body === '') {
    return true;
  }
  const answer = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label })]
  });
  return answer.button.accept;
}
