import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ILabShell, ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addBrowser } from './browser';
import { addCommands } from './commands';
import { LoopDrive } from './files';
import { addCards } from './launcher';
import { LoopManager } from './manager';
import { tellOfProgress } from './notices';
import { LoopPanel } from './panel';
import { LoopStatus } from './status';
import { ILoopManager } from './tokens';

export * from './tokens';
export { CommandIDs } from './ids';
export { LoopError } from './api';

const DOMAIN = 'loopat_jupyter';

/** The loops, and the drive with their files. */
const manager: JupyterFrontEndPlugin<ILoopManager> = {
  id: 'loopat-jupyter:manager',
  description:
    'Provides the loops of this server and the drive with their files.',
  autoStart: true,
  provides: ILoopManager,
  activate: (app: JupyterFrontEnd): ILoopManager => {
    const { serviceManager } = app;
    serviceManager.contents.addDrive(
      new LoopDrive(serviceManager.serverSettings)
    );
    const made = new LoopManager(serviceManager);
    void app.started.then(() => made.refresh());
    return made;
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
    ISettingRegistry
  ],
  activate: (
    app: JupyterFrontEnd,
    loops: ILoopManager,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    browserFactory: IFileBrowserFactory | null,
    toolbars: IToolbarWidgetRegistry | null,
    launcher: ILauncher | null,
    statusBar: IStatusBar | null,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const { commands } = app;
    let confirmDelete = true;
    let side = 'left';
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
    const shown = addCommands({
      app,
      manager: loops,
      trans,
      browser,
      confirmDelete: () => confirmDelete
    });
    for (const command of shown) {
      palette?.addItem({
        command,
        category: trans.__('Loops'),
        args: { isPalette: true }
      });
    }
    const panel = new LoopPanel({ manager: loops, commands, trans });
    restorer?.add(panel, panel.id);
    app.shell.add(panel, side, { rank: 150, type: 'Loops' });

    tellOfProgress(loops, commands, trans);
    if (launcher !== null && browser !== null) {
      browser.model.pathChanged.connect(
        addCards(launcher, loops, trans, () => browser.model.path)
      );
    }
    if (statusBar !== null && labShell !== null) {
      const status = new LoopStatus(loops, trans, () =>
        app.shell.activateById(panel.id)
      );
      statusBar.registerStatusItem(`${face.id}:status`, {
        item: status,
        align: 'left',
        rank: 5
      });
      labShell.currentPathChanged.connect((_, change) => {
        status.path = change.newValue;
      });
    }
    if (registry !== null) {
      void registry.load(face.id).then(settings => {
        const apply = () => {
          confirmDelete = settings.get('confirmDelete').composite as boolean;
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

export default [manager, face];
