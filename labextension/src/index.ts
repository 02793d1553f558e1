import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ILabShell, ILayoutRestorer } from '@jupyterlab/application';
import {
  ICommandPalette,
  ISessionContextDialogs,
  IToolbarWidgetRegistry
} from '@jupyterlab/apputils';
import { IConsoleTracker } from '@jupyterlab/console';
import {
  IDefaultFileBrowser,
  IFileBrowserFactory
} from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITerminalTracker } from '@jupyterlab/terminal';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { LoopBadge } from './badge';
import { addBrowser, leaveWhatIsGone } from './browser';
import { addCommands } from './commands';
import { startAgain } from './consoles';
import { LoopDrive } from './files';
import { keepFocus } from './focus';
import { startHere } from './here';
import { addCards, withoutLoops } from './launcher';
import { LoopManager } from './manager';
import type { IDefaults } from './newform';
import { tellOfProgress, told } from './notices';
import { LoopPanel } from './panel';
import { placeOf } from './place';
import { followRestarts } from './restarted';
import { LoopStatus } from './status';
import { tellOfStops } from './stopped';
import { keepUnsaved } from './stranded';
import { markTabs } from './tabs';
import { nameTerminals } from './terminals';
import type { Loop } from './tokens';
import { ILoopManager } from './tokens';
import { Untrusted } from './untrusted';

export * from './tokens';
export { CommandIDs } from './ids';
export { LoopError } from './api';

const DOMAIN = 'loopat_jupyter';

/** The loops, and the drive with their files. */
const manager: JupyterFrontEndPlugin<LoopManager> = {
  id: 'loopat-jupyter:manager',
  description:
    'Provides the loops of this server and the drive with their files.',
  autoStart: true,
  provides: ILoopManager,
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null
  ): LoopManager => {
    const { serviceManager } = app;
    serviceManager.contents.addDrive(
      new LoopDrive(serviceManager.serverSettings)
    );
    return new LoopManager(
      serviceManager,
      (translator ?? nullTranslator).load(DOMAIN)
    );
  }
};

/** Commands, panel, launcher cards, status bar and notifications. */
const face: JupyterFrontEndPlugin<void> = {
  id: 'loopat-jupyter:face',
  description:
    'Shows the loops: panel, commands, launcher cards, status bar and notifications.',
  autoStart: true,
  requires: [ILoopManager],
  optional: [
    ITranslator,
    ICommandPalette,
    IFileBrowserFactory,
    IToolbarWidgetRegistry,
    ILauncher,
    IStatusBar,
    ILabShell,
    ILayoutRestorer,
    ISettingRegistry,
    IDefaultFileBrowser,
    ITerminalTracker,
    IConsoleTracker,
    ISessionContextDialogs
  ],
  activate: (
    app: JupyterFrontEnd,
    loops: LoopManager,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    browserFactory: IFileBrowserFactory | null,
    toolbars: IToolbarWidgetRegistry | null,
    launcher: ILauncher | null,
    statusBar: IStatusBar | null,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    stockBrowser: IDefaultFileBrowser | null,
    terminals: ITerminalTracker | null,
    consoles: IConsoleTracker | null,
    dialogs: ISessionContextDialogs | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const { commands } = app;
    let confirmDelete = true;
    let defaults: IDefaults = { vault: '', profiles: [] };
    let side = 'left';
    const panel = new LoopPanel({ manager: loops, commands, trans });
    const reveal = (loop: Loop) => {
      app.shell.activateById(panel.id);
      panel.reveal(loop);
    };
    const browser =
      browserFactory === null
        ? null
        : addBrowser(
            app,
            browserFactory,
            translator ?? nullTranslator,
            toolbars,
            registry
          );
    if (browser !== null) {
      leaveWhatIsGone(browser, loops);
    }
    const browsers = [browser, stockBrowser].filter(each => each !== null);
    const folder = () =>
      browsers.map(each => each.model.path).find(path => loops.isInside(path));
    const front = () => placeOf(app.shell.currentWidget, loops, folder());
    const shown = addCommands({
      app,
      manager: loops,
      trans,
      browser,
      confirmDelete: () => confirmDelete,
      defaults: () => defaults,
      // Without one in front, that of the server's own folder.
      here: () => front().loop ?? loops.ofPath(''),
      reveal
    });
    for (const command of shown) {
      palette?.addItem({
        command,
        category: trans.__('Loops'),
        args: { isPalette: true }
      });
    }
    startHere(commands, () => {
      const seen = browsers.find(each => each.isVisible)?.model.path;
      const path = seen ?? folder();
      return path !== undefined && loops.isInside(path) ? path : undefined;
    });
    keepFocus(panel.node, app.contextMenu.menu);
    restorer?.add(panel, panel.id);
    app.shell.add(panel, side, { rank: 150, type: 'Loops' });

    if (labShell !== null && loops.isInside('')) {
      // A server for a loop's own folder, as for the first loop: the panel is open until a person arranges it otherwise.
      void Promise.all([labShell.restored, app.restored]).then(([layout]) => {
        if (layout.fresh) {
          app.shell.activateById(panel.id);
        }
      });
    }

    tellOfProgress(loops, commands, trans);
    followRestarts(app.shell, loops, trans);
    tellOfStops(app.shell, app.serviceManager, loops, trans);
    keepUnsaved(app, loops, trans);
    if (consoles !== null) {
      startAgain(consoles, loops, dialogs);
    }
    if (launcher !== null) {
      withoutLoops(launcher);
      const update = addCards(launcher, loops, trans, folder);
      browsers.forEach(each => each.model.pathChanged.connect(update));
    }
    if (terminals !== null) {
      nameTerminals(terminals, app.serviceManager.terminals, loops, trans);
    }
    if (labShell !== null) {
      markTabs(labShell, loops);
    }
    toolbars?.addFactory<NotebookPanel>(
      'Notebook',
      'loop',
      notebook => new LoopBadge(notebook, loops, trans, reveal)
    );
    if (statusBar !== null && labShell !== null) {
      const status = new LoopStatus(loops, trans, front, reveal);
      statusBar.registerStatusItem(`${face.id}:status`, {
        item: status,
        align: 'left',
        rank: 5
      });
      labShell.currentChanged.connect(status.look, status);
      labShell.currentPathChanged.connect(status.look, status);
      browsers.forEach(each =>
        each.model.pathChanged.connect(status.look, status)
      );
    }
    if (registry !== null) {
      // Without them the panel has those of the beginning.
      void told(trans, async () => {
        const settings = await registry.load(face.id);
        const apply = () => {
          confirmDelete = settings.get('confirmDelete').composite as boolean;
          defaults = {
            vault: settings.get('defaultVault').composite as string,
            profiles: settings.get('defaultProfiles').composite as string[]
          };
          loops.pollMs =
            (settings.get('pollSeconds').composite as number) * 1000;
          const wanted = settings.get('side').composite as string;
          if (wanted !== side) {
            side = wanted;
            app.shell.add(panel, side, { rank: 150, type: 'Loops' });
          }
        };
        apply();
        settings.changed.connect(apply);
      });
    }
  }
};

/** What is shown of strict loops does not act in the page. */
const untrusted: JupyterFrontEndPlugin<void> = {
  id: 'loopat-jupyter:untrusted',
  description:
    'Shows outputs of strict loops as JupyterLab shows untrusted ones.',
  autoStart: true,
  requires: [ILoopManager, IRenderMimeRegistry],
  optional: [ITranslator, IConsoleTracker],
  activate: (
    app: JupyterFrontEnd,
    loops: LoopManager,
    rendermime: IRenderMimeRegistry,
    translator: ITranslator | null,
    consoles: IConsoleTracker | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    new Untrusted({ app, rendermime, consoles, manager: loops, trans });
  }
};

export default [manager, face, untrusted];
