import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { createToolbarFactory, setToolbar } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { FileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { ITranslator } from '@jupyterlab/translation';
import { MessageLoop } from '@lumino/messaging';

import { loopFilesIcon } from './icons';
import { DRIVE, folderOf } from './paths';
import type { ILoopManager } from './tokens';

/** Where Lab keeps the buttons of its own file browser; ours has the same. */
const STOCK = '@jupyterlab/filebrowser-extension:widget';

const REFRESH_MS = 10_000;
/** The longest time that a browser's timers know. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Adds Lab's file browser for the drive of loops, beside the one for the server's own files.
 *
 * @param app - The application.
 * @param factory - Makes file browsers.
 * @param translator - Translates.
 * @param toolbars - Lab's toolbars; without them the browser has none.
 * @param settings - Lab's settings.
 * @returns The browser; commands such as `filebrowser:go-to-path` find it by its drive.
 */
export function addBrowser(
  app: JupyterFrontEnd,
  factory: IFileBrowserFactory,
  translator: ITranslator,
  toolbars: IToolbarWidgetRegistry | null,
  settings: ISettingRegistry | null
): FileBrowser {
  const trans = translator.load('loopat_jupyter');
  const browser = factory.createFileBrowser('jp-loops-files', {
    driveName: DRIVE,
    refreshInterval: NEVER_MS
  });
  browser.title.icon = loopFilesIcon;
  browser.title.caption = trans.__('Files of Loops');
  browser.node.setAttribute('role', 'region');
  browser.node.setAttribute('aria-label', trans.__('Files of Loops'));
  if (toolbars !== null && settings !== null) {
    setToolbar(
      browser,
      createToolbarFactory(toolbars, settings, 'FileBrowser', STOCK, translator)
    );
  }
  refreshAtOnce(app, browser);
  refreshWhileSeen(browser);
  app.shell.add(browser, 'left', { rank: 151, type: 'Loops' });
  return browser;
}

/** Looks again as often as Lab's own browser, but only while somebody sees it, and at once when it is shown. */
function refreshWhileSeen(browser: FileBrowser): void {
  const refresh = () => {
    if (browser.isVisible && !document.hidden) {
      void browser.model.refresh();
    }
  };
  const timer = window.setInterval(refresh, REFRESH_MS);
  browser.disposed.connect(() => window.clearInterval(timer));
  MessageLoop.installMessageHook(browser, (_, message) => {
    if (message.type === 'after-show') {
      refresh();
    }
    return true;
  });
}

/** Lab's own browser of a drive sees changes in it only when it looks again, every ten seconds. */
function refreshAtOnce(app: JupyterFrontEnd, browser: FileBrowser): void {
  const { contents } = app.serviceManager;
  const isHere = (path: string | undefined) =>
    path !== undefined &&
    contents.driveName(path) === DRIVE &&
    PathExt.dirname(contents.localPath(path)) ===
      contents.localPath(browser.model.path);
  contents.fileChanged.connect((_, change) => {
    if (isHere(change.newValue?.path) || isHere(change.oldValue?.path)) {
      void browser.model.refresh();
    }
  });
}

/**
 * Goes to the list of loops when the loop whose files are shown was deleted or archived.
 *
 * @param browser - Of the drive of loops.
 * @param manager - Knows the loops.
 */
export function leaveWhatIsGone(
  browser: FileBrowser,
  manager: ILoopManager
): void {
  let shown: string | undefined;
  manager.changed.connect(() => {
    const folder = folderOf(browser.model.path);
    if (manager.ofPath(browser.model.path) !== undefined) {
      shown = folder;
    } else if (folder !== undefined && folder === shown) {
      shown = undefined;
      void browser.model.cd('/');
    }
  });
}
