import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { find } from '@lumino/algorithm';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';
import * as React from 'react';

import { LoopError } from './api';
import type { ICommandOptions } from './commands';
import { LogView } from './log';
import { Marked } from './marked';
import { tell, told } from './notices';
import { pick } from './pick';
import { askTitle } from './titled';
import type { Loop } from './tokens';
import { openIn, unsavedIn } from './unsaved';
import { ending, fullTitle, insideWords, losing } from './words';

export async function openNotebook(
  { app, manager }: ICommandOptions,
  loop: Loop
): Promise<void> {
  await app.commands.execute('notebook:create-new', {
    cwd: manager.pathOf(loop),
    kernelName: 'python3'
  });
}

export async function openTerminal(
  { app, manager }: ICommandOptions,
  loop: Loop,
  agent?: string
): Promise<void> {
  const name = await manager.openTerminal(loop.id, { agent });
  await app.commands.execute('terminal:open', { name });
}

/** Opens a terminal with an agent; of several the person picks one. */
export async function openAgent(
  options: ICommandOptions,
  loop: Loop,
  args: ReadonlyPartialJSONObject
): Promise<void> {
  const { manager, trans } = options;
  let name = args['agent'] as string | undefined;
  if (name === undefined && manager.agents.length > 1) {
    name = await pick(
      trans.__('Agent in “%1”', fullTitle(loop, manager)),
      trans.__('Agent'),
      manager.agents.map(agent => [agent.name, agent.name] as const),
      trans.__('Start')
    );
    if (name === undefined) {
      return;
    }
  }
  name ??= manager.agents[0]?.name;
  if (name === undefined) {
    throw new Error(
      trans.__(
        'No agent is configured: name one in config.toml, in [[agents]].'
      )
    );
  }
  await openTerminal(options, loop, name);
}

export async function showFiles(
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

export async function stopLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const ends = ending(loop, trans);
  const body = trans.__(
    '%1 Files stay. A notebook’s kernel starts again at its next cell, without the variables of before.',
    ends
  );
  const title = trans.__('Stop “%1”?', fullTitle(loop, manager));
  // Nobody is asked where nothing ends.
  if (ends === '' || (await confirmed(title, body, trans.__('Stop')))) {
    await manager.stop(loop.id);
  }
}

export async function archiveLoop(
  { app, manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const lost = losing(loop, unsavedIn(app.shell, loop), trans);
  const body = trans.__(
    '%1 Files stay. Until it is unarchived, they are read-only: find it under “Archived” at the bottom of the Loops panel, and choose “Unarchive” in its menu.',
    lost
  );
  const title = trans.__('Archive “%1”?', fullTitle(loop, manager));
  const unsaved = openIn(app.shell, loop).filter(({ model }) => model.dirty);
  if (lost !== '') {
    const save = Dialog.okButton({ label: trans.__('Save and Archive') });
    const archive = Dialog.warnButton({ label: trans.__('Archive') });
    const ways = unsaved.length === 0 ? [archive] : [archive, save];
    const chosen = await asked(title, body, ways);
    if (chosen === undefined) {
      return;
    }
    if (chosen.label === save.label) {
      await Promise.all(unsaved.map(context => context.save()));
    }
  }
  await manager.change(loop.id, { archived: true });
  // Its row is gone, and nobody may have been asked.
  const undo = () => manager.change(loop.id, { archived: false });
  const message = trans.__('“%1” is archived.', fullTitle(loop, manager));
  const action = {
    label: trans.__('Undo'),
    callback: () => void told(trans, undo, { loop, manager })
  };
  const about = { loopId: loop.id, title: '', actions: [action] };
  tell({ type: 'info', message, ...about }, trans);
}

export async function recreateLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const inside = insideWords(loop.in_use, trans);
  const ends = trans.__(
    'This ends %1; kernels of notebooks start again.',
    inside
  );
  const body = trans.__(
    'A new sandbox is made, with the settings and the image of now. %1 Files and home stay; what was installed with sudo is gone.',
    inside === '' ? '' : ends
  );
  const title = trans.__('Recreate “%1”?', fullTitle(loop, manager));
  if (await confirmed(title, body, trans.__('Recreate'))) {
    await manager.recreate(loop.id);
  }
}

/** Fetches the repo that could not be reached before, and says that it does: a remote may take its time. */
export async function fetchRepo(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const notice = Notification.emit(
    trans.__('Fetching the repo of “%1”…', fullTitle(loop, manager)),
    'in-progress',
    { autoClose: false }
  );
  try {
    await manager.fetch(loop.id);
  } finally {
    Notification.dismiss(notice);
  }
}

export async function renameLoop(
  { manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const title = await askTitle({
    title: trans.__('Rename “%1”', fullTitle(loop, manager)),
    label: trans.__('Title'),
    value: loop.title,
    accept: trans.__('Rename')
  });
  if (title !== undefined) {
    await manager.change(loop.id, { title });
  }
}

/** Makes a loop that begins with what another one left behind. */
export async function distillLoop(
  { manager, trans, reveal }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const title = await askTitle({
    title: trans.__('Distill “%1”', fullTitle(loop, manager)),
    about: trans.__(
      'A new loop begins with its notebooks and history, and with instructions.'
    ),
    label: trans.__('Title of the new loop'),
    value: trans.__('Distill: %1', loop.title),
    accept: trans.__('Create')
  });
  if (title !== undefined) {
    reveal(await manager.create({ title, distill: loop.id }));
  }
}

export async function deleteLoop(
  options: ICommandOptions,
  loop: Loop
): Promise<void> {
  const { app, manager, trans } = options;
  let although: 'end' | undefined;
  const unsaved = unsavedIn(app.shell, loop);
  // What is only in this page the server cannot know of.
  if (options.confirmDelete() || unsaved.length > 0) {
    although = ending(loop, trans) === '' ? undefined : 'end';
    const body = trans.__(
      'Its sandbox, its home and all its files are deleted. %1 This cannot be undone.',
      losing(loop, unsaved, trans)
    );
    const title = trans.__('Delete “%1”?', fullTitle(loop, manager));
    if (!(await confirmed(title, body, trans.__('Delete')))) {
      return;
    }
  }
  try {
    await manager.remove(loop.id, although);
  } catch (error) {
    if (!(error instanceof LoopError) || error.status !== 409) {
      throw error;
    }
    const body = React.createElement(Marked, {
      // What is an option of the command line is a button here.
      text: error.message.replace(', or force it (`--force`)', '')
    });
    const title = trans.__('“%1” was not deleted', fullTitle(loop, manager));
    if (await confirmed(title, body, trans.__('Delete Anyway'))) {
      await manager.remove(loop.id, 'force');
    }
  }
}

export async function showLog(
  { app, manager, trans }: ICommandOptions,
  loop: Loop
): Promise<void> {
  const isOpen = (widget: Widget) => widget.id === LogView.idOf(loop);
  const open = find(app.shell.widgets('main'), isOpen);
  const view =
    open instanceof LogView ? open : new LogView(manager, loop, trans);
  try {
    await view.read();
  } catch (error) {
    if (!(error instanceof LoopError) || error.status !== 404) {
      throw error;
    }
    view.dispose();
    Notification.info(
      trans.__(
        'No build log: the image has not been built since this machine was started (“%1”).',
        fullTitle(loop, manager)
      ),
      { autoClose: 10_000 }
    );
    return;
  }
  if (open === undefined) {
    app.shell.add(view, 'main');
  }
  app.shell.activateById(view.id);
}

async function confirmed(
  title: string,
  body: string | React.ReactElement,
  label: string
): Promise<boolean> {
  const yes = Dialog.warnButton({ label });
  return (await asked(title, body, [yes])) !== undefined;
}

/** The way that somebody chooses; undefined for none. */
async function asked(
  title: string,
  body: string | React.ReactElement,
  ways: readonly Dialog.IButton[]
): Promise<Dialog.IButton | undefined> {
  const { button } = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton(), ...ways],
    // As in JupyterLab's own dialogs of this kind: whoever presses Enter too early loses nothing.
    defaultButton: 0
  });
  return button.accept ? button : undefined;
}
