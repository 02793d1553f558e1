import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  consoleIcon,
  deleteIcon,
  editIcon,
  folderIcon,
  LabIcon,
  notebookIcon,
  refreshIcon,
  runIcon,
  settingsIcon,
  stopIcon,
  terminalIcon
} from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import {
  archiveLoop,
  deleteLoop,
  distillLoop,
  fetchRepo,
  openAgent,
  openNotebook,
  openTerminal,
  recreateLoop,
  renameLoop,
  showFiles,
  showLog,
  stopLoop
} from './acts';
import { changeLoop, newLoop } from './dialog';
import { CommandIDs } from './ids';
import { loopIcon } from './icons';
import type { IDefaults } from './newform';
import { tell, told } from './notices';
import { Once } from './once';
import { pick } from './pick';
import { promoteLoop } from './promote';
import { showProposals } from './proposals';
import { shareLoop } from './share';
import type { ILoopManager, Loop } from './tokens';
import { loopUnderMenu } from './under';
import { editVaults } from './vaults';
import { fullTitle, promotable } from './words';

/** Commands that show nothing which a double click would show twice, and may be given again before they have ended. */
const OPENING_NOTHING: readonly string[] = [
  CommandIDs.start,
  CommandIDs.cancel,
  CommandIDs.unarchive
];

/** What the commands work on. */
export interface ICommandOptions {
  app: JupyterFrontEnd;
  manager: ILoopManager;
  trans: TranslationBundle;
  browser: FileBrowser | null;
  confirmDelete: () => boolean;
  /** What a new loop begins with. */
  defaults: () => IDefaults;
  /** The loop that a person is at: that of what is in front. */
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
  const underMenu = loopUnderMenu();
  const once = new Once();

  const add = (
    id: string,
    label: string,
    icon: typeof addIcon | undefined,
    act: (loop: Loop, args: ReadonlyPartialJSONObject) => Promise<unknown>,
    fits: (loop: Loop) => boolean = () => true,
    isOffered: () => boolean = () => true
  ) => {
    const idOf = (args: ReadonlyPartialJSONObject) =>
      args['isContextMenu'] ? (underMenu() ?? '') : (args['loop'] as string);
    const given = (args: ReadonlyPartialJSONObject) =>
      manager.find(idOf(args) ?? '');
    const keyOf = (args: ReadonlyPartialJSONObject) =>
      OPENING_NOTHING.includes(id)
        ? undefined
        : JSON.stringify([id, idOf(args), args['agent']]);
    const named = (args: ReadonlyPartialJSONObject) =>
      typeof args['agent'] === 'string'
        ? args['agent']
        : id === CommandIDs.agent && manager.agents.length > 1
          ? trans.__('%1…', label)
          : label;
    commands.addCommand(id, {
      label: args =>
        args['isPalette'] ? trans.__('Loops: %1', label) : named(args),
      caption: args => {
        const loop = args['isLauncher'] ? given(args) : undefined;
        return loop === undefined
          ? ''
          : trans.__('%1 in “%2”', named(args), fullTitle(loop, manager));
      },
      icon: args =>
        args['isPalette'] ? undefined : (agentIcon(manager, args) ?? icon),
      isVisible: args => {
        const loop = given(args);
        return isOffered() && (loop === undefined || fits(loop));
      },
      describedBy: {
        args: {
          type: 'object',
          properties: {
            loop: { type: 'string', description: trans.__('Id of the loop') },
            ...(id === CommandIDs.agent && {
              agent: {
                type: 'string',
                description: trans.__('Name of the agent')
              }
            })
          }
        }
      },
      execute: once.each(keyOf, async args => {
        const wanted = idOf(args);
        if (wanted === undefined) {
          const chosen = await chooseLoop(options, label, fits);
          if (chosen === undefined) {
            return undefined;
          }
          const about = { loop: chosen, manager };
          return told(trans, () => act(chosen, args), about);
        }
        if (manager.find(wanted) === undefined) {
          await manager.fresh();
        }
        const loop = manager.find(wanted);
        if (loop !== undefined) {
          return told(trans, () => act(loop, args), { loop, manager });
        }
        const message = trans.__(
          'This loop no longer exists; somebody deleted it.'
        );
        tell({ type: 'error', message, loopId: wanted, title: '' }, trans);
        return undefined;
      })
    });
    shown.push(id);
  };

  commands.addCommand(CommandIDs.create, {
    label: args =>
      args['isPalette'] ? trans.__('Loops: New Loop…') : trans.__('New Loop…'),
    caption: trans.__('Make a separate environment for a piece of work'),
    icon: args => (args['isPalette'] ? undefined : addIcon),
    describedBy: {
      args: { type: 'object', properties: { title: { type: 'string' } } }
    },
    execute: once.each(
      // Whoever says the title is asked nothing.
      ({ title }) => (title === undefined ? CommandIDs.create : undefined),
      async ({ title }) => {
        const made = await told(trans, () =>
          typeof title === 'string'
            ? manager.create({ title })
            : newLoop(manager, trans, options.defaults())
        );
        if (made !== undefined) {
          options.reveal(made);
        }
        return made;
      }
    )
  });
  commands.addCommand(CommandIDs.refresh, {
    label: args =>
      args['isPalette']
        ? trans.__('Loops: Refresh')
        : trans.__('Refresh Loops'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => manager.refresh()
  });
  const ofAll = (
    id: string,
    label: string,
    act: (args: ReadonlyPartialJSONObject) => Promise<void>
  ) => {
    commands.addCommand(id, {
      label: args => (args['isPalette'] ? trans.__('Loops: %1', label) : label),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            ...(id === CommandIDs.vaults && { vault: { type: 'string' } })
          }
        }
      },
      execute: once.each(
        () => id,
        args => told(trans, () => act(args))
      )
    });
    shown.push(id);
  };
  shown.push(CommandIDs.create, CommandIDs.refresh);
  ofAll(CommandIDs.vaults, trans.__('Vaults…'), args =>
    editVaults(manager, trans, args['vault'] as string | undefined)
  );
  ofAll(CommandIDs.proposals, trans.__('Proposals…'), () =>
    showProposals(manager, trans)
  );

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
  add(
    CommandIDs.agent,
    trans.__('Agent'),
    consoleIcon,
    (loop, args) => openAgent(options, loop, args),
    active,
    () => manager.agents.length > 0
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
    trans.__('Cancel Start'),
    stopIcon,
    loop => manager.cancel(loop.id),
    loop => loop.state === 'preparing'
  );
  add(
    CommandIDs.recreate,
    trans.__('Recreate…'),
    refreshIcon,
    loop => recreateLoop(options, loop),
    loop => active(loop) && loop.state !== 'preparing'
  );
  add(
    CommandIDs.fetch,
    trans.__('Fetch Repo'),
    refreshIcon,
    loop => fetchRepo(options, loop),
    loop => active(loop) && loop.repo_missing
  );
  add(
    CommandIDs.share,
    trans.__('Share…'),
    undefined,
    loop => shareLoop(options, loop),
    active
  );
  add(
    CommandIDs.promote,
    trans.__('Promote…'),
    undefined,
    loop => promoteLoop(options, loop),
    loop => promotable(loop).length > 0
  );
  add(CommandIDs.distill, trans.__('Distill…'), undefined, loop =>
    distillLoop(options, loop)
  );
  add(CommandIDs.rename, trans.__('Rename…'), editIcon, loop =>
    renameLoop(options, loop)
  );
  add(CommandIDs.settings, trans.__('Loop Settings…'), settingsIcon, loop =>
    changeLoop(manager, trans, loop)
  );
  add(
    CommandIDs.archive,
    trans.__('Archive'),
    undefined,
    loop => archiveLoop(options, loop),
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
  let agents = manager.agents.length;
  manager.changed.connect(() => {
    if (manager.agents.length !== agents) {
      agents = manager.agents.length;
      commands.notifyCommandChanged(CommandIDs.agent);
    }
  });
  return shown;
}

/** The icon that the configuration names for an agent; undefined where it names none that JupyterLab has. */
function agentIcon(
  manager: ILoopManager,
  args: ReadonlyPartialJSONObject
): LabIcon | undefined {
  const agent = manager.agents.find(each => each.name === args['agent']);
  return agent?.icon ? LabIcon.resolve({ icon: agent.icon }) : undefined;
}

async function chooseLoop(
  { manager, trans, here }: ICommandOptions,
  label: string,
  fits: (loop: Loop) => boolean
): Promise<Loop | undefined> {
  await manager.fresh();
  const fitting = [...manager.loops, ...manager.archived].filter(fits);
  if (fitting.length === 0) {
    Notification.info(trans.__('There is no loop for this.'), {
      autoClose: 5000
    });
    return undefined;
  }
  const current = here();
  const id = await pick(
    label,
    trans.__('Loop'),
    fitting.map(loop => [loop.id, fullTitle(loop, manager)] as const),
    label,
    fitting.find(loop => loop.id === current?.id)?.id
  );
  return fitting.find(loop => loop.id === id);
}
