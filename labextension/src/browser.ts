import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { createToolbarFactory, setToolbar } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { FileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { ITranslator } from '@jupyterlab/translation';
import { folderIcon } from '@jupyterlab/ui-components';

import { DRIVE } from './tokens';

/** Where Lab keeps the buttons of its own file browser; ours has the same. */
const STOCK = '@jupyterlab/filebrowser-extension:widget';

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
    driveName: DRIVE
  });
  browser.title.icon = folderIcon;
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
  app.shell.add(browser, 'left', { rank: 151, type: 'Loops' });
  return browser;
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
